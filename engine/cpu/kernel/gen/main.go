// Command gen writes the amd64 assembly of package kernel: every loop for
// AVX2 with FMA and F16C, and the integer products again for AVX-512 with
// VNNI. Run it through go generate.
package main

import . "github.com/mmcloughlin/avo/build"

// isa is what the two families of loops differ in.
type isa struct {
	suffix string
	// digit is the number of bits of an activation's digit. VPMADDUBSW adds two
	// products of 8 by 8 bits in 16 signed bits, which six leave room for;
	// VPDPBUSD adds in 32 bits.
	digit uint
	vnni  bool
}

var (
	avx2   = isa{suffix: "AVX2", digit: 6}
	avx512 = isa{suffix: "AVX512", digit: 7, vnni: true}
)

func main() {
	ConstraintExpr("amd64")
	interleave()
	elementwise()
	wide()
	pause()
	for _, f := range formats {
		expand(f)
	}
	for _, i := range []isa{avx2, avx512} {
		quantize(i)
		for _, f := range formats {
			gemv(i, f)
		}
		sketchQ8_0(i)
		sketchGemv(i, 1)
		for _, e := range elements {
			multiply(i, e)
		}
	}
	extent()
	quantizeTile()
	center("AVX2", 16)
	center("AVX512", 32)
	sketchGemv(avx512, 4)
	for _, f := range formats {
		for _, pairs := range []int{1, 2, 4} {
			gemvPairs(f, pairs)
		}
		gemvFewAVX2(f, 2)
		if f.subs == 1 {
			gemvFewAVX2(f, 4)
		}
	}
	gemmAVX2()
	gemmAVX512()

	Generate()
}

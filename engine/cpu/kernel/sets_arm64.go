package kernel

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/cpu"

	"lapidary/checkpoint"
)

// available lists what this processor runs. Every Apple processor that runs
// macOS has the dot product extension.
func available() []*Set {
	if cpu.ARM64.HasASIMDDP || runtime.GOOS == "darwin" {
		return []*Set{setNEON()}
	}
	return nil
}

func setNEON() *Set {
	return &Set{
		Name: "neon", NR: 16, MR: 4, DigitBits: 7,
		Quantize: rowNEON, Interleave: interleaveNEON,
		Gemv: map[checkpoint.Type]Gemv{
			checkpoint.Q8_0: gemvQ8_0NEON, checkpoint.Q4_0: gemvQ4_0NEON, checkpoint.Q4_1: gemvQ4_1NEON,
			checkpoint.Q5_0: gemvQ5_0NEON, checkpoint.Q5_1: gemvQ5_1NEON,
			checkpoint.Q4_K: gemvQ4_KNEON, checkpoint.Q5_K: gemvQ5_KNEON, checkpoint.Q6_K: gemvQ6_KNEON,
		},
		Expand: map[checkpoint.Type]func(src *byte, blocks int, codes *uint8, scale, min *float32){
			checkpoint.Q8_0: expandQ8_0NEON, checkpoint.Q4_0: expandQ4_0NEON, checkpoint.Q4_1: expandQ4_1NEON,
			checkpoint.Q5_0: expandQ5_0NEON, checkpoint.Q5_1: expandQ5_1NEON,
			checkpoint.Q4_K: expandQ4_KNEON, checkpoint.Q5_K: expandQ5_KNEON, checkpoint.Q6_K: expandQ6_KNEON,
		},
		QuantizeTile: tileNEON(4),
		Gemm: map[Kind]Gemm{
			{Group: 32}: flat(gemm32NEON), {Group: 32, Min: true}: flat(gemm32NEON), {Group: 32, Wide: true}: flat(gemmWideNEON),
			{Group: 16}: flat(gemm16NEON), {Group: 16, Min: true}: flat(gemm16NEON),
		},
		Rows:   []int{4, 2, 1},
		MulF32: byRows(nil, mulF32NEON_1, mulF32NEON_2, nil, mulF32NEON_4),
		MulF16: byRows(nil, mulF16NEON_1, mulF16NEON_2, nil, mulF16NEON_4),
		MulI8:  mulI8(16), // portable: a cache in int8 saves memory here, not time
		Dot:    dotNEON, ScaleMul: scaleMulNEON, GELUMul: geluMulNEON, Add: addNEON,
		Exp: expNEON, SoftCap: softCapNEON, Max: maxNEON, Half: toHalfNEON, Rotate: rotateNEON,
	}
}

// flat gives an assembly product its pointers one by one, and its rows their
// places: the loops write [4][16].
func flat(f func(codes *uint8, scale, min *float32, digits *int8, dscale, dsum *float32, blocks int, out *float32)) Gemm {
	return func(p *Panel, t *Tile, blocks int, out *float32, outStep int) {
		var y [4 * 16]float32
		f(p.Codes, p.Scale, p.Min, (*int8)(unsafe.Pointer(t.Digits)), t.Scale, t.Sum, blocks, &y[0])
		for r := range 4 {
			copy(unsafe.Slice(past(out, r*outStep), 16), y[16*r:])
		}
	}
}

// rowNEON quantises a row.
func rowNEON(x *float32, n int, high, low *int8, scale, sum, sum16 *float32) {
	plane := int(uintptr(unsafe.Pointer(low)) - uintptr(unsafe.Pointer(high)))
	quantizeNEON(x, n, high, plane, 4, scale, sum, sum16, 4)
}

// tileNEON quantises a row of a tile of mr rows, to two signed digits everywhere:
// [K/4][MR][2][4], with the sums.
func tileNEON(mr int) func(x *float32, n int, mode *Mode, top *float32, digits *uint8, row int, scale, sum, sum16 *float32) {
	return func(x *float32, n int, _ *Mode, _ *float32, digits *uint8, row int, scale, sum, sum16 *float32) {
		quantizeNEON(x, n, (*int8)(unsafe.Pointer(past(digits, 8*row))), 4, 8*mr, scale, sum, sum16, 4*mr)
	}
}

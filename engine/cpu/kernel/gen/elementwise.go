package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// interleave transposes dwords, eight by eight.
func interleave() {
	TEXT("interleaveAVX2", NOSPLIT, "func(dst *byte, dstStep int, src *byte, srcStep, n int)")
	dst, dstStep := Load(Param("dst"), GP64()), Load(Param("dstStep"), GP64())
	src, srcStep, n := Load(Param("src"), GP64()), Load(Param("srcStep"), GP64()), Load(Param("n"), GP64())
	SHRQ(Imm(3), n)
	rows := rowPointers(src, srcStep, 8)
	loop("eights", n, func() {
		var in, pairs, quads [8]reg.VecVirtual
		for r := range 8 {
			in[r] = YMM()
			VMOVUPS(rows[r], in[r])
		}
		for r := 0; r < 8; r += 2 {
			pairs[r], pairs[r+1] = YMM(), YMM()
			VUNPCKLPS(in[r+1], in[r], pairs[r])
			VUNPCKHPS(in[r+1], in[r], pairs[r+1])
		}
		for r := 0; r < 8; r += 4 {
			for c := range 2 {
				quads[r+2*c], quads[r+2*c+1] = YMM(), YMM()
				VUNPCKLPD(pairs[r+2+c], pairs[r+c], quads[r+2*c])
				VUNPCKHPD(pairs[r+2+c], pairs[r+c], quads[r+2*c+1])
			}
		}
		for h := range 2 {
			for c := range 4 {
				y := YMM()
				VPERM2F128(Imm([]uint64{0x20, 0x31}[h]), quads[4+c], quads[c], y)
				VMOVUPS(y, at(dst, 0))
				ADDQ(dstStep, dst)
			}
		}
		ADDQ(Imm(32), src)
		ADDQ(Imm(32), rows[4].Base)
	})
	VZEROUPPER()
	RET()
}

// quantize turns blocks of 32 floats into two digits of i.digit bits.
func quantize(i isa) {
	TEXT("quantize"+i.suffix, NOSPLIT, "func(x *float32, n int, high, low *int8, scale, sum, sum16 *float32)")
	x, n, high, low := Load(Param("x"), GP64()), Load(Param("n"), GP64()), Load(Param("high"), GP64()), Load(Param("low"), GP64())
	scale, sum, sum16 := Load(Param("scale"), GP64()), Load(Param("sum"), GP64()), Load(Param("sum16"), GP64())
	four := GP64()
	MOVQ(U32(4), four)
	limit := floatOf(float64(int(1)<<(2*i.digit) - int(1)<<i.digit))
	loop("quantizeBlocks", n, func() {
		var v [4]reg.VecVirtual
		for j := range v {
			v[j] = YMM()
			VMOVUPS(at(x, 32*j), v[j])
		}
		top := greatest(v)
		d, inverse, real := XMM(), XMM(), XMM()
		VDIVSS(limit, top, d)
		VMOVSS(limit, inverse)
		VDIVSS(top, inverse, inverse)
		VXORPS(real, real, real)
		VCMPSS(Imm(4), real, top, real) // top ≠ 0
		VANDPS(real, inverse, inverse)
		by := YMM()
		VBROADCASTSS(inverse, by)
		for j := range v {
			VMULPS(by, v[j], v[j])
			VCVTPS2DQ(v[j], v[j])
		}
		groupSums(v, d, sum, sum16, four)
		VMOVSS(d, at(scale, 0))
		ADDQ(Imm(4), scale)
		split(v, i.digit, high, low)
		ADDQ(U32(128), x)
	})
	VZEROUPPER()
	RET()
}

// greatest is the greatest magnitude of 32 floats, in the lowest lane.
func greatest(v [4]reg.VecVirtual) reg.Register {
	y, t := YMM(), YMM()
	magnitude := wordOf(math.MaxInt32)
	VANDPS(magnitude, v[0], y)
	for _, o := range v[1:] {
		VANDPS(magnitude, o, t)
		VMAXPS(t, y, y)
	}
	return greatestLane(y)
}

// groupSums stores d times the sums of 32 and of 16 integers.
func groupSums(v [4]reg.VecVirtual, d reg.VecVirtual, sum, sum16, step reg.Register) {
	a, b := YMM(), YMM()
	VPADDD(v[1], v[0], a)
	VPADDD(v[3], v[2], b)
	VPHADDD(b, a, a)
	VPHADDD(a, a, a)
	s, t := XMM(), XMM()
	VEXTRACTI128(Imm(1), a, s)
	VPADDD(a.AsX(), s, s) // the two halves' sums
	VPHADDD(s, s, t)
	VCVTDQ2PS(s, s)
	VCVTDQ2PS(t, t)
	VMULSS(d, t, t)
	VMOVSS(t, at(sum, 0))
	ADDQ(step, sum)
	VMULSS(d, s, t)
	VMOVSS(t, at(sum16, 0))
	ADDQ(step, sum16)
	VPERMILPS(Imm(1), s, s)
	VMULSS(d, s, s)
	VMOVSS(s, at(sum16, 0))
	ADDQ(step, sum16)
}

// split stores the high and low digits of 32 integers.
func split(v [4]reg.VecVirtual, digit uint, high, low reg.Register) {
	var h [4]reg.VecVirtual
	for j := range v {
		h[j] = YMM()
		VPADDD(wordOf(1<<(digit-1)), v[j], h[j])
		VPSRAD(Imm(uint64(digit)), h[j], h[j])
		t := YMM()
		VPSLLD(Imm(uint64(digit)), h[j], t)
		VPSUBD(t, v[j], v[j])
	}
	VMOVDQU(packed(h, VPACKSSWB), at(high, 0))
	VMOVDQU(packed(v, VPACKSSWB), at(low, 0))
	ADDQ(Imm(32), high)
	ADDQ(Imm(32), low)
}

// quantizeTile turns blocks of 32 floats into one digit or two of a tile's row.
// The mode of a block says how: 0 is one digit in a block of one, 1 is one
// digit in a block of two, whose second is zero, 2 is two digits. Sums are
// stored where sum is not nil.
func quantizeTile() {
	TEXT("quantizeTileAVX2", NOSPLIT, "func(x *float32, n int, mode *uint8, top *float32, digits *uint8, step int, scale, sum, sum16 *float32)")
	x, n, mode, top := Load(Param("x"), GP64()), Load(Param("n"), GP64()), Load(Param("mode"), GP64()), Load(Param("top"), GP64())
	digits, step := Load(Param("digits"), GP64()), Load(Param("step"), GP64())
	scale, sum, sum16 := Load(Param("scale"), GP64()), Load(Param("sum"), GP64()), Load(Param("sum16"), GP64())
	loop("tileBlocks", n, func() {
		m, limits := GP64(), GP64()
		MOVBQZX(at(mode, 0), m)
		LEAQ(table("tileLimits", func(i int) uint32 { return math.Float32bits([]float32{127, 127, 127 * 128, 0}[i%4]) }), limits)
		v := scaled(x, top, Mem{Base: limits, Index: m, Scale: 4})
		d := XMM()
		VMOVSS(at(top, 0), d)
		TESTQ(m, m)
		JNE(LabelRef("two"))

		VDIVSS(floatOf(127), d, d)
		tileSums("one", v, d, sum, sum16, step)
		for j := range v {
			VPADDD(wordOf(128), v[j], v[j])
		}
		VMOVDQU(packed(v, VPACKUSWB), at(digits, 0))
		ADDQ(Imm(32), digits)
		JMP(LabelRef("tileNext"))

		Label("two")
		VDIVSS(floatOf(127*128), d, d)
		secondDigit(m, v)
		tileSums("two", v, d, sum, sum16, step)
		var h [4]reg.VecVirtual
		for j := range v {
			h[j] = YMM()
			VPSRAD(Imm(7), v[j], h[j])
			VPADDD(wordOf(128), h[j], h[j])
			VPAND(wordOf(127), v[j], v[j])
		}
		VMOVDQU(packed(h, VPACKUSWB), at(digits, 0))
		VMOVDQU(packed(v, VPACKUSWB), at(digits, 32))
		ADDQ(Imm(64), digits)

		Label("tileNext")
		VMOVSS(d, at(scale, 0))
		ADDQ(step, scale)
		ADDQ(U32(128), x)
		ADDQ(Imm(4), top)
		INCQ(mode)
	})
	VZEROUPPER()
	RET()
}

// tileSums stores the sums of a block if they are wanted.
func tileSums(label string, v [4]reg.VecVirtual, d reg.VecVirtual, sum, sum16, step reg.Register) {
	TESTQ(sum, sum)
	JZ(LabelRef(label + "NoSums"))
	groupSums(v, d, sum, sum16, step)
	Label(label + "NoSums")
}

// scaled are 32 floats times limit/top, as integers; zero where top is.
func scaled(x, top reg.Register, limit Mem) (v [4]reg.VecVirtual) {
	t, inverse, real, by := XMM(), XMM(), XMM(), YMM()
	VMOVSS(at(top, 0), t)
	VMOVSS(limit, inverse)
	VDIVSS(t, inverse, inverse)
	VXORPS(real, real, real)
	VCMPSS(Imm(4), real, t, real) // top ≠ 0
	VANDPS(real, inverse, inverse)
	VBROADCASTSS(inverse, by)
	for j := range v {
		v[j] = YMM()
		VMULPS(at(x, 32*j), by, v[j])
		VCVTPS2DQ(v[j], v[j])
	}
	return v
}

// secondDigit makes room for a second digit where mode m is 1.
func secondDigit(m reg.Register, v [4]reg.VecVirtual) {
	n, bits := GP64(), XMM()
	MOVQ(U32(2), n)
	SUBQ(m, n)
	IMUL3Q(Imm(7), n, n)
	VMOVQ(n, bits)
	for j := range v {
		VPSLLD(bits, v[j], v[j])
	}
}

// extent stores the greatest magnitude of each block of 32 floats and returns
// the sum of all squares.
func extent() {
	TEXT("extentAVX2", NOSPLIT, "func(x *float32, n int, top *float32) float32")
	x, n, top := Load(Param("x"), GP64()), Load(Param("n"), GP64()), Load(Param("top"), GP64())
	var sums [2]reg.VecVirtual
	for i := range sums {
		sums[i] = YMM()
		VXORPS(sums[i], sums[i], sums[i])
	}
	loop("extentBlocks", n, func() {
		var v [4]reg.VecVirtual
		for j := range v {
			v[j] = YMM()
			VMOVUPS(at(x, 32*j), v[j])
			VFMADD231PS(v[j], v[j], sums[j%2])
		}
		VMOVSS(greatest(v), at(top, 0))
		ADDQ(Imm(4), top)
		ADDQ(U32(128), x)
	})
	VADDPS(sums[1], sums[0], sums[0])
	Store(sumLanes(sums[0]), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// packed are 32 integers as bytes, in order.
func packed(v [4]reg.VecVirtual, pack func(ops ...Op)) reg.VecVirtual {
	VPACKSSDW(v[1], v[0], v[0])
	VPACKSSDW(v[3], v[2], v[2])
	pack(v[2], v[0], v[0])
	order := YMM()
	VMOVDQU(table("unpack", func(i int) uint32 { return uint32(i/2 + i%2*4) }), order)
	VPERMD(v[0], order, v[0])
	return v[0]
}

// over starts a function whose body handles eight floats at a time.
func over(name, signature string, pointers []string, body func(p map[string]reg.Register), after func()) {
	TEXT(name, NOSPLIT, signature)
	p := map[string]reg.Register{}
	for _, s := range pointers {
		p[s] = Load(Param(s), GP64())
	}
	n := Load(Param("n"), GP64())
	SHRQ(Imm(3), n)
	setup(name)
	loop(name+"_eights", n, func() {
		body(p)
		for _, s := range pointers {
			step := uint64(32)
			if s == "half" {
				step = 16
			}
			ADDQ(Imm(step), p[s])
		}
	})
	after()
	VZEROUPPER()
	RET()
}

// running are the registers that live across a loop's turns.
var running map[string]reg.VecVirtual

func setup(name string) {
	running = map[string]reg.VecVirtual{}
	broadcast := func(param string) {
		y := YMM()
		a, err := Param(param).Resolve()
		if err != nil {
			panic(err)
		}
		VBROADCASTSS(a.Addr, y)
		running[param] = y
	}
	zero := func(key string) {
		y := YMM()
		VXORPS(y, y, y)
		running[key] = y
	}
	switch name {
	case "dotAVX2", "dotBF16AVX2", "dotF16AVX2", "expAVX2":
		zero("sum")
		if name == "expAVX2" {
			broadcast("top")
		}
	case "scaleMulAVX2":
		broadcast("s")
	case "softCapAVX2":
		broadcast("limit")
	case "maxAVX2":
		y := YMM()
		VMOVUPS(wordOf(math.Float32bits(float32(math.Inf(-1)))), y)
		running["max"] = y
	}
}

// bfloats are eight bfloat16 numbers: the upper halves of floats.
func bfloats(p reg.Register) reg.VecVirtual {
	y := YMM()
	VPMOVZXWD(at(p, 0), y)
	VPSLLD(Imm(16), y, y)
	return y
}

func load(p reg.Register) reg.VecVirtual {
	y := YMM()
	VMOVUPS(at(p, 0), y)
	return y
}

func elementwise() {
	none := func() {}
	store := func(r reg.Register) { Store(r, ReturnIndex(0)) }
	over("dotAVX2", "func(x, y *float32, n int) float32", []string{"x", "y"}, func(p map[string]reg.Register) {
		VFMADD231PS(at(p["y"], 0), load(p["x"]), running["sum"])
	}, func() { store(sumLanes(running["sum"])) })
	over("dotBF16AVX2", "func(x *float32, half *uint16, n int) float32", []string{"x", "half"}, func(p map[string]reg.Register) {
		VFMADD231PS(at(p["x"], 0), bfloats(p["half"]), running["sum"])
	}, func() { store(sumLanes(running["sum"])) })
	over("dotF16AVX2", "func(x *float32, half *uint16, n int) float32", []string{"x", "half"}, func(p map[string]reg.Register) {
		y := YMM()
		VCVTPH2PS(at(p["half"], 0), y)
		VFMADD231PS(at(p["x"], 0), y, running["sum"])
	}, func() { store(sumLanes(running["sum"])) })
	over("fromBF16AVX2", "func(dst *float32, half *uint16, n int)", []string{"dst", "half"}, func(p map[string]reg.Register) {
		VMOVUPS(bfloats(p["half"]), at(p["dst"], 0))
	}, none)
	over("fromF16AVX2", "func(dst *float32, half *uint16, n int)", []string{"dst", "half"}, func(p map[string]reg.Register) {
		y := YMM()
		VCVTPH2PS(at(p["half"], 0), y)
		VMOVUPS(y, at(p["dst"], 0))
	}, none)
	over("scaleMulAVX2", "func(y, x *float32, s float32, w *float32, n int)", []string{"y", "x", "w"}, func(p map[string]reg.Register) {
		v := load(p["x"])
		VMULPS(running["s"], v, v)
		VMULPS(at(p["w"], 0), v, v)
		VMOVUPS(v, at(p["y"], 0))
	}, none)
	over("addAVX2", "func(y, x *float32, n int)", []string{"y", "x"}, func(p map[string]reg.Register) {
		v := load(p["y"])
		VADDPS(at(p["x"], 0), v, v)
		VMOVUPS(v, at(p["y"], 0))
	}, none)
	over("maxAVX2", "func(x *float32, n int) float32", []string{"x"}, func(p map[string]reg.Register) {
		VMAXPS(at(p["x"], 0), running["max"], running["max"])
	}, func() {
		store(greatestLane(running["max"]))
	})
	over("expAVX2", "func(x *float32, n int, top float32) float32", []string{"x"}, func(p map[string]reg.Register) {
		v := load(p["x"])
		VSUBPS(running["top"], v, v)
		exp(v)
		VADDPS(v, running["sum"], running["sum"])
		VMOVUPS(v, at(p["x"], 0))
	}, func() { store(sumLanes(running["sum"])) })
	over("softCapAVX2", "func(x *float32, limit float32, n int)", []string{"x"}, func(p map[string]reg.Register) {
		// tanh z = 1 − 2/(1 + exp 2z)
		v := load(p["x"])
		VDIVPS(running["limit"], v, v)
		VADDPS(v, v, v)
		exp(v)
		one := YMM()
		VMOVUPS(floatOf(1), one)
		VADDPS(one, v, v)
		two := YMM()
		VMOVUPS(floatOf(2), two)
		VDIVPS(v, two, v)
		VSUBPS(v, one, v)
		VMULPS(running["limit"], v, v)
		VMOVUPS(v, at(p["x"], 0))
	}, none)
	over("geluMulAVX2", "func(y, gate, up *float32, n int)", []string{"y", "gate", "up"}, gelu, none)
	over("toHalfAVX2", "func(half *uint16, src *float32, n int)", []string{"half", "src"}, func(p map[string]reg.Register) {
		v := load(p["src"])
		VMINPS(floatOf(65504), v, v)
		VMAXPS(floatOf(-65504), v, v)
		VCVTPS2PH(Imm(0), v, at(p["half"], 0))
	}, none)
	rotate()
}

// greatestLane is the greatest of eight lanes, in the lowest.
func greatestLane(y reg.VecVirtual) reg.Register { return foldLanes(y, VMAXPS, VMAXSS) }

// The polynomial of Cephes' expf, its first coefficient apart, and ln 2 in two
// parts.
const (
	expFirst = 1.9875691500e-4
	ln2High  = 0.693359375
	ln2Low   = -2.12194440e-4
)

var expTerms = []float64{1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1}

// exp replaces v by e^v: 2^n·e^r with |r| ≤ ln 2 / 2, e^r by the polynomial of
// Cephes' expf (error below 2 ulp). Arguments are kept within ±87.
func exp(v reg.VecVirtual) {
	n, r, p := YMM(), YMM(), YMM()
	VMINPS(floatOf(87), v, v)
	VMAXPS(floatOf(-87), v, v)
	VMULPS(floatOf(math.Log2E), v, n)
	VROUNDPS(Imm(0), n, n)
	VMOVAPS(v, r)
	VFNMADD231PS(floatOf(ln2High), n, r)
	VFNMADD231PS(floatOf(ln2Low), n, r)
	VMOVUPS(floatOf(expFirst), p)
	for _, c := range expTerms {
		VFMADD213PS(floatOf(c), r, p)
	}
	square := YMM()
	VMULPS(r, r, square)
	VFMADD213PS(r, square, p)
	VADDPS(floatOf(1), p, p)
	VCVTPS2DQ(n, n)
	VPSLLD(Imm(23), n, n)
	VPADDD(n, p, v)
}

// gelu is x/(1 + exp(−2z))·u with z = √(2/π)·(x + 0.044715·x³).
func gelu(p map[string]reg.Register) {
	x := load(p["gate"])
	z := YMM()
	VMULPS(x, x, z)
	c := YMM()
	VMOVUPS(floatOf(-2*math.Sqrt(2/math.Pi)), c)
	VMULPS(floatOf(-2*math.Sqrt(2/math.Pi)*0.044715), z, z)
	VADDPS(c, z, z)
	VMULPS(x, z, z)
	exp(z)
	VADDPS(floatOf(1), z, z)
	VDIVPS(z, x, x)
	VMULPS(at(p["up"], 0), x, x)
	VMOVUPS(x, at(p["y"], 0))
}

func rotate() {
	TEXT("rotateAVX2", NOSPLIT, "func(x *float32, cos, sin *float32, half int)")
	x, cos, sin, n := Load(Param("x"), GP64()), Load(Param("cos"), GP64()), Load(Param("sin"), GP64()), Load(Param("half"), GP64())
	upper := GP64()
	LEAQ(Mem{Base: x, Index: n, Scale: 4}, upper)
	SHRQ(Imm(3), n)
	loop("pairs", n, func() {
		a, b, c, s := load(x), load(upper), load(cos), load(sin)
		t, u := YMM(), YMM()
		VMULPS(b, s, t)
		VFMSUB231PS(a, c, t)
		VMULPS(a, s, u)
		VFMADD231PS(b, c, u)
		VMOVUPS(t, at(x, 0))
		VMOVUPS(u, at(upper, 0))
		for _, p := range []reg.Register{x, upper, cos, sin} {
			ADDQ(Imm(32), p)
		}
	})
	VZEROUPPER()
	RET()
}

// pause waits about n times 40 to 140 cycles without burdening the core's
// other thread.
func pause() {
	TEXT("pause", NOSPLIT, "func(n int)")
	n := Load(Param("n"), GP64())
	loop("pauses", n, func() { PAUSE() })
	RET()
}

package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// wide are the elementwise loops that a prompt spends most in, in vectors of
// sixteen: the last eight floats may be missing.
func wide() {
	overWide("dotAVX512", "func(x, y *float32, n int) float32", []string{"x", "y"}, func(w *wideLoop) {
		w.sum = zeroed()
	}, func(w *wideLoop) {
		x, y := w.load("x"), w.load("y")
		VFMADD231PS(y, x, w.sum)
	}, func(w *wideLoop) { Store(sumWide(w.sum), ReturnIndex(0)) })
	overWide("scaleMulAVX512", "func(y, x *float32, s float32, w *float32, n int)", []string{"y", "x", "w"}, func(w *wideLoop) {
		w.by = broadcastParam("s")
	}, func(w *wideLoop) {
		x, by := w.load("x"), w.load("w")
		VMULPS(w.by, x, x)
		VMULPS(by, x, x)
		w.store(x, "y")
	}, nil)
	overWide("expAVX512", "func(x *float32, n int, top float32) float32", []string{"x"}, func(w *wideLoop) {
		w.sum, w.by = zeroed(), broadcastParam("top")
	}, func(w *wideLoop) {
		x := w.load("x")
		VSUBPS(w.by, x, x)
		expWide(x)
		w.store(x, "x")
		if w.mask != nil {
			VMOVAPS_Z(x, w.mask, x)
		}
		VADDPS(x, w.sum, w.sum)
	}, func(w *wideLoop) { Store(sumWide(w.sum), ReturnIndex(0)) })
	overWide("geluMulAVX512", "func(y, gate, up *float32, n int)", []string{"y", "gate", "up"}, nil, func(w *wideLoop) {
		x, z, c := w.load("gate"), ZMM(), ZMM()
		VMULPS(x, x, z)
		VBROADCASTSS(floatOf(-2*math.Sqrt(2/math.Pi)), c)
		VMULPS_BCST(floatOf(-2*math.Sqrt(2/math.Pi)*0.044715), z, z)
		VADDPS(c, z, z)
		VMULPS(x, z, z)
		expWide(z)
		VADDPS_BCST(floatOf(1), z, z)
		VDIVPS(z, x, x)
		VMULPS(w.load("up"), x, x)
		w.store(x, "y")
	}, nil)
	extentWide()
}

// wideLoop is a function over sixteen floats a turn; the mask is nil but in the
// turn of eight that may come last.
type wideLoop struct {
	p       map[string]reg.Register
	mask    reg.Register
	sum, by reg.VecVirtual
}

func overWide(name, signature string, pointers []string, before, body, after func(w *wideLoop)) {
	TEXT(name, NOSPLIT, signature)
	w := &wideLoop{p: map[string]reg.Register{}}
	for _, s := range pointers {
		w.p[s] = Load(Param(s), GP64())
	}
	n, turns := Load(Param("n"), GP64()), GP64()
	if before != nil {
		before(w)
	}
	MOVQ(n, turns)
	SHRQ(Imm(4), turns)
	JZ(LabelRef("eight"))
	loop("sixteens", turns, func() {
		body(w)
		for _, s := range pointers {
			ADDQ(U32(64), w.p[s])
		}
	})
	Label("eight")
	TESTQ(U32(8), n)
	JZ(LabelRef("done"))
	half, k := GP32(), K()
	MOVL(U32(0xff), half)
	KMOVW(half, k)
	w.mask = k
	body(w)
	Label("done")
	if after != nil {
		after(w)
	}
	VZEROUPPER()
	RET()
}

func (w *wideLoop) load(p string) reg.VecVirtual {
	z := ZMM()
	if w.mask == nil {
		VMOVUPS(at(w.p[p], 0), z)
	} else {
		VMOVUPS_Z(at(w.p[p], 0), w.mask, z)
	}
	return z
}

func (w *wideLoop) store(z reg.VecVirtual, p string) {
	if w.mask == nil {
		VMOVUPS(z, at(w.p[p], 0))
	} else {
		VMOVUPS(z, w.mask, at(w.p[p], 0))
	}
}

func zeroed() reg.VecVirtual {
	z := ZMM()
	VPXORD(z, z, z)
	return z
}

func broadcastParam(name string) reg.VecVirtual {
	z := ZMM()
	a, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(a.Addr, z)
	return z
}

// sumWide adds sixteen lanes into the lowest.
func sumWide(z reg.VecVirtual) reg.Register {
	low, high := YMM(), YMM()
	VEXTRACTF64X4(Imm(0), z, low)
	VEXTRACTF64X4(Imm(1), z, high)
	VADDPS(high, low, low)
	return sumLanes(low)
}

// expWide is exp of sixteen.
func expWide(v reg.VecVirtual) {
	n, r, p, square := ZMM(), ZMM(), ZMM(), ZMM()
	VMINPS_BCST(floatOf(87), v, v)
	VMAXPS_BCST(floatOf(-87), v, v)
	VMULPS_BCST(floatOf(math.Log2E), v, n)
	VRNDSCALEPS(Imm(0), n, n)
	VMOVAPS(v, r)
	VFNMADD231PS_BCST(floatOf(ln2High), n, r)
	VFNMADD231PS_BCST(floatOf(ln2Low), n, r)
	VBROADCASTSS(floatOf(expFirst), p)
	for _, c := range expTerms {
		VFMADD213PS_BCST(floatOf(c), r, p)
	}
	VMULPS(r, r, square)
	VFMADD213PS(r, square, p)
	VADDPS_BCST(floatOf(1), p, p)
	VSCALEFPS(n, p, v)
}

func extentWide() {
	TEXT("extentAVX512", NOSPLIT, "func(x *float32, n int, top *float32) float32")
	x, n, top := Load(Param("x"), GP64()), Load(Param("n"), GP64()), Load(Param("top"), GP64())
	sums := [2]reg.VecVirtual{zeroed(), zeroed()}
	loop("blocks", n, func() {
		var v [2]reg.VecVirtual
		for j := range v {
			v[j] = ZMM()
			VMOVUPS(at(x, 64*j), v[j])
			VFMADD231PS(v[j], v[j], sums[j])
		}
		VPANDD_BCST(wordOf(math.MaxInt32), v[0], v[0])
		VPANDD_BCST(wordOf(math.MaxInt32), v[1], v[1])
		VMAXPS(v[1], v[0], v[0])
		VMOVSS(avx512.greatest(v[0]), at(top, 0))
		ADDQ(Imm(4), top)
		ADDQ(U32(128), x)
	})
	VADDPS(sums[1], sums[0], sums[0])
	Store(sumWide(sums[0]), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

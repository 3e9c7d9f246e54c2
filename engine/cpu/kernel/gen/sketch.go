package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// sketchRows is how many rows a group of a sketch has: the lanes of a vector.
func (i isa) sketchRows() int {
	if i.vnni {
		return 16
	}
	return 8
}

// vec is a vector register of the family.
func (i isa) vec() reg.VecVirtual {
	if i.vnni {
		return ZMM()
	}
	return YMM()
}

// sketchQ8_0 writes the sketch of one row of a group: the upper halves of its
// codes, and its scales. Of the 32 codes of a block, dword j of a lane has
// codes 8j to 8j+3 in its lower nibbles and the next four in its upper ones.
func sketchQ8_0(i isa) {
	lanes := i.sketchRows()
	TEXT("sketchQ8_0"+i.suffix, NOSPLIT, "func(src *byte, blocks int, dst *byte, lane int) float32")
	src, n, dst, lane := Load(Param("src"), GP64()), Load(Param("blocks"), GP64()), Load(Param("dst"), GP64()), Load(Param("lane"), GP64())
	top := XMM()
	VXORPS(top, top, top)
	scales, codes := GP64(), GP64()
	LEAQ(Mem{Base: dst, Index: lane, Scale: 2}, scales)
	LEAQ(Mem{Base: dst, Index: lane, Scale: 4, Disp: 2 * lanes}, codes)
	loop("blocks", n, func() {
		v, even, odd := YMM(), YMM(), YMM()
		VMOVDQU(at(src, 2), v)
		VPXOR(bytesOf(0x80), v, v)
		VPSRLW(Imm(4), v, even)
		VPAND(bytesOf(0x0f), even, even)
		VPAND(bytesOf(0xf0), v, odd)
		VPSRLQ(Imm(32), odd, odd)
		VPOR(odd, even, v)
		order := YMM()
		VMOVDQU(table("evens", func(i int) uint32 { return uint32(2 * i % 8) }), order)
		VPERMD(v, order, v)
		for j := range 4 {
			VPEXTRD(Imm(uint64(j)), v.AsX(), at(codes, 4*lanes*j))
		}
		h, f := GP32(), XMM()
		MOVWLZX(at(src, 0), h)
		MOVW(h.As16(), at(scales, 0))
		VMOVD(h, f)
		VCVTPH2PS(f, f)
		VANDPS(wordOf(0x7fffffff), f, f)
		VMAXSS(f, top, top)
		ADDQ(Imm(34), src)
		ADDQ(U32(uint32(18*lanes)), scales)
		ADDQ(U32(uint32(18*lanes)), codes)
	})
	Store(top, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// sketchGemv multiplies the groups of a sketch by one activation row: a code
// is worth scale·(16·nibble − 120.5). Beside the products it sums up
// scale²·energy, whose root is how far the product may be off; it stores the
// sums of both and returns the greatest.
func sketchGemv(i isa) {
	TEXT("sketchGemv"+i.suffix, NOSPLIT, "func(w *byte, groups, blocks int, high, low *int8, scale, offset, energy, upper *float32) float32")
	w, groups, out := Load(Param("w"), GP64()), Load(Param("groups"), GP64()), Load(Param("upper"), GP64())
	lanes := i.sketchRows()
	most := i.vec()
	VBROADCASTSS(wordOf(math.Float32bits(float32(math.Inf(-1)))), most)
	loop("groups", groups, func() {
		n, high, low := Load(Param("blocks"), GP64()), Load(Param("high"), GP64()), Load(Param("low"), GP64())
		scale, offset, energy := Load(Param("scale"), GP64()), Load(Param("offset"), GP64()), Load(Param("energy"), GP64())
		y, off := i.vec(), i.vec()
		i.clear(y)
		i.clear(off)
		loop("sketchBlocks", n, func() {
			for line := 0; line < 18*lanes; line += 64 {
				PREFETCHT0(at(w, 4096+line))
			}
			t := i.sketchProduct(w, high, low)
			by, add, s := i.vec(), i.vec(), i.vec()
			VBROADCASTSS(at(scale, 0), by)
			VBROADCASTSS(at(offset, 0), add)
			VFMADD213PS(add, by, t)
			VCVTPH2PS(at(w, 0), s)
			VFMADD231PS(s, t, y)
			VMULPS(s, s, s)
			VBROADCASTSS(at(energy, 0), by)
			VFMADD231PS(s, by, off)
			ADDQ(U32(uint32(18*lanes)), w)
			ADDQ(Imm(32), high)
			ADDQ(Imm(32), low)
			for _, p := range []reg.Register{scale, offset, energy} {
				ADDQ(Imm(4), p)
			}
		})
		VSQRTPS(off, off)
		VADDPS(off, y, y)
		VMOVUPS(y, at(out, 0))
		VMAXPS(y, most, most)
		ADDQ(Imm(uint64(4*lanes)), out)
	})
	Store(i.greatest(most), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// greatest is the greatest lane of a vector.
func (i isa) greatest(v reg.VecVirtual) reg.Register {
	if i.vnni {
		high := YMM()
		VEXTRACTF64X4(Imm(1), v, high)
		low := YMM()
		VMAXPS(v.AsY(), high, low)
		return greatestLane(low)
	}
	return greatestLane(v)
}

func (i isa) clear(y reg.VecVirtual) {
	if i.vnni {
		VPXORD(y, y, y)
	} else {
		VPXOR(y, y, y)
	}
}

// sketchProduct is Σ nibble·(high·2^b + low) of a block, a row a lane, as
// floats.
func (i isa) sketchProduct(w, high, low reg.Register) reg.VecVirtual {
	lanes := i.sketchRows()
	var acc [2]reg.VecVirtual
	mask := i.vec()
	if i.vnni {
		VPBROADCASTD(wordOf(0x0f0f0f0f), mask)
		for d := range acc {
			acc[d] = ZMM()
			VPXORD(acc[d], acc[d], acc[d])
		}
	} else {
		VMOVDQU(bytesOf(0x0f), mask)
	}
	for j := range 4 {
		v := i.vec()
		if i.vnni {
			VMOVDQU32(at(w, 2*lanes+4*lanes*j), v)
		} else {
			VMOVDQU(at(w, 2*lanes+4*lanes*j), v)
		}
		for half := range 2 {
			nibbles := i.vec()
			if i.vnni {
				if half == 1 {
					VPSRLW(Imm(4), v, v)
				}
				VPANDD(mask, v, nibbles)
				VPDPBUSD_BCST(at(high, 8*j+4*half), nibbles, acc[0])
				VPDPBUSD_BCST(at(low, 8*j+4*half), nibbles, acc[1])
				continue
			}
			if half == 1 {
				VPSRLW(Imm(4), v, v)
			}
			VPAND(mask, v, nibbles)
			for d, p := range []reg.Register{high, low} {
				x := YMM()
				VPBROADCASTD(at(p, 8*j+4*half), x)
				VPMADDUBSW(x, nibbles, x)
				if acc[d] == nil {
					acc[d] = x
				} else {
					VPADDW(x, acc[d], acc[d])
				}
			}
		}
	}
	if i.vnni {
		VPSLLD(Imm(uint64(i.digit)), acc[0], acc[0])
	} else {
		VPMADDWD(wordsOf(1<<i.digit), acc[0], acc[0])
		VPMADDWD(wordsOf(1), acc[1], acc[1])
	}
	VPADDD(acc[1], acc[0], acc[0])
	VCVTDQ2PS(acc[0], acc[0])
	return acc[0]
}

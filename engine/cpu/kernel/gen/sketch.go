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

// sketchGemv multiplies the groups of a sketch by one activation row or four:
// a code is worth scale·(16·nibble − 120.5). Beside the products it sums up
// scale²·energy, whose root is how far the product may be off; it stores the
// sums of both and the greatest of each row. Rows lie step bytes apart, their
// results outStep.
func sketchGemv(i isa, rows int) {
	TEXT("sketchGemv"+map[int]string{1: "", 4: "Four"}[rows]+i.suffix, NOSPLIT,
		"func(w *byte, groups, blocks int, row *byte, step int, upper *float32, outStep int, most *float32)")
	g := &sketchLoop{isa: i, w: Load(Param("w"), GP64()), step: Load(Param("step"), GP64())}
	groups, out := Load(Param("groups"), GP64()), Load(Param("upper"), GP64())
	var most []reg.VecVirtual
	for r := range rows {
		most = append(most, i.vec())
		VBROADCASTSS(wordOf(math.Float32bits(float32(math.Inf(-1)))), most[r])
	}
	lanes := i.sketchRows()
	loop("groups", groups, func() {
		n, row := Load(Param("blocks"), GP64()), Load(Param("row"), GP64())
		g.rows = rowPointers(row, g.step, rows)
		var y, off []reg.VecVirtual
		for range rows {
			y, off = append(y, i.vec()), append(off, i.vec())
			i.clear(y[len(y)-1])
			i.clear(off[len(off)-1])
		}
		loop("sketchBlocks", n, func() {
			for line := 0; line < 18*lanes; line += 64 {
				PREFETCHT0(at(g.w, 4096+line))
			}
			products := g.products()
			s := i.vec()
			VCVTPH2PS(at(g.w, 0), s)
			for r, t := range products {
				by, add := i.vec(), i.vec()
				VBROADCASTSS(g.rows[r].Offset(64), by)
				VBROADCASTSS(g.rows[r].Offset(68), add)
				VFMADD213PS(add, by, t)
				VFMADD231PS(s, t, y[r])
			}
			VMULPS(s, s, s)
			for r := range rows {
				by := i.vec()
				VBROADCASTSS(g.rows[r].Offset(72), by)
				VFMADD231PS(s, by, off[r])
			}
			ADDQ(U32(uint32(18*lanes)), g.w)
			ADDQ(Imm(sketchBlock), row)
		})
		outs, step := GP64(), Load(Param("outStep"), GP64())
		MOVQ(out, outs)
		for r := range rows {
			VSQRTPS(off[r], off[r])
			VADDPS(off[r], y[r], y[r])
			VMOVUPS(y[r], at(outs, 0))
			VMAXPS(y[r], most[r], most[r])
			ADDQ(step, outs)
		}
		ADDQ(Imm(uint64(4*lanes)), out)
	})
	greatest := Load(Param("most"), GP64())
	for r := range rows {
		VMOVSS(i.greatest(most[r]), at(greatest, 4*r))
	}
	VZEROUPPER()
	RET()
}

// sketchBlock is the size of a block of an activation row: 32 high digits, 32
// low ones, scale, offset, energy, and a float of nothing.
const sketchBlock = 80

type sketchLoop struct {
	isa
	w, step reg.Register
	rows    []Mem // a block of each row
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

// products are Σ nibble·(high·2^b + low) of a block and each row, a row of the
// sketch a lane, as floats.
func (g *sketchLoop) products() []reg.VecVirtual {
	lanes := g.sketchRows()
	acc := make([][2]reg.VecVirtual, len(g.rows))
	mask, zero := g.vec(), g.vec()
	if g.vnni {
		VPBROADCASTD(wordOf(0x0f0f0f0f), mask)
		VPXORD(zero, zero, zero)
		for r := range acc {
			for d := range 2 {
				acc[r][d] = ZMM()
				VMOVDQA32(zero, acc[r][d])
			}
		}
	} else {
		VMOVDQU(bytesOf(0x0f), mask)
	}
	for j := range 4 {
		v := g.vec()
		VMOVUPS(at(g.w, 2*lanes+4*lanes*j), v)
		for half := range 2 {
			nibbles := g.vec()
			if half == 1 {
				VPSRLW(Imm(4), v, v)
			}
			if g.vnni {
				VPANDD(mask, v, nibbles)
			} else {
				VPAND(mask, v, nibbles)
			}
			for r := range acc {
				for d := range 2 {
					g.multiply(nibbles, g.rows[r].Offset(32*d+8*j+4*half), &acc[r][d])
				}
			}
		}
	}
	var products []reg.VecVirtual
	for r := range acc {
		high, low := acc[r][0], acc[r][1]
		if g.vnni {
			VPSLLD(Imm(uint64(g.digit)), high, high)
		} else {
			VPMADDWD(wordsOf(1<<g.digit), high, high)
			VPMADDWD(wordsOf(1), low, low)
		}
		VPADDD(low, high, high)
		VCVTDQ2PS(high, high)
		products = append(products, high)
	}
	return products
}

// multiply adds nibbles times four digits to acc.
func (g *sketchLoop) multiply(nibbles reg.VecVirtual, digits Mem, acc *reg.VecVirtual) {
	if g.vnni {
		VPDPBUSD_BCST(digits, nibbles, *acc)
		return
	}
	x := YMM()
	VPBROADCASTD(digits, x)
	VPMADDUBSW(x, nibbles, x)
	if *acc == nil {
		*acc = x
	} else {
		VPADDW(x, *acc, *acc)
	}
}

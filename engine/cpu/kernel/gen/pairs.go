package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gemvPairs multiplies stored rows by a few activation rows, two to a vector
// of 64 bytes: a block's codes come out of it once for all. Each product takes
// the steps that gemv takes, in their order, so it is the same to the bit.
func gemvPairs(f *format, pairs int) {
	TEXT(fmt.Sprintf("gemv%s%sAVX512", f.name, []string{"", "Two", "Four", "", "Eight"}[pairs]), NOSPLIT,
		"func(w *byte, n, rowBytes, blocks int, rows *float32, out *float32, outStep int)")
	g := &pairLoop{gemvLoop: gemvLoop{isa: avx512, format: f, row: Load(Param("w"), GP64()), n: Load(Param("n"), GP64()), out: Load(Param("out"), GP64())},
		pairs: pairs}
	if f.subs > 1 {
		g.stack = AllocLocal(64)
	}
	// Named, so that the sixteen that older instructions reach are left for these.
	upper := []reg.Register{reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27}
	for p := range pairs {
		g.acc = append(g.acc, [2]reg.Register{upper[3*p], upper[3*p+1]})
		g.accMin = append(g.accMin, upper[3*p+2])
	}
	VPXORD(reg.Z28, reg.Z28, reg.Z28)
	loop("rows", g.n, g.oneRow)
	VZEROUPPER()
	RET()
}

// gemvFewAVX2 is the same with a row to a vector: codes still come out once for
// all. Blocks of 256 leave registers for two rows.
func gemvFewAVX2(f *format, rows int) {
	TEXT(fmt.Sprintf("gemv%s%sAVX2", f.name, map[int]string{2: "Two", 4: "Four"}[rows]), NOSPLIT,
		"func(w *byte, n, rowBytes, blocks int, rows *float32, out *float32, outStep int)")
	g := &fewLoop{pairLoop: pairLoop{gemvLoop: gemvLoop{isa: avx2, format: f, row: Load(Param("w"), GP64()), n: Load(Param("n"), GP64()), out: Load(Param("out"), GP64())},
		pairs: rows / 2}}
	if f.subs > 1 {
		g.stack = AllocLocal(64)
	}
	for range rows {
		g.sums = append(g.sums, [2]reg.VecVirtual{YMM(), nil})
		if f.subs > 1 {
			g.sums[len(g.sums)-1][1] = YMM()
		}
		g.mins = append(g.mins, YMM())
	}
	loop("rows", g.n, g.oneRow)
	VZEROUPPER()
	RET()
}

type fewLoop struct {
	pairLoop
	sums [][2]reg.VecVirtual // of each row; a block of 256 takes turns with two
	mins []reg.VecVirtual
}

// line is the part of a line that belongs to row r.
func (g *fewLoop) line(line, r int) Mem { return at(g.acts, 64*line+32*(r%2)) }

func (g *fewLoop) oneRow() {
	w, blocks := GP64(), GP64()
	MOVQ(g.row, w)
	ADDQ(Load(Param("rowBytes"), GP64()), g.row)
	Load(Param("blocks"), blocks)
	g.acts = GP64()
	Load(Param("rows"), g.acts)
	for r, v := range g.sums {
		for _, y := range []reg.VecVirtual{v[0], v[1], g.mins[r]} {
			if y != nil {
				VXORPS(y, y, y)
			}
		}
	}
	loop("blocks", blocks, func() {
		PREFETCHT0(at(w, 4096))
		s := g.prepare(w)
		from := s.min
		if from == nil {
			from = s.scale
		}
		for i, m := range from {
			for r := range g.mins {
				VFMADD231PS(g.line(3*g.subs*g.pairs+g.pairs*i+r/2, r), m, g.mins[r])
			}
		}
		if g.subs > 1 {
			for i, v := range s.scale {
				VMOVUPS(v, g.stack.Offset(32*i))
			}
		}
		for i := range g.subs {
			g.sub(w, s, i)
		}
		ADDQ(Imm(uint64(g.bytes)), w)
		ADDQ(U32(uint32(g.record())), g.acts)
	})
	g.store()
}

func (g *fewLoop) sub(w reg.Register, s scales, i int) {
	codes, by := YMM(), YMM()
	g.codes(g.isa, w, i, codes)
	switch {
	case g.subs == 1:
		by = s.scale[0]
	case g.group == 32:
		VBROADCASTSS(g.stack.Offset(4*i), by)
	default:
		index := YMM()
		VMOVDQU(table("halves", func(j int) uint32 { return uint32(j / 4) }), index)
		VMOVSD(g.stack.Offset(8*i), by.AsX())
		VPERMPS(by, index, by)
	}
	for r, sum := range g.sums {
		y, low := YMM(), YMM()
		line := 3 * (g.pairs*i + r/2)
		VPMADDUBSW(g.line(line, r), codes, y)
		VPMADDUBSW(g.line(line+1, r), codes, low)
		VPMADDWD(wordsOf(1<<g.digit), y, y)
		VPMADDWD(wordsOf(1), low, low)
		VPADDD(low, y, y)
		VCVTDQ2PS(y, y)
		VMULPS(g.line(line+2, r), by, low)
		acc := sum[0]
		if g.subs > 1 {
			acc = sum[i%2]
		}
		VFMADD231PS(low, y, acc)
	}
}

func (g *fewLoop) store() {
	out, step := GP64(), Load(Param("outStep"), GP64())
	MOVQ(g.out, out)
	for r, sum := range g.sums {
		acc, min := sum[0], g.mins[r]
		if g.subs > 1 {
			VADDPS(sum[1], acc, acc)
		}
		if g.zero != 0 {
			VMULPS(floatOf(-float64(g.zero)), min, min)
		}
		VADDPS(min, acc, acc)
		VMOVSS(sumLanes(acc), at(out, 0))
		ADDQ(step, out)
	}
	ADDQ(Imm(4), g.out)
}

type pairLoop struct {
	gemvLoop
	pairs  int
	acts   reg.GPVirtual
	acc    [][2]reg.Register // a block of 256 takes turns with two
	accMin []reg.Register
}

func (g *pairLoop) oneRow() {
	w, blocks := GP64(), GP64()
	MOVQ(g.row, w)
	ADDQ(Load(Param("rowBytes"), GP64()), g.row)
	Load(Param("blocks"), blocks)
	g.acts = GP64()
	Load(Param("rows"), g.acts)
	for p := range g.pairs {
		for _, v := range []reg.Register{g.acc[p][0], g.acc[p][1], g.accMin[p]} {
			VPXORD(v, v, v)
		}
	}
	loop("blocks", blocks, func() {
		for line := 0; line < g.bytes; line += 64 {
			PREFETCHT0(at(w, 4096+line))
		}
		s := g.prepare(w)
		if g.subs > 1 {
			for i, v := range s.scale {
				VMOVUPS(v, g.stack.Offset(32*i))
			}
		}
		g.minimums(s)
		for i := range g.subs {
			g.sub(w, s, i)
		}
		ADDQ(Imm(uint64(g.bytes)), w)
		ADDQ(U32(uint32(g.record())), g.acts)
	})
	g.store()
}

// record is the size of the activations of a stored block.
func (g *pairLoop) record() int { return 64 * g.pairs * (3*g.subs + g.sumLines()) }

func (g *pairLoop) sumLines() int {
	if g.group == 16 {
		return 2
	}
	return 1
}

// doubled has the same eight lanes twice.
func doubled(y reg.VecVirtual) reg.VecVirtual {
	z := ZMM()
	VSHUFF64X2(Imm(0b01000100), y.AsZ(), y.AsZ(), z)
	return z
}

func (g *pairLoop) minimums(s scales) {
	from := s.min
	if from == nil {
		from = s.scale
	}
	for i, v := range from {
		m := doubled(v)
		for p := range g.pairs {
			VFMADD231PS(at(g.acts, 64*(3*g.subs*g.pairs+g.pairs*i+p)), m, g.accMin[p])
		}
	}
}

// sub is 32 columns: digits, then scales, of each pair.
func (g *pairLoop) sub(w reg.Register, s scales, i int) {
	codes, by := YMM(), ZMM()
	g.codes(g.isa, w, i, codes)
	both := doubled(codes)
	switch {
	case g.subs == 1:
		by = doubled(s.scale[0])
	case g.group == 32:
		VBROADCASTSS(g.stack.Offset(4*i), by)
	default:
		index, y := YMM(), YMM()
		VMOVDQU(table("halves", func(j int) uint32 { return uint32(j / 4) }), index)
		VMOVSD(g.stack.Offset(8*i), y.AsX())
		VPERMPS(y, index, y)
		by = doubled(y)
	}
	for p := range g.pairs {
		at := func(part int) Mem { return at(g.acts, 64*(3*(g.pairs*i+p)+part)) }
		y, scale := ZMM(), ZMM()
		VMOVDQA32(reg.Z28, y) // zero; VPXORD reads y, to the allocator
		VPDPBUSD(at(0), both, y)
		VPSLLD(Imm(uint64(g.digit)), y, y)
		VPDPBUSD(at(1), both, y)
		VCVTDQ2PS(y, y)
		VMULPS(at(2), by, scale)
		VFMADD231PS(scale, y, g.acc[p][i%2])
	}
}

func (g *pairLoop) store() {
	out, step := GP64(), Load(Param("outStep"), GP64())
	MOVQ(g.out, out)
	for p := range g.pairs {
		acc, min := g.acc[p][0], g.accMin[p]
		if g.subs > 1 {
			VADDPS(g.acc[p][1], acc, acc)
		}
		if g.zero != 0 {
			zero := ZMM()
			VBROADCASTSS(floatOf(-float64(g.zero)), zero)
			VMULPS(zero, min, min)
		}
		VADDPS(min, acc, acc)
		for half := range 2 {
			y := YMM()
			VEXTRACTF64X4(Imm(uint64(half)), acc, y)
			VMOVSS(sumLanes(y), at(out, 0))
			ADDQ(step, out)
		}
	}
	ADDQ(Imm(4), g.out)
}

package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// expand writes a format's codes, scales and minimums out.
func expand(f *format) {
	TEXT("expand"+f.name+"AVX2", NOSPLIT, "func(src *byte, blocks int, codes *uint8, scale, min *float32)")
	w, n := Load(Param("src"), GP64()), Load(Param("blocks"), GP64())
	codes, scale, minimum := Load(Param("codes"), GP64()), Load(Param("scale"), GP64()), Load(Param("min"), GP64())
	loop(f.name+"_blocks", n, func() {
		s := f.prepare(w)
		for i, v := range s.scale {
			m := YMM()
			if s.min != nil {
				m = s.min[i]
			} else {
				VMULPS(floatOf(-float64(f.zero)), v, m)
			}
			if f.subs == 1 {
				VMOVSS(v.AsX(), at(scale, 0))
				VMOVSS(m.AsX(), at(minimum, 0))
			} else {
				VMOVUPS(v, at(scale, 32*i))
				VMOVUPS(m, at(minimum, 32*i))
			}
		}
		for i := range f.subs {
			y := YMM()
			f.codes(avx2, w, i, y)
			VMOVDQU(y, at(codes, 32*i))
		}
		ADDQ(Imm(uint64(f.bytes)), w)
		ADDQ(U32(uint32(32*f.subs)), codes)
		ADDQ(Imm(uint64(4*32*f.subs/f.group)), scale)
		ADDQ(Imm(uint64(4*32*f.subs/f.group)), minimum)
	})
	VZEROUPPER()
	RET()
}

// loop runs body n times, n ≥ 1.
func loop(label string, n reg.Register, body func()) {
	Label(label)
	body()
	DECQ(n)
	JNZ(LabelRef(label))
}

// gemv multiplies stored rows by one activation row. Blocks of 32 are taken
// four rows at a time: one row alone waits for its own sum (10.6 against 15.4
// GB/s of Q5_0 on a Zen 5 core).
func gemv(i isa, f *format) {
	TEXT("gemv"+f.name+i.suffix, NOSPLIT, "func(w *byte, n, rowBytes, blocks int, high, low *int8, scale, sum *float32, out *float32)")
	g := &gemvLoop{isa: i, format: f, row: Load(Param("w"), GP64()), n: Load(Param("n"), GP64()), out: Load(Param("out"), GP64()),
		high: GP64(), low: GP64(), scale: GP64(), sum: GP64()}
	if f.subs > 1 {
		g.stack = AllocLocal(64)
	} else {
		CMPQ(g.n, Imm(4))
		JLT(LabelRef("single"))
		g.rows("fours", 4)
		Label("single")
		TESTQ(g.n, g.n)
		JZ(LabelRef("done"))
	}
	g.rows("rows", 1)
	Label("done")
	VZEROUPPER()
	RET()
}

type gemvLoop struct {
	isa
	*format
	row, n, out           reg.Register
	high, low, scale, sum reg.GPVirtual // low and sum count from high and scale
	stack                 Mem
}

// rows takes m rows at a time while there are as many.
func (g *gemvLoop) rows(label string, m int) {
	Label(label)
	blocks, step := GP64(), GP64()
	Load(Param("blocks"), blocks)
	Load(Param("rowBytes"), step)
	Load(Param("high"), g.high)
	Load(Param("low"), g.low)
	SUBQ(g.high, g.low)
	Load(Param("scale"), g.scale)
	Load(Param("sum"), g.sum)
	SUBQ(g.scale, g.sum)
	w := make([]reg.Register, m)
	for r := range w {
		w[r] = GP64()
		MOVQ(g.row, w[r])
		ADDQ(step, g.row)
	}
	// A block of 256 has two sums of its own instead of neighbours.
	acc, accMin := make([]reg.VecVirtual, max(m, 2)), make([]reg.VecVirtual, m)
	for _, accs := range [][]reg.VecVirtual{acc, accMin} {
		for r := range accs {
			accs[r] = YMM()
			VXORPS(accs[r], accs[r], accs[r])
		}
	}
	loop(label+"_blocks", blocks, func() {
		if g.subs == 1 {
			g.ones(w, acc, accMin)
		} else {
			g.many(w[0], acc, accMin[0])
		}
		for r := range w {
			ADDQ(Imm(uint64(g.bytes)), w[r])
		}
		ADDQ(U32(uint32(32*g.subs)), g.high)
		ADDQ(Imm(uint64(4*g.subs)), g.scale)
		if g.group == 16 {
			ADDQ(Imm(uint64(4*g.subs)), g.sum)
		}
	})
	if m == 1 {
		VADDPS(acc[1], acc[0], acc[0])
	}
	for r := range m {
		if g.zero != 0 {
			VMULPS(floatOf(-float64(g.zero)), accMin[r], accMin[r])
		}
		VADDPS(accMin[r], acc[r], acc[r])
		VMOVSS(sumLanes(acc[r]), at(g.out, 4*r))
	}
	ADDQ(Imm(uint64(4*m)), g.out)
	SUBQ(Imm(uint64(m)), g.n)
	CMPQ(g.n, Imm(uint64(m)))
	JGE(LabelRef(label))
}

// beside is what lies as far from base as the offset register says.
func beside(base, offset reg.Register, disp int) Mem {
	return Mem{Base: base, Index: offset, Scale: 1, Disp: disp}
}

// ones is a block with one scale, of each row: minimums go through the lowest
// lane alone.
func (g *gemvLoop) ones(w []reg.Register, acc, accMin []reg.VecVirtual) {
	scale := YMM()
	VBROADCASTSS(at(g.scale, 0), scale)
	for r := range w {
		PREFETCHT0(at(w[r], 8192)) // the next four rows of 640 Q8_0
		s := g.prepare(w[r])
		d := s.scale[0]
		m := d
		if s.min != nil {
			m = s.min[0]
		}
		VFMADD231SS(beside(g.scale, g.sum, 0), m.AsX(), accMin[r].AsX())
		by := YMM()
		VMULPS(d, scale, by)
		VFMADD231PS(by, g.product(w[r], 0), acc[r])
	}
}

// many is a block of 256: its scales times the activations' go through the
// stack to be broadcast one by one.
func (g *gemvLoop) many(w reg.Register, acc []reg.VecVirtual, accMin reg.VecVirtual) {
	PREFETCHT0(at(w, 8192))
	PREFETCHT0(at(w, 8192+64))
	PREFETCHT0(at(w, 8192+128))
	s := g.prepare(w)
	for i, v := range s.scale {
		m := v
		if s.min != nil {
			m = s.min[i]
		}
		VFMADD231PS(beside(g.scale, g.sum, 32*i), m, accMin)
		by := YMM()
		if g.group == 32 {
			VMULPS(at(g.scale, 0), v, by)
		} else {
			twice := table("twice", func(j int) uint32 { return uint32(j / 2) })
			VMOVUPS(at(g.scale, 16*i), by.AsX())
			index := YMM()
			VMOVDQU(twice, index)
			VPERMPS(by, index, by)
			VMULPS(v, by, by)
		}
		VMOVUPS(by, g.stack.Offset(32*i))
	}
	for i := range g.subs {
		by := YMM()
		if g.group == 32 {
			VBROADCASTSS(g.stack.Offset(4*i), by)
		} else {
			index := YMM()
			VMOVDQU(table("halves", func(j int) uint32 { return uint32(j / 4) }), index)
			VMOVSD(g.stack.Offset(8*i), by.AsX())
			VPERMPS(by, index, by)
		}
		VFMADD231PS(by, g.product(w, i), acc[i%2])
	}
}

// product is Σ code·(high·2^b + low), four at a time, as eight floats.
func (g *gemvLoop) product(w reg.Register, i int) reg.VecVirtual {
	codes, y := YMM(), YMM()
	g.codes(g.isa, w, i, codes)
	if g.vnni {
		VPXOR(y, y, y)
		VPDPBUSD(at(g.high, 32*i), codes, y)
		VPSLLD(Imm(uint64(g.digit)), y, y)
		VPDPBUSD(beside(g.high, g.low, 32*i), codes, y)
	} else {
		low := YMM()
		VPMADDUBSW(at(g.high, 32*i), codes, y)
		VPMADDUBSW(beside(g.high, g.low, 32*i), codes, low)
		VPMADDWD(wordsOf(1<<g.digit), y, y)
		VPMADDWD(wordsOf(1), low, low)
		VPADDD(low, y, y)
	}
	VCVTDQ2PS(y, y)
	return y
}

// sumLanes adds the eight lanes into the lowest.
func sumLanes(y reg.VecVirtual) reg.Register { return foldLanes(y, VADDPS, VADDSS) }

// foldLanes brings eight lanes into the lowest: halves, then quarters with the
// packed instruction, the last two with the single one.
func foldLanes(y reg.VecVirtual, packed, single func(ops ...Op)) reg.Register {
	x, t := XMM(), XMM()
	VEXTRACTF128(Imm(1), y, x)
	packed(y.AsX(), x, x)
	VPERMILPS(Imm(0b1110), x, t)
	packed(t, x, x)
	VPERMILPS(Imm(1), x, t)
	single(t, x, x)
	return x
}

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
			f.codes(w, i, y)
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

// gemv multiplies stored rows by one activation row.
func gemv(i isa, f *format) {
	TEXT("gemv"+f.name+i.suffix, NOSPLIT, "func(w *byte, n, rowBytes, blocks int, high, low *int8, scale, sum *float32, out *float32)")
	row, n, step := Load(Param("w"), GP64()), Load(Param("n"), GP64()), Load(Param("rowBytes"), GP64())
	out := Load(Param("out"), GP64())
	g := gemvLoop{isa: i, format: f, w: GP64(), high: GP64(), low: GP64(), scale: GP64(), sum: GP64(), acc: YMM(), accMin: YMM()}
	if f.subs > 1 {
		g.stack = AllocLocal(64)
	}
	loop("rows", n, func() {
		blocks := GP64()
		Load(Param("blocks"), blocks)
		MOVQ(row, g.w)
		Load(Param("high"), g.high)
		Load(Param("low"), g.low)
		Load(Param("scale"), g.scale)
		Load(Param("sum"), g.sum)
		VXORPS(g.acc, g.acc, g.acc)
		VXORPS(g.accMin, g.accMin, g.accMin)
		loop("blocks", blocks, g.block)
		if f.zero != 0 {
			VMULPS(floatOf(-float64(f.zero)), g.accMin, g.accMin)
		}
		VADDPS(g.accMin, g.acc, g.acc)
		VMOVSS(sumLanes(g.acc), at(out, 0))
		ADDQ(Imm(4), out)
		ADDQ(step, row)
	})
	VZEROUPPER()
	RET()
}

type gemvLoop struct {
	isa
	*format
	w, high, low, scale, sum reg.GPVirtual
	acc, accMin              reg.VecVirtual
	stack                    Mem
}

func (g *gemvLoop) block() {
	PREFETCHT0(at(g.w, 2048))
	s := g.prepare(g.w)
	if g.subs == 1 {
		g.one(s)
	} else {
		g.many(s)
	}
	floats := 4 * 32 * g.subs / g.group
	ADDQ(Imm(uint64(g.bytes)), g.w)
	ADDQ(U32(uint32(32*g.subs)), g.high)
	ADDQ(U32(uint32(32*g.subs)), g.low)
	ADDQ(Imm(uint64(4*g.subs)), g.scale)
	ADDQ(Imm(uint64(floats)), g.sum)
}

// one is a block with one scale: minimums go through the lowest lane alone.
func (g *gemvLoop) one(s scales) {
	d := s.scale[0]
	m := d
	if s.min != nil {
		m = s.min[0]
	}
	VFMADD231SS(at(g.sum, 0), m.AsX(), g.accMin.AsX())
	by := YMM()
	VBROADCASTSS(at(g.scale, 0), by)
	VMULPS(d, by, by)
	VFMADD231PS(by, g.product(0), g.acc)
}

// many is a block of 256: its scales times the activations' go through the
// stack to be broadcast one by one.
func (g *gemvLoop) many(s scales) {
	for i, v := range s.scale {
		m := v
		if s.min != nil {
			m = s.min[i]
		}
		VFMADD231PS(at(g.sum, 32*i), m, g.accMin)
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
		VFMADD231PS(by, g.product(i), g.acc)
	}
}

// product is Σ code·(high·2^b + low), four at a time, as eight floats.
func (g *gemvLoop) product(i int) reg.VecVirtual {
	codes, y := YMM(), YMM()
	g.codes(g.w, i, codes)
	if g.vnni {
		VPXOR(y, y, y)
		VPDPBUSD(at(g.high, 32*i), codes, y)
		VPSLLD(Imm(uint64(g.digit)), y, y)
		VPDPBUSD(at(g.low, 32*i), codes, y)
	} else {
		low := YMM()
		VPMADDUBSW(at(g.high, 32*i), codes, y)
		VPMADDUBSW(at(g.low, 32*i), codes, low)
		VPMADDWD(wordsOf(1<<g.digit), y, y)
		VPMADDWD(wordsOf(1), low, low)
		VPADDD(low, y, y)
	}
	VCVTDQ2PS(y, y)
	return y
}

// sumLanes adds the eight lanes into the lowest.
func sumLanes(y reg.VecVirtual) reg.Register {
	x, t := XMM(), XMM()
	VEXTRACTF128(Imm(1), y, x)
	VADDPS(y.AsX(), x, x)
	VPERMILPS(Imm(0b1110), x, t)
	VADDPS(t, x, x)
	VPERMILPS(Imm(1), x, t)
	VADDSS(t, x, x)
	return x
}

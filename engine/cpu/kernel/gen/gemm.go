package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const gemmSignature = "func(codes *int8, scale, min *float32, shift *int32, digits *uint8, step int, dscale, dsum *float32, two *uint8, blocks int, out *float32, outStep int)"

// gemmKind is one integer panel product.
type gemmKind struct {
	group int
	min   bool // groups have minimums
	wide  bool // AVX2: codes of eight bits
	run   int  // AVX2: dwords whose products 16 bits can add up
}

func (k gemmKind) name(suffix string) string {
	name := fmt.Sprintf("gemm%d", k.group)
	if k.min {
		name += "Min"
	}
	if k.wide {
		name += "Wide"
	}
	return name + suffix
}

// gemmLoop is a panel product while it is written.
type gemmLoop struct {
	gemmKind
	nr, mr                                                          int
	codes, scale, minimum, shift, digits, dscale, dsum, two, n, out reg.Register
	rows                                                            []Mem // a block's digits of each row
	outs                                                            []Mem // AVX2
}

// gemm writes a product: the body gets blocks of one digit and of two.
func gemm(k gemmKind, suffix string, nr, mr int, begin func(g *gemmLoop), body func(g *gemmLoop, digits int), end func(g *gemmLoop)) {
	name := k.name(suffix)
	TEXT(name, NOSPLIT, gemmSignature)
	p := func(name string) reg.Register { return Load(Param(name), GP64()) }
	g := &gemmLoop{gemmKind: k, nr: nr, mr: mr, codes: p("codes"), scale: p("scale"), minimum: p("min"), shift: p("shift"),
		digits: p("digits"), dscale: p("dscale"), dsum: p("dsum"), two: p("two"), n: p("blocks"), out: p("out")}
	begin(g)
	step, ahead := Load(Param("step"), GP64()), GP64()
	g.rows = rowPointers(g.digits, step, mr)
	LEAQ(Mem{Base: g.digits, Index: step, Scale: uint8(mr)}, ahead)
	next := rowPointers(ahead, step, mr)
	loop(name+"_blocks", g.n, func() {
		// The next tile's digits: rows are whole pages where K is 2048, and no
		// processor reads ahead into the next page.
		for _, m := range next {
			PREFETCHT0(m)
		}
		CMPB(at(g.two, 0), Imm(0))
		JNE(LabelRef("both"))
		body(g, 1)
		ADDQ(Imm(32), g.digits)
		ADDQ(Imm(32), ahead)
		JMP(LabelRef("next"))
		Label("both")
		body(g, 2)
		ADDQ(Imm(64), g.digits)
		ADDQ(Imm(64), ahead)
		Label("next")
		g.advance()
	})
	end(g)
	VZEROUPPER()
	RET()
}

// advance moves on by one block of 32 of nr columns and mr rows; the digits
// have moved already.
func (g *gemmLoop) advance() {
	groups := 32 / g.group
	ADDQ(U32(uint32(32*g.nr)), g.codes)
	for _, p := range []reg.Register{g.scale, g.minimum, g.shift} {
		ADDQ(U32(uint32(groups*4*g.nr)), p)
	}
	ADDQ(Imm(uint64(4*g.mr)), g.dscale)
	ADDQ(Imm(uint64(groups*4*g.mr)), g.dsum)
	INCQ(g.two)
}

// digit is where dword k of digit d of row r lies in a block.
func (g *gemmLoop) digit(k, d, r int) Mem { return g.rows[r].Offset(32*d + 4*k) }

// column is element c of a group's row of scales, minimums or shifts.
func (g *gemmLoop) column(p reg.Register, part, c int) Mem { return at(p, 4*(part*g.nr+c)) }

// gemmAVX512: 4 rows by 32 columns. What bounds it is the two ports that
// multiply: 64 VPDPBUSD a block and digit, and 16 instructions that scale.
func gemmAVX512() {
	const mr, nr, nz = 4, 32, 2
	for _, k := range []gemmKind{{group: 32}, {group: 32, min: true}, {group: 16}, {group: 16, min: true}} {
		var y [mr][nz]reg.VecVirtual
		gemm(k, "AVX512", nr, mr, func(*gemmLoop) {
			for r := range mr {
				for z := range nz {
					y[r][z] = ZMM()
					VPXORD(y[r][z], y[r][z], y[r][z])
				}
			}
		}, func(g *gemmLoop, digits int) {
			for part := range 32 / k.group {
				g.groupAVX512(part, digits, &y)
			}
		}, func(g *gemmLoop) {
			out := rowPointers(g.out, Load(Param("outStep"), GP64()), mr)
			for r := range mr {
				for z := range nz {
					VMOVUPS(y[r][z], out[r].Offset(64*z))
				}
			}
		})
	}
}

func (g *gemmLoop) groupAVX512(part, digits int, y *[4][2]reg.VecVirtual) {
	const mr, nz = 4, 2
	acc := g.sumsAVX512(part, digits)
	var min [nz]reg.VecVirtual
	if g.min {
		for z := range nz {
			min[z] = ZMM()
			VMOVUPS(g.column(g.minimum, part, 16*z), min[z])
		}
	}
	for r := range mr {
		for z := range nz {
			t := acc[r][0][z]
			if digits == 2 {
				VPSLLD(Imm(7), t, t)
				VPADDD(acc[r][1][z], t, t)
			}
			VCVTDQ2PS(t, t)
			VMULPS_BCST(at(g.dscale, 4*r), t, t)
			VFMADD231PS(g.column(g.scale, part, 16*z), t, y[r][z])
			if g.min {
				VFMADD231PS_BCST(at(g.dsum, 4*(part*mr+r)), min[z], y[r][z])
			}
		}
	}
}

// sumsAVX512 are the integer products of a group, each digit apart; the first
// one begins with the shift.
func (g *gemmLoop) sumsAVX512(part, digits int) (acc [4][2][2]reg.VecVirtual) {
	const mr, nr, nz = 4, 32, 2
	var shift [nz]reg.VecVirtual
	zero := ZMM()
	if digits == 2 {
		VPXORD(zero, zero, zero)
	}
	for z := range nz {
		shift[z] = ZMM()
		VMOVDQU32(g.column(g.shift, part, 16*z), shift[z])
		for r := range mr {
			for d := range digits {
				acc[r][d][z] = ZMM()
				VMOVDQA32([]reg.VecVirtual{shift[z], zero}[d], acc[r][d][z])
			}
		}
	}
	for k := part * g.group / 4; k < (part+1)*g.group/4; k++ {
		var w [nz]reg.VecVirtual
		for z := range nz {
			w[z] = ZMM()
			VMOVDQU32(at(g.codes, k*nr*4+64*z), w[z])
		}
		for r := range mr {
			for d := range digits {
				x := ZMM()
				VPBROADCASTD(g.digit(k, d, r), x)
				for z := range nz {
					VPDPBUSD(w[z], x, acc[r][d][z])
				}
			}
		}
	}
	return acc
}

// gemmAVX2: 2 rows by 16 columns. Products of a digit of eight bits and a
// centred code add up within 16 bits over four dwords if the code has five
// bits, over two if it has six; products of wider codes are widened at once.
func gemmAVX2() {
	const mr, nr = 2, 16
	for _, k := range []gemmKind{{group: 32, run: 4}, {group: 32, min: true, run: 4}, {group: 16, run: 2}, {group: 16, min: true, run: 2},
		{group: 32, wide: true, run: 1}} {
		gemm(k, "AVX2", nr, mr, func(g *gemmLoop) {
			zero := YMM()
			VXORPS(zero, zero, zero)
			g.outs = rowPointers(g.out, Load(Param("outStep"), GP64()), mr)
			for r := range mr {
				for c := range nr / 8 {
					VMOVUPS(zero, g.outs[r].Offset(32*c))
				}
			}
		}, func(g *gemmLoop, digits int) {
			for part := range 32 / k.group {
				g.groupAVX2(part, digits)
			}
		}, func(*gemmLoop) {})
	}
}

// groupAVX2 keeps the float sums in out: the products take the registers.
func (g *gemmLoop) groupAVX2(part, digits int) {
	const mr, ny = 2, 2
	var acc [mr][ny]reg.VecVirtual
	for d := range digits {
		g.sumsAVX2(part, d, &acc)
	}
	for r := range mr {
		scale, sum := YMM(), YMM()
		VBROADCASTSS(at(g.dscale, 4*r), scale)
		if g.min {
			VBROADCASTSS(at(g.dsum, 4*(part*mr+r)), sum)
		}
		for c := range ny {
			t := acc[r][c]
			VCVTDQ2PS(t, t)
			VMULPS(scale, t, t)
			y := YMM()
			VMOVUPS(g.outs[r].Offset(32*c), y)
			VFMADD231PS(g.column(g.scale, part, 8*c), t, y)
			if g.min {
				VFMADD231PS(g.column(g.minimum, part, 8*c), sum, y)
			}
			VMOVUPS(y, g.outs[r].Offset(32*c))
		}
	}
}

// sumsAVX2 adds the integer products of digit d of a group to acc; those of
// the first digit begin with the shift.
func (g *gemmLoop) sumsAVX2(part, d int, acc *[2][2]reg.VecVirtual) {
	const mr, ny = 2, 2
	if d == 1 {
		for r := range mr {
			for c := range ny {
				VPSLLD(Imm(7), acc[r][c], acc[r][c])
			}
		}
	}
	for k := part * g.group / 4; k < (part+1)*g.group/4; k += g.run {
		var words [mr][ny]reg.VecVirtual
		for j := range g.run {
			g.wordsAVX2(k+j, d, &words)
		}
		for r := range mr {
			for c := range ny {
				t := words[r][c]
				VPMADDWD(wordsOf(1), t, t)
				switch {
				case acc[r][c] != nil:
					VPADDD(t, acc[r][c], acc[r][c])
				case g.wide:
					acc[r][c] = t
				default:
					acc[r][c] = t
					VPADDD(g.column(g.shift, part, 8*c), t, t)
				}
			}
		}
	}
}

// wordsAVX2 adds the products of dword k to words. Wide codes are signed, as
// the digits then are: VPMADDUBSW gets magnitudes and carried signs.
func (g *gemmLoop) wordsAVX2(k, d int, words *[2][2]reg.VecVirtual) {
	const mr, ny = 2, 2
	var w, size [ny]reg.VecVirtual
	for c := range ny {
		w[c] = YMM()
		VMOVDQU(at(g.codes, k*g.nr*4+32*c), w[c])
		if g.wide {
			size[c] = YMM()
			VPABSB(w[c], size[c])
		}
	}
	for r := range mr {
		x := YMM()
		VPBROADCASTD(g.digit(k, d, r), x)
		if g.wide && d == 0 {
			VPXOR(bytesOf(0x80), x, x)
		}
		for c := range ny {
			t := YMM()
			if g.wide {
				VPSIGNB(w[c], x, t)
				VPMADDUBSW(t, size[c], t)
			} else {
				VPMADDUBSW(w[c], x, t)
			}
			if words[r][c] == nil {
				words[r][c] = t
			} else {
				VPADDW(t, words[r][c], words[r][c])
			}
		}
	}
}

// center makes codes signed by taking zero from them, and sums them up: shift
// is −128·Σ of each group, which cancels the offset of the high digits.
func center(suffix string, nr int) {
	TEXT("center"+suffix, NOSPLIT, "func(codes *uint8, groups, dwords, zero int, shift *int32)")
	codes, groups, dwords := Load(Param("codes"), GP64()), Load(Param("groups"), GP64()), Load(Param("dwords"), GP64())
	zero, shift := YMM(), Load(Param("shift"), GP64())
	z := XMM()
	VMOVQ(Load(Param("zero"), GP64()), z)
	VPBROADCASTB(z, zero)
	loop("groups", groups, func() {
		sums := make([]reg.VecVirtual, nr/8)
		for c := range sums {
			sums[c] = YMM()
			VPXOR(sums[c], sums[c], sums[c])
		}
		n := GP64()
		MOVQ(dwords, n)
		loop("dwords", n, func() {
			for c := range sums {
				w, t := YMM(), YMM()
				VMOVDQU(at(codes, 32*c), w)
				VPSUBB(zero, w, w)
				VMOVDQU(w, at(codes, 32*c))
				VMOVDQU(bytesOf(0x80), t)
				VPMADDUBSW(w, t, t)
				VPMADDWD(wordsOf(1), t, t)
				VPSUBD(t, sums[c], sums[c])
			}
			ADDQ(U32(uint32(4*nr)), codes)
		})
		for c := range sums {
			VMOVDQU(sums[c], at(shift, 32*c))
		}
		ADDQ(U32(uint32(4*nr)), shift)
	})
	VZEROUPPER()
	RET()
}

// rowPointers addresses m rows through two bases and the multiples of the step.
func rowPointers(a, step reg.Register, m int) []Mem {
	var mems []Mem
	triple := GP64()
	if m > 3 {
		LEAQ(Mem{Base: step, Index: step, Scale: 2}, triple)
	}
	bases := []reg.Register{a}
	if m > 4 {
		second := GP64()
		LEAQ(Mem{Base: a, Index: step, Scale: 4}, second)
		bases = append(bases, second)
	}
	for r := range m {
		b := bases[r/4]
		mems = append(mems, []Mem{{Base: b}, {Base: b, Index: step, Scale: 1}, {Base: b, Index: step, Scale: 2}, {Base: b, Index: triple, Scale: 1}}[r%4])
	}
	return mems
}

// eachRow walks m rows; it moves p.
func eachRow(p, step reg.Register, m int, f func(r int, p reg.Register)) {
	for r := range m {
		f(r, p)
		if r < m-1 {
			ADDQ(step, p)
		}
	}
}

package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const gemmSignature = "func(codes *uint8, scale, min *float32, digits *int8, dscale, dsum *float32, blocks int, out *float32)"

// gemmArgs are the pointers of a panel product.
type gemmArgs struct {
	codes, scale, min, digits, dscale, dsum, blocks, out reg.Register
}

func loadGemm() gemmArgs {
	p := func(name string) reg.Register { return Load(Param(name), GP64()) }
	return gemmArgs{p("codes"), p("scale"), p("min"), p("digits"), p("dscale"), p("dsum"), p("blocks"), p("out")}
}

// advance moves on by one block of 32 of nr columns and mr rows.
func (a gemmArgs) advance(nr, mr, group int) {
	ADDQ(U32(uint32(32*nr)), a.codes)
	ADDQ(U32(uint32(32/group*4*nr)), a.scale)
	ADDQ(U32(uint32(32/group*4*nr)), a.min)
	ADDQ(U32(uint32(64*mr)), a.digits)
	ADDQ(Imm(uint64(4*mr)), a.dscale)
	ADDQ(Imm(uint64(32/group*4*mr)), a.dsum)
}

// gemmAVX512: 4 rows by 32 columns, both digits apart: 16 integer and 8 float
// accumulators of the 32 registers.
func gemmAVX512() {
	const mr, nr, nz = 4, 32, 2
	for _, group := range []int{32, 16} {
		TEXT(fmt.Sprintf("gemm%dAVX512", group), NOSPLIT, gemmSignature)
		a := loadGemm()
		var y [mr][nz]reg.VecVirtual
		for r := range mr {
			for z := range nz {
				y[r][z] = ZMM()
				VPXORD(y[r][z], y[r][z], y[r][z])
			}
		}
		// Made once: to the register allocator a register that is cleared by
		// VPXORD lives from the start.
		var acc [mr][2][nz]reg.VecVirtual
		for r := range mr {
			acc[r] = [2][nz]reg.VecVirtual{{ZMM(), ZMM()}, {ZMM(), ZMM()}}
		}
		loop(fmt.Sprintf("blocks%d", group), a.blocks, func() {
			for part := range 32 / group {
				groupAVX512(a, part, group, acc, y)
			}
			a.advance(nr, mr, group)
		})
		for r := range mr {
			for z := range nz {
				VMOVUPS(y[r][z], at(a.out, 4*(r*nr+16*z)))
			}
		}
		VZEROUPPER()
		RET()
	}
}

func groupAVX512(a gemmArgs, part, group int, acc [4][2][2]reg.VecVirtual, y [4][2]reg.VecVirtual) {
	const mr, nr, nz = 4, 32, 2
	for r := range mr {
		for d := range 2 {
			for z := range nz {
				VPXORD(acc[r][d][z], acc[r][d][z], acc[r][d][z])
			}
		}
	}
	for k := part * group / 4; k < (part+1)*group/4; k++ {
		var w [nz]reg.VecVirtual
		for z := range nz {
			w[z] = ZMM()
			VMOVDQU32(at(a.codes, k*nr*4+64*z), w[z])
		}
		for r := range mr {
			for d := range 2 {
				x := ZMM()
				VPBROADCASTD(at(a.digits, k*mr*8+r*8+d*4), x)
				for z := range nz {
					VPDPBUSD(x, w[z], acc[r][d][z])
				}
			}
		}
	}
	var min [nz]reg.VecVirtual
	for z := range nz {
		min[z] = ZMM()
		VMOVUPS(at(a.min, 4*(part*nr+16*z)), min[z])
	}
	for r := range mr {
		for z := range nz {
			t := acc[r][0][z]
			VPSLLD(Imm(uint64(avx512.digit)), t, t)
			VPADDD(acc[r][1][z], t, t)
			VCVTDQ2PS(t, t)
			VMULPS_BCST(at(a.dscale, 4*r), t, t)
			VFMADD231PS(at(a.scale, 4*(part*nr+16*z)), t, y[r][z])
			VFMADD231PS_BCST(at(a.dsum, 4*(part*mr+r)), min[z], y[r][z])
		}
	}
}

// gemmAVX2: 2 rows by 16 columns. Codes of up to six bits times digits of six
// add up within 16 bits over a whole group; wider ones are widened at once.
func gemmAVX2() {
	const mr, nr, ny = 2, 16, 2
	for _, v := range []struct {
		name  string
		group int
		wide  bool
	}{{"gemm32AVX2", 32, false}, {"gemm16AVX2", 16, false}, {"gemmWideAVX2", 32, true}} {
		TEXT(v.name, NOSPLIT, gemmSignature)
		a := loadGemm()
		zero := YMM()
		VXORPS(zero, zero, zero)
		for i := range mr * ny {
			VMOVUPS(zero, at(a.out, 32*i))
		}
		loop(v.name+"_blocks", a.blocks, func() {
			for part := range 32 / v.group {
				groupAVX2(a, part, v.group, v.wide)
			}
			a.advance(nr, mr, v.group)
		})
		VZEROUPPER()
		RET()
	}
}

// groupAVX2 keeps the float sums in out: eight integer accumulators, the codes
// and the products take the registers.
func groupAVX2(a gemmArgs, part, group int, wide bool) {
	const mr, nr, ny = 2, 16, 2
	var acc [mr][2][ny]reg.VecVirtual
	for k := part * group / 4; k < (part+1)*group/4; k++ {
		var w [ny]reg.VecVirtual
		for c := range ny {
			w[c] = YMM()
			VMOVDQU(at(a.codes, k*nr*4+32*c), w[c])
		}
		for r := range mr {
			for d := range 2 {
				x := YMM()
				VPBROADCASTD(at(a.digits, k*mr*8+r*8+d*4), x)
				for c := range ny {
					accumulateAVX2(&acc[r], d, c, w[c], x, wide)
				}
			}
		}
	}
	for r := range mr {
		scale, sum := YMM(), YMM()
		VBROADCASTSS(at(a.dscale, 4*r), scale)
		VBROADCASTSS(at(a.dsum, 4*(part*mr+r)), sum)
		for c := range ny {
			t := acc[r][0][c]
			if !wide {
				VPMADDWD(wordsOf(1<<avx2.digit), t, t)
				VPMADDWD(wordsOf(1), acc[r][1][c], acc[r][1][c])
				VPADDD(acc[r][1][c], t, t)
			}
			VCVTDQ2PS(t, t)
			VMULPS(scale, t, t)
			y := YMM()
			VMOVUPS(at(a.out, 4*(r*nr+8*c)), y)
			VFMADD231PS(at(a.scale, 4*(part*nr+8*c)), t, y)
			VFMADD231PS(at(a.min, 4*(part*nr+8*c)), sum, y)
			VMOVUPS(y, at(a.out, 4*(r*nr+8*c)))
		}
	}
}

// accumulateAVX2 adds codes times digits to the accumulator of digit d, column
// c; wide codes keep one accumulator for both digits, already widened.
func accumulateAVX2(acc *[2][2]reg.VecVirtual, d, c int, w, x reg.VecVirtual, wide bool) {
	t := YMM()
	VPMADDUBSW(x, w, t)
	if wide {
		VPMADDWD(wordsOf([]uint16{1 << avx2.digit, 1}[d]), t, t)
		d = 0
	}
	if acc[d][c] == nil {
		acc[d][c] = t
	} else if wide {
		VPADDD(t, acc[d][c], acc[d][c])
	} else {
		VPADDW(t, acc[d][c], acc[d][c])
	}
}

// multiply is c [m, nr] += a [m, k] · b [k, nr] in float32, for m rows at once.
func multiply(i isa, halfs bool) {
	nr, lanes, tallest := 16, 8, 4
	vec := YMM
	if i.vnni {
		nr, lanes, tallest, vec = 32, 16, 8, ZMM
	}
	name, kind, size := "mulF32", "*float32", 4
	if halfs {
		name, kind, size = "mulF16", "*uint16", 2
	}
	for m := tallest; m >= 1; m /= 2 {
		TEXT(fmt.Sprintf("%s%s_%d", name, i.suffix, m), NOSPLIT, "func(a *float32, lda int, b "+kind+", ldb int, c *float32, ldc int, k int)")
		a, lda := Load(Param("a"), GP64()), Load(Param("lda"), GP64())
		b, ldb := Load(Param("b"), GP64()), Load(Param("ldb"), GP64())
		c, ldc, k := Load(Param("c"), GP64()), Load(Param("ldc"), GP64()), Load(Param("k"), GP64())
		SHLQ(Imm(2), lda)
		SHLQ(Imm(2), ldc)
		SHLQ(Imm(uint64(size/2)), ldb)
		rows := rowPointers(a, lda, m)
		acc := make([][]reg.VecVirtual, m)
		eachRow(c, ldc, m, func(r int, p reg.Register) {
			for v := range nr / lanes {
				y := vec()
				VMOVUPS(at(p, 4*lanes*v), y)
				acc[r] = append(acc[r], y)
			}
		})
		loop(fmt.Sprintf("k%d", m), k, func() {
			var w []reg.VecVirtual
			for v := range nr / lanes {
				y := vec()
				if halfs {
					VCVTPH2PS(at(b, 2*lanes*v), y)
				} else {
					VMOVUPS(at(b, 4*lanes*v), y)
				}
				w = append(w, y)
			}
			for r := range m {
				x := vec()
				VBROADCASTSS(rows[r], x)
				for v := range w {
					VFMADD231PS(x, w[v], acc[r][v])
				}
			}
			ADDQ(ldb, b)
			ADDQ(Imm(4), a)
			if m > 4 {
				ADDQ(Imm(4), rows[4].Base)
			}
		})
		Load(Param("c"), c)
		eachRow(c, ldc, m, func(r int, p reg.Register) {
			for v := range acc[r] {
				VMOVUPS(acc[r][v], at(p, 4*lanes*v))
			}
		})
		VZEROUPPER()
		RET()
	}
}

// rowPointers addresses m rows through two bases and the multiples of the step.
func rowPointers(a, step reg.Register, m int) []Mem {
	var mems []Mem
	triple := GP64()
	LEAQ(Mem{Base: step, Index: step, Scale: 2}, triple)
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

package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// element is what the right-hand side of a float product is stored in.
type element struct {
	name, kind string
	shift      int                              // log₂ of its size
	load       func(from Op, to reg.VecVirtual) // a vector, as float32
}

var elements = []element{
	{"F32", "*float32", 2, func(from Op, to reg.VecVirtual) { VMOVUPS(from, to) }},
	{"F16", "*uint16", 1, func(from Op, to reg.VecVirtual) { VCVTPH2PS(from, to) }},
	{"I8", "*int8", 0, func(from Op, to reg.VecVirtual) {
		VPMOVSXBD(from, to)
		VCVTDQ2PS(to, to)
	}},
}

// multiply is c [m, nr] += a [m, k] · b [k, nr] in float32, for m rows at once.
func multiply(i isa, e element) {
	nr, lanes, tallest := 16, 8, 4
	if i.vnni {
		nr, lanes, tallest = 32, 16, 8
	}
	for m := tallest; m >= 1; m /= 2 {
		TEXT(fmt.Sprintf("mul%s%s_%d", e.name, i.suffix, m), NOSPLIT, "func(a *float32, lda int, b "+e.kind+", ldb int, c *float32, ldc int, k int)")
		a, lda := Load(Param("a"), GP64()), Load(Param("lda"), GP64())
		b, ldb := Load(Param("b"), GP64()), Load(Param("ldb"), GP64())
		c, ldc, k := Load(Param("c"), GP64()), Load(Param("ldc"), GP64()), Load(Param("k"), GP64())
		SHLQ(Imm(2), lda)
		SHLQ(Imm(2), ldc)
		if e.shift > 0 {
			SHLQ(Imm(uint64(e.shift)), ldb)
		}
		rows := rowPointers(a, lda, m)
		acc := make([][]reg.VecVirtual, m)
		eachRow(c, ldc, m, func(r int, p reg.Register) {
			for v := range nr / lanes {
				y := i.vec()
				VMOVUPS(at(p, 4*lanes*v), y)
				acc[r] = append(acc[r], y)
			}
		})
		loop(fmt.Sprintf("k%d", m), k, func() {
			var w []reg.VecVirtual
			for v := range nr / lanes {
				y := i.vec()
				e.load(at(b, lanes*v<<e.shift), y)
				w = append(w, y)
			}
			for r := range m {
				x := i.vec()
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

package main

import "fmt"

// A panel is 16 weight rows wide, a tile four activation rows high. Both digits
// of four rows times eight weight rows take 16 sums of integers and 8 of
// floats, so the panel is walked twice, eight of its rows at a time: four
// vectors are loaded for 16 SDOT, against five where 16 weight rows meet two
// activation rows, and half as many codes have to be made signed.
const (
	panelRows = 16
	tileRows  = 4
	digitBits = 7
)

type gemmLoop struct {
	*assembler
	wide           bool
	codes, digits  [2]vec
	high, low, sum [2][tileRows]vec
	shift          vec // 2^digitBits, as integers

	// Of wide codes:
	flip   vec    // 0x80: turns codes into code − 128; as a factor, −128
	offset [2]vec // −128·Σ digit, of each digit of two rows
}

// gemm multiplies a panel by a tile. SDOT takes signed codes: wide ones lose
// 128 on loading, and what the sums of products lose by that is counted
// alongside.
func gemm(a *assembler, name string, group int, wide bool) {
	r := a.function(name, "codes *uint8, scale, min *float32, digits *int8, dscale, dsum *float32, blocks int, out *float32", "")
	out := r[7]
	halves, n := gpr(16), gpr(15)
	g := &gemmLoop{assembler: a, wide: wide}
	g.registers()
	a.line("MOVD $2, %v", halves)
	a.loop("half", halves, func() {
		walk := make([]gpr, 6)
		for i := range walk {
			walk[i] = gpr(8 + i)
			a.line("MOVD %v, %v", r[i], walk[i])
		}
		a.line("MOVD %v, %v", r[6], n)
		for c := range g.sum {
			a.zero(g.sum[c][:]...)
		}
		a.loop("block", n, func() {
			for at := 0; at < 32; at += group {
				g.products(walk[0], walk[3], at, group)
				g.scale(walk)
			}
			a.line("ADD $%d, %v", 32*panelRows, walk[0])
			a.line("ADD $%d, %v", 64*tileRows, walk[3])
			a.line("ADD $%d, %v", 4*tileRows, walk[4])
		})
		for row := range tileRows {
			a.store(out, 4*panelRows*row, g.sum[0][row], g.sum[1][row])
		}
		for _, p := range []gpr{r[0], r[1], r[2], out} {
			a.line("ADD $32, %v", p)
		}
	})
	a.line("RET")
}

func (g *gemmLoop) registers() {
	for c := range 2 {
		for row := range tileRows {
			g.high[c][row], g.low[c][row], g.sum[c][row] = g.vec(), g.vec(), g.vec()
		}
		g.codes[c], g.digits[c] = g.vec(), g.vec()
	}
	g.shift = g.words(1 << digitBits)
	if g.wide {
		g.flip, g.offset = g.bytes(0x80), [2]vec{g.vec(), g.vec()}
	}
}

// products sums a group's products of each digit, at elements into the block.
func (g *gemmLoop) products(codes, digits gpr, at, group int) {
	for c := range 2 {
		g.zero(g.high[c][:]...)
		g.zero(g.low[c][:]...)
	}
	if g.wide {
		g.zero(g.offset[:]...)
	}
	for k := at; k < at+group; k += 4 {
		g.load(codes, k*panelRows, g.codes[:]...)
		g.load(digits, k*tileRows*2, g.digits[:]...)
		for c, codes := range g.codes {
			if g.wide {
				g.arm("sdot", g.offset[c], g.digits[c], g.flip)
				g.op("VEOR", "B16", codes, codes, g.flip)
			}
			for row := range tileRows {
				g.lane("sdot", g.high[c][row], codes, g.digits[row/2], row%2*2)
				g.lane("sdot", g.low[c][row], codes, g.digits[row/2], row%2*2+1)
			}
		}
	}
}

// scale adds a group's products to the sums and moves past its floats.
func (g *gemmLoop) scale(walk []gpr) {
	// The codes and digits are done with, and so are the high sums once added.
	scale, minimum := g.codes, g.digits
	for c := range 2 {
		for row := range tileRows {
			g.arm("mla", g.low[c][row], g.high[c][row], g.shift)
			g.arm("scvtf", g.low[c][row], g.low[c][row])
		}
	}
	dscale, dsum, offset := g.high[0][0], g.high[0][1], g.high[0][2]
	g.loadNext(walk[1], 4*panelRows, scale[:]...)
	g.loadNext(walk[2], 4*panelRows, minimum[:]...)
	g.load(walk[4], 0, dscale)
	g.loadNext(walk[5], 4*tileRows, dsum)
	if g.wide {
		high := g.high[0][3]
		g.op("VUZP1", "S4", high, g.offset[0], g.offset[1])
		g.op("VUZP2", "S4", offset, g.offset[0], g.offset[1])
		g.arm("mla", offset, high, g.shift)
		g.arm("scvtf", offset, offset)
		g.arm("fmul", offset, offset, dscale)
	}
	for c := range 2 {
		for row := range tileRows {
			g.lane("fmul", g.low[c][row], g.low[c][row], dscale, row)
			g.fmla(g.sum[c][row], g.low[c][row], scale[c])
			g.lane("fmla", g.sum[c][row], minimum[c], dsum, row)
			if g.wide {
				g.lane("fmls", g.sum[c][row], scale[c], offset, row)
			}
		}
	}
}

// multiply adds a [rows, k] times b [k, 16] to c. A row has one sum an element,
// however many rows there are: few rows must give what one gives, to the bit.
func multiply(a *assembler, rows int, half bool) {
	name, element := fmt.Sprintf("mulF32NEON_%d", rows), "float32"
	if half {
		name, element = fmt.Sprintf("mulF16NEON_%d", rows), "uint16"
	}
	r := a.function(name, "a *float32, lda int, b *"+element+", ldb int, c *float32, ldc int, k int", "")
	m := &multiplyLoop{assembler: a, half: half, b: r[2], step: r[3], values: a.vecs(rows), bs: a.vecs(4)}
	a.line("LSL $2, %v", r[1])
	a.line("LSL $%d, %v", map[bool]int{false: 2, true: 1}[half], r[3])
	a.line("LSL $2, %v", r[5])
	m.rows = addresses(a, 8, r[0], r[1], rows)
	out := addresses(a, 12, r[4], r[5], rows)
	for row := range rows {
		v := a.vecs(4)
		m.sums = append(m.sums, v)
		a.load(out[row], 0, v[0], v[1])
		a.load(out[row], 32, v[2], v[3])
	}
	m.walk(r[6], 16)
	for row, v := range m.sums {
		a.store(out[row], 0, v[0], v[1])
		a.store(out[row], 32, v[2], v[3])
	}
	a.line("RET")
}

// addresses puts the addresses of n rows into registers.
func addresses(a *assembler, first int, base, step gpr, n int) []gpr {
	rows := []gpr{base}
	for i := range n - 1 {
		r := gpr(first + i)
		a.line("ADD %v, %v, %v", step, rows[i], r)
		rows = append(rows, r)
	}
	return rows
}

type multiplyLoop struct {
	*assembler
	half    bool
	rows    []gpr
	b, step gpr
	values  []vec   // of each row of a
	bs      []vec   // a row of b
	sums    [][]vec // of each row
}

func (m *multiplyLoop) walk(k, fours gpr) {
	m.line("LSR $2, %v, %v", k, fours)
	m.line("CBZ %v, rest", fours)
	m.loop("fours", fours, func() {
		for row, p := range m.rows {
			m.loadNext(p, 16, m.values[row])
		}
		for i := range 4 {
			m.one(i)
		}
	})
	m.label("rest")
	m.line("ANDS $3, %v, %v", k, k)
	m.line("BEQ done")
	m.loop("ones", k, func() {
		for row, p := range m.rows {
			m.line("VLD1R.P 4(%v), [%v.S4]", p, m.values[row])
		}
		m.one(0)
	})
	m.label("done")
}

// one multiplies a row of b by lane i of each row's values.
func (m *multiplyLoop) one(i int) {
	if m.half {
		h := m.vecs(2)
		m.load(m.b, 0, h...)
		for j, v := range h {
			m.arm("fcvtl", m.bs[2*j], v)
			m.arm("fcvtl2", m.bs[2*j+1], v)
		}
		m.free(h...)
	} else {
		m.load(m.b, 0, m.bs[0], m.bs[1])
		m.load(m.b, 32, m.bs[2], m.bs[3])
	}
	m.line("ADD %v, %v", m.step, m.b)
	for row, sums := range m.sums {
		for j, s := range sums {
			m.lane("fmla", s, m.bs[j], m.values[row], i)
		}
	}
}

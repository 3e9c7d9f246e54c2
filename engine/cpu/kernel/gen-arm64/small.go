package main

// smallFormat is a stored block of 32: a header of half-precision numbers and
// perhaps the codes' fifth bits, then the codes. The layouts are documented in
// package checkpoint.
type smallFormat struct {
	name   string
	header int
	signed bool // codes are signed bytes, not nibbles
	fifth  bool // the header ends in 32 bits more
	min    bool // the header holds a minimum besides the scale
	// w = scale·(code − zeroPoint) in formats without a minimum.
	zeroPoint float64
}

var smallFormats = []*smallFormat{
	{name: "Q8_0", header: 2, signed: true, zeroPoint: 128},
	{name: "Q4_0", header: 2, zeroPoint: 8},
	{name: "Q4_1", header: 4, min: true},
	{name: "Q5_0", header: 6, fifth: true, zeroPoint: 16},
	{name: "Q5_1", header: 8, fifth: true, min: true},
}

// fifths are the constants that spread 32 bits over 32 bytes.
type fifths struct{ low, high, bit vec }

// fifthsAt spreads the bits that begin at a byte of a register.
func fifthsAt(a *assembler, byte uint64) fifths {
	const each = 0x0101010101010101
	return fifths{a.halves(byte*each, (byte+1)*each), a.halves((byte+2)*each, (byte+3)*each),
		a.halves(0x8040201008040201, 0x8040201008040201)}
}

// masks turns the bits in v into bytes of ones or zeros.
func (f fifths) masks(a *assembler, v vec, c [2]vec) {
	a.table(c[0], v, f.low)
	a.table(c[1], v, f.high)
	for _, c := range c {
		a.op("VCMTST", "B16", c, c, f.bit)
	}
}

// gemvSmall multiplies four rows at a time: their products meet in one vector
// after three ADDP, and scales, sums and the result are vectors of four rows
// too. Where fewer rows are left, the last one takes the place of those that
// are not there.
func gemvSmall(a *assembler, f *smallFormat) {
	r := a.function("gemv"+f.name+"NEON", gemvParams, "")
	g := &smallGemv{assembler: a, smallFormat: f, rows: []gpr{9, 10, 11, 12}, high: 14, low: 15, scale: 16, sum: 19, acc: a.vec()}
	w, n, rowBytes, out := r[0], r[1], r[2], r[8]
	g.constants()
	a.label("rows")
	a.line("MOVD %v, %v", w, g.rows[0])
	for i := 1; i < 4; i++ {
		a.line("ADD %v, %v, %v", rowBytes, g.rows[i-1], g.rows[i])
		a.line("CMP $%d, %v", i, n)
		a.line("CSEL GT, %v, %v, %v", g.rows[i], g.rows[i-1], g.rows[i])
	}
	a.line("ADD %v, %v, %v", rowBytes, g.rows[3], w)
	for i, p := range []gpr{13, g.high, g.low, g.scale, g.sum} {
		a.line("MOVD %v, %v", r[3+i], p)
	}
	a.zero(g.acc)
	if g.least() {
		a.zero(g.accMin)
	}
	a.loop("blocks", 13, g.block)
	if f.zeroPoint != 0 && g.least() {
		a.fmls(g.acc, g.accMin, g.factor)
	} else if g.least() {
		a.arm("fadd", g.acc, g.acc, g.accMin)
	}
	storeRows(a, g.acc, n, out)
}

const gemvParams = "w *byte, n, rowBytes, blocks int, high, low *int8, scale, sum *float32, out *float32"

// storeRows stores as many lanes as there are rows and goes on to the next four.
func storeRows(a *assembler, v vec, n, out gpr) {
	a.line("CMP $4, %v", n)
	a.line("BLT few")
	a.storeNext(out, 16, v)
	a.line("SUBS $4, %v, %v", n, n)
	a.line("BNE rows")
	a.line("RET")
	a.label("few")
	for i := range 3 {
		a.line("VST1.P %v.S[%d], 4(%v)", v, i, out)
		if i < 2 {
			a.line("SUBS $1, %v, %v", n, n)
			a.line("BEQ done")
		}
	}
	a.label("done")
	a.line("RET")
}

type smallGemv struct {
	*assembler
	*smallFormat
	rows                  []gpr
	high, low, scale, sum gpr
	acc, accMin           vec
	nibble                vec
	fifths
	factor vec // the zero point, or 16 to shift a minimum by
}

// least reports whether minimums or a zero point remain: bytes are signed as
// they are, and a fifth bit that is missing becomes the sign.
func (g *smallGemv) least() bool { return g.min || !g.signed && !g.fifth }

func (g *smallGemv) constants() {
	if g.least() {
		g.accMin = g.vec()
	}
	if !g.signed {
		g.nibble = g.bytes(0x0f)
	}
	switch {
	case g.fifth:
		g.fifths = fifthsAt(g.assembler, uint64(g.header-4))
		if g.min {
			g.factor = g.floats(16)
		}
	case !g.signed && !g.min:
		g.factor = g.floats(g.zeroPoint)
	}
}

// block multiplies one block of each row.
func (g *smallGemv) block() {
	high, low, products := g.vecs(2), g.vecs(2), g.vecs(4)
	g.loadNext(g.high, 32, high...)
	g.loadNext(g.low, 32, low...)
	scales := g.vec()
	for i, p := range products {
		codes := g.codes(i, scales)
		g.product(p, codes[:], high, low)
		g.free(codes[:]...)
	}
	g.sumLanes(products)
	p := products[0]
	d, m := g.floatsOf(scales)
	by := products[1]
	g.line("VLD1R.P 4(%v), [%v.S4]", g.scale, by)
	g.arm("fmul", by, by, d)
	g.fmla(g.acc, p, by)
	if g.least() {
		sum := products[2]
		g.line("VLD1R.P 4(%v), [%v.S4]", g.sum, sum)
		g.fmla(g.accMin, m, sum)
	}
	g.free(append(append(append(high, low...), products...), d, m)...)
}

// product is Σ code·(high·2^b + low) in four parts: the high digits' sum is
// shifted and goes on with the low ones.
func (a *assembler) product(p vec, codes, high, low []vec) {
	a.zero(p)
	for i, c := range codes {
		a.arm("sdot", p, c, high[i])
	}
	a.shift("VSHL", "S4", p, p, digitBits)
	for i, c := range codes {
		a.arm("sdot", p, c, low[i])
	}
}

// sumLanes puts the four vectors' sums into the lanes of the first, as floats.
func (a *assembler) sumLanes(p []vec) {
	a.op("VADDP", "S4", p[0], p[0], p[1])
	a.op("VADDP", "S4", p[2], p[2], p[3])
	a.op("VADDP", "S4", p[0], p[0], p[2])
	a.arm("scvtf", p[0], p[0])
}

// codes loads row i's codes, signed, and puts its half-precision numbers into
// its lane of scales.
func (g *smallGemv) codes(i int, scales vec) [2]vec {
	row, c := g.rows[i], [2]vec{g.vec(), g.vec()}
	lane, size := "H", 2
	if g.min {
		lane, size = "S", 4
	}
	if g.fifth {
		header, bits := scales, g.vec()
		if i > 0 {
			header = g.vec()
		}
		g.loadNext(row, g.header, header)
		if i > 0 {
			g.line("VMOV %v.%s[0], %v.%s[%d]", header, lane, scales, lane, i)
			g.free(header)
		}
		g.arm("mvn", bits, header)
		g.masks(g.assembler, bits, c)
		// The bytes of ones are where the fifth bit is 0: with the code below them
		// they are code − 16.
		g.loadNext(row, 16, bits)
		g.op("VBIT", "B16", c[0], bits, g.nibble)
		g.shift("VSRI", "B16", c[1], bits, 4)
		g.free(bits)
		return c
	}
	if i == 0 { // to every lane: no waiting for what was there before
		g.line("VLD1R.P %d(%v), [%v.%s%d]", size, row, scales, lane, 16/size)
	} else {
		g.line("VLD1.P %d(%v), %v.%s[%d]", size, row, scales, lane, i)
	}
	if g.signed {
		g.loadNext(row, 32, c[:]...)
		return c
	}
	g.loadNext(row, 16, c[1])
	g.nibbles(c, c[1], g.nibble)
	return c
}

// nibbles are 16 bytes' low nibbles, then their high ones.
func (a *assembler) nibbles(c [2]vec, from, mask vec) {
	a.op("VAND", "B16", c[0], from, mask)
	a.shift("VUSHR", "B16", c[1], from, 4)
}

// floatsOf are the four rows' scales and what their sums are multiplied by.
func (g *smallGemv) floatsOf(scales vec) (d, m vec) {
	if !g.min {
		g.arm("fcvtl", scales, scales)
		return scales, scales
	}
	m = g.vec()
	g.op("VUZP2", "H8", m, scales, scales)
	g.op("VUZP1", "H8", scales, scales, scales)
	g.arm("fcvtl", m, m)
	g.arm("fcvtl", scales, scales)
	if g.fifth {
		g.fmla(m, scales, g.factor)
	}
	return scales, m
}

const expandParams = "src *byte, blocks int, codes *uint8, scale, min *float32"

// expandSmall writes codes, scales and minimums out.
func expandSmall(a *assembler, f *smallFormat) {
	r := a.function("expand"+f.name+"NEON", expandParams, "")
	src, n, codes, scale, least := r[0], r[1], r[2], r[3], r[4]
	var flip, nibble, factor, sixteen vec
	var spread fifths
	if f.signed {
		flip = a.bytes(0x80)
	} else {
		nibble = a.bytes(0x0f)
	}
	if f.fifth {
		sixteen, spread = a.bytes(0x10), fifthsAt(a, 0)
	}
	if !f.min {
		factor = a.floats(-f.zeroPoint)
	}
	header, bits, q := a.vec(), a.vec(), a.vec()
	c, fives := [2]vec{a.vec(), a.vec()}, [2]vec{a.vec(), a.vec()}
	a.loop("blocks", n, func() {
		if f.min {
			a.line("FMOVS.P 4(%v), F%d", src, int(header))
		} else {
			a.line("VLD1R.P 2(%v), [%v.H8]", src, header)
		}
		a.arm("fcvtl", header, header)
		a.line("VST1.P %v.S[0], 4(%v)", header, scale)
		if !f.min {
			a.arm("fmul", header, header, factor)
		}
		a.line("VST1.P %v.S[1], 4(%v)", header, least)
		if f.fifth {
			a.line("FMOVS.P 4(%v), F%d", src, int(bits))
			spread.masks(a, bits, fives)
		}
		if f.signed {
			a.loadNext(src, 32, c[:]...)
			for _, v := range c {
				a.op("VEOR", "B16", v, v, flip)
			}
		} else {
			a.loadNext(src, 16, q)
			a.nibbles(c, q, nibble)
		}
		if f.fifth {
			a.op("VBIT", "B16", c[0], fives[0], sixteen)
			a.op("VBIT", "B16", c[1], fives[1], sixteen)
		}
		a.storeNext(codes, 32, c[:]...)
	})
	a.line("RET")
}

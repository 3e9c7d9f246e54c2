package main

// superFormat is a stored block of 256: eight runs of 32 codes.
type superFormat struct {
	name  string
	size  int
	group int
	codes int // where the nibbles begin
}

var superFormats = []*superFormat{
	{name: "Q4_K", size: 144, group: 32, codes: 16},
	{name: "Q5_K", size: 176, group: 32, codes: 48},
	{name: "Q6_K", size: 210, group: 16, codes: 0},
}

// superBlock is a block being read.
type superBlock struct {
	*assembler
	*superFormat
	w          gpr
	nibble     vec
	upper      vec // where codes have their bits above the nibble
	shifts     vec // of the bytes of packed scales
	above, six vec // masks of packed scales: bits 4 and 5, bits 0 to 5
	zero       vec // w = scale·(code − zero) where there are no minimums
}

func newSuperBlock(a *assembler, f *superFormat, w gpr) *superBlock {
	b := &superBlock{assembler: a, superFormat: f, w: w, nibble: a.bytes(0x0f)}
	switch f.name {
	case "Q5_K":
		b.upper = a.bytes(0x10)
	case "Q6_K":
		b.upper, b.zero = a.bytes(0x30), a.floats(32)
	}
	if f.group == 32 {
		b.shifts = a.halves(0xfcfcfcfc_00000000, 0)
		b.above, b.six = a.bytes(0x30), a.bytes(0x3f)
	}
	return b
}

// scales reads the block's scales as floats, four a vector, its minimums, if it
// has any, and the numbers they are to be multiplied by: lane 0 for scales,
// lane 1 for minimums.
func (b *superBlock) scales() (scale, min []vec, by vec) {
	by = b.vec()
	if b.group == 16 {
		b.line("ADD $208, %v, %v", b.w, b.scratch)
		b.line("VLD1R (%v), [%v.H8]", b.scratch, by)
		b.arm("fcvtl", by, by)
		return b.bytesToFloats(), nil, by
	}
	b.line("FMOVS (%v), F%d", b.w, int(by))
	b.arm("fcvtl", by, by)
	first, second := b.sixBits()
	scale, min = b.vecs(2), b.vecs(2)
	for i, v := range []vec{first, second} {
		b.line("VUXTL %v.B8, %v.H8", v, v)
		b.line("VUXTL %v.H4, %v.S4", v, scale[i])
		b.line("VUXTL2 %v.H8, %v.S4", v, min[i])
		b.arm("scvtf", scale[i], scale[i])
		b.arm("scvtf", min[i], min[i])
	}
	b.free(first, second)
	return scale, min, by
}

// sixBits unpacks 12 bytes: the first four scales and minimums as eight bytes,
// then the other four of each. The last four bytes hold the latters' nibbles,
// the first eight their upper two bits.
func (b *superBlock) sixBits() (first, second vec) {
	first, second = b.vec(), b.vec()
	t := b.vec()
	b.line("FMOVD 4(%v), F%d", b.w, int(first))
	b.line("FMOVS 12(%v), F%d", b.w, int(second))
	b.line("VDUP %v.S[0], %v.S4", second, second)
	b.arm("ushl", second, second, b.shifts)
	b.op("VAND", "B16", second, second, b.nibble)
	b.shift("VUSHR", "B16", t, first, 2)
	b.op("VBIT", "B16", second, t, b.above)
	b.op("VAND", "B16", first, first, b.six)
	b.free(t)
	return first, second
}

// bytesToFloats are Q6_K's 16 signed scales.
func (b *superBlock) bytesToFloats() []vec {
	q, h, s := b.vec(), b.vecs(2), b.vecs(4)
	b.load(b.w, 192, q)
	b.arm("sxtl", h[0], q)
	b.arm("sxtl2", h[1], q)
	for i, v := range h {
		b.arm("sxtl.s", s[2*i], v)
		b.arm("sxtl2.s", s[2*i+1], v)
	}
	for _, v := range s {
		b.arm("scvtf", v, v)
	}
	b.free(append(h, q)...)
	return s
}

// each calls f with each run of 32 codes.
func (b *superBlock) each(f func(codes []vec)) {
	if b.group == 16 {
		b.sixBitCodes(f)
		return
	}
	var upper []vec
	if b.upper != 0 {
		upper = b.vecs(2)
		b.load(b.w, 16, upper...)
	}
	for pair := range 4 {
		q := b.vecs(2)
		b.load(b.w, b.codes+32*pair, q...)
		for i := range 2 {
			b.run(q, upper, 4*i, 4-2*pair-i, f)
		}
		b.free(q...)
	}
	b.free(upper...)
}

// sixBitCodes: each half of the block has 64 bytes of nibbles and 32 of the
// bits above.
func (b *superBlock) sixBitCodes(f func(codes []vec)) {
	for half := range 2 {
		q, upper := [][]vec{b.vecs(2), b.vecs(2)}, b.vecs(2)
		b.load(b.w, 64*half, q[0]...)
		b.load(b.w, 64*half+32, q[1]...)
		b.load(b.w, 128+32*half, upper...)
		for i := range 4 {
			b.run(q[i%2], upper, i/2*4, 4-2*i, f)
		}
		b.free(append(append(q[0], q[1]...), upper...)...)
	}
}

// run makes 32 codes of the nibbles at a bit of q and of upper bits, shifted left.
func (b *superBlock) run(q, upper []vec, bit, left int, f func(codes []vec)) {
	codes := b.vecs(2)
	for i, c := range codes {
		if bit == 0 {
			b.op("VAND", "B16", c, q[i], b.nibble)
		} else {
			b.shift("VUSHR", "B16", c, q[i], 4)
		}
		if upper == nil {
			continue
		}
		t, u := b.vec(), upper[i]
		if left > 0 {
			b.shift("VSHL", "B16", t, u, left)
			u = t
		} else if left < 0 {
			b.shift("VUSHR", "B16", t, u, -left)
			u = t
		}
		b.op("VBIT", "B16", c, u, b.upper)
		b.free(t)
	}
	f(codes)
	b.free(codes...)
}

// gemvSuper multiplies a row at a time: the products of four groups meet in one
// vector after three ADDP, which is then multiplied by their four scales.
func gemvSuper(a *assembler, f *superFormat) {
	r := a.function("gemv"+f.name+"NEON", gemvParams, "")
	w, n, rowBytes, out := r[0], r[1], r[2], r[8]
	g := &superGemv{superBlock: newSuperBlock(a, f, 9), high: 14, low: 15, scale: 16, sum: 19, acc: a.vec()}
	a.label("rows")
	a.line("MOVD %v, %v", w, g.w)
	a.line("ADD %v, %v", rowBytes, w)
	for i, p := range []gpr{13, g.high, g.low, g.scale, g.sum} {
		a.line("MOVD %v, %v", r[3+i], p)
	}
	a.zero(g.acc)
	a.loop("blocks", 13, g.block)
	a.arm("faddp", g.acc, g.acc, g.acc)
	a.arm("faddp", g.acc, g.acc, g.acc)
	a.line("FMOVS.P F%d, 4(%v)", int(g.acc), out)
	a.line("SUBS $1, %v, %v", n, n)
	a.line("BNE rows")
	a.line("RET")
}

type superGemv struct {
	*superBlock
	high, low, scale, sum gpr
	acc                   vec
}

func (g *superGemv) block() {
	scale, min, by := g.scales()
	least := g.least(scale, min)
	g.free(min...)
	g.timesActivations(scale)
	total := g.total(scale)
	g.free(scale...)
	if min == nil {
		g.fmls(total, least, g.zero)
		g.lane("fmla", g.acc, total, by, 0)
	} else {
		g.lane("fmla", g.acc, total, by, 0)
		g.lane("fmls", g.acc, least, by, 1)
	}
	g.free(total, least, by)
	g.line("ADD $%d, %v", g.size, g.w)
	g.line("ADD $256, %v", g.high)
	g.line("ADD $256, %v", g.low)
}

// least is Σ min·sum in four parts, or Σ scale·sum.
func (g *superGemv) least(scale, min []vec) vec {
	if min == nil {
		min = scale
	}
	total, sums := g.vec(), g.vecs(2)
	for i := 0; i < len(min); i += 2 {
		g.loadNext(g.sum, 32, sums...)
		for j, s := range sums {
			if i+j == 0 {
				g.arm("fmul", total, min[0], s)
			} else {
				g.fmla(total, min[i+j], s)
			}
		}
	}
	g.free(sums...)
	return total
}

// timesActivations multiplies the scales by those of the activations, which
// are one for 32 each.
func (g *superGemv) timesActivations(scale []vec) {
	s := g.vecs(2)
	g.loadNext(g.scale, 32, s...)
	if g.group == 32 {
		g.arm("fmul", scale[0], scale[0], s[0])
		g.arm("fmul", scale[1], scale[1], s[1])
	} else {
		t := g.vec()
		for i, v := range scale {
			g.op([]string{"VZIP1", "VZIP2"}[i%2], "S4", t, s[i/2], s[i/2])
			g.arm("fmul", v, v, t)
		}
		g.free(t)
	}
	g.free(s...)
}

// total is Σ scale·product in four parts.
func (g *superGemv) total(scale []vec) vec {
	total := g.vec()
	var products []vec
	done, at := 0, 0
	g.each(func(codes []vec) {
		high, low := g.vecs(2), g.vecs(2)
		g.load(g.high, at, high...)
		g.load(g.low, at, low...)
		at += 32
		for i := 0; i < len(codes); i += g.group / 16 {
			p := g.vec()
			g.product(p, codes[i:i+g.group/16], high[i:], low[i:])
			products = append(products, p)
		}
		g.free(append(high, low...)...)
		if len(products) < 4 {
			return
		}
		g.sumLanes(products)
		if done == 0 {
			g.arm("fmul", total, products[0], scale[0])
		} else {
			g.fmla(total, products[0], scale[done])
		}
		done++
		g.free(products...)
		products = nil
	})
	return total
}

// expandSuper writes codes, scales and minimums out.
func expandSuper(a *assembler, f *superFormat) {
	r := a.function("expand"+f.name+"NEON", expandParams, "")
	src, n, codes, scale, least := r[0], r[1], r[2], r[3], r[4]
	b := newSuperBlock(a, f, src)
	if f.group == 16 {
		a.arm("fneg", b.zero, b.zero)
	}
	a.loop("blocks", n, func() {
		s, m, by := b.scales()
		if m != nil {
			a.arm("fneg", m[0], m[0])
			a.arm("fneg", m[1], m[1])
		}
		for i := range s {
			a.lane("fmul", s[i], s[i], by, 0)
			if m != nil {
				a.lane("fmul", m[i], m[i], by, 1)
			}
		}
		for i := 0; i < len(s); i += 2 {
			a.storeNext(scale, 32, s[i:i+2]...)
			if m != nil {
				a.storeNext(least, 32, m...)
				continue
			}
			for _, v := range s[i : i+2] {
				a.arm("fmul", v, v, b.zero)
			}
			a.storeNext(least, 32, s[i:i+2]...)
		}
		a.free(append(append(s, m...), by)...)
		b.each(func(c []vec) { a.storeNext(codes, 32, c...) })
		a.line("ADD $%d, %v", f.size, src)
	})
	a.line("RET")
}

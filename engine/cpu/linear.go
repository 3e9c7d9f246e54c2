package cpu

import (
	"slices"
	"unsafe"

	"lapidary/engine"
	"lapidary/engine/cpu/kernel"
)

// gemvBytes is the stored size of the rows one piece of a single-row product
// takes: small enough to share fairly, large enough to stream.
const gemvBytes = 48 << 10

// fewRows is how many rows are multiplied one by one, each as if it were alone:
// a pass over so many rows of a sequence gives the same, to the bit, as a pass
// for each (speculation stands on it).
const fewRows = 8

// bytesOf views floats as the bytes they occupy.
func bytesOf(f []float32) []int8 {
	return unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(f))), 4*len(f))
}

// product is one weight's share of a Linear: pieces are runs of weight rows.
type product struct {
	w    *weight
	x, y *tensor
	step int // weight rows a piece
	run  func(p *pass, x *tensor, pr *product, from, to int, s *scratch)

	packed [][]float32 // of gemvFew: x in chunks, and which product takes one
	index  int
}

func (pr *product) pieces() int { return (pr.w.rows + pr.step - 1) / pr.step }

// Linear multiplies by several weights in one region.
func (p *pass) Linear(x engine.Tensor, ws ...engine.Weight) []engine.Tensor {
	in := x.(*tensor)
	products := make([]product, len(ws))
	ys := make([]engine.Tensor, len(ws))
	sums := slices.ContainsFunc(ws, func(w engine.Weight) bool { return w.(*weight).sums })
	for i, w := range ws {
		products[i] = p.plan(in, w.(*weight), sums)
		ys[i] = products[i].y
	}
	p.multiply(products)
	return ys
}

// multiply computes products in one region.
func (p *pass) multiply(products []product) {
	total := 0
	for i := range products {
		total += products[i].pieces()
	}
	p.parallel(total, parallelAlways, func(piece int, s *scratch) {
		i := 0
		for piece >= products[i].pieces() {
			piece -= products[i].pieces()
			i++
		}
		pr := &products[i]
		pr.run(p, pr.x, pr, piece*pr.step, min((piece+1)*pr.step, pr.w.rows), s)
	})
}

// plan chooses how x is multiplied by w and prepares x for it.
func (p *pass) plan(x *tensor, w *weight, sums bool) product {
	pr := product{w: w, x: x, y: p.tensor(x.rows, w.rows), step: p.set.NR}
	several := max(8, gemvBytes/w.rowBytes/8*8)
	switch few := x.rows <= fewRows; {
	case few && !w.quantised:
		p.read(x)
		pr.step, pr.run = several, (*pass).dots
	case few && x.rows > 1 && p.set.GemvFew[w.Type][0] != nil:
		pr.packed, pr.index = p.packRows(x, w.Type)
		pr.step, pr.run = several, (*pass).gemvFew
	case few && w.gemv != nil:
		p.quantiseRows(x)
		pr.step, pr.run = several, (*pass).gemv
	case w.quantised:
		p.quantiseTiles(x, sums)
		pr.run = (*pass).panel
	default:
		p.read(x)
		pr.run = (*pass).floatPanel
	}
	return pr
}

// gemv is weight rows [from, to) times each of a few activation rows: the
// first fetches the weights from memory for all.
func (p *pass) gemv(x *tensor, pr *product, from, to int, _ *scratch) {
	w := pr.w
	for r := range x.rows {
		a := x.digits.rows[r].row(w.format.Group)
		w.gemv(&w.Data[from*w.rowBytes], to-from, w.rowBytes, w.blocks, &a.High[0], &a.Low[0], &a.Scale[0], &a.Sum[0], &pr.y.row(r)[from])
	}
}

// gemvFew is the same, of several rows in one go.
func (p *pass) gemvFew(x *tensor, pr *product, from, to int, s *scratch) {
	w, n, rows := pr.w, to-from, 2<<pr.index
	out := grown(&s.out, rows*n)
	for i, packed := range pr.packed {
		p.set.GemvFew[w.Type][pr.index](&w.Data[from*w.rowBytes], n, w.rowBytes, w.blocks, &packed[0], &out[0], 4*n)
		for r := i * rows; r < min((i+1)*rows, x.rows); r++ {
			copy(pr.y.row(r)[from:to], out[(r-i*rows)*n:])
		}
	}
}

// dots is the same for float weights.
func (p *pass) dots(x *tensor, pr *product, from, to int, s *scratch) {
	w := pr.w
	if dot := w.short.Dot; dot != nil {
		for i := from; i < to; i++ {
			for r := range x.rows {
				pr.y.row(r)[i] = dot(&x.row(r)[0], w.shorts(i), w.cols)
			}
		}
		return
	}
	row, dot := grown(&s.floats, w.cols), p.loops(w.cols).Dot
	for i := from; i < to; i++ {
		at := &row[0]
		if w.aligned() {
			at = (*float32)(unsafe.Pointer(&w.Data[i*w.rowBytes]))
		} else {
			w.floats(i, row)
		}
		for r := range x.rows {
			pr.y.row(r)[i] = dot(&x.row(r)[0], at, w.cols)
		}
	}
}

// panel is weight rows [from, to), at most NR, times every activation row: the
// weights are expanded and interleaved once, then each tile of activations
// meets them.
func (p *pass) panel(x *tensor, pr *product, from, to int, s *scratch) {
	set, w, k := p.set, pr.w, pr.w.cols
	nr, mr := set.NR, set.MR
	s.weights = p.expand(w, from, to, s)
	gemm, a := set.Gemm[w.format.Kind()], x.digits.tiles
	for i := 0; i*mr < x.rows; i++ {
		s.tile = a.at(set, w.format.Group, k, i)
		if to-from == nr && (i+1)*mr <= x.rows {
			gemm(&s.weights, &s.tile, k/32, &pr.y.row(i * mr)[from], 4*w.rows)
			continue
		}
		out := grown(&s.out, mr*nr)
		gemm(&s.weights, &s.tile, k/32, &out[0], 4*nr)
		for r := range min(mr, x.rows-i*mr) {
			copy(pr.y.row(i*mr + r)[from:to], out[r*nr:])
		}
	}
}

// expand makes a panel of weight rows [from, to); those missing are zero.
func (p *pass) expand(w *weight, from, to int, s *scratch) kernel.Panel {
	set, k := p.set, w.cols
	nr, groups := set.NR, k/w.format.Group
	codes, panel, shift := grown(&s.bytes, nr*k), grown(&s.panel, nr*k), grown(&s.shift, nr*groups)
	floats := grown(&s.floats, 4*nr*groups)
	scale, least := floats[:nr*groups], floats[nr*groups:2*nr*groups]
	pscale, pleast := floats[2*nr*groups:3*nr*groups], floats[3*nr*groups:]

	w.expand(set, from, to-from, codes, scale, least)
	if n := to - from; n < nr {
		clear(codes[n*k:])
		clear(scale[n*groups:])
		clear(least[n*groups:])
	}
	for r := 0; r < nr; r += 8 {
		set.Interleave(&panel[4*r], 4*nr, &codes[r*k], k, k/4)
	}
	transpose(set, pscale, scale)
	transpose(set, pleast, least)
	if set.Center != nil {
		set.Center(&panel[0], groups, w.format.Group/4, w.format.Zero, &shift[0])
		for i, v := range pscale {
			pleast[i] += float32(w.format.Zero) * v
		}
	}
	return kernel.Panel{Codes: &panel[0], Scale: &pscale[0], Min: &pleast[0], Shift: &shift[0]}
}

// transpose turns [NR, n] into [n, NR].
func transpose(set *kernel.Set, dst, src []float32) {
	nr := set.NR
	n := len(src) / nr
	whole := n / 8 * 8 // what Interleave takes
	for r := 0; r < nr && whole > 0; r += 8 {
		set.Interleave((*byte)(unsafe.Pointer(&dst[r])), 4*nr, (*byte)(unsafe.Pointer(&src[r*n])), 4*n, whole)
	}
	for r := range nr {
		for i := whole; i < n; i++ {
			dst[i*nr+r] = src[r*n+i]
		}
	}
}

// floatPanel is panel for float weights.
func (p *pass) floatPanel(x *tensor, pr *product, from, to int, s *scratch) {
	set, w, k := p.set, pr.w, pr.w.cols
	nr := set.NR
	panel, out := grown(&s.more, nr*up8(k)), grown(&s.out, set.Rows[0]*nr)
	w.floatPanel(set, panel, from, to, s)
	for at := 0; at < x.rows; {
		m := tallest(set, x.rows-at)
		clear(out)
		set.MulF32(m, &x.data[at*k], k, &panel[0], nr, &out[0], nr, k)
		for r := range m {
			copy(pr.y.row(at + r)[from:to], out[r*nr:])
		}
		at += m
	}
}

// floatPanel lays rows [from, to), at most NR, side by side: [K][NR], with room
// for K rounded up to 8. Those missing are zero.
func (w *weight) floatPanel(set *kernel.Set, panel []float32, from, to int, s *scratch) {
	nr, wide := set.NR, up8(w.cols)
	rows := w.rowsOf(from, to, nr, wide, s)
	for r := 0; r < nr; r += 8 {
		set.Interleave((*byte)(unsafe.Pointer(&panel[r])), 4*nr, (*byte)(unsafe.Pointer(&rows[r*wide])), 4*wide, wide)
	}
}

// rowsOf are rows [from, to) of float weights, wide floats apart, and zeros to
// make up n rows: where they are stored, or a copy.
func (w *weight) rowsOf(from, to, n, wide int, s *scratch) []float32 {
	if to-from == n && wide == w.cols && w.aligned() {
		return unsafe.Slice((*float32)(unsafe.Pointer(&w.Data[from*w.rowBytes])), n*wide)
	}
	rows := grown(&s.floats, n*wide)
	for i := range n {
		if row := rows[i*wide:][:w.cols]; from+i < to {
			w.floats(from+i, row)
		} else {
			clear(row)
		}
	}
	return rows
}

// tallest is the greatest number of rows, at most n, a float product takes.
func tallest(set *kernel.Set, n int) int {
	for _, m := range set.Rows {
		if m <= n {
			return m
		}
	}
	return 1
}

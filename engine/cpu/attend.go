package cpu

import (
	"math"

	"lapidary/engine"
)

const (
	// tileRows is how many rows (queries times the heads that share keys) meet
	// a page at a time: their scores stay in the first-level cache.
	tileRows = 32
	// chunkPages is how many pages one piece of a few queries' attention takes.
	// The pieces begin at multiples of it, so that a query's sums are the same
	// whichever queries stand beside it.
	chunkPages = 4
)

// Attend stores keys and values, then lets each row see its past. The softmax
// runs along with the pages (Milakov and Gimelshein 2018, arXiv:1805.02867),
// so memory does not grow with the context.
func (p *pass) Attend(q, k, v engine.Tensor, a engine.Attend) engine.Tensor {
	for i := range p.spans {
		if s := &p.spans[i]; k != nil {
			p.store(s, s.cache.layer(a), p.read(k), p.read(v))
		}
	}
	if q == nil {
		return nil
	}
	in := p.read(q)
	y := p.tensor(in.rows, in.width)
	spans := p.queries(a.Rows)
	in = p.spreadQueries(in, spans, a)
	var work []attendPiece
	for i := range spans {
		s := &spans[i]
		work = append(work, p.pieces(s, s.cache.layer(a), a)...)
	}
	p.engine.pool.run(len(work), func(i int, s *scratch) { p.attend(&work[i], in, y, a, s) })
	p.merge(work, y, a)
	p.turnHeads(y, spans, a, gather)
	return y
}

// queries are the runs of neighbouring rows among the given ones, as spans of
// a tensor that holds these alone.
func (p *pass) queries(rows []int) []span {
	if rows == nil {
		return p.spans
	}
	var runs []span
	at := 0 // in rows
	for _, s := range p.spans {
		for at < len(rows) && rows[at] < s.row+s.rows {
			n := 1
			for at+n < len(rows) && rows[at+n] == rows[at]+n && rows[at+n] < s.row+s.rows {
				n++
			}
			runs = append(runs, span{cache: s.cache, row: at, rows: n, start: s.start + rows[at] - s.row})
			at += n
		}
	}
	return runs
}

// layer is the memory that attention a reads; a sequence without a cache of
// the caller's gets its layers as they come.
func (c *cache) layer(a engine.Attend) *layer {
	for len(c.layers) <= a.Layer {
		c.add(engine.CacheLayer{KVHeads: a.KVHeads, HeadSize: a.C, Window: a.Window, Keep: engine.Exact})
	}
	return &c.layers[a.Layer-c.layers[a.Layer].Shared]
}

// store writes the span's keys and values at its positions.
func (p *pass) store(s *span, l *layer, k, v *tensor) {
	l.page((s.start + s.rows - 1) / pageLen) // made before threads ask for it
	const run = 16
	p.parallel((s.rows+run-1)/run, 2*s.rows*k.width, func(piece int, _ *scratch) {
		put := p.placer(l, k.width)
		for r := piece * run; r < min((piece+1)*run, s.rows); r++ {
			put(l.page((s.start+r)/pageLen), (s.start+r)%pageLen, k.row(s.row+r), v.row(s.row+r))
		}
	})
}

// placer rounds keys and values of so many elements to what the layer keeps
// and writes them into a page.
func (p *pass) placer(l *layer, width int) func(pg *page, at int, keys, values []float32) {
	loops := p.loops(width)
	switch l.Keep {
	case engine.Exact:
		return func(pg *page, at int, keys, values []float32) { place(l, at, pg.exactK, pg.exactV, keys, values) }
	case engine.Int8:
		return func(pg *page, at int, keys, values []float32) { l.placeCodes(p.set, pg, at, keys, values) }
	default:
		halfs := make([]uint16, 2*width)
		return func(pg *page, at int, keys, values []float32) {
			loops.Half(&halfs[0], &keys[0], width)
			loops.Half(&halfs[width], &values[0], width)
			place(l, at, pg.k, pg.v, halfs[:width], halfs[width:])
		}
	}
}

// attendPiece is some queries of a span, one key-value head, and the pages
// they are shown. A piece that is one of several over the same queries leaves
// its sums in part.
type attendPiece struct {
	span     *span
	layer    *layer
	head     int // key-value head
	from, to int // queries, as rows of the span
	pages    [2]int
	part     []float32 // [rows][2 + C]: greatest score, sum, weighted values; nil if whole
	last     bool      // of the pieces over the same queries
}

// visible is the range of positions the row at pos sees.
func visible(pos, window int) (from, to int) {
	if window > 0 {
		from = max(0, pos-window+1)
	}
	return from, pos + 1
}

// pieces splits a span's attention.
func (p *pass) pieces(s *span, l *layer, a engine.Attend) []attendPiece {
	group := a.Heads / a.KVHeads
	queries := max(1, tileRows/group)
	var work []attendPiece
	for from := 0; from < s.rows; from += queries {
		to := min(from+queries, s.rows)
		first, _ := visible(s.start+from, a.Window)
		_, end := visible(s.start+to-1, a.Window)
		pages := [2]int{first / pageLen, (end + pageLen - 1) / pageLen}
		for head := range a.KVHeads {
			for at := pages[0]; at < pages[1]; {
				next := pages[1]
				if s.rows <= fewRows {
					next = min(next, (at/chunkPages+1)*chunkPages)
				}
				w := attendPiece{span: s, layer: l, head: head, from: from, to: to, pages: [2]int{at, next}}
				if w.pages != pages {
					w.part = p.alloc((to - from) * group * (2 + a.C))
				}
				w.last = next == pages[1]
				work = append(work, w)
				at = next
			}
		}
	}
	return work
}

// state is a tile of rows on their way through the pages.
type state struct {
	rows, group, stride int
	q                   []float32 // [rows][C], scaled
	top, sum            []float32 // [rows]: greatest score so far, Σ exp(score − top)
	acc                 []float32 // [rows][stride]: Σ exp(score − top)·value
	scores              []float32 // [rows][pageLen]
}

func (p *pass) state(w *attendPiece, q *tensor, a engine.Attend, s *scratch) *state {
	nr := p.set.NR
	t := &state{group: a.Heads / a.KVHeads, stride: (a.C + nr - 1) / nr * nr}
	t.rows = (w.to - w.from) * t.group
	sizes := []int{t.rows * a.C, t.rows, t.rows, t.rows * t.stride, t.rows * pageLen}
	total := 0
	for _, n := range sizes {
		total += n
	}
	buffer := grown(&s.floats, total)
	for i, part := range []*[]float32{&t.q, &t.top, &t.sum, &t.acc, &t.scores} {
		*part, buffer = buffer[:sizes[i]], buffer[sizes[i]:]
	}
	for r := range t.rows {
		head := w.head*t.group + r%t.group
		from := q.row(w.span.row + w.from + r/t.group)[head*a.C:][:a.C]
		p.scale(t.q[r*a.C:][:a.C], from, a.Scale)
		t.top[r], t.sum[r] = float32(math.Inf(-1)), 0
	}
	clear(t.acc)
	return t
}

// attend shows a tile of rows its pages, one after the other.
func (p *pass) attend(w *attendPiece, q, y *tensor, a engine.Attend, s *scratch) {
	t := p.state(w, q, a, s)
	for n := w.pages[0]; n < w.pages[1]; n++ {
		p.page(w, t, n, a)
	}
	for r := range t.rows {
		acc := t.acc[r*t.stride:][:a.C]
		if w.part != nil {
			part := w.part[r*(2+a.C):][:2+a.C]
			part[0], part[1] = t.top[r], t.sum[r]
			copy(part[2:], acc)
			continue
		}
		head := w.head*t.group + r%t.group
		out := y.row(w.span.row + w.from + r/t.group)[head*a.C:][:a.C]
		p.scale(out, acc, 1/t.sum[r])
	}
}

// page takes the tile through page n: scores, softmax, values.
func (p *pass) page(w *attendPiece, t *state, n int, a engine.Attend) {
	set, nr, pg := p.set, p.set.NR, w.layer.pages[n-w.layer.first]
	first, _ := visible(w.span.start+w.from, a.Window)
	_, end := visible(w.span.start+w.to-1, a.Window)
	lo, hi := max(0, first-n*pageLen), min(pageLen, end-n*pageLen)

	clear(t.scores)
	for at := 0; at < t.rows; {
		m := tallest(set, t.rows-at)
		for tile := lo / nr; tile*nr < hi; tile++ {
			pg.scores(set, w.layer, w.head, tile, m, &t.q[at*a.C], &t.scores[at*pageLen+tile*nr])
		}
		at += m
	}
	for r := range t.rows {
		p.softmax(w, t, pg, r, n, a)
	}
	for at := 0; at < t.rows; {
		m := tallest(set, t.rows-at)
		for c := 0; c < a.C; c += nr {
			pg.values(set, w.layer, w.head, lo, hi-lo, c, m, &t.scores[at*pageLen+lo], &t.acc[at*t.stride+c], t.stride)
		}
		at += m
	}
}

// softmax turns row r's scores of page n into exp(score − top), as its values
// are to be multiplied by, and brings what it has gathered to the new top.
func (p *pass) softmax(w *attendPiece, t *state, pg *page, r, n int, a engine.Attend) {
	set, scores := p.set, t.scores[r*pageLen:(r+1)*pageLen]
	pg.scaleScores(set, w.head, scores)
	if a.SoftCap != 0 {
		set.SoftCap(&scores[0], a.SoftCap, pageLen)
	}
	from, to := visible(w.span.start+w.from+r/t.group, a.Window)
	from, to = min(max(0, from-n*pageLen), pageLen), max(0, min(pageLen, to-n*pageLen))
	if from >= to {
		clear(scores) // nothing of this page
		return
	}
	fill(scores[:from], float32(math.Inf(-1)))
	fill(scores[to:], float32(math.Inf(-1)))
	top := max(t.top[r], set.Max(&scores[0], pageLen))
	sum := set.Exp(&scores[0], pageLen, top)
	pg.scaleWeights(set, w.head, scores)
	clear(scores[:from])
	clear(scores[to:])
	if t.sum[r] != 0 && top != t.top[r] {
		fade := float32(math.Exp(float64(t.top[r] - top)))
		t.sum[r] *= fade
		acc := t.acc[r*t.stride:][:a.C]
		p.scale(acc, acc, fade)
	}
	t.sum[r] += sum
	t.top[r] = top
}

// scale is y = x · by.
func (p *pass) scale(y, x []float32, by float32) {
	p.loops(len(x)).ScaleMul(&y[0], &x[0], by, &p.ones(len(x))[0], len(x))
}

// merge adds up the pieces that share their queries.
func (p *pass) merge(work []attendPiece, y *tensor, a engine.Attend) {
	from := 0
	for i := range work {
		if !work[i].last {
			continue
		}
		if parts := work[from : i+1]; len(parts) > 1 {
			p.mergeParts(parts, y, a)
		}
		from = i + 1
	}
}

func (p *pass) mergeParts(parts []attendPiece, y *tensor, a engine.Attend) {
	w, group := parts[0], a.Heads/a.KVHeads
	for r := range (w.to - w.from) * group {
		top, sum := float32(math.Inf(-1)), float32(0)
		for _, part := range parts {
			top = max(top, part.part[r*(2+a.C)])
		}
		out := y.row(w.span.row + w.from + r/group)[(w.head*group+r%group)*a.C:][:a.C]
		clear(out)
		for _, part := range parts {
			gathered := part.part[r*(2+a.C):][:2+a.C]
			if gathered[1] == 0 {
				continue
			}
			by := float32(math.Exp(float64(gathered[0] - top)))
			sum += by * gathered[1]
			for i, v := range gathered[2:] {
				out[i] += by * v
			}
		}
		p.scale(out, out, 1/sum)
	}
}

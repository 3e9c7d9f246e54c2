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
	if k != nil {
		p.store(p.read(k), p.read(v), a)
	}
	if q == nil {
		return nil
	}
	in := p.read(q)
	y := p.tensor(in.rows, in.width)
	spans := p.queries(a.Rows)
	relative := p.relative(in, a)
	in = p.spreadQueries(in, spans, a)
	work := p.pieces(spans, a, relative)
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
			run := s
			run.row, run.rows, run.start = at, n, s.start+rows[at]-s.row
			runs = append(runs, run)
			at += n
		}
	}
	return runs
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
		p.scale(out, acc, inverse(t.sum[r]))
	}
}

// page takes the tile through page n: scores, softmax, values.
func (p *pass) page(w *attendPiece, t *state, n int, a engine.Attend) {
	set, nr, layer := p.set, p.set.NR, w.view.layer
	pg := layer.pages[n-layer.first]
	lo, hi := max(0, w.seen[0]-n*pageLen), min(pageLen, w.seen[1]-n*pageLen)

	clear(t.scores)
	for at := 0; at < t.rows; {
		m := tallest(set, t.rows-at)
		for tile := lo / nr; tile*nr < hi; tile++ {
			pg.scores(set, layer, w.head, tile, m, &t.q[at*a.C], &t.scores[at*pageLen+tile*nr])
		}
		at += m
	}
	for r := range t.rows {
		p.softmax(w, t, pg, r, n, a)
	}
	for at := 0; at < t.rows; {
		m := tallest(set, t.rows-at)
		for c := 0; c < a.C; c += nr {
			pg.values(set, layer, w.head, lo, hi-lo, c, m, &t.scores[at*pageLen+lo], &t.acc[at*t.stride+c], t.stride)
		}
		at += m
	}
}

// softmax turns row r's scores of page n into exp(score − top), as its values
// are to be multiplied by, and brings what it has gathered to the new top.
func (p *pass) softmax(w *attendPiece, t *state, pg *page, r, n int, a engine.Attend) {
	set, scores := p.set, t.scores[r*pageLen:(r+1)*pageLen]
	pg.scaleScores(set, w.head, scores)
	w.view.addRelative(scores, w.from+r/t.group, w.head*t.group+r%t.group, n, a)
	if a.SoftCap != 0 {
		set.SoftCap(&scores[0], a.SoftCap, pageLen)
	}
	i := w.from + r/t.group
	if !w.view.mask(scores, i, n, float32(math.Inf(-1))) {
		clear(scores) // nothing of this page
		return
	}
	top := max(t.top[r], set.Max(&scores[0], pageLen))
	if math.IsInf(float64(top), -1) {
		clear(scores)
		return
	}
	sum := set.Exp(&scores[0], pageLen, top)
	pg.scaleWeights(set, w.head, scores)
	w.view.mask(scores, i, n, 0)
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

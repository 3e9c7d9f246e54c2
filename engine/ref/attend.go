package ref

import (
	"math"
	"slices"

	"lapidary/engine"
)

func (p *pass) Attend(q, k, v engine.Tensor, a engine.Attend) engine.Tensor {
	if k != nil {
		p.store(k.(*tensor), v.(*tensor), a)
	}
	if q == nil {
		return nil
	}
	in, row := q.(*tensor), 0
	y := newTensor(in.rows, in.width)
	at := a.Rows
	if at == nil {
		at = make([]int, in.rows)
		for i := range at {
			at[i] = i
		}
	}
	for i, s := range p.spans {
		look := view{a: a, span: s, mem: p.memory(i, a)}
		first, _ := slices.BinarySearch(at, row)
		last, _ := slices.BinarySearch(at, row+s.Rows)
		parallel(last-first, func(from, to int) {
			for j := first + from; j < first+to; j++ {
				look.attend(y.row(j), in.row(j), at[j]-row)
			}
		})
		row += s.Rows
	}
	return y
}

// store puts the keys and values of every row into the memories.
func (p *pass) store(keys, values *tensor, a engine.Attend) {
	row := 0
	for i, s := range p.spans {
		k, v := keys.data[row*keys.width:(row+s.Rows)*keys.width], values.data[row*values.width:(row+s.Rows)*values.width]
		mem := p.memory(i, a)
		switch {
		case s.Behind > 0: // leaves nothing
		case s.Source:
			p.atEnd = append(p.atEnd, func() { mem.k[a.Layer], mem.v[a.Layer] = slices.Clone(k), slices.Clone(v) })
		default:
			mem.store(a.Layer, k, v)
		}
		row += s.Rows
	}
}

// memory is the cache of span i, or a scratch one that dies with the pass.
func (p *pass) memory(i int, a engine.Attend) *cache {
	if c := p.spans[i].Cache; c != nil {
		return c.(*cache)
	}
	if p.scratch == nil {
		p.scratch = make([]*cache, len(p.spans))
	}
	if p.scratch[i] == nil {
		p.scratch[i] = newCache(nil)
	}
	c := p.scratch[i]
	for len(c.layers) <= max(a.Layer, a.Beside-1) {
		c.layers = append(c.layers, engine.CacheLayer{})
		c.k, c.v, c.state = append(c.k, nil), append(c.v, nil), append(c.state, nil)
	}
	c.layers[a.Layer].KVHeads, c.layers[a.Layer].HeadSize = a.KVHeads, a.C
	return c
}

// view is what the rows of a span can see in one layer.
type view struct {
	a    engine.Attend
	span engine.Span
	mem  *cache
}

// attend is softmax(cap(q·(k + relative)ᵀ·scale))·v over what row i of the span
// sees. Query heads share key-value heads in order: heads h·H/K … share head h.
func (l view) attend(y, q []float32, i int) {
	seen := l.positions(i)
	pos, stride := start(l.span)+i, l.a.KVHeads*l.a.C
	k, v := l.mem.k[l.a.Layer], l.mem.v[l.a.Layer]
	for h := range l.a.Heads {
		at := h / (l.a.Heads / l.a.KVHeads) * l.a.C
		head, out := q[h*l.a.C:(h+1)*l.a.C], y[h*l.a.C:(h+1)*l.a.C]
		var scores []float64
		var values [][]float32
		see := func(keys, vals []float32, j int, relative []float32) {
			from := j*stride + at
			score := dot(head, keys[from:from+l.a.C])
			if relative != nil {
				score += dot(head, relative)
			}
			scores = append(scores, softCap(score*float64(l.a.Scale), l.a.SoftCap))
			values = append(values, vals[from:from+l.a.C])
		}
		for _, j := range seen {
			see(k, v, j, l.relative(pos-j, h))
		}
		if l.a.Beside > 0 {
			keys, vals := l.mem.k[l.a.Beside-1], l.mem.v[l.a.Beside-1]
			for j := range len(keys) / stride {
				see(keys, vals, j, nil)
			}
		}
		softmax(scores)
		for c := range out {
			var sum float64
			for j, s := range scores {
				sum += s * float64(values[j][c])
			}
			out[c] = float32(sum)
		}
	}
}

// positions are those of the layer that row i of the span sees.
func (l view) positions(i int) []int {
	if l.a.Source {
		return upTo(0, len(l.mem.k[l.a.Layer])/(l.a.KVHeads*l.a.C))
	}
	first := start(l.span)
	pos, end := first+i, first+l.span.Rows
	from, to := 0, end
	if l.a.Window > 0 {
		from = max(0, pos-l.a.Window+1)
	}
	if l.a.Window > 0 && l.a.Anchored {
		from = max(0, first-l.a.Window+1)
	}
	if l.a.Ahead != engine.All {
		to = min(end, pos+l.a.Ahead+1)
	}
	seen := upTo(from, to)
	if groups := l.span.Groups; l.a.Groups && groups != nil && groups[i] > 0 {
		for j := to; j < end; j++ {
			if groups[j-first] == groups[i] {
				seen = append(seen, j)
			}
		}
	}
	return seen
}

// relative is what is added to a key that lies back positions behind a row.
func (l view) relative(back, h int) []float32 {
	if l.a.Relative == nil {
		return nil
	}
	r := l.a.Relative.(*tensor)
	if i := l.a.Far - back; i >= 0 && i < r.rows {
		return r.row(i)[h*l.a.C : (h+1)*l.a.C]
	}
	return nil
}

func upTo(from, to int) []int {
	var all []int
	for i := from; i < to; i++ {
		all = append(all, i)
	}
	return all
}

func softCap(x float64, limit float32) float64 {
	if limit == 0 {
		return x
	}
	return float64(limit) * math.Tanh(x/float64(limit))
}

func softmax(x []float64) {
	top := math.Inf(-1)
	for _, v := range x {
		top = max(top, v)
	}
	var sum float64
	for i, v := range x {
		x[i] = math.Exp(v - top)
		sum += x[i]
	}
	for i := range x {
		x[i] /= sum
	}
}

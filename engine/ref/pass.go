package ref

import (
	"context"
	"math"
	"slices"

	"lapidary/engine"
)

type pass struct {
	ctx   context.Context
	spans []engine.Span
	// scratch memories of spans without a cache, made at their first Attend.
	scratch []*cache
}

func (p *pass) Embed(table engine.Weight, ids []int32, scale float32) engine.Tensor {
	w := table.(*weight)
	y := newTensor(len(ids), w.Cols())
	for r, id := range ids {
		row := w.row(int(id), y.row(r))
		for i := range row {
			row[i] *= scale
		}
	}
	return y
}

func (p *pass) Norm(x engine.Tensor, n engine.Norm) engine.Tensor {
	in := x.(*tensor)
	y := newTensor(in.rows, in.width)
	for r := range in.rows {
		rmsNorm(y.row(r), in.row(r), n)
	}
	return y
}

// rmsNorm: y = x / √(mean(x²) + ε) · (w + offset). Zhang and Sennrich 2019,
// arXiv:1910.07467; the offset is Gemma's.
func rmsNorm(y, x []float32, n engine.Norm) {
	scale := 1 / math.Sqrt(dot(x, x)/float64(len(x))+float64(n.Eps))
	for i, v := range x {
		y[i] = float32(float64(v) * scale)
	}
	if n.Weight == nil {
		return
	}
	for i, w := range vector(n.Weight) {
		y[i] *= w + n.Offset
	}
}

func (p *pass) Linear(x engine.Tensor, ws ...engine.Weight) []engine.Tensor {
	ys := make([]engine.Tensor, len(ws))
	for i, w := range ws {
		ys[i] = linear(x.(*tensor), w.(*weight))
	}
	return ys
}

func linear(x *tensor, w *weight) *tensor {
	y := newTensor(x.rows, w.Rows())
	parallel(w.Rows(), func(from, to int) {
		buf := make([]float32, w.Cols())
		for o := from; o < to; o++ {
			row := w.row(o, buf)
			for r := range x.rows {
				y.row(r)[o] = float32(dot(x.row(r), row))
			}
		}
	})
	return y
}

func (p *pass) Heads(x engine.Tensor, h engine.Heads) engine.Tensor {
	in := x.(*tensor)
	y := newTensor(in.rows, in.width)
	copy(y.data, in.data)
	for r, pos := range p.positions(h.Rows) {
		for from := 0; from < in.width; from += h.Size {
			head := y.row(r)[from : from+h.Size]
			if h.Norm != nil {
				rmsNorm(head, head, *h.Norm)
			}
			if h.Rope != nil {
				rotate(head, pos, *h.Rope)
			}
		}
	}
	return y
}

// rotate turns element i with element i + C/2.
func rotate(head []float32, pos int, rope engine.Rope) {
	half := len(head) / 2
	for i := range half {
		angle := float64(pos) * rope.Scale * math.Pow(rope.Base, -2*float64(i)/float64(len(head)))
		sin, cos := math.Sincos(angle)
		a, b := float64(head[i]), float64(head[i+half])
		head[i] = float32(a*cos - b*sin)
		head[i+half] = float32(b*cos + a*sin)
	}
}

// positions are those of the given rows of the pass, or of all.
func (p *pass) positions(rows []int) []int {
	var all []int
	for _, s := range p.spans {
		start := 0
		if s.Cache != nil {
			start = s.Cache.Len()
		}
		for j := range s.Rows {
			all = append(all, start+j)
		}
	}
	if rows == nil {
		return all
	}
	some := make([]int, len(rows))
	for i, r := range rows {
		some[i] = all[r]
	}
	return some
}

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
	positions := p.positions(nil)
	for i, s := range p.spans {
		mem := p.memory(i, a)
		layer := a.Layer - mem.layers[a.Layer].Shared
		first, _ := slices.BinarySearch(at, row)
		last, _ := slices.BinarySearch(at, row+s.Rows)
		parallel(last-first, func(from, to int) {
			for j := first + from; j < first+to; j++ {
				attendRow(y.row(j), in.row(j), mem.k[layer], mem.v[layer], positions[at[j]], a)
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
		mem := p.memory(i, a)
		mem.store(a.Layer-mem.layers[a.Layer].Shared, keys.data[row*keys.width:(row+s.Rows)*keys.width],
			values.data[row*values.width:(row+s.Rows)*values.width])
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
	for len(c.layers) <= a.Layer {
		c.layers = append(c.layers, engine.CacheLayer{KVHeads: a.KVHeads, HeadSize: a.C})
		c.k, c.v = append(c.k, nil), append(c.v, nil)
	}
	return c
}

// attendRow is softmax(cap(q·kᵀ·scale))·v over the positions a row at pos sees:
// its own and the Window-1 before it. Query heads share key-value heads in
// order: heads h·H/K … share head h.
func attendRow(y, q, k, v []float32, pos int, a engine.Attend) {
	from := 0
	if a.Window > 0 {
		from = max(0, pos-a.Window+1)
	}
	scores := make([]float64, pos+1-from)
	stride := a.KVHeads * a.C
	for h := range a.Heads {
		at := h / (a.Heads / a.KVHeads) * a.C
		head := q[h*a.C : (h+1)*a.C]
		for i := range scores {
			j := (from+i)*stride + at
			scores[i] = softCap(dot(head, k[j:j+a.C])*float64(a.Scale), a.SoftCap)
		}
		softmax(scores)
		for c := range a.C {
			var sum float64
			for i, s := range scores {
				sum += s * float64(v[(from+i)*stride+at+c])
			}
			y[h*a.C+c] = float32(sum)
		}
	}
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

func (p *pass) Gate(gate, up engine.Tensor, act engine.Activation) engine.Tensor {
	g, u := gate.(*tensor), up.(*tensor)
	y := newTensor(g.rows, g.width)
	for i, v := range g.data {
		y.data[i] = float32(activate(float64(v), act) * float64(u.data[i]))
	}
	return y
}

// activate: Hendrycks and Gimpel 2016, arXiv:1606.08415.
func activate(x float64, act engine.Activation) float64 {
	switch act {
	case engine.GELUTanh:
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	case engine.GELU:
		return 0.5 * x * (1 + math.Erf(x/math.Sqrt2))
	default:
		return x / (1 + math.Exp(-x))
	}
}

func (p *pass) Add(x, y engine.Tensor) engine.Tensor {
	a, b := x.(*tensor), y.(*tensor)
	z := newTensor(a.rows, a.width)
	for i, v := range a.data {
		z.data[i] = v + b.data[i]
	}
	return z
}

func (p *pass) Pick(x engine.Tensor, rows []int) engine.Tensor {
	in := x.(*tensor)
	y := newTensor(len(rows), in.width)
	for i, r := range rows {
		copy(y.row(i), in.row(r))
	}
	return y
}

func (p *pass) SoftCap(x engine.Tensor, limit float32) engine.Tensor {
	in := x.(*tensor)
	y := newTensor(in.rows, in.width)
	for i, v := range in.data {
		y.data[i] = float32(softCap(float64(v), limit))
	}
	return y
}

func (p *pass) Read(x engine.Tensor, dst []float32) { copy(dst, x.(*tensor).data) }

func (p *pass) Write(src []float32, width int) engine.Tensor {
	y := newTensor(len(src)/width, width)
	copy(y.data, src)
	return y
}

func (p *pass) End() error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	for _, s := range p.spans {
		if s.Cache != nil {
			s.Cache.(*cache).n += s.Rows
		}
	}
	return nil
}

func (p *pass) Discard() {}

func (p *pass) Keep(engine.Tensor) {}

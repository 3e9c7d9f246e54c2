package ref

import (
	"context"
	"math"

	"lapidary/engine"
)

type pass struct {
	ctx   context.Context
	spans []engine.Span
	// scratch memories of spans without a cache, made at their first Attend.
	scratch []*cache
	// atEnd is what a sound end does to the caches.
	atEnd []func()
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
		norm(y.row(r), in.row(r), n)
	}
	return y
}

// norm: y = (x − μ) / √(mean((x − μ)²) + ε) · (w + offset) + b, μ the mean of x
// where it is centred and else 0.
func norm(y, x []float32, n engine.Norm) {
	var mean, squares float64
	if n.Centred {
		mean = sum(x) / float64(len(x))
	}
	for _, v := range x {
		squares += (float64(v) - mean) * (float64(v) - mean)
	}
	scale := 1 / math.Sqrt(squares/float64(len(x))+float64(n.Eps))
	for i, v := range x {
		y[i] = float32((float64(v) - mean) * scale)
	}
	if n.Weight != nil {
		for i, w := range vector(n.Weight) {
			y[i] *= w + n.Offset
		}
	}
	if n.Bias != nil {
		for i, b := range vector(n.Bias) {
			y[i] += b
		}
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
	var places []place
	if len(h.Ropes) > 0 {
		places = p.places(h.Rows)
	}
	for r := range in.rows {
		for from := 0; from < in.width; from += h.Size {
			head := y.row(r)[from : from+h.Size]
			if h.Norm != nil {
				norm(head, head, *h.Norm)
			}
			for _, rope := range h.Ropes {
				rotate(head, places[r][rope.Axis]+rope.Shift, rope)
			}
		}
	}
	return y
}

// rotate turns element i of a part of the head with element i + half of it.
func rotate(head []float32, place int, rope engine.Rope) {
	if rope.Size > 0 {
		head = head[rope.From : rope.From+rope.Size]
	}
	half := len(head) / 2
	turn := half
	if rope.Turn > 0 {
		turn = rope.Turn
	}
	for i := range turn {
		angle := float64(place) * rope.Scale * math.Pow(rope.Base, -2*float64(i)/float64(len(head)))
		sin, cos := math.Sincos(angle)
		a, b := float64(head[i]), float64(head[i+half])
		head[i] = float32(a*cos - b*sin)
		head[i+half] = float32(b*cos + a*sin)
	}
}

// place is where a row stands, on each engine.Axis.
type place [3]int

// places are those of the given rows of the pass, or of all.
func (p *pass) places(rows []int) []place {
	var all []place
	for _, s := range p.spans {
		for j := range s.Rows {
			at := place{start(s) + j}
			if s.Grid != nil {
				at[engine.Column], at[engine.Line] = int(s.Grid[j][0]), int(s.Grid[j][1])
			}
			all = append(all, at)
		}
	}
	if rows == nil {
		return all
	}
	some := make([]place, len(rows))
	for i, r := range rows {
		some[i] = all[r]
	}
	return some
}

// start is the position of a span's first row.
func start(s engine.Span) int {
	if s.Cache == nil || s.Source {
		return 0
	}
	return s.Cache.Len() - s.Behind
}

func (p *pass) Gate(gate, up engine.Tensor, act engine.Activation) engine.Tensor {
	g := gate.(*tensor)
	y := newTensor(g.rows, g.width)
	for i, v := range g.data {
		y.data[i] = float32(activate(float64(v), act))
	}
	if up != nil {
		for i, v := range up.(*tensor).data {
			y.data[i] *= v
		}
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
	case engine.ReLU:
		return max(0, x)
	case engine.Tanh:
		return math.Tanh(x)
	case engine.Sigmoid:
		return sigmoid(x)
	default:
		return x * sigmoid(x)
	}
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func (p *pass) Add(x, y engine.Tensor) engine.Tensor {
	a, b := x.(*tensor), y.(*tensor)
	z := newTensor(a.rows, a.width)
	for i, v := range a.data {
		z.data[i] = v + b.data[i]
	}
	return z
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
		if s.Cache != nil && !s.Source && s.Behind == 0 {
			s.Cache.(*cache).n += s.Rows
		}
	}
	for _, f := range p.atEnd {
		f()
	}
	return nil
}

func (p *pass) Discard() {}

func (p *pass) Keep(...engine.Tensor) {}

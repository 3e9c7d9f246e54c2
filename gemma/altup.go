package gemma

import (
	"lapidary/engine"
)

// streams is AltUp (Baykal et al. 2023, arXiv:2301.13310) around a layer of
// Gemma 3n: what the layer will do to every stream is predicted from all of
// them, the layer runs on one, and the others are corrected by how far that
// prediction was off. With it goes LAuReL (Menghani et al. 2024,
// arXiv:2411.07501), a low-rank way around the attention.
type streams struct {
	active      int
	router      *engine.Norm
	routes      engine.Weight // [n, D]
	predict     engine.Weight // [n·n, n]
	correct     engine.Weight // [n, n]
	output      engine.Weight // [D]; nil for none
	left, right engine.Weight // [rank, D], [D, rank]
	afterAround *engine.Norm
	scale       float32 // of the router's input: 1/D
}

func (b *stackBinder) streams(layer string) *streams {
	c, d := b.config.Streams, b.config.Width
	out := &streams{
		active: c.Active, scale: 1 / float32(d),
		router:  b.norm(layer+".altup.router_norm", d),
		routes:  b.weight(layer+".altup.modality_router.weight", c.Count, d),
		predict: b.weight(layer+".altup.prediction_coefs.weight", c.Count*c.Count, c.Count),
		correct: b.weight(layer+".altup.correction_coefs.weight", c.Count, c.Count),
		left:    b.weight(layer+".laurel.linear_left.weight", c.Rank, d), right: b.weight(layer+".laurel.linear_right.weight", d, c.Rank),
		afterAround: b.norm(layer+".laurel.post_laurel_norm", d),
	}
	if c.Scaled {
		out.output = b.weight(layer+".altup.correct_output_scale", d)
	}
	return out
}

// around is the way around the attention of h [R, D].
func (m *streams) around(p engine.Pass, h engine.Tensor) engine.Tensor {
	y := p.Norm(p.Linear(p.Linear(h, m.left)[0], m.right)[0], *m.afterAround)
	return p.Add(y, h)
}

// modes are what the router makes of a stream, [R, n].
func (m *streams) modes(p engine.Pass, x engine.Tensor) engine.Tensor {
	return p.Gate(p.Linear(p.Scale(p.Norm(x, *m.router), m.scale), m.routes)[0], nil, engine.Tanh)
}

func (m *streams) forward(b *block, f *flow, to []int) {
	p, active := f.p, m.active
	predicted := p.Mix(f.xs, p.Linear(m.modes(p, f.xs[active]), m.predict)[0])
	for i, x := range f.xs {
		predicted[i] = p.Add(predicted[i], x)
	}
	y := b.main(f, duplicate(p, predicted[active]), to)
	if f.xs = nil; y == nil {
		return
	}
	if to != nil {
		for i := range predicted {
			predicted[i] = p.Pick(predicted[i], to)
		}
	}
	surprise := p.Add(p.Scale(duplicate(p, predicted[active]), -1), y)
	parts := p.Mix([]engine.Tensor{surprise}, p.Linear(m.modes(p, y), m.correct)[0])
	for i, part := range parts { // the factors are 1 more than the coefficients
		f.xs = append(f.xs, p.Add(p.Add(part, surprise), predicted[i]))
	}
	first := duplicate(p, f.xs[active])
	if m.output != nil {
		first = p.Affine(first, m.output, nil)
	}
	add := b.input.forward(f, first, b.index)
	for i := 1; i < len(f.xs); i++ {
		f.xs[i] = p.Add(f.xs[i], add)
	}
	f.xs[0] = f.watch.see(p, b.name, f.xs[0])
}

func duplicate(p engine.Pass, x engine.Tensor) engine.Tensor {
	_, width := x.Dims()
	return p.Columns(x, 0, width)
}

// fan makes the streams of the embedded tokens and one of them at the end.
type fan struct {
	out, in []engine.Weight // [D, D] for each stream but the first
}

func (b *stackBinder) fan() *fan {
	c, d := b.config.Streams, b.config.Width
	if c == nil {
		return nil
	}
	out := &fan{}
	for i := range c.Count - 1 {
		out.out = append(out.out, b.oneOf(b.prefix+"altup_projections", i, c.Count-1, d, d))
		out.in = append(out.in, b.oneOf(b.prefix+"altup_unembed_projections", i, c.Count-1, d, d))
	}
	return out
}

// open gives the other streams the first one's magnitude.
func (m *fan) open(p engine.Pass, x engine.Tensor) []engine.Tensor {
	xs := []engine.Tensor{x}
	for _, y := range p.Linear(x, m.out...) {
		xs = append(xs, p.Match(y, x))
	}
	return xs
}

// close is the mean of all, of the first one's magnitude each.
func (m *fan) close(p engine.Pass, xs []engine.Tensor) engine.Tensor {
	sum := duplicate(p, xs[0])
	for i, w := range m.in {
		sum = p.Add(sum, p.Match(p.Linear(xs[i+1], w)[0], xs[0]))
	}
	return p.Scale(sum, 1/float32(len(xs)))
}

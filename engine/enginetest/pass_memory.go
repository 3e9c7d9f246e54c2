package enginetest

import (
	"math"
	"slices"

	"lapidary/engine"
)

// memory is what is known about what a sequence holds.
type memory struct {
	layers  []engine.CacheLayer // nil for a sequence that is forgotten
	extents map[int]extent      // of the layers
	drift   map[int]drift       // of the recurrences of a layer
}

// drift is how far apart the states of two engines may be, and how great they
// are.
type drift struct{ off, size []float64 }

func newDrift(width int) drift { return drift{make([]float64, width), make([]float64, width)} }

func newMemory(layers []engine.CacheLayer) memory {
	return memory{layers: layers, extents: map[int]extent{}, drift: map[int]drift{}}
}

// see takes in what a layer is given.
func (m *memory) see(layer int, e extent) {
	e.join(m.extents[layer])
	m.extents[layer] = e
}

// keep is how far a layer may round.
func (m *memory) keep(layer int) engine.Precision {
	if layer < len(m.layers) {
		return m.layers[layer].Keep
	}
	return engine.Half
}

// memory is that of a span.
func (p *twinPass) memory(s engine.Span) *memory {
	if s.Cache == nil {
		return &p.scratch
	}
	return &s.Cache.(*twinCache).memory
}

// see takes in what all rows leave in a layer.
func (p *twinPass) see(layer int, e extent) {
	for _, s := range p.spans {
		p.memory(s).see(layer, e)
	}
}

// extent is of what rows may find in a layer.
func (p *twinPass) extent(layer int) (all extent) {
	for _, s := range p.spans {
		all.join(p.memory(s).extents[layer])
	}
	return all
}

func (p *twinPass) Attend(q, k, v engine.Tensor, a engine.Attend) engine.Tensor {
	var args []*twinTensor
	var keys, values [2]engine.Tensor // as the tested and the plain engine see them
	if k != nil {
		k, v := k.(*twinTensor), v.(*twinTensor)
		keys, values = [2]engine.Tensor{k.tested, k.plain}, [2]engine.Tensor{v.tested, v.plain}
		p.see(a.Layer, extentOf(read(p.plain, k.plain), read(p.plain, v.plain)))
		args = append(args, k, v)
	}
	tested, plain := a, a
	if a.Relative != nil {
		r := a.Relative.(*twinTensor)
		tested.Relative, plain.Relative = r.tested, r.plain
		args = append(args, r)
	}
	if q == nil {
		for _, y := range []engine.Tensor{p.tested.Attend(nil, keys[0], values[0], tested), p.plain.Attend(nil, keys[1], values[1], plain)} {
			if y != nil {
				p.twins.failf("Attend: no queries give %v", y)
			}
		}
		p.intact("Attend", args...)
		return nil
	}
	in := q.(*twinTensor)
	args = append(args, in)
	y := p.settle("Attend", p.tested.Attend(in.tested, keys[0], values[0], tested), p.plain.Attend(in.plain, keys[1], values[1], plain), p.attention(a))
	p.intact("Attend", args...)
	return y
}

// attention is what the results of an attention may differ by, which goes by the
// memories that a row reads.
func (p *twinPass) attention(a engine.Attend) func(want []float32) func(i int) float64 {
	layers := []int{a.Layer}
	if a.Beside > 0 {
		layers = append(layers, a.Beside-1)
	}
	var limits []float64 // of the rows of the pass
	for _, s := range p.spans {
		m, keep := p.memory(s), engine.Exact
		var seen extent
		for _, layer := range layers {
			seen.join(m.extents[layer])
			keep = lesser(keep, m.keep(layer))
		}
		limits = append(limits, slices.Repeat([]float64{seen.tolerance(keep)}, s.Rows)...)
	}
	width := a.Heads * a.C
	return by(func(i int) float64 {
		if a.Rows != nil {
			return limits[a.Rows[i/width]]
		}
		return limits[i/width]
	})
}

func (p *twinPass) Recur(x, in, forget engine.Tensor, r engine.Recurrence) engine.Tensor {
	xs := twinsOf([]engine.Tensor{x, in, forget})
	tested, plain := r, r
	tested.Decay, plain.Decay = split(r.Decay)
	values, forgets, decay := read(p.plain, xs[0].plain), read(p.plain, xs[2].plain), floats(r.Decay)
	y := p.settle("Recur", p.tested.Recur(xs[0].tested, xs[1].tested, xs[2].tested, tested), p.plain.Recur(xs[0].plain, xs[1].plain, xs[2].plain, plain),
		func(want []float32) func(i int) float64 {
			limits := p.drifts(want, values, forgets, decay, r.Layer)
			return func(i int) float64 { return limits[i] }
		})
	p.intact("Recur", xs...)
	return y
}

// drifts are what the results of a recurrence may differ by. A result is a part
// of the one before and what is new, which is no greater than both results
// together. The engines' states are their own, so a row also has its part of
// what the one before it was off by.
func (p *twinPass) drifts(want, x, forgets, decay []float32, layer int) []float64 {
	limits := make([]float64, len(want))
	width, at := len(decay), 0
	for _, s := range p.spans {
		m, now := p.memory(s), newDrift(width)
		if d, ok := m.drift[layer]; ok && s.Cache != nil {
			copy(now.off, d.off)
			copy(now.size, d.size)
		}
		for range s.Rows {
			for i, d := range decay {
				exponent := 8 * sigmoid(float64(forgets[at])) * math.Log1p(math.Exp(float64(d)))
				a, size := math.Exp(-exponent), math.Abs(float64(want[at]))
				limits[at] = a*now.off[i] + recurrent*(a*(1+exponent)*now.size[i]+size) + saturated*math.Abs(float64(x[at]))
				now.off[i], now.size[i] = limits[at], size
				at++
			}
		}
		if s.Cache != nil && s.Behind == 0 {
			p.atEnd = append(p.atEnd, func() { m.drift[layer] = now })
		}
	}
	return limits
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func (p *twinPass) Conv1D(x engine.Tensor, c engine.Conv1D) engine.Tensor {
	in := x.(*twinTensor)
	tested, plain := c, c
	tested.Weight, plain.Weight = split(c.Weight)
	tested.Bias, plain.Bias = split(c.Bias)
	p.see(c.Layer, extent{top: greatest(read(p.plain, in.plain))})
	top, w, b := p.extent(c.Layer).top, floats(c.Weight), floats(c.Bias)
	width, size := c.Weight.Dims()
	y := p.settle("Conv1D", p.tested.Conv1D(in.tested, tested), p.plain.Conv1D(in.plain, plain), by(func(i int) float64 {
		i %= width
		terms := top * sumOf(w[i*size:(i+1)*size])
		if b != nil {
			terms += math.Abs(float64(b[i]))
		}
		return relative * terms
	}))
	p.intact("Conv1D", in)
	return y
}

// sumOf is Σ|x|.
func sumOf(x []float32) float64 {
	var s float64
	for _, v := range x {
		s += math.Abs(float64(v))
	}
	return s
}

package cpu

import (
	"math"

	"lapidary/engine"
)

// carry runs f over the rows of each span with the state its memory holds,
// which f changes; the memory has the new one when the pass ends well.
func (p *pass) carry(layer, state int, f func(state []float32, s *span)) {
	for i := range p.spans {
		s := &p.spans[i]
		held := make([]float32, state)
		if s.kept {
			copy(held, s.cache.layer(layer).state)
		}
		f(held, s)
		if s.kept && !s.behind {
			c := s.cache
			p.atEnd = append(p.atEnd, func() {
				if layer < len(c.layers) { // it may have been closed
					c.layers[layer].state = held
				}
			})
		}
	}
}

// columnRun is how many columns one piece of a recurrence takes.
const columnRun = 128

// Recur goes through the rows of each span, column by column.
func (p *pass) Recur(x, in, forget engine.Tensor, r engine.Recurrence) engine.Tensor {
	values, inputs, forgets := p.read(x), p.read(in), p.read(forget)
	y := p.tensor(values.rows, values.width)
	decay := r.Decay.(*weight).norm(0)
	p.carry(r.Layer, values.width, func(h []float32, s *span) {
		p.parallel((len(h)+columnRun-1)/columnRun, 16*s.rows*len(h), func(piece int, _ *scratch) {
			for i := piece * columnRun; i < min((piece+1)*columnRun, len(h)); i++ {
				slope := -8 * math.Log1p(math.Exp(float64(decay[i])))
				for t := range s.rows {
					at := s.row + t
					exponent := slope * sigmoid(float64(forgets.row(at)[i]))
					a, gain := math.Exp(exponent), math.Sqrt(-math.Expm1(2*exponent))
					if s.start+t == 0 {
						gain = 1
					}
					h[i] = float32(a*float64(h[i]) + gain*sigmoid(float64(inputs.row(at)[i]))*float64(values.row(at)[i]))
					y.row(at)[i] = h[i]
				}
			}
		})
	})
	return y
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// Conv1D is a causal convolution of columns.
func (p *pass) Conv1D(x engine.Tensor, c engine.Conv1D) engine.Tensor {
	in, w := p.read(x), c.Weight.(*weight)
	y := p.tensor(in.rows, in.width)
	kernels, before := w.norm(0), w.cols-1
	var bias []float32
	if c.Bias != nil {
		bias = c.Bias.(*weight).norm(0)
	}
	p.carry(c.Layer, before*in.width, func(state []float32, s *span) {
		// row is row t of the span, or of what came before.
		row := func(t int) []float32 {
			if t < 0 {
				return state[(t+before)*in.width:][:in.width]
			}
			return in.row(s.row + t)
		}
		const run = 16
		p.parallel((s.rows+run-1)/run, s.rows*in.width*w.cols, func(piece int, _ *scratch) {
			for t := piece * run; t < min((piece+1)*run, s.rows); t++ {
				out := y.row(s.row + t)
				clear(out)
				copy(out, bias)
				for k := range w.cols {
					for i, v := range row(t - before + k) {
						out[i] += kernels[i*w.cols+k] * v
					}
				}
			}
		})
		last := make([]float32, 0, len(state))
		for t := s.rows - before; t < s.rows; t++ {
			last = append(last, row(t)...)
		}
		copy(state, last)
	})
	return y
}

package cpu

import (
	"math"

	"lapidary/engine"
	"lapidary/engine/cpu/kernel"
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

// Recur goes through the rows of each span, a run of columns at a time.
func (p *pass) Recur(x, in, forget engine.Tensor, r engine.Recurrence) engine.Tensor {
	values, inputs, forgets := p.read(x), p.read(in), p.read(forget)
	y := p.tensor(values.rows, values.width)
	slopes := r.Decay.(*weight).decaySlopes()
	p.carry(r.Layer, values.width, func(h []float32, s *span) {
		p.parallel((len(h)+chunk-1)/chunk, 16*s.rows*len(h), func(piece int, _ *scratch) {
			from, to := piece*chunk, min((piece+1)*chunk, len(h))
			u := newUnit(p.loops(to-from), h[from:to], slopes[from:to])
			for t := range s.rows {
				at := s.row + t
				u.step(y.row(at)[from:to], values.row(at)[from:to], inputs.row(at)[from:to], forgets.row(at)[from:to], s.start+t == 0)
			}
		})
	})
	return y
}

// unit is a run of columns of a recurrence.
type unit struct {
	set                 *kernel.Set
	h, slope            []float32 // slope: of log a by σ(forget)
	gates, logs, decays []float32 // of one row
}

func newUnit(set *kernel.Set, h, slope []float32) *unit {
	n := len(h)
	room := make([]float32, 3*n)
	return &unit{set, h, slope, room[:n], room[n : 2*n], room[2*n:]}
}

// decaySlopes are −8·softplus(weight), made at the first use.
func (w *weight) decaySlopes() []float32 {
	decay := w.norm(0)
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.slopes == nil {
		w.slopes = make([]float32, len(decay))
		for i, v := range decay {
			w.slopes[i] = float32(-8 * math.Log1p(math.Exp(float64(v))))
		}
	}
	return w.slopes
}

// step is h = a·h + √(1 − a²)·σ(in)·x with log a = slope·σ(forget).
func (u *unit) step(y, x, in, forget []float32, first bool) {
	sigmoids(u.set, u.logs, forget)
	u.set.ScaleMul(&u.logs[0], &u.logs[0], 1, &u.slope[0], len(u.h))
	copy(u.decays, u.logs)
	u.set.Exp(&u.decays[0], len(u.h), 0)
	sigmoids(u.set, u.gates, in)
	for i, a := range u.decays {
		gain := float32(1)
		if !first {
			gain = float32(math.Sqrt(float64(lost(2*u.logs[i], a*a))))
		}
		u.h[i] = a*u.h[i] + gain*u.gates[i]*x[i]
		y[i] = u.h[i]
	}
}

// lost is 1 − exp(log), where a difference of near numbers would be left by its
// series.
func lost(log, exp float32) float32 {
	if log < -0.5 {
		return 1 - exp
	}
	series := float32(1)
	for _, n := range [...]float32{9, 8, 7, 6, 5, 4, 3, 2} {
		series = 1 + series*log/n
	}
	return -log * series
}

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

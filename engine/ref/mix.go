package ref

import (
	"cmp"
	"math"
	"slices"

	"lapidary/engine"
)

// each is f of every element of x.
func each(x engine.Tensor, f func(row, col int, v float32) float32) *tensor {
	in := x.(*tensor)
	y := newTensor(in.rows, in.width)
	for r := range in.rows {
		for c, v := range in.row(r) {
			y.row(r)[c] = f(r, c, v)
		}
	}
	return y
}

func (p *pass) SoftCap(x engine.Tensor, limit float32) engine.Tensor {
	return each(x, func(_, _ int, v float32) float32 { return float32(softCap(float64(v), limit)) })
}

func (p *pass) Affine(x engine.Tensor, by, plus engine.Weight) engine.Tensor {
	if by != nil {
		w := vector(by)
		x = each(x, func(_, c int, v float32) float32 { return v * w[c] })
	}
	if plus != nil {
		w := vector(plus)
		x = each(x, func(_, c int, v float32) float32 { return v + w[c] })
	}
	return x
}

func (p *pass) Scale(x engine.Tensor, by float32) engine.Tensor {
	return each(x, func(_, _ int, v float32) float32 { return v * by })
}

func (p *pass) Clamp(x engine.Tensor, least, most float32) engine.Tensor {
	return each(x, func(_, _ int, v float32) float32 { return max(least, min(v, most)) })
}

func (p *pass) Sparse(x engine.Tensor, deviations float32) engine.Tensor {
	in := x.(*tensor)
	y := newTensor(in.rows, in.width)
	for r := range in.rows {
		row, n := in.row(r), float64(in.width)
		mean := sum(row) / n
		var squares float64
		for _, v := range row {
			squares += (float64(v) - mean) * (float64(v) - mean)
		}
		cut := mean + math.Sqrt(squares/n)*float64(deviations)
		for c, v := range row {
			y.row(r)[c] = float32(max(0, float64(v)-cut))
		}
	}
	return y
}

func (p *pass) Mix(xs []engine.Tensor, by engine.Tensor) []engine.Tensor {
	factors := by.(*tensor)
	ys := make([]engine.Tensor, factors.width/len(xs))
	for j := range ys {
		ys[j] = each(xs[0], func(r, c int, _ float32) float32 {
			var sum float64
			for i, x := range xs {
				sum += float64(factors.row(r)[j*len(xs)+i]) * float64(x.(*tensor).row(r)[c])
			}
			return float32(sum)
		})
	}
	return ys
}

func (p *pass) Match(x, like engine.Tensor) engine.Tensor {
	in, model := x.(*tensor), like.(*tensor)
	y := newTensor(in.rows, in.width)
	for r := range in.rows {
		want := dot(model.row(r), model.row(r)) / float64(model.width)
		have := max(dot(in.row(r), in.row(r))/float64(in.width), 1e-5)
		for c, v := range in.row(r) {
			y.row(r)[c] = float32(float64(v) * math.Sqrt(want/have))
		}
	}
	return y
}

func (p *pass) Pick(x engine.Tensor, rows []int) engine.Tensor {
	in := x.(*tensor)
	y := newTensor(len(rows), in.width)
	for i, r := range rows {
		copy(y.row(i), in.row(r))
	}
	return y
}

func (p *pass) Put(x engine.Tensor, rows []int, y engine.Tensor) engine.Tensor {
	out := each(x, func(_, _ int, v float32) float32 { return v })
	for i, r := range rows {
		copy(out.row(r), y.(*tensor).row(i))
	}
	return out
}

func (p *pass) Columns(x engine.Tensor, from, n int) engine.Tensor {
	in := x.(*tensor)
	y := newTensor(in.rows, n)
	for r := range in.rows {
		copy(y.row(r), in.row(r)[from:])
	}
	return y
}

func (p *pass) Mean(x engine.Tensor, groups [][]int) engine.Tensor {
	in := x.(*tensor)
	y := newTensor(len(groups), in.width)
	for g, rows := range groups {
		for c := range in.width {
			var sum float64
			for _, r := range rows {
				sum += float64(in.row(r)[c])
			}
			y.row(g)[c] = float32(sum / float64(len(rows)))
		}
	}
	return y
}

func (p *pass) Expect(x engine.Tensor, table engine.Weight, scale float32) engine.Tensor {
	in, w := x.(*tensor), table.(*weight)
	y := newTensor(in.rows, w.Cols())
	chances := make([][]float64, in.rows)
	for r := range chances {
		chances[r] = softmaxOf(in.row(r))
	}
	sums, row := make([]float64, in.rows*w.Cols()), make([]float32, w.Cols())
	for id := range w.Rows() {
		w.row(id, row)
		for r := range in.rows {
			for c, v := range row {
				sums[r*w.Cols()+c] += chances[r][id] * float64(v)
			}
		}
	}
	for i, v := range sums {
		y.data[i] = float32(v * float64(scale))
	}
	return y
}

func softmaxOf(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	softmax(y)
	return y
}

func (p *pass) BlockLinear(x engine.Tensor, w engine.Weight, n int) engine.Tensor {
	in, m := x.(*tensor), w.(*weight)
	size, out := in.width/n, m.Cols()
	y := newTensor(in.rows, n*out)
	sums, row := make([]float64, in.rows*n*out), make([]float32, out)
	for i := range m.Rows() { // input i, of block i/size
		m.row(i, row)
		for r := range in.rows {
			to := sums[r*n*out+i/size*out:]
			for o, v := range row {
				to[o] += float64(in.row(r)[i]) * float64(v)
			}
		}
	}
	for i, v := range sums {
		y.data[i] = float32(v)
	}
	return y
}

func (p *pass) Experts(x, scores engine.Tensor, e engine.Experts) engine.Tensor {
	in, choice := x.(*tensor), scores.(*tensor)
	y := newTensor(in.rows, in.width)
	parallel(in.rows, func(from, to int) {
		for r := from; r < to; r++ {
			for _, c := range choose(choice.row(r), e) {
				addExpert(y.row(r), in.row(r), c, e)
			}
		}
	})
	return y
}

// chosen is an expert and what its result counts.
type chosen struct {
	expert int
	share  float64
}

// choose is the best of a row's experts. Of equals, the first.
func choose(scores []float32, e engine.Experts) []chosen {
	var all []chosen
	for i, share := range softmaxOf(scores) {
		all = append(all, chosen{i, share})
	}
	slices.SortStableFunc(all, func(a, b chosen) int { return cmp.Compare(b.share, a.share) })
	best, total := all[:e.Top], 0.0
	for _, c := range best {
		total += c.share
	}
	for i := range best {
		best[i].share /= total
		if e.Scale != nil {
			best[i].share *= float64(vector(e.Scale)[best[i].expert])
		}
	}
	return best
}

// addExpert adds c.share · down(act(gate(x)) · up(x)) of one expert to y.
func addExpert(y, x []float32, c chosen, e engine.Experts) {
	gateUp, down := e.GateUp.(*weight), e.Down.(*weight)
	f := down.Cols()
	h, row := make([]float32, f), make([]float32, max(len(x), f))
	for i := range h {
		gate := dot(x, gateUp.row(c.expert*2*f+i, row[:len(x)]))
		up := dot(x, gateUp.row(c.expert*2*f+f+i, row[:len(x)]))
		h[i] = float32(activate(gate, e.Activation) * up)
	}
	for i := range y {
		y[i] += float32(c.share * dot(h, down.row(c.expert*len(y)+i, row[:f])))
	}
}

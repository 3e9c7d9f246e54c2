package ref

import (
	"math"
	"slices"

	"lapidary/engine"
)

// carry runs f over the rows of each span with the state its memory holds,
// which f changes; the memory has the new one when the pass ends well.
func (p *pass) carry(layer, state int, f func(state []float32, first, rows, position int)) {
	row := 0
	for _, s := range p.spans {
		held := make([]float32, state)
		if c, ok := s.Cache.(*cache); ok {
			copy(held, c.state[layer])
			if s.Behind == 0 {
				p.atEnd = append(p.atEnd, func() { c.state[layer] = held })
			}
		}
		f(held, row, s.Rows, start(s))
		row += s.Rows
	}
}

func (p *pass) Recur(x, in, forget engine.Tensor, r engine.Recurrence) engine.Tensor {
	values, inputs, forgets := x.(*tensor), in.(*tensor), forget.(*tensor)
	y := newTensor(values.rows, values.width)
	decay := vector(r.Decay)
	p.carry(r.Layer, values.width, func(h []float32, first, rows, position int) {
		for t := range rows {
			at := first + t
			for i, v := range values.row(at) {
				exponent := -8 * sigmoid(float64(forgets.row(at)[i])) * math.Log1p(math.Exp(float64(decay[i])))
				a, gain := math.Exp(exponent), math.Sqrt(-math.Expm1(2*exponent))
				if position+t == 0 {
					gain = 1
				}
				h[i] = float32(a*float64(h[i]) + gain*sigmoid(float64(inputs.row(at)[i]))*float64(v))
				y.row(at)[i] = h[i]
			}
		}
	})
	return y
}

func (p *pass) Conv1D(x engine.Tensor, c engine.Conv1D) engine.Tensor {
	in, w := x.(*tensor), c.Weight.(*weight)
	y := newTensor(in.rows, in.width)
	kernels := matrix(w)
	var bias []float32
	if c.Bias != nil {
		bias = vector(c.Bias)
	}
	before := w.Cols() - 1
	p.carry(c.Layer, before*in.width, func(state []float32, first, rows, _ int) {
		all := slices.Concat(state, in.data[first*in.width:(first+rows)*in.width])
		for t := range rows {
			for i := range in.width {
				var sum float64
				for k, f := range kernels[i*w.Cols() : (i+1)*w.Cols()] {
					sum += float64(f) * float64(all[(t+k)*in.width+i])
				}
				if bias != nil {
					sum += float64(bias[i])
				}
				y.row(first + t)[i] = float32(sum)
			}
		}
		copy(state, all[len(all)-len(state):])
	})
	return y
}

func (p *pass) Conv2D(x engine.Tensor, c engine.Conv2D) engine.Tensor {
	in, kernels := x.(*tensor), matrix(c.Weight.(*weight))
	places, times, out := c.Shape(in.width)
	y := newTensor(times, out*c.Out)
	if c.Places > 0 {
		y = newTensor(times*out, c.Out)
	}
	groups := max(1, c.Groups)
	seen, given := c.In/groups, c.Out/groups // by an output, by a group
	first, row := 0, 0
	for _, n := range c.Lengths {
		at := func(t, f, channel int) float32 { // 0 beyond the edges
			if t < 0 || t >= n || f < 0 || f >= places {
				return 0
			}
			return in.data[((first+t)*places+f)*c.In+channel]
		}
		for t := range c.Steps(0, n) {
			for f := range out {
				for o := range c.Out {
					kernel := kernels[o*seen*c.Size[0]*c.Size[1]:][:seen*c.Size[0]*c.Size[1]]
					y.data[(row*out+f)*c.Out+o] = convolve(kernel, c, t, f, func(t, f, channel int) float32 { return at(t, f, o/given*seen+channel) })
				}
			}
			row++
		}
		first += n
	}
	return y
}

// convolve is one output channel at time t and place f.
func convolve(kernel []float32, c engine.Conv2D, t, f int, at func(t, f, channel int) float32) float32 {
	var sum float64
	for channel := range len(kernel) / (c.Size[0] * c.Size[1]) {
		for i := range c.Size[0] {
			for j := range c.Size[1] {
				v := at(t*c.Stride[0]-c.Before[0]+i, f*c.Stride[1]-c.Before[1]+j, channel)
				sum += float64(v) * float64(kernel[(channel*c.Size[0]+i)*c.Size[1]+j])
			}
		}
	}
	return float32(sum)
}

func (p *pass) CumulativeNorm(x engine.Tensor, n engine.CumulativeNorm) engine.Tensor {
	in, w := x.(*tensor), vector(n.Weight)
	y := newTensor(in.rows, in.width)
	row := 0
	for _, length := range n.Lengths {
		var total, squares, count float64
		for range length {
			total += sum(in.row(row))
			count += float64(in.width)
			mean := total / count
			for _, v := range in.row(row) {
				squares += (float64(v) - mean) * (float64(v) - mean)
			}
			scale := 1 / math.Sqrt(squares/count+float64(n.Eps))
			for i, v := range in.row(row) {
				y.row(row)[i] = float32((float64(v) - mean) * scale * float64(w[i%len(w)]))
			}
			row++
		}
	}
	return y
}

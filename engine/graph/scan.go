package graph

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph" //nolint:revive,staticcheck // formulas of graph operations read like formulas

	"lapidary/engine"
)

// carried are rows of the pass in lines with the states before them.
type carried struct {
	all    spread
	data   []*datum // of lines that are not full: to and from them; of the last row of each line; of positions
	states []tensor // of each line that has one
	has    []bool
}

// carry prepares what goes from row to row in a layer.
func (p *Pass) carry(layer int) carried {
	c := carried{all: p.layout.spread(nil)}
	last := make([]int, p.layout.lines)
	at := &datum{dims: []int{c.all.lines, c.all.length, 1}}
	for place, row := range c.all.row {
		position := int32(0)
		if row >= 0 {
			last[place/c.all.length] = place
			s := p.layout.span[row]
			position = int32(row - p.layout.first[s]) // since the state before the span
			if held, ok := p.spans[s].Cache.(*cache); ok && held.n > 0 {
				position += 1 << 20
			}
		}
		at.ints = append(at.ints, position)
	}
	c.data = []*datum{
		p.remember("carried to", func() *datum { return numbers(c.all.slot) }), p.remember("carried from", func() *datum { return numbers(c.all.place) }),
		p.remember("carried last", func() *datum { return numbers(last) }), p.remember("carried at", func() *datum { return at }),
	}
	for _, s := range p.spans {
		held, ok := s.Cache.(*cache)
		ok = ok && !held.layers[layer].state.empty() && !p.layout.packed
		if c.has = append(c.has, ok); ok {
			t := p.held(held.layers[layer].state, held.layers[layer].State)
			p.values[t.id].float = true
			c.states = append(c.states, t)
		}
	}
	return c
}

func (c *carried) key() string {
	return fmt.Sprint(c.all.lines, c.all.length, c.all.full, c.has)
}

// lines is x [R, W] as [L, S, W], in float32.
func (c *carried) lines(x *node, to *node) *node {
	if !c.all.full {
		x = rowsOf(x, to)
	}
	return wide(Reshape(x, c.all.lines, c.all.length, x.Shape().Dim(1)))
}

// rows is the reverse.
func (c *carried) rows(x *node, from *node) *node {
	x = Reshape(x, c.all.lines*c.all.length, x.Shape().Dim(2))
	if !c.all.full {
		x = rowsOf(x, from)
	}
	return x
}

// before are the states before the lines, [L, n], zeros where there are none.
func (c *carried) before(l *lowering, states []*node, n int) *node {
	var all []*node
	for i := range c.all.lines {
		if i < len(c.has) && c.has[i] {
			all, states = append(all, Reshape(states[0], 1, n)), states[1:]
		} else {
			all = append(all, Zeros(l.g, shapeOf(float, 1, n)))
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	return Concatenate(all, 0)
}

// keepStates writes down that the lines of after [L, n] are what a layer's
// memories become.
func (p *Pass) keepStates(after tensor, layer, n int) {
	for i, s := range p.spans {
		c, ok := s.Cache.(*cache)
		if !ok || s.Behind > 0 {
			continue
		}
		made := p.record(op{key: fmt.Sprint("state", i), in: []int{after.id}, lower: func(l *lowering) []*node {
			return []*node{Reshape(SliceAxis(l.in[0], 0, AxisRange(i, i+1)), n)}
		}}, shape{n})[0]
		p.values[made.id].kept, p.values[made.id].float = true, true
		p.updates[c] = append(p.updates[c], update{layer: layer, state: made.id})
	}
}

// Recur runs a gated linear recurrence, by doubling: after step d each row has
// what the 2d rows up to it make of nothing.
func (p *Pass) Recur(x, in, forget engine.Tensor, r engine.Recurrence) engine.Tensor {
	rows, width := x.Dims()
	c := p.carry(r.Layer)
	o := op{key: "recur" + c.key(), in: []int{x.(tensor).id, in.(tensor).id, forget.(tensor).id}, weights: []*Weight{r.Decay.(*Weight)}, data: c.data}
	for _, s := range c.states {
		o.in = append(o.in, s.id)
	}
	o.lower = func(l *lowering) []*node {
		v, input, gate := c.lines(l.in[0], l.data[0]), c.lines(l.in[1], l.data[0]), c.lines(l.in[2], l.data[0])
		decay := ExpandLeftToRank(Reshape(wide(l.weights[0]), width), 3)
		softplus := Log1P(Exp(decay))
		exponent := Mul(times(Logistic(gate), -8), softplus)
		first := BroadcastToDims(Equal(l.data[3], number(l.data[3], 0)), v.Shape().Dimensions...)
		a := Where(first, ZerosLike(exponent), Exp(exponent))
		lost := Where(first, OnesLike(exponent), Neg(Expm1(times(exponent, 2)))) // 1 − a²; at position 0 all
		b := Mul(Mul(Sqrt(Max(lost, number(lost, 1e-37))), Logistic(input)), v)
		h := c.before(l, l.in[3:], width)
		b = scan(a, b, h)
		after := rowsOf(Reshape(b, c.all.lines*c.all.length, width), l.data[2])
		return []*node{l.to(c.rows(b, l.data[1])), after}
	}
	made := p.record(o, shape{rows, width}, shape{c.all.lines, width})
	p.values[made[1].id].float, p.values[made[1].id].live = true, false
	p.keepStates(made[1], r.Layer, width)
	return made[0]
}

// scan is hₜ = aₜ·hₜ₋₁ + bₜ along axis 1 of a and b [L, S, W], from h [L, W] on.
func scan(a, b, h *node) *node {
	n := b.Shape().Dim(1)
	shift := func(x *node, by int, fill float64) *node {
		edge := SliceAxis(x, 1, AxisRange(0, by))
		return Concatenate([]*node{BroadcastToShape(number(x, fill), edge.Shape()), SliceAxis(x, 1, AxisRange(0, n-by))}, 1)
	}
	for d := 1; d < n; d *= 2 {
		b = Add(b, Mul(a, shift(b, d, 0)))
		a = Mul(a, shift(a, d, 1))
	}
	return Add(b, Mul(a, ExpandAxes(h, 1)))
}

// Conv1D is a causal convolution of each column over the rows.
func (p *Pass) Conv1D(x engine.Tensor, conv engine.Conv1D) engine.Tensor {
	rows, width := x.Dims()
	_, size := conv.Weight.Dims()
	c := p.carry(conv.Layer)
	o := op{key: "conv1" + c.key(), in: []int{x.(tensor).id}, weights: []*Weight{conv.Weight.(*Weight)}, data: c.data}
	if conv.Bias != nil {
		o.weights, o.key = append(o.weights, conv.Bias.(*Weight)), o.key+"biased"
	}
	for _, s := range c.states {
		o.in = append(o.in, s.id)
	}
	o.lower = func(l *lowering) []*node {
		v := c.lines(l.in[0], l.data[0])
		before := Reshape(c.before(l, l.in[1:], (size-1)*width), c.all.lines, size-1, width)
		all := Concatenate([]*node{before, v}, 1)
		var sum *node
		for k := range size { // looks size − 1 − k rows back
			back := SliceAxis(all, 1, AxisRange(k, k+c.all.length))
			own := ConvertDType(GreaterOrEqual(l.data[3], number(l.data[3], float64(size-1-k))), float)
			kernel := ExpandLeftToRank(Reshape(SliceAxis(wide(l.weights[0]), 1, AxisRange(k, k+1)), width), 3)
			term := Mul(Mul(back, own), kernel)
			if sum == nil {
				sum = term
			} else {
				sum = Add(sum, term)
			}
		}
		if conv.Bias != nil {
			sum = Add(sum, ExpandLeftToRank(Reshape(wide(l.weights[1]), width), 3))
		}
		return []*node{l.to(c.rows(sum, l.data[1])), c.tail(l, all, size-1)}
	}
	made := p.record(o, shape{rows, width}, shape{c.all.lines, (size - 1) * width})
	p.values[made[1].id].float, p.values[made[1].id].live = true, false
	p.keepStates(made[1], conv.Layer, (size-1)*width)
	return made[0]
}

// tail is the n rows of all [L, n + S, W] up to the last of each line, [L, n·W].
func (c *carried) tail(l *lowering, all *node, n int) *node {
	lines, length, width := c.all.lines, c.all.length, all.Shape().Dim(2)
	flat := Reshape(all, lines*(n+length), width)
	// The last row of line i is place last[i] of [L, S]: in all it is n·(i + 1) further.
	line := Iota(l.g, intShape(lines, n), 0)
	back := Iota(l.g, intShape(lines, n), 1)
	last := BroadcastToDims(ExpandAxes(l.data[2], 1), lines, n)
	at := Add(Add(last, times(line, float64(n))), plus(back, 1))
	return Reshape(rowsOf(flat, Reshape(at, lines*n)), lines, n*width)
}

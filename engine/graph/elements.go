package graph

import (
	"fmt"
	"math"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph" //nolint:revive,staticcheck // formulas of graph operations read like formulas

	"lapidary/engine"
)

// to is x in the type of activations.
func (l *lowering) to(x *node) *node { return ConvertDType(x, l.dtype) }

// wide is x in float32.
func wide(x *node) *node { return ConvertDType(x, float) }

// number is a constant of x's type. Constants are made anew at each use, since
// GoMLX v0.28.3 shares those of its …Scalar functions between a graph and its
// loops, where they are not valid.
func number(x *node, v float64) *node { return ConstAsDType(x.Graph(), x.DType(), v) }

func times(x *node, v float64) *node { return Mul(x, number(x, v)) }
func plus(x *node, v float64) *node  { return Add(x, number(x, v)) }

// vector is a weight that is one row, [1, n], as what a matrix is multiplied by.
func vector(w *node) *node { return Reshape(w, 1, w.Shape().Size()) }

// Embed gathers rows of table.
func (p *Pass) Embed(table engine.Weight, ids []int32, scale float32) engine.Tensor {
	_, width := table.Dims()
	d := &datum{ints: ids, dims: []int{len(ids)}}
	return p.one(len(ids), width, fmt.Sprint("embed", scale), nil, []engine.Weight{table}, []*datum{d}, func(l *lowering) *node {
		x := Gather(l.masters[0], ExpandAxes(l.data[0], -1))
		return l.to(times(wide(x), float64(scale)))
	})
}

// Expect is the mean of the rows of table with the probabilities softmax(x).
func (p *Pass) Expect(x engine.Tensor, table engine.Weight, scale float32) engine.Tensor {
	rows, _ := x.Dims()
	_, width := table.Dims()
	return p.one(rows, width, fmt.Sprint("expect", scale), []engine.Tensor{x}, []engine.Weight{table}, nil, func(l *lowering) *node {
		chances := l.to(softmax(wide(l.in[0]), 1))
		return l.to(times(wide(product(chances, l.weights[0], 0)), float64(scale)))
	})
}

// softmax of x in float32.
func softmax(x *node, axis int) *node {
	y := Exp(Sub(x, StopGradient(ReduceAndKeep(x, ReduceMax, axis))))
	return Div(y, ReduceAndKeep(y, ReduceSum, axis))
}

// product contracts axis 1 of x with one of y, with sums in float32.
func product(x, y *node, with int) *node {
	return Dot(x, y).EinsumAxes([][2]int{{1, with}}, nil)
}

// normKey and normWeights are what a norm is written down as.
func normKey(n engine.Norm) string {
	return fmt.Sprintf("norm %v %v %v %v %v", n.Eps, n.Offset, n.Centred, n.Weight != nil, n.Bias != nil)
}

func normWeights(n engine.Norm) (ws []engine.Weight) {
	if n.Weight != nil {
		ws = append(ws, n.Weight)
	}
	if n.Bias != nil {
		ws = append(ws, n.Bias)
	}
	return ws
}

// mean is over the last axis, of sums in float64: in float32 that of a thousand
// terms is off by 3e-9 of their size, which is much where it is near an element.
func mean(x *node) *node {
	return ConvertDType(ReduceAndKeep(ConvertDType(x, dtypes.Float64), ReduceMean, -1), float)
}

// norm is over the last axis of x in float32.
func norm(x *node, n engine.Norm, weights []*node) *node {
	if n.Centred {
		x = Sub(x, mean(x))
	}
	x = Mul(x, Rsqrt(plus(ReduceAndKeep(Square(x), ReduceMean, -1), float64(n.Eps))))
	shaped := func(w *node) *node { return ExpandLeftToRank(Reshape(wide(w), w.Shape().Size()), x.Rank()) }
	if n.Weight != nil {
		w := shaped(weights[0])
		if n.Offset != 0 {
			w = plus(w, float64(n.Offset))
		}
		x = Mul(x, w)
		weights = weights[1:]
	}
	if n.Bias != nil {
		x = Add(x, shaped(weights[0]))
	}
	return x
}

// Norm normalises over the width.
func (p *Pass) Norm(x engine.Tensor, n engine.Norm) engine.Tensor {
	rows, width := x.Dims()
	return p.one(rows, width, normKey(n), []engine.Tensor{x}, normWeights(n), nil, func(l *lowering) *node {
		return l.to(norm(wide(l.in[0]), n, l.weights))
	})
}

// Linear multiplies x by each of the weights.
func (p *Pass) Linear(x engine.Tensor, ws ...engine.Weight) []engine.Tensor {
	rows, _ := x.Dims()
	ys := make([]engine.Tensor, len(ws))
	for i, w := range ws {
		out, _ := w.Dims()
		ys[i] = p.one(rows, out, "linear", []engine.Tensor{x}, []engine.Weight{w}, nil, func(l *lowering) *node {
			return product(l.in[0], l.weights[0], 1)
		})
	}
	return ys
}

// BlockLinear multiplies parts of x by blocks of w.
func (p *Pass) BlockLinear(x engine.Tensor, w engine.Weight, n int) engine.Tensor {
	rows, width := x.Dims()
	_, out := w.Dims()
	return p.one(rows, n*out, fmt.Sprint("blocks", n), []engine.Tensor{x}, []engine.Weight{w}, nil, func(l *lowering) *node {
		parts, blocks := Reshape(l.in[0], rows, n, width/n), Reshape(l.weights[0], n, width/n, out)
		y := Dot(parts, blocks).EinsumAxes([][2]int{{2, 1}}, [][2]int{{1, 0}}) // [n, R, out]
		return Reshape(Transpose(y, 0, 1), rows, n*out)
	})
}

// activate: Hendrycks and Gimpel 2016, arXiv:1606.08415.
func activate(x *node, act engine.Activation) *node {
	switch act {
	case engine.GELUTanh:
		inner := times(Add(x, times(Mul(Square(x), x), 0.044715)), math.Sqrt(2/math.Pi))
		return Mul(times(x, 0.5), plus(Tanh(inner), 1))
	case engine.GELU:
		return Mul(times(x, 0.5), plus(Erf(times(x, 1/math.Sqrt2)), 1))
	case engine.ReLU:
		return Where(GreaterThan(x, number(x, 0)), x, ZerosLike(x))
	case engine.Tanh:
		return Tanh(x)
	case engine.Sigmoid:
		return Logistic(x)
	default:
		return Mul(x, Logistic(x))
	}
}

// Gate is act(gate) · up.
func (p *Pass) Gate(gate, up engine.Tensor, act engine.Activation) engine.Tensor {
	rows, width := gate.Dims()
	in := []engine.Tensor{gate}
	if up != nil {
		in = append(in, up)
	}
	y := p.one(rows, width, fmt.Sprint("gate", act), in, nil, nil, func(l *lowering) *node {
		y := activate(wide(l.in[0]), act)
		if up != nil {
			y = Mul(y, wide(l.in[1]))
		}
		return l.to(y)
	})
	p.consumed(gate)
	return y
}

// Add is x + y.
func (p *Pass) Add(x, y engine.Tensor) engine.Tensor {
	rows, width := x.Dims()
	z := p.one(rows, width, "add", []engine.Tensor{x, y}, nil, nil, func(l *lowering) *node { return Add(l.in[0], l.in[1]) })
	p.consumed(x)
	return z
}

// Affine is x · by + plus.
func (p *Pass) Affine(x engine.Tensor, by, plus engine.Weight) engine.Tensor {
	rows, width := x.Dims()
	var ws []engine.Weight
	for _, w := range []engine.Weight{by, plus} {
		if w != nil {
			ws = append(ws, w)
		}
	}
	y := p.one(rows, width, fmt.Sprint("affine", by != nil, plus != nil), []engine.Tensor{x}, ws, nil, func(l *lowering) *node {
		y, ws := wide(l.in[0]), l.weights
		if by != nil {
			y, ws = Mul(y, wide(vector(ws[0]))), ws[1:]
		}
		if plus != nil {
			y = Add(y, wide(vector(ws[0])))
		}
		return l.to(y)
	})
	p.consumed(x)
	return y
}

// Scale is x · by.
func (p *Pass) Scale(x engine.Tensor, by float32) engine.Tensor {
	y := p.map1(fmt.Sprint("scale", by), x, func(l *lowering) *node { return l.to(times(wide(l.in[0]), float64(by))) })
	p.consumed(x)
	return y
}

// Clamp is max(least, min(x, most)).
func (p *Pass) Clamp(x engine.Tensor, least, most float32) engine.Tensor {
	y := p.map1(fmt.Sprint("clamp", least, most), x, func(l *lowering) *node {
		v := wide(l.in[0])
		return l.to(Max(Min(v, number(v, float64(most))), number(v, float64(least))))
	})
	p.consumed(x)
	return y
}

// Sparse is max(0, x − mean − deviations · standard deviation).
func (p *Pass) Sparse(x engine.Tensor, deviations float32) engine.Tensor {
	y := p.map1(fmt.Sprint("sparse", deviations), x, func(l *lowering) *node {
		v := wide(l.in[0])
		v = Sub(v, ReduceAndKeep(v, ReduceMean, 1))
		v = Sub(v, times(Sqrt(ReduceAndKeep(Square(v), ReduceMean, 1)), float64(deviations)))
		return l.to(activate(v, engine.ReLU))
	})
	p.consumed(x)
	return y
}

// SoftCap is limit · tanh(x / limit).
func (p *Pass) SoftCap(x engine.Tensor, limit float32) engine.Tensor {
	y := p.map1(fmt.Sprint("cap", limit), x, func(l *lowering) *node { return l.to(softCap(wide(l.in[0]), float64(limit))) })
	p.consumed(x)
	return y
}

func softCap(x *node, limit float64) *node {
	if limit == 0 {
		return x
	}
	return times(Tanh(times(x, 1/limit)), limit)
}

// Mix is m sums of the xs with factors of each row.
func (p *Pass) Mix(xs []engine.Tensor, by engine.Tensor) []engine.Tensor {
	rows, width := xs[0].Dims()
	_, factors := by.Dims()
	ys := make([]engine.Tensor, factors/len(xs))
	for j := range ys {
		ys[j] = p.one(rows, width, fmt.Sprint("mix", j), append([]engine.Tensor{by}, xs...), nil, nil, func(l *lowering) *node {
			var sum *node
			for i, x := range l.in[1:] {
				at := j*len(xs) + i
				term := Mul(wide(x), wide(SliceAxis(l.in[0], 1, AxisRange(at, at+1))))
				if sum == nil {
					sum = term
				} else {
					sum = Add(sum, term)
				}
			}
			return l.to(sum)
		})
	}
	return ys
}

// Match scales each row of x to the root mean square of its row in like.
func (p *Pass) Match(x, like engine.Tensor) engine.Tensor {
	rows, width := x.Dims()
	y := p.one(rows, width, "match", []engine.Tensor{x, like}, nil, nil, func(l *lowering) *node {
		v, model := wide(l.in[0]), wide(l.in[1])
		want := Sqrt(ReduceAndKeep(Square(model), ReduceMean, 1))
		have := ReduceAndKeep(Square(v), ReduceMean, 1)
		return l.to(Mul(v, Mul(want, Rsqrt(Max(have, number(have, 1e-5))))))
	})
	p.consumed(x)
	return y
}

// rowsOf gathers rows of x by indices.
func rowsOf(x, rows *node) *node { return Gather(x, ExpandAxes(rows, -1)) }

// Pick keeps the given rows.
func (p *Pass) Pick(x engine.Tensor, rows []int) engine.Tensor { return p.pick(x, rows) }

func (p *tape) pick(x engine.Tensor, rows []int) engine.Tensor {
	_, width := x.Dims()
	return p.one(len(rows), width, "pick", []engine.Tensor{x}, nil, []*datum{numbers(rows)}, func(l *lowering) *node {
		return rowsOf(l.in[0], l.data[0])
	})
}

// Put is x with some rows replaced by those of y.
func (p *Pass) Put(x engine.Tensor, rows []int, y engine.Tensor) engine.Tensor {
	n, width := x.Dims()
	from := make([]int, n)
	for i := range from {
		from[i] = i
	}
	for i, r := range rows {
		from[r] = n + i
	}
	z := p.one(n, width, "put", []engine.Tensor{x, y}, nil, []*datum{numbers(from)}, func(l *lowering) *node {
		return rowsOf(Concatenate(l.in, 0), l.data[0])
	})
	p.consumed(x)
	return z
}

// Columns copies n columns of x.
func (p *Pass) Columns(x engine.Tensor, from, n int) engine.Tensor {
	rows, _ := x.Dims()
	return p.one(rows, n, fmt.Sprint("columns", from), []engine.Tensor{x}, nil, nil, func(l *lowering) *node {
		return SliceAxis(l.in[0], 1, AxisRange(from, from+n))
	})
}

// Mean is the mean of each of the groups of rows.
func (p *Pass) Mean(x engine.Tensor, groups [][]int) engine.Tensor {
	rows, width := x.Dims()
	share := &datum{floats: make([]float32, len(groups)*rows), dims: []int{len(groups), rows}}
	for g, members := range groups {
		for _, r := range members {
			share.floats[g*rows+r] += 1 / float32(len(members))
		}
	}
	return p.one(len(groups), width, "mean", []engine.Tensor{x}, nil, []*datum{share}, func(l *lowering) *node {
		return l.to(product(l.data[0], wide(l.in[0]), 0))
	})
}

// Experts is the sum of the feed-forwards that each row's scores choose. All of
// them are computed for all rows, and those that were not chosen count nothing.
func (p *Pass) Experts(x, scores engine.Tensor, e engine.Experts) engine.Tensor {
	rows, width := x.Dims()
	_, f := e.Down.Dims()
	ws := []engine.Weight{e.GateUp, e.Down}
	if e.Scale != nil {
		ws = append(ws, e.Scale)
	}
	key := fmt.Sprint("experts", e.Count, e.Top, e.Activation)
	return p.one(rows, width, key, []engine.Tensor{x, scores}, ws, nil, func(l *lowering) *node {
		share := choose(wide(l.in[1]), e.Top)
		if e.Scale != nil {
			share = Mul(share, wide(vector(l.weights[2])))
		}
		h := Reshape(product(l.in[0], l.weights[0], 1), rows, e.Count, 2, f)
		part := func(i int) *node { return wide(Reshape(SliceAxis(h, 2, AxisRange(i, i+1)), rows, e.Count, f)) }
		y := Mul(Mul(activate(part(0), e.Activation), part(1)), ExpandAxes(share, -1)) // [R, E, F]
		down := Reshape(l.weights[1], e.Count, width, f)
		return l.to(Dot(l.to(y), down).EinsumAxes([][2]int{{1, 0}, {2, 2}}, nil))
	})
}

// choose is the share of each expert, [R, E]: 0 but for the top ones, of equals
// the first, whose probabilities are divided by their sum.
func choose(scores *node, top int) *node {
	rows, count := scores.Shape().Dim(0), scores.Shape().Dim(1)
	other, own := ExpandAxes(scores, 1), ExpandAxes(scores, 2) // [R, 1, E], [R, E, 1]
	other, own = BroadcastToDims(other, rows, count, count), BroadcastToDims(own, rows, count, count)
	before := LessThan(Iota(scores.Graph(), intShape(rows, count, count), 2), Iota(scores.Graph(), intShape(rows, count, count), 1))
	ahead := LogicalOr(GreaterThan(other, own), LogicalAnd(Equal(other, own), before))
	rank := ReduceSum(ConvertDType(ahead, float), 2)
	chosen := ConvertDType(LessThan(rank, number(rank, float64(top)-0.5)), float)
	share := Mul(softmax(scores, 1), StopGradient(chosen))
	return Div(share, ReduceAndKeep(share, ReduceSum, 1))
}

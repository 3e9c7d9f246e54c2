package optimizer

import (
	"github.com/gomlx/gomlx/core/graph"
)

// torch.optim.Adafactor's settings; ε₁ is float32's epsilon.
const (
	adafactorDecay = 0.8
	adafactorEps1  = 0x1p-23
	adafactorEps2  = 1e-3
	adafactorClip  = 1.0
)

type adafactor struct{}

// isMatrix says whether the last two axes are a matrix's.
func isMatrix(dims []int) bool {
	n := len(dims)
	return n >= 2 && dims[n-1] > 1 && dims[n-2] > 1
}

func (adafactor) Slots(p Parameter) []Slot {
	switch n := len(p.Dims); {
	case p.frozen():
		return nil
	case isMatrix(p.Dims):
		rows, cols := append([]int{}, p.Dims...), append([]int{}, p.Dims...)
		rows[n-1], cols[n-2] = 1, 1
		return []Slot{{"row_var", rows}, {"col_var", cols}}
	default:
		return []Slot{{"variance", p.Dims}}
	}
}

func (adafactor) Update(p Parameter, u Update) (*graph.Node, []*graph.Node) {
	if p.frozen() {
		return u.Value, u.Slots
	}
	weight := graph.Pow(u.Step, number(u.Step, -adafactorDecay)) // 1 − β
	slots, v := secondMoments(isMatrix(p.Dims), u, weight)
	step := graph.Mul(u.Gradient, graph.Rsqrt(atLeast(v, adafactorEps1*adafactorEps1)))
	rate := p.rate(u)
	alpha := graph.Mul(atLeast(rms(u.Value), adafactorEps2), graph.Min(rate, graph.Rsqrt(u.Step)))
	alpha = graph.Div(alpha, atLeast(times(rms(step), 1/adafactorClip), 1))
	return graph.Sub(p.decayed(u, rate), graph.Mul(step, alpha)), slots
}

// secondMoments are the new state and the estimate of g² it stands for.
func secondMoments(matrix bool, u Update, weight *graph.Node) (slots []*graph.Node, v *graph.Node) {
	square := graph.Square(u.Gradient)
	if !matrix {
		v = towards(u.Slots[0], square, weight)
		return []*graph.Node{v}, v
	}
	rows := towards(u.Slots[0], graph.ReduceAndKeep(square, graph.ReduceMean, -1), weight)
	cols := towards(u.Slots[1], graph.ReduceAndKeep(square, graph.ReduceMean, -2), weight)
	all := atLeast(graph.ReduceAndKeep(rows, graph.ReduceMean, -2), adafactorEps1)
	return []*graph.Node{rows, cols}, graph.Div(graph.Mul(rows, cols), all)
}

func rms(x *graph.Node) *graph.Node { return graph.Sqrt(graph.ReduceAllMean(graph.Square(x))) }

func atLeast(x *graph.Node, low float64) *graph.Node { return graph.Max(x, number(x, low)) }

// towards is (1−weight)·x + weight·y.
func towards(x, y, weight *graph.Node) *graph.Node {
	return graph.Add(x, graph.Mul(graph.Sub(y, x), weight))
}

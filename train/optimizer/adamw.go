package optimizer

import (
	"fmt"
	"math"

	"github.com/gomlx/gomlx/core/graph"

	"lapidary/train/recipe"
)

type adamW struct {
	betas [2]float64
	eps   float64
}

func newAdamW(o recipe.Optimizer) (adamW, error) {
	for _, b := range o.Betas {
		if !within(b, 0, 1) {
			return adamW{}, fmt.Errorf("optimizer: betas %v: each has to be at least 0 and below 1", o.Betas)
		}
	}
	if !above0(o.Eps) {
		return adamW{}, fmt.Errorf("optimizer: eps %v has to be above 0", o.Eps)
	}
	return adamW{o.Betas, o.Eps}, nil
}

func (adamW) Slots(p Parameter) []Slot {
	if p.frozen() {
		return nil
	}
	return []Slot{{"exp_avg", p.Dims}, {"exp_avg_sq", p.Dims}}
}

func (a adamW) Update(p Parameter, u Update) (*graph.Node, []*graph.Node) {
	if p.frozen() {
		return u.Value, u.Slots
	}
	return a.step(p, u, p.rate(u))
}

func (a adamW) step(p Parameter, u Update, rate *graph.Node) (*graph.Node, []*graph.Node) {
	g := u.Gradient
	m := mix(u.Slots[0], g, a.betas[0])
	v := mix(u.Slots[1], graph.Square(g), a.betas[1])
	size := graph.Div(graph.Sqrt(v), graph.Sqrt(unbias(u.Step, a.betas[1])))
	step := graph.Div(rate, unbias(u.Step, a.betas[0]))
	value := graph.Sub(p.decayed(u, rate), graph.Mul(step, graph.Div(m, plus(size, a.eps))))
	return value, []*graph.Node{m, v}
}

// unbias is 1 − βᵗ. As one minus a power in float32 it would be off by 3·10⁻⁵
// of itself at β = 0.999 and t = 1.
func unbias(step *graph.Node, beta float64) *graph.Node {
	if beta == 0 {
		return number(step, 1)
	}
	return graph.Neg(graph.Expm1(times(step, math.Log(beta))))
}

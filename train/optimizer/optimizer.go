package optimizer

import (
	"fmt"
	"math"
	"regexp"

	"github.com/gomlx/gomlx/core/graph"

	"lapidary/train/recipe"
)

// Parameter is a tensor that is trained.
type Parameter struct {
	Name string
	Dims []int
	// Decay is λ, the weight decay.
	Decay float64
	// Rate multiplies the schedule's learning rate; 0 freezes.
	Rate float64
}

// Slot is a tensor of a parameter's state. It is zero before the first step. Its
// name is torch.optim's and is one of a kind within the parameter.
type Slot struct {
	Name string
	Dims []int
}

// Update is what a step of one parameter is made of. All are float32.
type Update struct {
	// Step is a scalar: 1 at the first step.
	Step *graph.Node
	// Rate is a scalar: the schedule's learning rate at this step.
	Rate *graph.Node
	// Value and Gradient have the parameter's shape.
	Value, Gradient *graph.Node
	// Slots are the state in the order of [Optimizer.Slots].
	Slots []*graph.Node
}

// Optimizer turns gradients into steps. It holds settings only and may be used
// by any number of graphs.
type Optimizer interface {
	// Slots is the state that p needs.
	Slots(p Parameter) []Slot
	// Update adds a step to the graph of u's nodes → the new value and state.
	// As all that builds graphs it panics where shapes do not fit.
	Update(p Parameter, u Update) (value *graph.Node, slots []*graph.Node)
}

// New is the optimiser that a recipe asks for. It fails at settings that no
// optimiser has and at patterns that are no regular expressions.
func New(o recipe.Optimizer) (Optimizer, error) {
	for i, g := range o.Groups {
		if _, err := regexp.Compile(g.Pattern); err != nil {
			return nil, fmt.Errorf("optimizer: groups[%d].pattern %q: %w; write it as an RE2 expression", i, g.Pattern, err)
		}
	}
	switch o.Kind {
	case recipe.AdamW:
		return newAdamW(o)
	case recipe.Adafactor:
		return adafactor{}, nil
	case recipe.Muon:
		return newMuon(o)
	default:
		return nil, fmt.Errorf("optimizer: kind %q is unknown: use adamw, adafactor or muon", o.Kind)
	}
}

// Parameters gives each of the named tensors its rate and decay: those of the
// first group whose pattern is found in its name, as package recipe has it, or
// the optimiser's own. names and dims have the same length. A pattern that [New]
// refuses matches nothing.
func Parameters(o recipe.Optimizer, names []string, dims [][]int) []Parameter {
	patterns := make([]*regexp.Regexp, len(o.Groups))
	for i, g := range o.Groups {
		patterns[i], _ = regexp.Compile(g.Pattern)
	}
	ps := make([]Parameter, len(names))
	for i, name := range names {
		ps[i] = Parameter{Name: name, Dims: dims[i], Decay: o.WeightDecay, Rate: 1}
		for j, g := range o.Groups {
			if patterns[j] != nil && patterns[j].MatchString(name) {
				ps[i].Decay, ps[i].Rate = o.WeightDecay*g.DecayFactor, g.LRFactor
				break
			}
		}
	}
	return ps
}

// within says whether low ≤ v < high, which NaN is not.
func within(v, low, high float64) bool { return v >= low && v < high }

// above0 says whether v is a positive number.
func above0(v float64) bool { return v > 0 && !math.IsInf(v, 1) }

// frozen parameters have no state, and no gradient of theirs, not even one that
// is no number, changes them.
func (p Parameter) frozen() bool { return p.Rate == 0 }

// number is a constant of x's type. It is made anew at each use: GoMLX v0.28.3
// shares those of its …Scalar functions between a graph and its loops, where
// they are not valid.
func number(x *graph.Node, v float64) *graph.Node {
	return graph.ConstAsDType(x.Graph(), x.DType(), v)
}

func times(x *graph.Node, v float64) *graph.Node { return graph.Mul(x, number(x, v)) }
func plus(x *graph.Node, v float64) *graph.Node  { return graph.Add(x, number(x, v)) }

// mix is βx + (1−β)y, two products, so that it is y where β is 0.
func mix(x, y *graph.Node, beta float64) *graph.Node {
	return graph.Add(times(x, beta), times(y, 1-beta))
}

// rate is γ of a step, a scalar.
func (p Parameter) rate(u Update) *graph.Node { return times(u.Rate, p.Rate) }

// decayed is (1−γλ)θ.
func (p Parameter) decayed(u Update, rate *graph.Node) *graph.Node {
	if p.Decay == 0 {
		return u.Value
	}
	return graph.Mul(u.Value, graph.OneMinus(times(rate, p.Decay)))
}

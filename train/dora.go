package train

import (
	"slices"
	"strings"

	. "github.com/gomlx/gomlx/core/graph" //nolint:revive,staticcheck // formulas of graph operations read like formulas
	"github.com/gomlx/gomlx/support/exceptions"

	"lapidary/adapter"
	"lapidary/engine/graph"
	"lapidary/gemma"
)

// inverse is what makes 1 / ‖W + s·B·A‖ of a layer's rows, by which DoRA
// multiplies: W is frozen, A and B are trained. It has no gradient (section 4.3
// of arXiv:2402.09353).
type inverse struct {
	layer string
	base  []byte // W's stored elements
	a, b  *trained
	scale float64
}

// follow lets the lengths of DoRA's modules follow what is trained of them.
func (m *machine) follow(model *gemma.Model, bound *gemma.BoundAdapter, a *adapter.Adapter) {
	byName := map[string]*trained{}
	for _, t := range m.weights {
		byName[t.weight.Name()] = t
	}
	for i := range a.Modules {
		module := &a.Modules[i]
		if !module.DoRA() {
			continue
		}
		w, _ := model.Weight(module.Name)
		lengths, ok := bound.Weights()[strings.TrimSuffix(module.A.Name, ".lora_A.weight")+gemma.InverseLengths].(*graph.Weight)
		of := inverse{module.Name, w.Data, byName[module.A.Name], byName[module.B.Name], module.Scale}
		if !ok || of.a == nil || of.b == nil {
			continue // a batch does not go through this layer
		}
		m.inverses[lengths] = of
	}
}

// inverseLengths are 1 / ‖W + s·B·A‖ in the shape of the weight that holds them.
func (p *parameters) inverseLengths(of inverse, r micro, rows, cols int) *Node {
	i := slices.IndexFunc(r.Weights, func(w *graph.Weight) bool {
		data := w.Stored().Data
		return len(data) == len(of.base) && &data[0] == &of.base[0]
	})
	if i < 0 {
		exceptions.Panicf("adapter dora: %s is not a layer by itself, and its rows' lengths cannot follow the training; take lora", of.layer)
	}
	master := func(t *trained) *Node { return StopGradient(p.masters[slices.Index(p.machine.weights, t)]) }
	base := p.frozen[r.Weights[i]]
	product := times(Dot(master(of.b), master(of.a)).EinsumAxes([][2]int{{1, 0}}, nil), of.scale)
	sum := Add(StopGradient(wide(base)), product)
	return Reshape(Reciprocal(Sqrt(ReduceSum(Square(sum), 1))), rows, cols)
}

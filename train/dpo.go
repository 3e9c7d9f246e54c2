package train

import (
	"context"

	. "github.com/gomlx/gomlx/core/graph" //nolint:revive,staticcheck // formulas of graph operations read like formulas

	"lapidary/engine"
	"lapidary/engine/graph"
	"lapidary/train/data"
	"lapidary/train/recipe"
)

// dpo is direct preference optimisation (Rafailov et al. 2023, arXiv:2305.18290):
// −log σ(β·(Δ − Δ₀)), where Δ is by how much more probable the chosen answer is
// than the rejected one, and Δ₀ the same for the model without its adapter. With
// label smoothing ε it is the conservative form, (1 − ε) of that and ε of the
// loss of the preference turned round.
type dpo struct{ recipe.Objective }

func (dpo) kind() data.Kind { return data.Preferences }

func (dpo) counts(b data.Batch) float64 {
	var n float64
	for i := 0; i < b.Lines; i += 2 {
		n += float64(min(1, documentOf(b, i)))
	}
	return n
}

func (d dpo) trace(ctx context.Context, s subject, b data.Batch, by float64) (micro, error) {
	t := s.engine.Trace(b.Length)
	steps, want := next(b, s.adapter, 1)
	x, err := s.states(ctx, t, steps)
	if err != nil {
		return nil, err
	}
	for i := range steps {
		steps[i].Adapter = nil
	}
	reference, err := s.states(ctx, t, steps)
	if err != nil {
		return nil, err
	}
	pairs := make([]float32, b.Lines/2) // what each counts: nothing where there is none
	for i := range pairs {
		pairs[i] = float32(by) * float32(min(1, documentOf(b, 2*i)))
	}
	in := []engine.Tensor{rowLosses(t, x, s.head(), want.ids), rowLosses(t, reference, s.head(), want.ids)}
	l := t.Apply(graph.Operation{
		Key: keyed("dpo", d.Beta, d.LabelSmoothing, b.Lines), In: in, Floats: [][]float32{want.weights, pairs}, Rows: 1, Width: 1,
		Lower: func(l *graph.Lowering) *Node {
			margin := func(losses *Node) *Node { // log p(chosen) − log p(rejected), [pairs]
				each := ReduceSum(Reshape(Mul(Reshape(wide(losses), len(want.weights)), l.Data[0]), b.Lines/2, 2, b.Length), 2)
				return Squeeze(Sub(SliceAxis(each, 1, AxisRange(1, 2)), SliceAxis(each, 1, AxisRange(0, 1))), 1)
			}
			z := times(Sub(margin(l.In[0]), StopGradient(margin(l.In[1]))), d.Beta)
			loss := times(softplus(Neg(z)), 1-d.LabelSmoothing)
			if d.LabelSmoothing > 0 {
				loss = Add(loss, times(softplus(z), d.LabelSmoothing))
			}
			return Reshape(ReduceAllSum(Mul(loss, l.Data[1])), 1, 1)
		},
	})
	return t.Record(l, l)
}

// softplus is log(1 + eˣ) = −log σ(−x), safe for large x.
func softplus(x *Node) *Node {
	return Add(Max(x, ZerosLike(x)), Log1P(Exp(Neg(Abs(x)))))
}

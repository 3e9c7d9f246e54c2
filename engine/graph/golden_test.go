package graph_test

import (
	"path/filepath"
	"testing"

	. "github.com/gomlx/gomlx/core/graph" //nolint:revive // formulas of graph operations read like formulas

	"lapidary/engine"
	"lapidary/engine/graph"
	"lapidary/gemma/goldentest"
)

func TestGoldens(t *testing.T) {
	e := open(t)
	t.Cleanup(func() { e.Close() })
	goldentest.Run(t, filepath.Join("..", "..", "gemma", "testdata", "goldens"), []goldentest.Engine{{
		Label: "graph", Engine: e, Tolerance: 1e-4, Trace: func() goldentest.Trace { return &trace{e.Trace(0)} },
	}})
}

type trace struct{ *graph.Trace }

func (t *trace) Gradients(states [][]float32, width int, head engine.Weight, softCap float32, labels []int32) (float32, []goldentest.Gradient, error) {
	count := 0
	for _, l := range labels {
		if l >= 0 {
			count++
		}
	}
	var total engine.Tensor
	for _, part := range states {
		x, err := t.Tensor(part, width)
		if err != nil {
			return 0, nil, err
		}
		rows, _ := x.Dims()
		o := graph.Operation{Key: "cross-entropy", In: []engine.Tensor{x}, Ints: [][]int32{labels[:rows]}, Rows: 1, Width: 1}
		if head != nil {
			o.Weights = []engine.Weight{head}
		}
		o.Lower = func(l *graph.Lowering) *Node {
			logits := l.In[0]
			if head != nil {
				logits = Einsum("rd,vd->rv", logits, l.Weights[0])
			}
			if softCap > 0 {
				logits = MulScalar(Tanh(DivScalar(logits, softCap)), softCap)
			}
			chance := LogSoftmax(logits, -1)
			hit := OneHot(MaxScalar(l.Data[0], 0), logits.Shape().Dim(1), logits.DType())
			own := Mul(ReduceSum(Mul(chance, hit), 1), ConvertDType(GreaterOrEqual(l.Data[0], ScalarZero(l.Graph, l.Data[0].DType())), logits.DType()))
			return Reshape(DivScalar(Neg(ReduceAllSum(own)), float64(count)), 1, 1)
		}
		labels = labels[rows:]
		if y := t.Apply(o); total == nil {
			total = y
		} else {
			total = t.Apply(graph.Operation{Key: "sum", In: []engine.Tensor{total, y}, Rows: 1, Width: 1, Lower: func(l *graph.Lowering) *Node { return Add(l.In[0], l.In[1]) }})
		}
	}
	r, err := t.Record(total)
	if err != nil {
		return 0, nil, err
	}
	loss, by, err := r.Gradients()
	if err != nil {
		return 0, nil, err
	}
	grads := make([]goldentest.Gradient, len(by))
	for i, w := range r.Weights {
		grads[i] = goldentest.Gradient{Tensor: w.Stored(), Values: by[i]}
	}
	return loss, grads, nil
}

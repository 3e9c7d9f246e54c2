package train

import (
	"context"

	. "github.com/gomlx/gomlx/core/graph" //nolint:revive,staticcheck // formulas of graph operations read like formulas

	"lapidary/engine"
	"lapidary/engine/graph"
	"lapidary/gemma"
)

// states are the subject's last states on a trace, of all rows.
func (s subject) states(ctx context.Context, t *graph.Trace, steps []gemma.Step) (engine.Tensor, error) {
	read, err := s.model.On(t).LastStates(ctx, steps)
	if err != nil {
		return nil, err
	}
	return t.Tensor(read, s.model.Config().Width)
}

func (s subject) head() head {
	w, softCap := s.model.Head()
	return head{w, softCap}
}

// rowLosses are −log softmax(head(x))[id] of each row of x [R, D] → [R, 1]. They
// may be put to any use: each chunk of logits is made again for the gradients.
func rowLosses(t *graph.Trace, x engine.Tensor, h head, ids []int32) engine.Tensor {
	rows, _ := x.Dims()
	vocab, _ := h.weight.Dims()
	return t.Apply(graph.Operation{
		Key: keyed("row losses", h.softCap), In: []engine.Tensor{x}, Weights: []engine.Weight{h.weight}, Ints: [][]int32{ids}, Rows: rows, Width: 1,
		Lower: func(l *graph.Lowering) *Node {
			return inChunks(rows, chunkRows(vocab), func(from, to int) *Node {
				x := SliceAxis(l.In[0], 0, AxisRange(from, to)).Checkpoint()
				logs := logSoftmax(softCapped(wide(Dot(x, l.Weights[0]).EinsumAxes([][2]int{{1, 1}}, nil)), float64(h.softCap)))
				own := pickEach(logs, SliceAxis(l.Data[0], 0, AxisRange(from, to)))
				return Reshape(Neg(own), to-from, 1).StopCheckpoint()
			})
		},
	})
}

package train

import (
	"context"

	. "github.com/gomlx/gomlx/core/graph" //nolint:revive,staticcheck // formulas of graph operations read like formulas

	"lapidary/engine"
	"lapidary/engine/graph"
	"lapidary/gemma"
	"lapidary/train/data"
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
	return head{w, softCap, s.rows}
}

// rowLosses are −log softmax(head(x))[id] of each row of x [R, D] → [R, 1]. They
// may be put to any use: each chunk of logits is made again for the gradients.
func rowLosses(t *graph.Trace, x engine.Tensor, h head, ids []int32) engine.Tensor {
	rows, _ := x.Dims()
	chunk := h.chunk(1)
	return t.Apply(graph.Operation{
		Key: keyed("row losses", h.softCap, chunk), In: []engine.Tensor{x}, Weights: []engine.Weight{h.weight}, Ints: [][]int32{ids}, Rows: rows, Width: 1,
		Lower: func(l *graph.Lowering) *Node {
			return inChunks(rows, chunk, func(from, to int) *Node {
				x := SliceAxis(l.In[0], 0, AxisRange(from, to)).Checkpoint()
				logs := logSoftmax(softCapped(wide(Dot(x, l.Weights[0]).EinsumAxes([][2]int{{1, 1}}, nil)), float64(h.softCap)))
				own := pickEach(logs, SliceAxis(l.Data[0], 0, AxisRange(from, to)))
				return Reshape(Neg(own), to-from, 1).StopCheckpoint()
			})
		},
	})
}

// aligned is how many rows are put behind each line that must not be full: as
// many as keep its length a multiple of what devices like.
const aligned = 8

// apart are the lines of a batch as two steps each, its document and padding, so
// that batches of a shape have as many steps wherever their documents end. Lines
// without a document are padding alone. Whoever makes something of each step
// finds line i's at 2i.
func (s subject) apart(b data.Batch) (line int, steps []gemma.Step) {
	line = b.Length + aligned
	if line-1 > s.model.Config().Context {
		line = b.Length + 1
	}
	for i := range b.Lines {
		row := make([]int32, line)
		copy(row, b.Tokens[i*b.Length:(i+1)*b.Length])
		n := max(1, documentOf(b, i))
		steps = append(steps, gemma.Step{Tokens: row[:n], Adapter: s.adapter}, gemma.Step{Tokens: row[n:], Adapter: s.adapter})
	}
	return line, steps
}

// documentOf is the length of the document on a line that has no more than one.
func documentOf(b data.Batch, line int) int {
	if len(b.Documents[line]) == 0 {
		return 0
	}
	return b.Documents[line][0]
}

// ofLines are what was read out for each step of apart, of the lines alone, in
// float32 [lines, width].
func ofLines(t *graph.Trace, read [][]float32) (engine.Tensor, error) {
	width := len(read[0])
	var in []engine.Tensor
	for i := 0; i < len(read); i += 2 {
		x, err := t.Tensor(read[i], width)
		if err != nil {
			return nil, err
		}
		in = append(in, x)
	}
	return t.Apply(graph.Operation{Key: "lines", In: in, Rows: len(in), Width: width, Lower: func(l *graph.Lowering) *Node {
		if len(l.In) == 1 {
			return wide(l.In[0])
		}
		return wide(Concatenate(l.In, 0))
	}}), nil
}

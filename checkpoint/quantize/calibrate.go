package quantize

import (
	"context"
	"fmt"
	"maps"

	"lapidary/checkpoint"
	"lapidary/engine"
	"lapidary/gemma"
)

// Calibrate runs a model over texts and gives the importance of each column of
// its matrices: the mean square of what they are multiplied with. Errors of the
// weights of a column are worth that much in the matrix's output, as far as
// columns are independent of each other.
//
// The embedding and the output layer get none: text that calibrates them would
// have to have every token in it. A text is its tokens and starts a sequence of
// its own. The progress, of the texts, may be nil.
func Calibrate(ctx context.Context, c *checkpoint.Checkpoint, e engine.Engine, texts [][]int32, progress func(done, total int64)) (map[string][]float32, error) {
	l := &listener{Engine: e, names: map[engine.Weight]string{}, heard: map[string]*squares{}}
	m, err := gemma.Load(c, l)
	if err != nil {
		return nil, err
	}
	for i, tokens := range texts {
		// All rows want logits, or the last layer would leave out those that do not.
		step := gemma.Step{Tokens: tokens, Logits: gemma.AllRows}
		if err := m.ForwardEach(ctx, []gemma.Step{step}, func(int, []float32) error { return nil }); err != nil {
			return nil, err
		}
		if progress != nil {
			progress(int64(i+1), int64(len(texts)))
		}
	}
	importance := map[string][]float32{}
	for name, s := range maps.All(l.heard) {
		if importance[name], err = s.mean(); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
	}
	return importance, nil
}

// listener is an engine that notes what matrices are multiplied with.
type listener struct {
	engine.Engine
	names map[engine.Weight]string
	heard map[string]*squares
}

func (l *listener) Load(t checkpoint.Tensor) (engine.Weight, error) {
	w, err := l.Engine.Load(t)
	if err == nil {
		l.names[w] = t.Name
	}
	return w, err
}

func (l *listener) Begin(ctx context.Context, spans []engine.Span) engine.Pass {
	return &hearing{Pass: l.Engine.Begin(ctx, spans), listener: l}
}

// hearing is a pass of a listener.
type hearing struct {
	engine.Pass
	*listener
	x, logits []float32
}

func (h *hearing) Linear(x engine.Tensor, ws ...engine.Weight) []engine.Tensor {
	rows, cols := x.Dims()
	if name := h.names[ws[0]]; name == "embed_tokens.weight" || name == "lm_head.weight" {
		// Nobody looks at the logits, whose products are most of the work.
		vocab, _ := ws[0].Dims()
		if len(h.logits) < rows*vocab {
			h.logits = make([]float32, rows*vocab)
		}
		return []engine.Tensor{h.Write(h.logits[:rows*vocab], vocab)}
	}
	if len(h.x) < rows*cols {
		h.x = make([]float32, rows*cols)
	}
	h.Read(x, h.x[:rows*cols])
	for _, w := range ws {
		s := h.heard[h.names[w]]
		if s == nil {
			s = &squares{sums: make([]float64, cols)}
			h.heard[h.names[w]] = s
		}
		s.add(h.x[:rows*cols])
	}
	return h.Pass.Linear(x, ws...)
}

// squares sums the squares of columns.
type squares struct {
	sums []float64
	rows int
}

func (s *squares) add(x []float32) {
	cols := len(s.sums)
	for ; len(x) > 0; x = x[cols:] {
		for i, v := range x[:cols] {
			s.sums[i] += float64(v) * float64(v)
		}
		s.rows++
	}
}

// mean is the mean square of each column. None is below a hundredth of the
// mean of all: a column that a short text leaves silent is not worthless.
func (s *squares) mean() ([]float32, error) {
	all := 0.0
	for _, v := range s.sums {
		all += v
	}
	if !(all > 0) {
		return nil, fmt.Errorf("nothing was heard in %d rows", s.rows)
	}
	least := floorShare * all / float64(len(s.sums))
	out := make([]float32, len(s.sums))
	for i, v := range s.sums {
		out[i] = float32(max(v, least) / float64(s.rows))
	}
	return out, nil
}

const floorShare = 0.01

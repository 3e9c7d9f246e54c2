package gemma

import (
	"context"
	"errors"
	"fmt"
	"math"

	"lapidary/engine"
)

// ErrNoSource is returned by a step of an encoder–decoder that has no source to
// look at: [Model.Source] gives its cache one.
var ErrNoSource = errors.New("an encoder–decoder needs a cache with a source")

// sourced is the memory of an encoder–decoder's answer.
type sourced struct {
	engine.Cache
	has bool // a source
}

// Source runs an encoder–decoder's encoder over a text and leaves what its
// decoder looks at in the cache, in place of what was there. The step's Cache
// and Logits do not count.
func (m *Model) Source(ctx context.Context, cache engine.Cache, source Step) error {
	hidden, err := m.encode(ctx, source)
	if err != nil {
		return err
	}
	memory, ok := cache.(*sourced)
	if !ok || len(hidden) == 0 {
		return fmt.Errorf("a source of %d numbers for a memory of another model", len(hidden))
	}
	width := m.encoder.config.Width
	rows := len(hidden) / width
	p := m.engine.Begin(ctx, []engine.Span{{Cache: memory.Cache, Rows: rows, Source: true}})
	x := p.Write(hidden, width)
	if source.Adapter != nil {
		p = adapt(p, []adaptedRows{{by: source.Adapter, rows: sequence(0, rows)}}, rows)
	}
	for i := range m.text.blocks {
		b := &m.text.blocks[i]
		if b.cross != nil {
			b.cross.source(p, x)
		} else if a, ok := b.mixer.(*attention); ok && a.attend.Beside > 0 {
			a.source(p, x)
		}
	}
	err = p.End()
	memory.has = memory.has || err == nil
	return err
}

// encode is what the encoder makes of a source, [S, width].
func (m *Model) encode(ctx context.Context, source Step) ([]float32, error) {
	if m.encoder == nil {
		return nil, fmt.Errorf("a %s model has no encoder beside it", m.config.Family)
	}
	source.Cache = nil
	return m.hidden(ctx, m.encoder, []Step{source}, nil)
}

// Hidden is the last hidden states of the steps' tokens, all of them, one after
// the other, [R, Head.Pooled or Width] row-major. What it takes for a
// sequence's tokens does not depend on Logits. Of an encoder–decoder it is the
// encoder's.
func (m *Model) Hidden(ctx context.Context, steps []Step) ([]float32, error) {
	s := m.text
	if m.encoder != nil {
		s = m.encoder
	}
	if s == nil {
		return nil, fmt.Errorf("a %s model reads no texts by itself", m.config.Family)
	}
	return m.hidden(ctx, s, steps, func(p engine.Pass, x engine.Tensor, _ *input) engine.Tensor {
		if m.config.Head.Projected {
			x = p.Linear(x, m.dense...)[0]
		}
		return x
	})
}

// hidden runs a stack over all rows and reads what finish makes of them.
func (m *Model) hidden(ctx context.Context, s *stack, steps []Step, finish func(p engine.Pass, x engine.Tensor, in *input) engine.Tensor) ([]float32, error) {
	all := make([]Step, len(steps))
	for i, step := range steps {
		all[i] = step
		all[i].Logits = AllRows
	}
	in, err := s.flatten(all)
	if err != nil || len(in.ids) == 0 {
		return nil, err
	}
	p := m.engine.Begin(ctx, in.spans)
	x := s.run(ctx, p, s.embedded(p, in), in, nil)
	var out []float32
	if x != nil {
		if finish != nil {
			x = finish(p, x, in)
		}
		rows, width := x.Dims()
		out = make([]float32, rows*width)
		p.Read(x, out)
	}
	return out, p.End()
}

// Embed is one vector for each step: the mean of its last hidden states through
// the dense layers that follow, of length 1 (EmbeddingGemma, arXiv:2509.20354).
func (m *Model) Embed(ctx context.Context, steps []Step) ([][]float32, error) {
	if m.config.Head.Pooled == 0 {
		return nil, fmt.Errorf("a %s model makes no embeddings", m.config.Family)
	}
	flat, err := m.hidden(ctx, m.text, steps, func(p engine.Pass, x engine.Tensor, in *input) engine.Tensor {
		x = p.Mean(x, spansRows(in.spans))
		for _, w := range m.dense {
			x = p.Linear(x, w)[0]
		}
		return x
	})
	if err != nil {
		return nil, err
	}
	vectors := rowsOf(flat, m.config.Head.Pooled)
	for _, v := range vectors {
		Normalize(v)
	}
	return vectors, nil
}

// Truncated is the first n numbers of an embedding, of length 1 again: models
// trained with matryoshka losses (arXiv:2205.13147) keep most of what matters
// there.
func Truncated(v []float32, n int) []float32 {
	short := append([]float32(nil), v[:min(n, len(v))]...)
	Normalize(short)
	return short
}

// Normalize scales v to length 1.
func Normalize(v []float32) {
	var squares float64
	for _, x := range v {
		squares += float64(x) * float64(x)
	}
	by := float32(1 / max(math.Sqrt(squares), 1e-12))
	for i := range v {
		v[i] *= by
	}
}

// spansRows are the rows of each span.
func spansRows(spans []engine.Span) [][]int {
	var groups [][]int
	row := 0
	for _, s := range spans {
		groups = append(groups, sequence(row, s.Rows))
		row += s.Rows
	}
	return groups
}

func rowsOf(flat []float32, width int) [][]float32 {
	rows := make([][]float32, len(flat)/width)
	for i := range rows {
		rows[i] = flat[i*width : (i+1)*width : (i+1)*width]
	}
	return rows
}

// Classify is the labels' logits: of each step's last token or, where the
// model tags tokens, of every token of every step.
func (m *Model) Classify(ctx context.Context, steps []Step) ([][]float32, error) {
	if m.labels == nil {
		return nil, fmt.Errorf("this %s model has no classification head", m.config.Family)
	}
	flat, err := m.hidden(ctx, m.text, steps, func(p engine.Pass, x engine.Tensor, in *input) engine.Tensor {
		if !m.config.Head.PerToken {
			var last []int
			for _, rows := range spansRows(in.spans) {
				last = append(last, rows[len(rows)-1])
			}
			x = p.Pick(x, last)
		}
		return multiply(p, x, *m.labels)[0]
	})
	if err != nil {
		return nil, err
	}
	return rowsOf(flat, m.config.Head.Labels), nil
}

// Verdict is ShieldGemma 2's: the logits of Yes (the policy is violated) and No
// after the step, and the probability of each.
func (m *Model) Verdict(ctx context.Context, step Step) (logits, probabilities [2]float32, err error) {
	if m.config.Head.Yes == m.config.Head.No {
		return logits, probabilities, fmt.Errorf("a %s model gives no verdicts", m.config.Family)
	}
	step.Logits, step.Best = LastRow, 0
	var out Logits
	if err := m.Forward(ctx, []Step{step}, &out); err != nil {
		return logits, probabilities, err
	}
	logits = [2]float32{out.Row(0)[m.config.Head.Yes], out.Row(0)[m.config.Head.No]}
	yes := 1 / (1 + math.Exp(float64(logits[1]-logits[0])))
	return logits, [2]float32{float32(yes), float32(1 - yes)}, nil
}

// dense binds the layers that follow the mean of an encoder's states.
func (b *binder) dense(c *Config) []engine.Weight {
	if c.Head.Projected {
		return []engine.Weight{b.weight("embedding_projection.weight", c.Head.Pooled, c.Width)}
	}
	var ws []engine.Weight
	in := c.Width
	for i, out := range c.Head.Dense {
		if name := fmt.Sprintf("%d_Dense.weight", i+2); b.has(name) { // GGUF has all in one file
			ws, in = append(ws, b.weight(name, out, in)), out
			continue
		}
		part, err := b.from.Part(fmt.Sprintf("%d_Dense", i+2))
		if err != nil {
			if b.err == nil {
				b.err = err
			}
			return nil
		}
		beside := *b
		beside.from = part
		ws = append(ws, beside.weight("weight", out, in))
		b.err, in = beside.err, out
	}
	return ws
}

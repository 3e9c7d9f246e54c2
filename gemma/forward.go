package gemma

import (
	"context"
	"errors"
	"fmt"

	"lapidary/engine"
)

// MaxRows is how many rows a pass should have at most: activations stay within
// a few megabytes, and cancelling takes effect between passes.
const MaxRows = 512

// headRows is how many rows of logits exist at a time: 262,144 entries each.
const headRows = 32

// ErrContext is returned when a step would go past the model's context.
var ErrContext = errors.New("past the model's context")

// Want says which rows of a step need logits.
type Want int

// The rows of a step that need logits.
const (
	NoLogits Want = iota
	LastRow
	AllRows
)

// Step is a run of tokens that continues one sequence. A nil Cache stands for
// a sequence that starts here and is forgotten.
type Step struct {
	Cache  engine.Cache
	Tokens []int32
	Logits Want
	// Best, if not 0, is how many of a row's greatest logits are needed: where
	// an engine finds them sooner than all, the others are −Inf.
	Best int
}

// Forward runs the steps as one pass and puts the logits they want into out,
// which may be nil if they want none. When it fails, every cache is as it was.
func (m *Model) Forward(ctx context.Context, steps []Step, out *Logits) error {
	return m.forward(ctx, steps, nil, m.collect(out))
}

// collect empties out and returns what fills it.
func (m *Model) collect(out *Logits) sink {
	if out != nil {
		out.reset(m.config.Vocab)
	}
	return sink{
		block: func(p engine.Pass, block engine.Tensor, rows int) error {
			p.Read(block, out.add(rows))
			return nil
		},
		ranked: func(rows []engine.Ranked) {
			for _, r := range rows {
				out.addRanked(r)
			}
		},
	}
}

// ForwardEach is Forward for many rows of logits: they are handed to visit one
// by one and never exist all at once. A row is valid during the call. An error
// of visit ends the pass and is returned.
func (m *Model) ForwardEach(ctx context.Context, steps []Step, visit func(row int, logits []float32) error) error {
	var buf []float32
	next := 0
	return m.forward(ctx, steps, nil, sink{block: func(p engine.Pass, block engine.Tensor, rows int) error {
		if buf == nil {
			buf = make([]float32, rows*m.config.Vocab)
		}
		p.Read(block, buf)
		for i := range rows {
			if err := visit(next, buf[i*m.config.Vocab:(i+1)*m.config.Vocab]); err != nil {
				return err
			}
			next++
		}
		return nil
	}})
}

// ForwardObserved is Forward with an observer.
func (m *Model) ForwardObserved(ctx context.Context, steps []Step, out *Logits, o Observer) error {
	return m.forward(ctx, steps, &watcher{observe: o}, m.collect(out))
}

// forward is the whole model: embed, the blocks, the final norm, and the head
// over the rows that want it, a few at a time.
func (m *Model) forward(ctx context.Context, steps []Step, watch *watcher, out sink) error {
	ids, spans, wanted, err := m.flatten(steps)
	if err != nil || len(ids) == 0 {
		return err
	}
	p := m.engine.Begin(ctx, spans)
	x := watch.see(p, "embed", p.Embed(m.embed, ids, m.config.EmbedScale)) // [R, D]
	for i := range m.blocks {
		if ctx.Err() != nil {
			break // End says so
		}
		if i == len(m.blocks)-1 && len(wanted) < len(ids) {
			x = m.blocks[i].last(p, x, wanted, watch)
		} else {
			x = m.blocks[i].forward(p, x, watch)
		}
	}
	if len(wanted) > 0 && ctx.Err() == nil {
		x = p.Norm(x, engine.Norm{Weight: m.norm, Eps: m.config.NormEps, Offset: m.config.NormOffset})
		x = watch.see(p, "norm", x)
		if !m.rank(p, x, best(steps), out) {
			if err := m.logits(ctx, p, x, out); err != nil {
				p.Discard()
				return err
			}
		}
	}
	return p.End()
}

// sink takes logits.
type sink struct {
	block  func(p engine.Pass, block engine.Tensor, rows int) error // [rows, V]
	ranked func(rows []engine.Ranked)                               // nil: wants them all
}

// best is how many of the greatest logits are enough for every row that wants
// logits, 0 if only all are.
func best(steps []Step) int {
	n := 0
	for _, s := range steps {
		switch {
		case s.Logits == NoLogits:
		case s.Best == 0:
			return 0
		default:
			n = max(n, s.Best)
		}
	}
	return n
}

// rank finds the n greatest logits of x [R, D] if the engine can.
func (m *Model) rank(p engine.Pass, x engine.Tensor, n int, out sink) bool {
	ranker, ok := p.(engine.Ranker)
	if !ok || n == 0 || out.ranked == nil {
		return false
	}
	rows := ranker.Best(x, m.head, n)
	if rows == nil {
		return false
	}
	for i := range rows {
		if values := rows[i].Values; m.config.FinalCap != 0 {
			p.Read(p.SoftCap(p.Write(values, len(values)), m.config.FinalCap), values)
		}
	}
	out.ranked(rows)
	return true
}

// logits runs the head over x [R, D], headRows rows at a time.
func (m *Model) logits(ctx context.Context, p engine.Pass, x engine.Tensor, out sink) error {
	rows, _ := x.Dims()
	for from := 0; from < rows && ctx.Err() == nil; from += headRows {
		n := min(headRows, rows-from)
		some := x
		if n < rows {
			some = p.Pick(x, sequence(from, n))
		}
		y := p.Linear(some, m.head)[0] // [n, V]
		if m.config.FinalCap != 0 {
			y = p.SoftCap(y, m.config.FinalCap)
		}
		if err := out.block(p, y, n); err != nil {
			return err
		}
	}
	return nil
}

func sequence(from, n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = from + i
	}
	return s
}

// flatten lays the steps' rows one after the other and checks them.
func (m *Model) flatten(steps []Step) (ids []int32, spans []engine.Span, wanted []int, err error) {
	for _, s := range steps {
		held := 0
		if s.Cache != nil {
			held = s.Cache.Len()
		}
		if held+len(s.Tokens) > m.config.Context {
			return nil, nil, nil, fmt.Errorf("%d tokens after %d: %w of %d", len(s.Tokens), held, ErrContext, m.config.Context)
		}
		for _, id := range s.Tokens {
			if id < 0 || int(id) >= m.config.Vocab {
				return nil, nil, nil, fmt.Errorf("token %d is not in the vocabulary of %d", id, m.config.Vocab)
			}
		}
		if len(s.Tokens) == 0 {
			continue
		}
		from := len(ids)
		ids = append(ids, s.Tokens...)
		spans = append(spans, engine.Span{Cache: s.Cache, Rows: len(s.Tokens)})
		switch s.Logits {
		case LastRow:
			wanted = append(wanted, len(ids)-1)
		case AllRows:
			wanted = append(wanted, sequence(from, len(s.Tokens))...)
		}
	}
	return ids, spans, wanted, nil
}

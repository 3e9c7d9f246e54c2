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
	// Soft are embeddings that stand in for those of some tokens.
	Soft []Soft
	// Together are the tokens, [from, to), that see each other and not their
	// past alone: those of one picture, or PaliGemma's prefix. What no layer of
	// the model lets see each other stays as it is.
	Together [][2]int
	// Throughout makes Together hold in every layer, also in those that let rows
	// see their past alone: Gemma 4 unified was trained so, and generates with
	// pictures seen together in its local layers.
	Throughout bool
	// Adapter, if not nil, changes the linear layers for these tokens alone. What
	// a cache holds depends on it: a sequence keeps to one adapter, or to none,
	// from its first token on.
	Adapter *BoundAdapter
}

// Soft are soft tokens: rows of the model's width that take the place of a
// step's tokens from At on.
type Soft struct {
	At      int
	Vectors []float32
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

// forward is the whole model: embed, the layers, the last norm, and the head
// over the rows that want it, a few at a time.
func (m *Model) forward(ctx context.Context, steps []Step, watch *watcher, out sink) error {
	if m.text == nil {
		return fmt.Errorf("a %s model gives no logits", m.config.Family)
	}
	in, err := m.text.flatten(steps)
	if err == nil && m.encoder != nil {
		err = in.sources()
	}
	if err != nil || len(in.ids) == 0 {
		return err
	}
	p := m.engine.Begin(ctx, in.spans)
	x := m.text.run(ctx, p, m.text.embedded(p, in), in, watch)
	if x != nil && !m.rank(p, x, in.best, out) {
		if err := m.logits(ctx, p, x, out); err != nil {
			p.Discard()
			return err
		}
	}
	return p.End()
}

// sources finds the memories behind those of an encoder–decoder.
func (in *input) sources() error {
	for i, s := range in.spans {
		memory, ok := s.Cache.(*sourced)
		if !ok || !memory.has {
			return ErrNoSource
		}
		in.spans[i].Cache = memory.Cache
	}
	return nil
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
func (s *stack) flatten(steps []Step) (*input, error) {
	in := &input{best: best(steps)}
	for _, step := range steps {
		if len(step.Tokens) == 0 {
			continue
		}
		held := 0
		if step.Cache != nil {
			held = step.Cache.Len()
		}
		if held+len(step.Tokens) > s.config.Context {
			return nil, fmt.Errorf("%d tokens after %d: %w of %d", len(step.Tokens), held, ErrContext, s.config.Context)
		}
		from := len(in.ids)
		in.ids = append(in.ids, step.Tokens...)
		if err := in.place(step.Soft, from, s.config.Width); err != nil {
			return nil, err
		}
		for _, id := range in.ids[from:] {
			if id < 0 || int(id) >= s.config.Vocab {
				return nil, fmt.Errorf("token %d is not in the vocabulary of %d", id, s.config.Vocab)
			}
		}
		span := engine.Span{Cache: step.Cache, Rows: len(step.Tokens)}
		if err := together(&span, step.Together); err != nil {
			return nil, err
		}
		if err := in.adapts(s, step.Adapter, from, len(step.Tokens)); err != nil {
			return nil, err
		}
		in.spans = append(in.spans, span)
		in.throughout = in.throughout || step.Throughout
		switch step.Logits {
		case LastRow:
			in.wanted = append(in.wanted, len(in.ids)-1)
		case AllRows:
			in.wanted = append(in.wanted, sequence(from, len(step.Tokens))...)
		}
	}
	return in, nil
}

// place puts soft tokens at their rows of a step that begins at row first. What
// stood there counts as padding.
func (in *input) place(soft []Soft, first, width int) error {
	for _, s := range soft {
		n := len(s.Vectors) / width
		if len(s.Vectors)%width != 0 || s.At < 0 || first+s.At+n > len(in.ids) {
			return fmt.Errorf("soft tokens: %d numbers at token %d of %d do not fit rows of %d", len(s.Vectors), s.At, len(in.ids)-first, width)
		}
		if n == 0 {
			continue
		}
		clear(in.ids[first+s.At:][:n])
		in.soft = append(in.soft, softRows{sequence(first+s.At, n), s.Vectors})
	}
	return nil
}

// together numbers the groups of a span.
func together(span *engine.Span, groups [][2]int) error {
	for i, g := range groups {
		if g[0] < 0 || g[1] > span.Rows || g[0] > g[1] {
			return fmt.Errorf("tokens %d to %d cannot see each other in a step of %d", g[0], g[1], span.Rows)
		}
		if span.Groups == nil {
			span.Groups = make([]int32, span.Rows)
		}
		for row := g[0]; row < g[1]; row++ {
			span.Groups[row] = int32(i + 1)
		}
	}
	return nil
}

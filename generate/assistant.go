package generate

import (
	"context"
	"fmt"
	"slices"

	"lapidary/engine"
	"lapidary/gemma"
)

// Observed is a model whose activations can be seen.
type Observed interface {
	Model
	ForwardObserved(ctx context.Context, steps []gemma.Step, out *gemma.Logits, o gemma.Observer) error
}

// Assistant drafts with the layers that were trained for it (Gemma 4's
// assistants): they take the model's last hidden state and look at the keys and
// values that it has left, so that a guess costs a few small layers and no
// memory of its own. It is the model too, since it has to see those states:
// generate with it as both.
type Assistant struct {
	Observed
	drafter *gemma.Drafter
	pace

	cache  engine.Cache
	states [][]float32 // of the rows that wanted logits, last
	first  int         // the place of the first of them
	logits gemma.Logits
}

// NewAssistant makes the assistant of one sequence.
func NewAssistant(m Observed, d *gemma.Drafter) *Assistant {
	return &Assistant{Observed: m, drafter: d, pace: pace{limit: maxDraft}}
}

// Forward is the model's, with its last states kept.
func (a *Assistant) Forward(ctx context.Context, steps []gemma.Step, out *gemma.Logits) error {
	if len(steps) != 1 || steps[0].Cache == nil {
		return fmt.Errorf("an assistant follows one sequence at a time, not %d", len(steps))
	}
	s := &steps[0]
	a.states = a.states[:0]
	a.cache, a.first = s.Cache, s.Cache.Len()
	if s.Logits == gemma.LastRow {
		a.first += len(s.Tokens) - 1
	}
	return a.ForwardObserved(ctx, steps, out, func(name string, rows [][]float32) bool {
		if name == gemma.LastState {
			for _, r := range rows {
				a.states = append(a.states, slices.Clone(r))
			}
		}
		return false
	})
}

// Restart begins another text.
func (a *Assistant) Restart([]int32) { a.draft, a.from = a.draft[:0], 0 }

// Draft asks the assistant.
func (a *Assistant) Draft(ctx context.Context, text []int32, price []float64) ([]int32, error) {
	a.learn(text)
	at := len(text) - 1 // the place of the token that the cache lacks
	state := at - 1 - a.first
	n := min(len(price)-1, a.limit, a.Config().Context-len(text))
	if n <= 0 || a.cache == nil || a.cache.Len() != at || state < 0 || state >= len(a.states) || a.asleep(len(text)) || !a.pays(1, 0, n, price) {
		return nil, nil
	}
	a.from = len(text)
	hidden := a.states[state]
	return a.extend(n, price, func(last int32) ([]float32, error) {
		if last < 0 {
			last = text[at]
		}
		began := now()
		var err error
		if hidden, err = a.drafter.Step(ctx, a.cache, last, at, hidden, &a.logits); err != nil {
			return nil, fmt.Errorf("the drafting assistant: %w", err)
		}
		a.measure(now().Sub(began))
		return a.logits.Row(0), nil
	})
}

// Close returns the memory.
func (a *Assistant) Close() { a.states, a.cache = nil, nil }

package generate

import (
	"context"
	"slices"
)

// Drafter guesses how a text goes on. What it guesses changes how soon an
// answer is there and never what it says: a guess counts only where the
// [Sampler] chooses the same.
//
// A Drafter serves one sequence at a time. One that needs what the model itself
// computed, such as a drafting head, stands between: it is the [Model] too and
// keeps what it likes of each Forward; the text it is given next tells which of
// those rows came true.
type Drafter interface {
	// Restart says that the text is another one: a prompt, or what a context
	// shift left of prompt and answer.
	Restart(text []int32)
	// Draft returns at most n tokens that may follow the text, none if it would
	// not pay. The text is the one of the call before, or of Restart, and what
	// was chosen since. It and the draft may be read until the next call.
	Draft(ctx context.Context, text []int32, n int) ([]int32, error)
	// Close returns the memory.
	Close()
}

// maxDraft is the length of the longest draft. With the token before it, a
// pass has eight rows, which engine/cpu computes bit for bit as it would one
// after the other.
const maxDraft = 7

// What a pass over a draft costs beside a pass over one token, whose time is 1.
// Measured with Gemma 3 270M: see docs/speculation.md.
const (
	draftStart = 0.1 // several rows instead of one
	draftToken = 0.2 // each row more
)

// worth is how many tokens of a draft pay: likely are the probabilities that
// the first so many are all right. It looks for the most tokens in a time, and
// for at least a few per cent more than without a draft.
func worth(likely []float64) int {
	n, best, tokens := 0, 1.05, 1.0
	for i, p := range likely {
		tokens += p
		if rate := tokens / (1 + draftStart + float64(i+1)*draftToken); rate > best {
			n, best = i+1, rate
		}
	}
	return n
}

// Drafters asks each in turn and takes the first draft there is.
func Drafters(d ...Drafter) Drafter { return drafters(d) }

type drafters []Drafter

func (ds drafters) Restart(text []int32) {
	for _, d := range ds {
		d.Restart(text)
	}
}

func (ds drafters) Draft(ctx context.Context, text []int32, n int) ([]int32, error) {
	for _, d := range ds {
		if draft, err := d.Draft(ctx, text, n); err != nil || len(draft) > 0 {
			return draft, err
		}
	}
	return nil, nil
}

func (ds drafters) Close() {
	for _, d := range ds {
		d.Close()
	}
}

// speculation is what a generation knows of the draft it is verifying.
type speculation struct {
	drafter Drafter // nil: no drafts
	// pending are the drafted tokens that the cache holds and the sampler has
	// not come to; row is where the logits lie that follow what it has.
	pending []int32
	row     int
}

// draft asks for a continuation where one fits: what it may be long is bounded
// by the context and by the tokens that are still wanted, of which each pass
// gives one without a draft.
func (g *generation) draft(ctx context.Context) ([]int32, error) {
	if g.spec.drafter == nil || len(g.ids)-g.cache.Len() != 1 {
		return nil, nil
	}
	n := min(maxDraft, g.context-len(g.ids))
	if m := g.params.MaxTokens; m > 0 {
		n = min(n, m-g.result.Tokens-1)
	}
	if n <= 0 {
		return nil, nil
	}
	draft, err := g.spec.drafter.Draft(ctx, g.ids, n)
	if err != nil {
		return nil, err
	}
	draft = draft[:min(n, len(draft))]
	if i := slices.IndexFunc(draft, g.unknown); i >= 0 {
		draft = draft[:i] // a drafter may know more tokens than the model
	}
	return draft, nil
}

func (g *generation) unknown(id int32) bool { return id < 0 || int(id) >= g.vocab }

// verify compares the token that was chosen with the one that was drafted. It
// is called before the token joins the others.
func (g *generation) verify(id int32) error {
	s := &g.spec
	if len(s.pending) == 0 {
		return nil
	}
	if s.pending[0] == id {
		s.pending = s.pending[1:]
		s.row++
		g.result.Accepted++
		return nil
	}
	s.pending = nil
	return g.keep(len(g.ids))
}

// keep leaves the first n positions in the cache. If a window has moved past
// that place everything is evaluated anew, and there are no more drafts: each
// could cost as much.
func (g *generation) keep(n int) error {
	if g.cache.Len() <= n {
		return nil
	}
	err := Rewind(g.cache, n)
	if g.cache.Len() < n {
		g.spec.drafter = nil
	}
	return err
}

// settle leaves in the cache what Generate promises, whatever was drafted.
func (g *generation) settle() {
	if g.result.Tokens > 0 {
		_ = g.keep(len(g.ids) - 1) // a cache can always be emptied
	}
}

package generate

import (
	"context"
	"math"
	"slices"
	"time"
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
	// Draft returns tokens that may follow the text, none if that would not
	// pay. A pass over n of them is expected to take price[n] seconds, and
	// there must be fewer of them than prices. The text is the one of the call
	// before, or of Restart, and what was chosen since. It, the prices and the
	// draft may be read until the next call.
	Draft(ctx context.Context, text []int32, price []float64) ([]int32, error)
	// Close returns the memory.
	Close()
}

// maxDraft is the length of the longest draft. With the token before it, a
// pass has eight rows, which engine/cpu computes bit for bit as it would one
// after the other.
const maxDraft = 7

// worth is how many tokens of a draft pay: likely are the probabilities that
// the first so many are all right. It looks for the most tokens in a time, and
// for at least a few per cent more than without a draft.
func worth(likely, price []float64) int {
	n, best, tokens := 0, 1.05/price[0], 1.0
	for i, p := range likely {
		tokens += p
		if rate := tokens / price[i+1]; rate > best {
			n, best = i+1, rate
		}
	}
	return n
}

// prices is what passes cost, as this generation has measured it: that depends
// on the processor, the weights' format, and how much the cache holds. Since it
// only decides what is drafted, no answer depends on it.
type prices struct {
	one  float64           // seconds of a pass without a draft, 0 before the first
	more [maxDraft]float64 // what each token adds to a pass over 1, 2, … of them, in passes without
	list [maxDraft + 1]float64
}

const (
	moreAtFirst = 0.5 // dear, so that texts without repetition lose nothing
	maxMore     = 2
)

func newPrices() (p prices) {
	for i := range p.more {
		p.more[i] = moreAtFirst
	}
	return p
}

// observe takes in a pass over a number of drafted tokens. Passes over other
// numbers are learned from too, the nearer the more. What was learned fades while
// nothing is drafted, so that one slow pass does not forbid drafts for ever.
func (p *prices) observe(drafted int, took time.Duration) {
	t := took.Seconds()
	switch {
	case drafted > 0 && p.one > 0:
		x := min((max(t, p.one)/p.one-1)/float64(drafted), maxMore)
		for i := range p.more {
			p.more[i] += (x - p.more[i]) / (4 * (1 + math.Abs(float64(i+1-drafted))))
		}
	case drafted == 0 && p.one == 0:
		p.one = t
	case drafted == 0:
		p.one += (min(t, 2*p.one) - p.one) / 8
		for i := range p.more {
			p.more[i] += (moreAtFirst - p.more[i]) / 256
		}
	}
}

// upTo are the prices of drafts of at most n tokens.
func (p *prices) upTo(n int) []float64 {
	p.list[0] = p.one
	for i := range n {
		p.list[i+1] = p.one * (1 + float64(i+1)*p.more[i])
	}
	return p.list[:n+1]
}

// Drafters asks each in turn and takes the first draft there is.
func Drafters(d ...Drafter) Drafter { return drafters(d) }

type drafters []Drafter

func (ds drafters) Restart(text []int32) {
	for _, d := range ds {
		d.Restart(text)
	}
}

func (ds drafters) Draft(ctx context.Context, text []int32, price []float64) ([]int32, error) {
	for _, d := range ds {
		if draft, err := d.Draft(ctx, text, price); err != nil || len(draft) > 0 {
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
	prices  prices
}

// draft asks for a continuation, no longer than the context has room for and
// than tokens are wanted: each pass gives one without a draft. None is drafted
// before the price of a pass is known, nor while more than one token waits, as
// they do when there was no way back.
func (g *generation) draft(ctx context.Context) ([]int32, error) {
	if g.spec.drafter == nil || g.spec.prices.one == 0 || len(g.ids)-g.cache.Len() != 1 {
		return nil, nil
	}
	n := min(maxDraft, g.context-len(g.ids))
	if m := g.params.MaxTokens; m > 0 {
		n = min(n, m-g.result.Tokens-1)
	}
	if n <= 0 {
		return nil, nil
	}
	draft, err := g.spec.drafter.Draft(ctx, g.ids, g.spec.prices.upTo(n))
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

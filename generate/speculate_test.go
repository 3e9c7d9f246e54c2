package generate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"lapidary/generate/generatetest"
)

// oracle drafts what it was told is coming, with a mistake now and then.
type oracle struct {
	text     []int32 // prompt and answer
	wrong    int     // every so many-th token is another, 0 never
	restarts int
	asked    []int // lengths that were asked for
	err      error
}

func (o *oracle) Restart([]int32) { o.restarts++ }
func (o *oracle) Close()          {}
func (o *oracle) Draft(_ context.Context, text []int32, price []float64) ([]int32, error) {
	n := len(price) - 1
	o.asked = append(o.asked, n)
	if len(text) >= len(o.text) {
		return nil, o.err
	}
	draft := slices.Clone(o.text[len(text):min(len(o.text), len(text)+n)])
	for i := range draft {
		if o.wrong > 0 && (len(text)+i)%o.wrong == 0 {
			draft[i]++
		}
	}
	return draft, o.err
}

// wild drafts anything, far too much of it, and tokens that do not exist.
type wild struct{ random *rand.Rand }

func (w wild) Restart([]int32) {}
func (w wild) Close()          {}
func (w wild) Draft(_ context.Context, text []int32, price []float64) ([]int32, error) {
	n := len(price) - 1
	draft := make([]int32, w.random.IntN(2*n+2))
	for i := range draft {
		switch w.random.IntN(12) {
		case 0:
			draft[i] = 1 << 20
		case 1:
			draft[i] = -1
		default:
			draft[i] = text[w.random.IntN(len(text))]
		}
	}
	return draft, nil
}

// drafts makes each kind of drafter for a model.
func drafts(m *scripted, coming []int32) map[string]func() Drafter {
	twin := m.salted(m.salt)
	twin.context = max(2, m.context*2/3)
	stranger := m.salted(m.salt + 1)
	stranger.vocab = int(ids("d")[0]) // knows a, b and c
	return map[string]func() Drafter{
		"n-grams":      func() Drafter { return NewNGrams() },
		"twin":         func() Drafter { return NewModelDrafter(twin) },
		"stranger":     func() Drafter { return NewModelDrafter(stranger) },
		"both":         func() Drafter { return Drafters(NewNGrams(), NewModelDrafter(m.salted(m.salt))) },
		"oracle":       func() Drafter { return &oracle{text: coming} },
		"flawed":       func() Drafter { return &oracle{text: coming, wrong: 5} },
		"wild":         func() Drafter { return wild{rand.New(rand.NewPCG(m.salt, 7))} },
		"of no use":    func() Drafter { return &oracle{} },
		"not even one": func() Drafter { return Drafters() },
	}
}

// same compares what a generation gave with what it gives without drafts.
func same(t rapid.TB, name string, got, want outcome, exact bool) {
	t.Helper()
	if !reflect.DeepEqual(got.tokens, want.tokens) {
		t.Fatalf("%s: tokens\n%+v, want\n%+v", name, got.tokens, want.tokens)
	}
	if got.ended != want.ended || !errors.Is(got.err, want.err) && fmt.Sprint(got.err) != fmt.Sprint(want.err) {
		t.Fatalf("%s: ended %v with %v, want %v with %v", name, got.ended, got.err, want.ended, want.err)
	}
	r := got.result
	if r.Accepted > r.Drafted || r.Accepted > r.Tokens {
		t.Fatalf("%s: accepted %d of %d drafted in %d tokens", name, r.Accepted, r.Drafted, r.Tokens)
	}
	r.Prefill, r.Decode, r.Drafted, r.Accepted = want.result.Prefill, want.result.Decode, 0, 0
	if r != want.result {
		t.Fatalf("%s: %+v, want %+v", name, r, want.result)
	}
	if exact && !slices.Equal(got.held, want.held) {
		t.Fatalf("%s: the cache holds %d, want %d", name, got.held, want.held)
	}
	if !exact && !slices.Equal(got.held, want.held[:min(len(want.held), len(got.held))]) {
		t.Fatalf("%s: the cache holds %d, want a beginning of %d", name, got.held, want.held)
	}
}

// TestSpeculationChangesNothing runs random models with and without drafts,
// over everything that can end or disturb a generation.
func TestSpeculationChangesNothing(t *testing.T) {
	base := newScripted(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := base.salted(rapid.Uint64().Draw(rt, "salt"))
		m.order = rapid.IntRange(1, 3).Draw(rt, "order")
		m.context = rapid.IntRange(6, 60).Draw(rt, "context")
		m.back = rapid.SampledFrom([]int{-1, maxDraft, 2, 0}).Draw(rt, "back")
		tr := drawTrial(rt, m)
		want := m.run(t, tr, nil)
		// What passes seem to cost decides what is drafted.
		clock := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "clock"), 1))
		at := time.Now()
		now = func() time.Time {
			at = at.Add(time.Duration(clock.IntN(1000)))
			return at
		}
		defer func() { now = time.Now }()
		for name, drafter := range drafts(m, append(slices.Clone(tr.prompt), want.ids()...)) {
			d := drafter()
			got := m.run(t, tr, d)
			d.Close()
			same(rt, name, got, want, m.back < 0 || m.back >= maxDraft)
			if m.longest > maxDraft+1 {
				rt.Fatalf("%s: a pass gave %d rows of logits", name, m.longest)
			}
		}
	})
}

func drawTrial(rt *rapid.T, m *scripted) trial {
	piece := rapid.SampledFrom(letters)
	p := Defaults()
	p.Temperature = rapid.SampledFrom([]float32{0, 0, 0.3, 1}).Draw(rt, "temperature")
	p.TopK = rapid.SampledFrom([]int{0, 2, 64}).Draw(rt, "top-k")
	p.TopP = rapid.SampledFrom([]float32{1, 0.8}).Draw(rt, "top-p")
	p.RepeatPenalty = rapid.SampledFrom([]float32{1, 1.3}).Draw(rt, "repeat")
	p.FrequencyPenalty = rapid.SampledFrom([]float32{0, 0.2}).Draw(rt, "frequency")
	p.MaxTokens = rapid.IntRange(0, 40).Draw(rt, "max tokens")
	p.LogProbs = rapid.SampledFrom([]int{0, OwnLogProb, 2}).Draw(rt, "log-probabilities")
	if rapid.Bool().Draw(rt, "stops") {
		p.Stop = []string{piece.Draw(rt, "stop") + piece.Draw(rt, "stop") + piece.Draw(rt, "stop")}
	}
	if p.ContextShift = rapid.Bool().Draw(rt, "shift"); p.ContextShift {
		p.Keep = rapid.IntRange(0, m.context/2).Draw(rt, "keep")
		p.MaxTokens = max(1, p.MaxTokens)
	}
	seed := rapid.Uint64().Draw(rt, "seed")
	p.Seed = &seed
	return trial{
		prompt: ids(rapid.SliceOfN(piece, 1, 12).Draw(rt, "prompt")...), params: p,
		leave: rapid.IntRange(0, 12).Draw(rt, "leave"), cancel: rapid.IntRange(0, 12).Draw(rt, "cancel"),
	}
}

// counting says a to e over and over: what it says is known in advance.
func counting(t *testing.T) *fake {
	table := generatetest.Table{}.Chain("a", "b", "c", "d", "e", "a")
	return newFake(t, table, 1000)
}

func TestDraftsInTheMiddle(t *testing.T) {
	coming := ids("<bos>", "a", "b", "c", "d", "e", "a", "b", "c", "d", "e", "a", "b", "c", "d", "e")
	tests := []struct {
		name     string
		change   func(p *Params)
		leave    int
		text     string
		accepted int
		passes   int // after the prompt's; the first tells the price
	}{
		{"max tokens", func(p *Params) { p.MaxTokens = 6 }, 0, "bcdeab", 3, 2},
		{"one token more than a draft", func(p *Params) { p.MaxTokens = 11 }, 0, "bcdeabcdeab", 7, 3},
		{"a stop string", func(p *Params) { p.Stop = []string{"ea"} }, 0, "bcd", 3, 2},
		{"a stop token", func(p *Params) { p.StopTokens = ids("d") }, 0, "bc", 1, 2},
		{"leaving", func(p *Params) {}, 4, "bcde", 2, 2},
		{"leaving at the end of a draft", func(p *Params) {}, 9, "bcdeabcde", 7, 2},
		{"leaving after a draft", func(p *Params) {}, 10, "bcdeabcdea", 7, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f, p := counting(t), greedy(0)
			test.change(&p)
			cache := f.NewCache()
			defer cache.Close()
			text, tokens, accepted := "", 0, 0
			for tok, err := range Speculate(t.Context(), f, f.tok, cache, Prompt{Tokens: coming[:2]}, p, &oracle{text: coming}) {
				if err != nil {
					t.Fatal(err)
				}
				text += tok.Text
				if tok.End != nil {
					accepted = tok.End.Accepted
				}
				if tokens++; tokens == test.leave {
					accepted = test.accepted
					break
				}
			}
			if text != test.text || accepted != test.accepted || len(f.passes) != 1+test.passes {
				t.Errorf("text %q, %d accepted, passes of %d; want %q, %d, %d passes after the prompt's", text, accepted, f.passes, test.text, test.accepted, test.passes)
			}
			if want := 2 + tokens - 1; cache.Len() != want {
				t.Errorf("the cache holds %d, want the prompt and all but the last of %d tokens: %d", cache.Len(), tokens, want)
			}
		})
	}
}

func TestDraftIsNeverLongerThanWanted(t *testing.T) {
	f, o := counting(t), &oracle{}
	for range Speculate(t.Context(), f, f.tok, f.NewCache(), Prompt{Tokens: ids("a")}, greedy(10), o) {
	}
	if want := []int{7, 6, 5, 4, 3, 2, 1}; !slices.Equal(o.asked, want) || o.restarts != 1 {
		t.Errorf("drafts of %d were asked for after %d restarts, want %d after one", o.asked, o.restarts, want)
	}
}

func TestDrafterFails(t *testing.T) {
	f, broken := counting(t), errors.New("broken")
	cache, n := f.NewCache(), 0
	for _, err := range Speculate(t.Context(), f, f.tok, cache, Prompt{Tokens: ids("a")}, greedy(9), &oracle{err: broken}) {
		if n++; n == 3 && !errors.Is(err, broken) {
			t.Errorf("the third step gives %v, want the drafter's error", err)
		}
	}
	if n != 3 || cache.Len() != 2 {
		t.Errorf("%d steps and %d positions, want 3 and 2", n, cache.Len())
	}
}

func TestCancelInsideADraft(t *testing.T) {
	for _, when := range []string{"between tokens", "in the pass over it"} {
		m := newScripted(t)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		tr := trial{prompt: ids("a", "b"), params: greedy(20)}
		coming := append(slices.Clone(tr.prompt), func() []int32 { o := m.run(t, tr, nil); return o.ids() }()...)
		cache, n, last := m.NewCache(), 0, error(nil)
		for _, err := range Speculate(ctx, m, m.tok, cache, Prompt{Tokens: tr.prompt}, tr.params, &oracle{text: coming}) {
			if last = err; err != nil {
				break
			}
			if n++; n == 3 && when == "between tokens" {
				cancel()
			}
			if n == 10 { // a draft is used up, the next pass is over another
				m.before = cancel
			}
		}
		if want := map[string]int{"between tokens": 3, "in the pass over it": 10}[when]; n != want || !errors.Is(last, context.Canceled) || cache.Len() != 2+n-1 {
			t.Errorf("%s: %d tokens, %v and %d positions; want %d, the context's error and %d", when, n, last, cache.Len(), want, 2+want-1)
		}
	}
}

// TestNoWayBack has a cache that can take nothing back: after the first wrong
// draft everything is evaluated once more, and no draft follows.
func TestNoWayBack(t *testing.T) {
	m, seed := newScripted(t), uint64(1)
	tr := trial{prompt: ids("a", "b"), params: greedy(20)}
	tr.params.Seed = &seed
	want := m.run(t, tr, nil)
	m.back, m.passes = 0, 0
	o := &oracle{text: append(slices.Clone(tr.prompt), want.ids()...), wrong: 6}
	got := m.run(t, tr, o)
	same(t, "no way back", got, want, false)
	if len(o.asked) != 1 || got.result.Accepted != 2 {
		t.Errorf("%d drafts were asked for and %d tokens accepted, want one draft whose 3rd token is wrong", len(o.asked), got.result.Accepted)
	}
}

// TestDraftAtTheEdge: a draft goes up to the last place of the context, and a
// shift there begins another text for the drafter.
func TestDraftAtTheEdge(t *testing.T) {
	m, seed := newScripted(t), uint64(1)
	tr := trial{prompt: ids("a", "b"), params: greedy(0)}
	tr.params.Seed = &seed
	m.context = 10
	want := m.run(t, tr, nil)
	m.passes = 0
	o := &oracle{text: append(slices.Clone(tr.prompt), want.ids()...)}
	same(t, "a full context", m.run(t, tr, o), want, true)
	if !want.result.ContextFull || m.passes != 3 || !slices.Equal(o.asked, []int{6}) {
		t.Errorf("drafts of %d were asked for in %d passes until the context was full (%v), want one of 6, in 3", o.asked, m.passes, want.result.ContextFull)
	}
	tr.params.ContextShift, tr.params.MaxTokens = true, 18
	want, o = m.run(t, tr, nil), &oracle{}
	same(t, "two shifts", m.run(t, tr, o), want, true)
	if want.result.Dropped != 10 || o.restarts != 3 {
		t.Errorf("%d tokens were dropped and the drafter began %d texts, want 10 and 3", want.result.Dropped, o.restarts)
	}
}

func TestPrices(t *testing.T) {
	p := newPrices()
	passes := func(drafted int, took time.Duration, n int) {
		for range n {
			p.observe(drafted, took)
		}
	}
	check := func(when string, drafted int, from, to float64) {
		t.Helper()
		if got := p.upTo(maxDraft)[drafted] / p.one; got < from || got > to {
			t.Errorf("%s: a pass over %d drafted tokens costs %.2f, want %v to %v", when, drafted, got, from, to)
		}
	}
	p.observe(3, time.Second) // says nothing before a pass without a draft
	passes(0, 10*time.Millisecond, 1)
	check("at first", 4, 3, 3)
	passes(7, 17*time.Millisecond, 20)
	check("after many", 7, 1.6, 1.8)
	check("after many of another length", 5, 1.4, 2)
	passes(7, time.Minute, 1)
	check("after a slow one", 7, 1.7, 9)
	passes(0, 10*time.Millisecond, 2000)
	check("long after", 7, 4.4, 4.6)
	passes(0, time.Minute, 1)
	if p.one > 0.012 {
		t.Errorf("one slow pass makes a pass cost %v s", p.one)
	}
	passes(1, time.Millisecond, 50) // faster than a pass without
	check("free", 1, 1, 1.01)
}

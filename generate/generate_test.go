package generate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"lapidary/gemma"
	"lapidary/generate/generatetest"
)

func TestEnds(t *testing.T) {
	tests := []struct {
		name    string
		context int
		change  func(p *Params)
		text    string
		tokens  int
		want    Result
	}{
		{"the model's own end", 100, func(p *Params) {}, "bcdefghijklmnopqrstuvwxyz", 26, Result{Reason: Stop}},
		{"max tokens", 100, func(p *Params) { p.MaxTokens = 3 }, "bcd", 3, Result{Reason: Length}},
		{"max tokens at the model's end", 100, func(p *Params) { p.MaxTokens = 26 }, "bcdefghijklmnopqrstuvwxyz", 26, Result{Reason: Stop}},
		{"stop string", 100, func(p *Params) { p.Stop = []string{"zzz", "fgh"} }, "bcde", 7, Result{Reason: Stop, StopString: "fgh"}},
		{"stop string at once", 100, func(p *Params) { p.Stop = []string{"b"} }, "", 1, Result{Reason: Stop, StopString: "b"}},
		{"beginning of a stop string at the end", 100, func(p *Params) { p.Stop = []string{"cdX"}; p.MaxTokens = 3 }, "bcd", 3, Result{Reason: Length}},
		{"stop token", 100, func(p *Params) { p.StopTokens = ids("e") }, "bcd", 4, Result{Reason: Stop}},
		{"stop token after a beginning", 100, func(p *Params) { p.StopTokens, p.Stop = ids("e"), []string{"dX"} }, "bcd", 4, Result{Reason: Stop}},
		{"full context", 5, func(p *Params) {}, "bcde", 4, Result{Reason: Length, ContextFull: true}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			f := newFake(t, alphabet(), test.context)
			p := greedy(0)
			test.change(&p)
			text, tokens, end := collect(t, f, ids("<bos>", "a"), p)
			if text != test.text || len(tokens) != test.tokens || end.Tokens != test.tokens {
				t.Errorf("text %q of %d tokens (%d said), want %q of %d", text, len(tokens), end.Tokens, test.text, test.tokens)
			}
			if end.Reason != test.want.Reason || end.StopString != test.want.StopString || end.ContextFull != test.want.ContextFull {
				t.Errorf("ended with %+v, want %+v", *end, test.want)
			}
			if got := len(f.evaluated); got != 2+test.tokens-1 {
				t.Errorf("%d tokens were evaluated, want the prompt's 2 and all but the last of the answer's %d", got, test.tokens)
			}
		})
	}
}

func TestText(t *testing.T) {
	tests := []struct {
		name   string
		pieces []string
		want   []string // of each token
		text   string
	}{
		{"a character over four tokens", []string{"<0xF0>", "<0x9F>", "<0x98>", "<0x80>", "b"}, []string{"", "", "", "😀", "b"}, "😀b"},
		{"a stray byte", []string{"<0xF0>", "<0x9F>", "b"}, []string{"", "", "\uFFFDb"}, "\uFFFDb"},
		{"an unfinished character at the end", []string{"b", "<0xF0>", "<0x9F>"}, []string{"b", "", "\uFFFD"}, "b\uFFFD"},
		{"spaces", []string{"▁", "b", "▁"}, []string{" ", "b", " "}, " b "},
		{"a control token", []string{"b", "<start_of_turn>", "c"}, []string{"b", "", "c"}, "bc"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			table := generatetest.Table{}.Chain(append([]string{"a"}, test.pieces...)...)
			f := newFake(t, table, 100)
			cache := f.NewCache()
			var got []string
			for tok, err := range Generate(t.Context(), f, f.tok, cache, ids("a"), greedy(len(test.pieces))) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, tok.Text)
			}
			if !slices.Equal(got, test.want) || strings.Join(got, "") != test.text {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestPromptInPieces(t *testing.T) {
	f := newFake(t, alphabet(), 2000)
	prompt := slices.Repeat(ids("a"), gemma.MaxRows+3)
	text, _, _ := collect(t, f, prompt, greedy(2))
	if want := []int{gemma.MaxRows, 3, 1}; !slices.Equal(f.passes, want) {
		t.Errorf("passes of %d tokens, want %d", f.passes, want)
	}
	if text != "bc" {
		t.Errorf("text %q", text)
	}
}

func TestCacheOfABeginning(t *testing.T) {
	f := newFake(t, alphabet(), 100)
	cache := f.NewCache()
	run := func(prompt []int32) (text string, end *Result) {
		f.evaluated = nil
		for tok, err := range Generate(t.Context(), f, f.tok, cache, prompt, greedy(2)) {
			if err != nil {
				t.Fatal(err)
			}
			text, end = text+tok.Text, tok.End
		}
		return text, end
	}
	run(ids("<bos>", "a"))
	if text, end := run(ids("<bos>", "a", "b", "x")); text != "yz" || end.CachedTokens != 3 || len(f.evaluated) != 2 {
		t.Errorf("continued with %q after %d cached, %d evaluated; want yz, 3, 2", text, end.CachedTokens, len(f.evaluated))
	}
	if err := cache.Truncate(3); err != nil {
		t.Fatal(err)
	}
	if text, end := run(ids("<bos>", "a", "b")); text != "cd" || end.CachedTokens != 2 {
		t.Errorf("a prompt that the cache holds whole gave %q after %d cached, want cd, 2", text, end.CachedTokens)
	}
	for _, err := range Generate(t.Context(), f, f.tok, cache, ids("<bos>", "a"), greedy(2)) {
		if err == nil {
			t.Fatal("a cache longer than the prompt was accepted")
		}
	}
}

func TestRefusals(t *testing.T) {
	f := newFake(t, alphabet(), 10)
	shift := func(keep int) Params {
		p := greedy(1)
		p.ContextShift, p.Keep = true, keep
		return p
	}
	many := greedy(1)
	many.LogProbs = 1000
	hot := greedy(1)
	hot.Temperature = -1
	tests := []struct {
		name   string
		prompt []int32
		p      Params
		is     error
		says   string
	}{
		{"too long", slices.Repeat(ids("a"), 11), greedy(1), ErrContext, "has 11 tokens, past the model's context of 10"},
		{"empty", nil, greedy(1), ErrParams, "empty prompt"},
		{"not a token", []int32{99999}, greedy(1), ErrParams, "99999"},
		{"negative token", []int32{-1}, greedy(1), ErrParams, "-1"},
		{"keeps too much", ids("a"), shift(6), ErrParams, "keep 6"},
		{"too many alternatives", ids("a"), many, ErrParams, "1000 alternatives"},
		{"bad parameter", ids("a"), hot, ErrParams, "temperature -1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			n := 0
			for _, err := range Generate(t.Context(), f, f.tok, f.NewCache(), test.prompt, test.p) {
				if n++; !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
					t.Errorf("error %v, want one that says %q", err, test.says)
				}
			}
			if n != 1 {
				t.Errorf("yielded %d times, want the error alone", n)
			}
		})
	}
	if len(f.evaluated) != 0 {
		t.Errorf("%d tokens were evaluated all the same", len(f.evaluated))
	}
	if _, tokens, end := collect(t, f, slices.Repeat(ids("a"), 10), greedy(5)); len(tokens) != 1 || !end.ContextFull {
		t.Errorf("a prompt that fills the context gave %d tokens, %+v; want one", len(tokens), end)
	}
}

func TestContextShift(t *testing.T) {
	f := newFake(t, alphabet(), 8)
	p := greedy(10)
	p.ContextShift, p.Keep = true, 2
	text, _, end := collect(t, f, ids("<bos>", "x", "a"), p)
	if text != "bcdefghijk" || end.Reason != Length || end.ContextFull {
		t.Errorf("text %q, %+v; want the alphabet to go on past the context of 8", text, end)
	}
	// After bos x a b c d e f the next token g finds no room: a b c are dropped.
	want := append(ids("<bos>", "x", "a"), ids("b", "c", "d", "e", "f")...)
	want = append(want, ids("<bos>", "x", "d", "e", "f", "g", "h", "i")...)
	want = append(want, ids("<bos>", "x", "g", "h", "i", "j")...)
	if !slices.Equal(f.evaluated, want) {
		t.Errorf("evaluated %d,\nwant      %d", f.evaluated, want)
	}
	if end.Dropped != 6 {
		t.Errorf("%d tokens dropped, want 6", end.Dropped)
	}

	f.evaluated = nil
	_, _, end = collect(t, f, ids("<bos>", "x", "a", "b", "c", "d", "e", "f", "g", "h", "i"), func() Params { q := p; q.MaxTokens = 1; return q }())
	if want := ids("<bos>", "x", "e", "f", "g", "h", "i"); !slices.Equal(f.evaluated, want) || end.Dropped != 4 {
		t.Errorf("of a long prompt %d were evaluated and %d dropped, want %d and 4", f.evaluated, end.Dropped, want)
	}
}

func TestLeaving(t *testing.T) {
	f := newFake(t, alphabet(), 100)
	cache := f.NewCache()
	for range Generate(t.Context(), f, f.tok, cache, ids("a"), greedy(0)) {
		break
	}
	if len(f.evaluated) != 1 {
		t.Errorf("%d tokens were evaluated, want the prompt's one", len(f.evaluated))
	}
}

func TestCancel(t *testing.T) {
	for _, when := range []string{"between tokens", "in a pass", "before"} {
		t.Run(when, func(t *testing.T) {
			f := newFake(t, alphabet(), 100)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if when == "before" {
				cancel()
			}
			cache := f.NewCache()
			n, last := 0, error(nil)
			for _, err := range Generate(ctx, f, f.tok, cache, ids("a"), greedy(0)) {
				if last = err; err != nil {
					break
				}
				if n++; n == 3 {
					if when == "in a pass" {
						f.before = cancel
					} else {
						cancel()
					}
				}
			}
			if !errors.Is(last, context.Canceled) {
				t.Errorf("ended with %v, want the context's error", last)
			}
			if want := map[string]int{"before": 0}[when]; n != 3 && n != want {
				t.Errorf("%d tokens came, want 3", n)
			}
			if cache.Len() != min(n, 3) {
				t.Errorf("the cache holds %d, want what was evaluated before: %d", cache.Len(), n)
			}
		})
	}
}

func TestLogProbs(t *testing.T) {
	table := generatetest.Table{"a": {"b": 2, "c": 1, "<0xC3>": 0}}
	f := newFake(t, table, 100)
	p := greedy(1)
	p.Temperature, p.RepeatPenalty, p.LogProbs = 0.5, 3, 3
	seed := uint64(1)
	p.Seed = &seed
	p.TopK = 1
	var got Token
	for tok, err := range Generate(t.Context(), f, f.tok, f.NewCache(), ids("b", "a"), p) {
		if err != nil {
			t.Fatal(err)
		}
		got = tok
	}
	// ln Σ e^logit over 2, 1, 0 and the others at Unlikely is 2.4076.
	want := []Alternative{{ids("b")[0], "b", -0.4076}, {ids("c")[0], "c", -1.4076}, {ids("<0xC3>")[0], "\uFFFD", -2.4076}}
	if got.ID != ids("c")[0] {
		t.Fatalf("token %d: the penalty did not make c likelier than b", got.ID)
	}
	near := func(a, b Alternative) bool {
		return a.ID == b.ID && a.Text == b.Text && a.LogProb-b.LogProb < 1e-4 && b.LogProb-a.LogProb < 1e-4
	}
	if !slices.EqualFunc(got.Top, want, near) || !near(Alternative{LogProb: got.LogProb}, Alternative{LogProb: -1.4076}) {
		t.Errorf("log-probability %v among %v, want the model's own: -1.4076 among %v", got.LogProb, got.Top, want)
	}
	p.LogProbs = OwnLogProb
	for tok := range Generate(t.Context(), f, f.tok, f.NewCache(), ids("b", "a"), p) {
		if tok.LogProb != got.LogProb || tok.Top != nil {
			t.Errorf("alone: %v among %v, want %v among none", tok.LogProb, tok.Top, got.LogProb)
		}
	}
	p.LogProbs = 0
	for tok := range Generate(t.Context(), f, f.tok, f.NewCache(), ids("b", "a"), p) {
		if tok.LogProb != 0 {
			t.Errorf("log-probability %v although nobody asked", tok.LogProb)
		}
	}
}

func TestSeed(t *testing.T) {
	table := generatetest.Table{}
	for c := 'a'; c <= 'z'; c++ {
		table[string(c)] = map[string]float32{}
		for d := 'a'; d <= 'z'; d++ {
			table[string(c)][string(d)] = 0
		}
	}
	f := newFake(t, table, 100)
	run := func(seed *uint64) (string, uint64) {
		p := Defaults()
		p.MaxTokens, p.Seed = 20, seed
		text, _, end := collect(t, f, ids("a"), p)
		return text, end.Seed
	}
	one, two := uint64(1), uint64(2)
	a, seed := run(&one)
	if b, _ := run(&one); a != b || seed != 1 {
		t.Errorf("seed 1 gave %q and then %q, and calls itself %d", a, b, seed)
	}
	if b, _ := run(&two); a == b {
		t.Errorf("seeds 1 and 2 both gave %q", a)
	}
	free, drawn := run(nil)
	if again, _ := run(&drawn); again != free {
		t.Errorf("the seed that was drawn, %d, gave %q where it had given %q", drawn, again, free)
	}
}

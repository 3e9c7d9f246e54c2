package generate

import (
	"errors"
	"math"
	"slices"
	"testing"

	"lapidary/gemma"
	"lapidary/generate/generatetest"
)

// coin: a and b follow each other with probabilities 3/4 and 1/4.
func coin() generatetest.Table {
	likely, other := float32(math.Log(0.75)), float32(math.Log(0.25))
	return generatetest.Table{
		"a": {"b": likely, "a": other}, "b": {"a": likely, "b": other}, "<bos>": {"a": likely, "b": other},
	}
}

func TestScore(t *testing.T) {
	f := newFake(t, coin(), 2*gemma.MaxRows)
	text := ids("<bos>", "a", "b", "b", "a")
	for len(text) < gemma.MaxRows+50 { // more than one pass
		text = append(text, ids("b", "b", "a")...)
	}
	got, err := Score(t.Context(), f, f.tok, text, 2)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(text)-1 {
		t.Fatalf("%d tokens scored, want all after the first of %d", len(got), len(text))
	}
	for i, s := range got {
		want := math.Log(0.75)
		if text[i] == text[i+1] {
			want = math.Log(0.25)
		}
		if s.ID != text[i+1] || math.Abs(float64(s.LogProb)-want) > 1e-5 {
			t.Fatalf("place %d: %+v, want token %d at %.4f", i+1, s, text[i+1], want)
		}
		likeliest := map[int32]string{ids("a")[0]: "b", ids("b")[0]: "a", ids("<bos>")[0]: "a"}[text[i]]
		if len(s.Top) != 2 || s.Top[0].Text != likeliest || math.Abs(float64(s.Top[0].LogProb)-math.Log(0.75)) > 1e-5 {
			t.Fatalf("place %d: alternatives %v, want %s first of two", i+1, s.Top, likeliest)
		}
	}
	if got, err := Score(t.Context(), f, f.tok, ids("<bos>"), 0); err != nil || len(got) != 0 {
		t.Errorf("one token: %v, %v; want no scores", got, err)
	}
	if _, err := Score(t.Context(), f, f.tok, slices.Repeat(ids("a"), 2*gemma.MaxRows+1), 0); !errors.Is(err, ErrContext) {
		t.Errorf("too many tokens: %v, want ErrContext", err)
	}
	for _, bad := range [][]int32{{2, 99999}, {2, -1}, {99999, 2}} {
		if _, err := Score(t.Context(), f, f.tok, bad, 0); !errors.Is(err, ErrParams) {
			t.Errorf("tokens %d: %v, want ErrParams", bad, err)
		}
	}
	for _, n := range []int{-1, 1 << 20} {
		if _, err := Score(t.Context(), f, f.tok, text, n); !errors.Is(err, ErrParams) {
			t.Errorf("%d alternatives: %v, want ErrParams", n, err)
		}
	}
}

func TestPerplexity(t *testing.T) {
	f := newFake(t, coin(), 100)
	// Chunks of 8: the places 5, 6 and 7 are scored. The third b of the first
	// chunk is at place 5, and the second chunk's first token counts as bos.
	text := ids("<bos>", "a", "b", "a", "b", "b", "a", "b",
		"b", "a", "b", "a", "b", "a", "a", "a", "b", "b")
	chunks := 0
	got, err := Perplexity(t.Context(), f, text, 8, ids("<bos>")[0], func(r PerplexityResult, n int) {
		if chunks++; r.Chunks != chunks || n != 2 {
			t.Errorf("progress %d of %d, want %d of 2", r.Chunks, n, chunks)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	l, o := -math.Log(0.75), -math.Log(0.25)
	mean := (3*l + 3*o) / 6 // b b a b, b a a a: three likely steps, three others
	stderr := math.Sqrt(((3*l*l+3*o*o)/6-mean*mean)/5) * math.Exp(mean)
	if got.Tokens != 6 || got.Chunks != 2 || math.Abs(got.Perplexity-math.Exp(mean)) > 1e-5 || math.Abs(got.StdErr-stderr) > 1e-5 {
		t.Errorf("%+v, want %.5f ± %.5f over 6 tokens", got, math.Exp(mean), stderr)
	}
	if _, err := Perplexity(t.Context(), f, text[:15], 8, 2, nil); err == nil {
		t.Error("a text of less than two chunks was accepted")
	}
	if _, err := Perplexity(t.Context(), f, append(slices.Clone(text), -1), 8, 2, nil); !errors.Is(err, ErrParams) {
		t.Errorf("a token that is none: %v, want ErrParams", err)
	}
	for _, n := range []int{-1, 0, 3, 101} {
		if _, err := Perplexity(t.Context(), f, text, n, 2, nil); !errors.Is(err, ErrParams) {
			t.Errorf("context %d: %v, want ErrParams", n, err)
		}
	}
}

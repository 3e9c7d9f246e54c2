package generate_test

import (
	"context"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"lapidary/checkpoint"
	"lapidary/engine"
	"lapidary/engine/cpu"
	"lapidary/gemma"
	"lapidary/generate"
	"lapidary/internal/realmodel"
	"lapidary/tokenizer"
)

// realModel is Gemma 3 270M on the fast engine.
type realModel struct {
	*gemma.Model
	tok *tokenizer.Tokenizer
}

func openReal(t testing.TB) *realModel {
	t.Helper()
	c, err := checkpoint.Open(realmodel.Path(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	tok, err := tokenizer.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	e, err := cpu.New(cpu.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	m, err := gemma.Load(c, e)
	if err != nil {
		t.Fatal(err)
	}
	return &realModel{m, tok}
}

// task is a prompt of testdata/speculate with the settings that suit it.
type task struct {
	name string
	stop string
	heat float32
}

var tasks = []task{
	{"edit", "\n\n", 0}, {"code", "\n\n", 0}, {"json", "\n\n", 0}, {"edit", "\n\n", 1}, {"story", "", 1},
}

func (k task) String() string { return fmt.Sprintf("%s at %v", k.name, k.heat) }

func (m *realModel) prompt(t testing.TB, k task) []int32 {
	t.Helper()
	data, err := os.ReadFile("testdata/speculate/" + k.name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	ids := tokenizer.IDs(m.tok.Encode(strings.TrimSuffix(string(data), "\n")))
	return slices.Insert(ids, 0, m.tok.BOS())
}

// run generates at most so many tokens, from a cache that may hold the prompt.
func (m *realModel) run(t testing.TB, k task, cache engine.Cache, d generate.Drafter, seed uint64, tokens int) (got []generate.Token, end generate.Result) {
	t.Helper()
	p := generate.Defaults()
	p.Temperature, p.MaxTokens, p.Seed = k.heat, tokens, &seed
	if k.stop != "" {
		p.Stop = []string{k.stop}
	}
	prompt := m.prompt(t, k)
	if err := generate.Rewind(cache, min(cache.Len(), len(prompt)-1)); err != nil {
		t.Fatal(err)
	}
	for tok, err := range generate.Speculate(t.Context(), m, m.tok, cache, generate.Prompt{Tokens: prompt}, p, d) {
		if err != nil {
			t.Fatal(err)
		}
		if tok.End != nil {
			end, tok.End = *tok.End, nil
		}
		got = append(got, tok)
	}
	if want := len(prompt) + len(got) - 1; cache.Len() != want {
		t.Errorf("%v: the cache holds %d, want %d", k, cache.Len(), want)
	}
	return got, end
}

// told drafts what it was told is coming, with a mistake in each tenth place.
type told []int32

func (d told) Restart([]int32) {}
func (d told) Close()          {}
func (d told) Draft(_ context.Context, text []int32, price []float64) ([]int32, error) {
	draft := slices.Clone(d[min(len(d), len(text)):min(len(d), len(text)+len(price)-1)])
	for i := range draft {
		if (len(text)+i)%10 == 0 {
			draft[i]++
		}
	}
	return draft, nil
}

// TestRealSpeculation: the real model says the same with and without drafts.
func TestRealSpeculation(t *testing.T) {
	m := openReal(t)
	for _, k := range []task{tasks[0], tasks[2], tasks[4]} {
		cache := m.NewCache()
		defer cache.Close()
		want, _ := m.run(t, k, cache, nil, 1, 40)
		coming := m.prompt(t, k)
		for _, tok := range want {
			coming = append(coming, tok.ID)
		}
		for name, d := range map[string]generate.Drafter{"n-grams": generate.NewNGrams(), "a prophet": told(coming)} {
			got, end := m.run(t, k, cache, d, 1, 40)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%v with %s: %v, want %v", k, name, got, want)
			}
			if k.heat == 0 && end.Accepted == 0 || name == "a prophet" && end.Accepted < 25 {
				t.Errorf("%v with %s: of %d tokens %d were drafted and %d accepted", k, name, end.Tokens, end.Drafted, end.Accepted)
			}
		}
	}
}

// BenchmarkSpeculation measures decoding with n-grams and without, turn by
// turn. Run it with -benchtime 7x: the figures are medians, the ratio that of
// the turns.
func BenchmarkSpeculation(b *testing.B) {
	m := openReal(b)
	for _, k := range tasks {
		b.Run(strings.ReplaceAll(k.String(), " ", "_"), func(b *testing.B) {
			cache := m.NewCache()
			defer cache.Close()
			var off, on, ratio []float64
			var drafted, accepted, tokens int
			m.run(b, k, cache, nil, 1, 8)
			for seed := uint64(1); b.Loop(); seed++ {
				_, plain := m.run(b, k, cache, nil, seed, 250)
				_, fast := m.run(b, k, cache, generate.NewNGrams(), seed, 250)
				off, on = append(off, speed(plain)), append(on, speed(fast))
				ratio = append(ratio, speed(fast)/speed(plain))
				drafted, accepted, tokens = drafted+fast.Drafted, accepted+fast.Accepted, tokens+fast.Tokens
			}
			b.ReportMetric(median(off), "off-tok/s")
			b.ReportMetric(median(on), "ngram-tok/s")
			b.ReportMetric(median(ratio), "ratio")
			b.ReportMetric(100*float64(accepted)/float64(max(1, drafted)), "right-%")
			b.ReportMetric(100*float64(accepted)/float64(tokens), "guessed-%")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func speed(r generate.Result) float64 { return float64(r.Tokens-1) / r.Decode.Seconds() }

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

// BenchmarkRows measures what a pass over several rows costs beside a pass over
// one, turn by turn, each with the logits of all its rows; of each the fastest.
func BenchmarkRows(b *testing.B) {
	m := openReal(b)
	cache := m.NewCache()
	defer cache.Close()
	prompt := m.prompt(b, tasks[0])[:300]
	times := make([][]float64, 9)
	var logits gemma.Logits
	forward := func(ids []int32, want gemma.Want) time.Duration {
		began := time.Now()
		if err := m.Forward(b.Context(), []gemma.Step{{Cache: cache, Tokens: ids, Logits: want}}, &logits); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	forward(prompt, gemma.NoLogits)
	for b.Loop() {
		for rows := 1; rows < len(times); rows++ {
			times[rows] = append(times[rows], forward(prompt[:rows], gemma.AllRows).Seconds())
			if err := cache.Truncate(len(prompt)); err != nil {
				b.Fatal(err)
			}
		}
	}
	one := slices.Min(times[1])
	b.ReportMetric(1000*one, "ms/1")
	for rows := 2; rows < len(times); rows++ {
		b.ReportMetric(slices.Min(times[rows])/one, fmt.Sprintf("x/%d", rows))
	}
	b.ReportMetric(0, "ns/op")
}

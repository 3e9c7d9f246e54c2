package generate

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// naive is the sampler as its documentation reads: it sorts everything and
// returns the probability of each token.
func naive(logits []float32, p Params, prompt, answer []int32) []float64 {
	x := make([]float64, len(logits))
	for i, l := range logits {
		x[i] = float64(l)
	}
	seen := slices.Concat(prompt, answer)
	if p.RepeatLast >= 0 {
		seen = seen[max(0, len(seen)-p.RepeatLast):]
	}
	for i := range x {
		if slices.Contains(seen, int32(i)) {
			if x[i] > 0 {
				x[i] /= float64(p.RepeatPenalty)
			} else {
				x[i] *= float64(p.RepeatPenalty)
			}
		}
		count := 0
		for _, id := range answer {
			if id == int32(i) {
				count++
			}
		}
		if count > 0 {
			x[i] -= float64(count)*float64(p.FrequencyPenalty) + float64(p.PresencePenalty)
		}
		x[i] = float64(float32(x[i]))
	}
	order := make([]int, len(x))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case x[a] > x[b]:
			return -1
		case x[a] < x[b]:
			return 1
		}
		return 0
	})
	out := make([]float64, len(x))
	if p.Temperature == 0 {
		out[order[0]] = 1
		return out
	}
	weight := func(i int) float64 { return math.Exp((x[i] - x[order[0]]) / float64(p.Temperature)) }
	if p.TopK > 0 {
		order = order[:min(p.TopK, len(order))]
	}
	all := 0.0
	for _, i := range order {
		all += weight(i)
	}
	kept, sum := 0.0, 0.0
	for _, i := range order {
		if sum >= float64(p.TopP)*all && p.TopP < 1 {
			break
		}
		sum += weight(i)
		if weight(i) >= float64(p.MinP) {
			out[i] = weight(i)
			kept += weight(i)
		}
	}
	for i := range out {
		out[i] /= kept
	}
	return out
}

// comb is a source of random numbers that are spread evenly: the i-th of n
// lies in the middle of the i-th part of [0, 1).
type comb struct{ i, n uint64 }

func (c *comb) Uint64() uint64 {
	c.i++
	return uint64((float64(c.i-1) + 0.5) / float64(c.n) * (1 << 53))
}

// frequencies is how often each token comes when the draws are spread evenly.
func frequencies(t interface{ Fatal(...any) }, s *Sampler, logits []float32, n int) []float64 {
	s.rng = rand.New(&comb{n: uint64(n)})
	out := make([]float64, len(logits))
	for range n {
		id, err := s.choose(logits, nil)
		if err != nil {
			t.Fatal(err)
		}
		out[id] += 1 / float64(n)
	}
	return out
}

// TestSamplerProperty draws from random logits under random parameters and
// compares how often each token comes with what the documentation says.
func TestSamplerProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		vocab := rapid.SampledFrom([]int{1, 2, 7, 40, massBlock + 5}).Draw(t, "vocab")
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "logits"), 0))
		grid := rapid.SampledFrom([]float32{0, 0.5}).Draw(t, "grid") // a grid makes ties
		logits := make([]float32, vocab)
		for i := range logits {
			logits[i] = float32(3 * r.NormFloat64())
			if grid > 0 {
				logits[i] = grid * float32(math.Round(float64(logits[i]/grid)))
			}
		}
		p := Defaults()
		p.Temperature = rapid.SampledFrom([]float32{0, 0.01, 0.5, 1, 3}).Draw(t, "temperature")
		p.TopK = rapid.SampledFrom([]int{0, 1, 3, 20, 5000}).Draw(t, "top-k")
		p.TopP = rapid.SampledFrom([]float32{0.001, 0.3, 0.9, 0.999, 1}).Draw(t, "top-p")
		p.MinP = rapid.SampledFrom([]float32{0, 0.05, 0.5, 1}).Draw(t, "min-p")
		s, err := NewSampler(p, vocab, nil)
		if err != nil {
			t.Fatal(err)
		}
		const n = 1200
		want, got := naive(logits, p, nil, nil), frequencies(t, s, logits, n)
		for i := range want {
			// Each interval of the draw holds n·p points, give or take one at
			// either end.
			if math.Abs(got[i]-want[i]) > 2.0/n {
				t.Fatalf("token %d (logit %v) comes in %.4f of the draws, want %.4f", i, logits[i], got[i], want[i])
			}
		}
	})
}

// TestPenaltyProperty compares the penalties with the naive reading over a
// whole generation.
func TestPenaltyProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const vocab = 12
		token := rapid.Int32Range(0, vocab-1)
		prompt := rapid.SliceOfN(token, 0, 10).Draw(t, "prompt")
		p := Defaults()
		p.Temperature = 0
		p.RepeatPenalty = rapid.SampledFrom([]float32{0.5, 1, 1.3}).Draw(t, "repeat penalty")
		p.RepeatLast = rapid.IntRange(-1, 8).Draw(t, "repeat last")
		p.FrequencyPenalty = rapid.SampledFrom([]float32{-1, 0, 0.4}).Draw(t, "frequency penalty")
		p.PresencePenalty = rapid.SampledFrom([]float32{-0.5, 0, 1}).Draw(t, "presence penalty")
		s, err := NewSampler(p, vocab, prompt)
		if err != nil {
			t.Fatal(err)
		}
		var answer []int32
		for range 20 {
			logits := rapid.SliceOfN(rapid.Float32Range(-3, 3), vocab, vocab).Draw(t, "logits")
			before := slices.Clone(logits)
			want := naive(logits, p, prompt, answer)
			id, err := s.Sample(logits, nil)
			if err != nil {
				t.Fatal(err)
			}
			if want[id] != 1 {
				t.Fatalf("after %d and %d: token %d, want %d", prompt, answer, id, slices.Index(want, 1))
			}
			if !slices.Equal(logits, before) {
				t.Fatal("the logits are not as they were")
			}
			answer = append(answer, id)
		}
	})
}

func TestSamplerEdges(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, topK := range []int{0, 2} {
		for _, temperature := range []float32{0, 1} {
			p := Defaults()
			p.TopK, p.Temperature = topK, temperature
			for _, logits := range [][]float32{{nan, nan, nan}, {-inf, -inf, -inf}, {0, inf, 0}} {
				s, err := NewSampler(p, 3, nil)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Sample(logits, nil); !errors.Is(err, ErrLogits) {
					t.Errorf("%v gave error %v, want ErrLogits", logits, err)
				}
			}
			s, err := NewSampler(p, 4, nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 100 {
				if id, err := s.Sample([]float32{nan, -inf, 3, nan}, nil); id != 2 || err != nil {
					t.Errorf("token %d, error %v; want the only finite one, 2", id, err)
				}
			}
		}
	}
}

// TestManyEqual: what a huge vocabulary of equal logits keeps is decided by
// the ids alone.
func TestManyEqual(t *testing.T) {
	p := Defaults()
	p.TopK, p.TopP = 0, 0.25
	logits := make([]float32, 100_000)
	s, err := NewSampler(p, len(logits), nil)
	if err != nil {
		t.Fatal(err)
	}
	low, high := len(logits), 0
	for range 2000 {
		id, err := s.Sample(logits, nil)
		if err != nil {
			t.Fatal(err)
		}
		low, high = min(low, int(id)), max(high, int(id))
	}
	if low > 200 || high >= 25_000 || high < 24_800 {
		t.Errorf("drawn from %d to %d, want all of 0 to 24999", low, high)
	}
}

// samplers are the ways through the sampler.
func samplers() map[string]Params {
	with := func(change func(p *Params)) Params {
		p := Defaults()
		change(&p)
		return p
	}
	return map[string]Params{
		"greedy":   with(func(p *Params) { p.Temperature = 0 }),
		"defaults": Defaults(),
		"top-k":    with(func(p *Params) { p.TopK, p.TopP = 1000, 1 }),
		"top-p":    with(func(p *Params) { p.TopK = 0 }),
		"min-p":    with(func(p *Params) { p.TopK, p.TopP, p.MinP = 0, 1, 0.05 }),
		"all":      with(func(p *Params) { p.TopK, p.TopP = 0, 1 }),
		"penalties": with(func(p *Params) {
			p.RepeatPenalty, p.FrequencyPenalty, p.PresencePenalty = 1.1, 0.5, 0.5
		}),
		"long penalties": with(func(p *Params) { p.RepeatPenalty, p.RepeatLast = 1.1, -1 }),
	}
}

const bigVocab = 262_144

func TestSamplerAllocates(t *testing.T) {
	logits := randomLogits(bigVocab, 1)
	for name, p := range samplers() {
		s, err := NewSampler(p, bigVocab, []int32{1, 2, 3})
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(20, func() {
			if _, err := s.Sample(logits, nil); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations a token, want none", name, n)
		}
	}
	probs := logProbs{}
	if n := testing.AllocsPerRun(20, func() { probs.of(logits, 7, nil) }); n != 0 {
		t.Errorf("log-probabilities: %v allocations a token, want none", n)
	}
}

func BenchmarkSampler(b *testing.B) {
	logits := randomLogits(bigVocab, 1)
	for name, p := range samplers() {
		b.Run(name, func(b *testing.B) {
			s, err := NewSampler(p, bigVocab, []int32{1, 2, 3})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Sample(logits, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	for _, n := range []int{0, 5, 20} {
		b.Run(fmt.Sprintf("log-probabilities/%d", n), func(b *testing.B) {
			probs := logProbs{n: n}
			for b.Loop() {
				probs.of(logits, 7, func(int32) string { return "" })
			}
		})
	}
}

package generate

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestKnownLogitsAreEnough: of as many of the greatest logits as a sampler
// says it needs, and any others, it chooses what it chooses of all.
func TestKnownLogitsAreEnough(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const vocab, steps = 60, 12
		seed := rapid.Uint64().Draw(t, "seed")
		p := Params{
			Temperature: rapid.SampledFrom([]float32{0, 0.7, 1.5}).Draw(t, "temperature"), TopK: rapid.SampledFrom([]int{1, 3, 8}).Draw(t, "top-k"),
			TopP: rapid.SampledFrom([]float32{1, 0.8}).Draw(t, "top-p"), MinP: rapid.SampledFrom([]float32{0, 0.1}).Draw(t, "min-p"),
			RepeatPenalty: rapid.SampledFrom([]float32{1, 1.3}).Draw(t, "repeat"), RepeatLast: rapid.SampledFrom([]int{0, 4, -1}).Draw(t, "last"),
			FrequencyPenalty: rapid.SampledFrom([]float32{0, 0.5}).Draw(t, "frequency"), PresencePenalty: rapid.SampledFrom([]float32{0, 0.4}).Draw(t, "presence"),
			Seed: &seed,
		}
		prompt := rapid.SliceOfN(rapid.Int32Range(0, vocab-1), 1, 6).Draw(t, "prompt")
		all, err := NewSampler(p, vocab, prompt)
		if err != nil {
			t.Fatal(err)
		}
		some, _ := NewSampler(p, vocab, prompt)
		for range steps {
			logits := make([]float32, vocab)
			for i := range logits {
				// Few values: there are equals at every border.
				logits[i] = float32(rapid.IntRange(-6, 6).Draw(t, "logit")) / 2
			}
			n := some.Needs(1)
			if n == 0 {
				t.Fatal("a sampler that keeps the best needs all")
			}
			sorted := slices.Sorted(slices.Values(logits))
			bar := sorted[max(0, vocab-n)]
			var known []int32
			cut := slices.Repeat([]float32{float32(math.Inf(-1))}, vocab)
			for i, v := range logits {
				if v >= bar || rapid.IntRange(0, 9).Draw(t, "besides") == 0 {
					known, cut[i] = append(known, int32(i)), v
				}
			}
			before := slices.Clone(cut)
			a, errA := all.Sample(logits, nil)
			b, errB := some.Sample(cut, known)
			if a != b || errA != nil || errB != nil {
				t.Fatalf("of all %d (%v), of %d known %d (%v)", a, errA, len(known), b, errB)
			}
			if !slices.Equal(before, cut) {
				t.Fatal("the logits have changed")
			}
		}
	})
}

// TestNeedsAll: where tokens can come from behind, all logits are needed.
func TestNeedsAll(t *testing.T) {
	for _, p := range []Params{
		{Temperature: 1, TopP: 0.9, RepeatPenalty: 1},
		{RepeatPenalty: 0.9, RepeatLast: 8, TopP: 1},
		{FrequencyPenalty: -1, RepeatPenalty: 1, TopP: 1},
		{PresencePenalty: -1, RepeatPenalty: 1, TopP: 1},
	} {
		s, err := NewSampler(p, 50, []int32{1})
		if err != nil {
			t.Fatal(err)
		}
		if n := s.Needs(1); n != 0 {
			t.Errorf("%+v needs %d", p, n)
		}
	}
}

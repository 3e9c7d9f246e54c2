package lapidary_test

import (
	_ "embed"
	"encoding/json"
	"math"
	"slices"
	"testing"

	"lapidary"
	"lapidary/internal/realmodel"
)

//go:embed testdata/gemma3-270m-float32.json
var referenceJSON []byte

// reference is one prompt of testdata/gemma3-270m-float32.json.
type reference struct {
	Prompt string  `json:"prompt"`
	Tokens []int32 `json:"prompt_tokens"`
	Steps  []struct {
		ID      int32        `json:"id"`
		LogProb float64      `json:"logprob"`
		Top     [][2]float64 `json:"top"` // id, log-probability
	} `json:"steps"`
}

func references(t *testing.T) (r []reference) {
	t.Helper()
	if err := json.Unmarshal(referenceJSON, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestFidelity scores the continuations of six prompts with the real model and
// compares with a float32 evaluation. Rounding to integers on the way is allowed
// what the other rows say.
func TestFidelity(t *testing.T) {
	for _, e := range []struct {
		engine string
		cache  string
		best   int     // of the ten best of each step, those that are compared
		floor  float64 // the least log-probability that is compared
		mean   float64 // absolute error allowed in the mean
		worst  float64 // and of any
		agree  int     // steps of 144 whose best token must be the reference's
	}{
		{"ref", "f32", 10, math.Inf(-1), 0.005, 0.005, 144},
		{"cpu", "f16", 3, -5, 0.005, math.Inf(1), 143},
		{"cpu", "int8", 3, -5, 0.04, math.Inf(1), 138},
		{"cpu-fast", "f16", 3, -5, 0.06, math.Inf(1), 138},
	} {
		if !slices.Contains(lapidary.Engines(), e.engine) {
			continue
		}
		t.Run(e.engine+" "+e.cache, func(t *testing.T) {
			m, err := lapidary.Open(t.Context(), realmodel.Path(t), lapidary.WithEngine(e.engine), lapidary.WithCache(e.cache))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			var sum, worst float64
			var n, agree, steps int
			for _, r := range references(t) {
				if got := m.Encode(r.Prompt); !slices.Equal(got, r.Tokens) {
					t.Errorf("%q is tokens %d, want %d", r.Prompt, got, r.Tokens)
				}
				for i, got := range continuation(t, m, r) {
					steps++
					if got.Top[0].ID == int32(r.Steps[i].Top[0][0]) {
						agree++
					}
					for _, want := range r.Steps[i].Top[:e.best] {
						if want[1] < e.floor {
							continue
						}
						d := math.Abs(logProb(got, int32(want[0])) - want[1])
						sum, worst, n = sum+d, max(worst, d), n+1
					}
				}
			}
			t.Logf("engine %s, cache %s: mean error %.5f, worst %.5f over %d log-probabilities; best token equal in %d of %d steps",
				e.engine, e.cache, sum/float64(n), worst, n, agree, steps)
			if sum/float64(n) > e.mean || worst > e.worst || agree < e.agree || steps != 144 {
				t.Errorf("want at most %g in the mean, %g at worst, and %d of 144 steps", e.mean, e.worst, e.agree)
			}
		})
	}
}

// continuation scores the steps of a prompt in one pass.
func continuation(t *testing.T, m *lapidary.Model, r reference) []lapidary.Token {
	t.Helper()
	ids := slices.Clone(r.Tokens)
	for _, s := range r.Steps {
		ids = append(ids, s.ID)
	}
	scores, err := m.ScoreTokens(t.Context(), ids, 40)
	if err != nil {
		t.Fatal(err)
	}
	return scores[len(r.Tokens)-1:]
}

// logProb looks a token up among the alternatives.
func logProb(t lapidary.Token, id int32) float64 {
	for _, a := range t.Top {
		if a.ID == id {
			return float64(a.LogProb)
		}
	}
	return math.Inf(-1)
}

package lapidary_test

import (
	"errors"
	"io/fs"
	"math"
	"testing"

	"lapidary"
)

// TestWithoutTokenizer scores ids with bare weights, on both engines.
func TestWithoutTokenizer(t *testing.T) {
	const folder = "gemma/testdata/goldens/gemma3_text"
	if _, err := lapidary.Open(t.Context(), folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder without a tokenizer opens with %v", err)
	}
	var all [][]lapidary.Token
	for _, engine := range lapidary.Engines() {
		m, err := lapidary.Open(t.Context(), folder, lapidary.WithoutTokenizer(), lapidary.WithEngine(engine))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		scores, err := m.ScoreTokens(t.Context(), []int32{2, 45, 139, 113, 47, 155}, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(scores) != 5 || scores[0].ID != 45 || scores[0].Text != "" || len(scores[0].Top) != 3 {
			t.Fatalf("%s: %+v", engine, scores)
		}
		all = append(all, scores)
	}
	for i := range all[0] {
		if a, b := all[0][i].LogProb, all[1][i].LogProb; math.Abs(float64(a-b)) > 1e-4 {
			t.Errorf("token %d: %v and %v", i, a, b)
		}
	}
}

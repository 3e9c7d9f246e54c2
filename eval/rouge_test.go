package eval

import (
	"encoding/json"
	"math"
	"os"
	"testing"
)

// TestRouge compares with the figures of rouge_score and of NLTK's stemmer: see
// testdata/README.md.
func TestRouge(t *testing.T) {
	var known struct {
		Pairs []struct {
			Text, Reference string
			Plain, Stemmed  []float64
		}
		Stems map[string]string
	}
	content, err := os.ReadFile("testdata/rouge.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &known); err != nil {
		t.Fatal(err)
	}
	if len(known.Pairs) < 5 || len(known.Stems) < 200 {
		t.Fatalf("%d pairs and %d stems are too few to show anything", len(known.Pairs), len(known.Stems))
	}
	for _, p := range known.Pairs {
		for stemmed, want := range map[bool][]float64{false: p.Plain, true: p.Stemmed} {
			r := NewRouge(p.Text, p.Reference, stemmed)
			for i, got := range []float64{r.R1, r.R2, r.RL} {
				if math.Abs(got-want[i]) > 1e-12 {
					t.Errorf("figure %d of %q, stemmed %v, is %v, want %v", i, p.Text, stemmed, got, want[i])
				}
			}
		}
	}
	for word, want := range known.Stems {
		if got := stem(word); got != want {
			t.Errorf("the stem of %s is %s, want %s", word, got, want)
		}
	}
}

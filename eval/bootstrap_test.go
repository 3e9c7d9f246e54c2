package eval

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// scored makes records with one score each.
func scored(metric string, values ...float64) []Record {
	var rs []Record
	for i, v := range values {
		rs = append(rs, Record{ID: fmt.Sprint("f:", i), Group: "f", Scores: map[string]float64{metric: v}})
	}
	return rs
}

// TestInterval compares the interval of a mean with that of the normal
// distribution, which it has to come near to for many values.
func TestInterval(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	values := make([]float64, 400)
	sum, squares := 0.0, 0.0
	for i := range values {
		values[i] = rng.NormFloat64()
		sum += values[i]
		squares += values[i] * values[i]
	}
	n := float64(len(values))
	mean := sum / n
	half := 1.96 * math.Sqrt((squares/n-mean*mean)/n)
	s, err := Summarise(Header{Metrics: []string{"exact"}, Seed: 7}, scored("exact", values...))
	if err != nil {
		t.Fatal(err)
	}
	r := s.Results[0]
	if math.Abs(r.Value-mean) > 1e-12 || math.Abs(r.Low-(mean-half)) > 0.05*half || math.Abs(r.High-(mean+half)) > 0.05*half {
		t.Errorf("%+v, want %v ± %v", r.Estimate, mean, half)
	}
	again, err := Summarise(Header{Metrics: []string{"exact"}, Seed: 7}, scored("exact", values...))
	if err != nil || again.Results[0] != r {
		t.Errorf("the second time %+v, want %+v", again.Results[0], r)
	}
}

func TestQuantile(t *testing.T) {
	for p, want := range map[float64]float64{0: 1, 0.5: 2.5, 0.25: 1.75, 1: 4} {
		if got := quantile([]float64{1, 2, 3, 4}, p); got != want {
			t.Errorf("quantile %v is %v, want %v", p, got, want)
		}
	}
}

func TestMetricsOverRecords(t *testing.T) {
	rs := []Record{
		{Group: "a", Expected: []string{"x"}, Scores: map[string]float64{"accuracy": 1}, Likelihood: &Likelihood{NLL: 2, Tokens: 1, Bytes: 4}},
		{Group: "a", Expected: []string{"x"}, Scores: map[string]float64{"accuracy": 1}, Likelihood: &Likelihood{NLL: 1, Tokens: 2, Bytes: 4}},
		{Group: "a", Expected: []string{"x"}, Scores: map[string]float64{"accuracy": 1}, Likelihood: &Likelihood{NLL: 0, Tokens: 2, Bytes: 4}},
		{Group: "b", Expected: []string{"y"}, Scores: map[string]float64{"accuracy": 0}, Likelihood: &Likelihood{NLL: 3, Tokens: 1, Bytes: 12}},
		{Group: "b", Skipped: "too long"},
	}
	s, err := Summarise(Header{Metrics: []string{"accuracy", "balanced_accuracy", "perplexity", "bits_per_byte"}}, rs)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{0.75, 0.5, math.E, 6.0 / 24 / math.Ln2} {
		if r := s.Results[i]; math.Abs(r.Value-want) > 1e-12 || r.Low > r.Value || r.High < r.Value {
			t.Errorf("%+v, want %v", r, want)
		}
	}
	if s.Skipped != 1 || len(s.Groups) != 2 || s.Groups[0].Examples != 3 || s.Groups[1].Values[0] != 0 || s.Results[0].OverGroups != 0.5 {
		t.Errorf("groups: %+v", s)
	}
	if _, err := Summarise(Header{Metrics: []string{"exact"}}, rs[4:]); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("nothing but skipped examples: %v", err)
	}
	if _, err := Summarise(Header{Metrics: []string{"exakt"}}, rs); err == nil || !strings.Contains(err.Error(), "is exact meant?") {
		t.Errorf("an unknown metric: %v", err)
	}
}

func TestCompare(t *testing.T) {
	h := Header{Task: "t", Data: "d", Metrics: []string{"exact"}}
	var before, after []float64
	for i := range 60 {
		before = append(before, float64(i%2))
		after = append(after, float64(i%2+(i+1)%4/3)) // a quarter becomes right
	}
	a, b := scored("exact", before...), scored("exact", after...)
	c, err := Compare(h, a, h, b, 1)
	if err != nil {
		t.Fatal(err)
	}
	r := c.Results[0]
	if c.Examples != 60 || r.A.Value != 0.5 || r.B.Value != 0.75 || r.Difference.Value != 0.25 || !r.Significant || r.Difference.Low < 0.1 || r.Difference.High > 0.4 {
		t.Errorf("%+v", c)
	}
	// The pairs matter: the runs' own intervals overlap.
	if r.A.High < r.B.Low {
		t.Errorf("the intervals %+v and %+v do not even overlap", r.A, r.B)
	}
	same, err := Compare(h, a, h, a, 1)
	if d := same.Results[0]; err != nil || d.Difference != (Estimate{}) || d.Significant {
		t.Errorf("a run differs from itself: %+v, %v", d, err)
	}
	b[3].Skipped = "too long"
	if c, err = Compare(h, a, h, b[:50], 1); err != nil || c.Examples != 49 || c.Alone != 11 {
		t.Errorf("%d pairs and %d alone, %v", c.Examples, c.Alone, err)
	}
	for _, other := range []Header{{Task: "u", Data: "d"}, {Task: "t", Data: "e"}, {Task: "t", Data: "d", Metrics: []string{"f1"}}} {
		if _, err := Compare(h, a, other, b, 1); err == nil {
			t.Errorf("compared with %+v", other)
		}
	}
	if _, err := Compare(h, a[:3], h, b[50:], 1); err == nil {
		t.Error("compared what has nothing in common")
	}
}

package generate

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// cheap are prices at which much pays.
var cheap = []float64{1, 1.3, 1.5, 1.7, 1.9, 2.1, 2.3, 2.5}

// draftOver gives a drafter a text token by token and returns its last draft.
func draftOver(t *testing.T, d Drafter, text []int32, from int) []int32 {
	t.Helper()
	d.Restart(text[:from])
	var draft []int32
	for n := from; n <= len(text); n++ {
		var err error
		if draft, err = d.Draft(t.Context(), text[:n], cheap); err != nil {
			t.Fatal(err)
		}
	}
	return draft
}

func TestNGrams(t *testing.T) {
	count := func(from, to int32) (v []int32) {
		for i := from; i < to; i++ {
			v = append(v, i)
		}
		return v
	}
	tests := []struct {
		name string
		text []int32
		from int // tokens of the prompt
		want []int32
	}{
		{"nothing was there before", count(0, 50), 20, nil},
		{"one token alone says nothing", slices.Concat(count(0, 50), []int32{7}), 50, nil},
		{"a copy goes on", slices.Concat(count(0, 60), []int32{500}, count(0, 30)), 61, count(30, 37)},
		{"a long copy is believed at once", slices.Concat(count(0, 60), []int32{500}, count(0, 30)), 91, count(30, 37)},
		{"what is over and over goes on", slices.Repeat([]int32{1, 2, 3}, 12), 4, []int32{1, 2, 3, 1, 2, 3, 1}},
		{"the longest run counts", slices.Concat(count(0, 40), []int32{500, 18, 19, 99, 98, 501}, count(0, 20)), 66, count(20, 27)},
		{"of two the later", slices.Concat([]int32{500}, count(0, 20), []int32{100, 101, 102, 103, 104, 105, 106, 501}, count(0, 20), []int32{200, 201, 202, 203, 204, 205, 206, 502}, count(0, 20)), 77, count(200, 207)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			d := NewNGrams()
			defer d.Close()
			if got := draftOver(t, d, test.text, test.from); !slices.Equal(got, test.want) {
				t.Errorf("draft %d, want %d", got, test.want)
			}
		})
	}
}

// TestNGramsLearn: what a run of three never foretells is not drafted any more,
// what a run of two always does is.
func TestNGramsLearn(t *testing.T) {
	var text []int32
	for i := range int32(200) {
		text = append(text, 1, 2, 3, 100+i)
	}
	for _, test := range []struct {
		tokens int
		want   []int32
	}{{797, nil}, {798, []int32{3}}, {799, nil}} {
		if got := draftOver(t, NewNGrams(), text[:test.tokens], 8); !slices.Equal(got, test.want) {
			t.Errorf("the draft after %d is %d, want %d", text[test.tokens-1], got, test.want)
		}
	}
}

// TestNGramsFind holds what is found against the text and against a search
// through all of it.
func TestNGramsFind(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.SliceOfN(rapid.Int32Range(0, 40), 1, 400).Draw(rt, "text")
		from := rapid.IntRange(0, len(text)).Draw(rt, "from")
		d := NewNGrams()
		d.Restart(text[:from])
		for n := max(1, from); n <= len(text); n++ {
			draft, err := d.Draft(t.Context(), text[:n], cheap)
			if err != nil || len(draft) > maxDraft {
				rt.Fatalf("%d, %v", draft, err)
			}
			if d.from >= n || d.from > 0 && (d.run < minRun || d.common(text[:n], d.from-1) < d.run) {
				rt.Fatalf("at %d: %d tokens before %d are not the last ones", n, d.run, d.from)
			}
			if longest, places := longestRun(text[:n]); places <= maxTries && longest >= minRun && d.run < longest {
				rt.Fatalf("at %d: a run of %d was found, there is one of %d", n, d.run, longest)
			}
			if len(d.links) != n || len(d.heads) > max(1024, 4*n) {
				rt.Fatalf("%d links and %d heads for %d tokens", len(d.links), len(d.heads), n)
			}
		}
	})
}

// longestRun is the longest run of last tokens that stood before, and the
// number of places where the last pair did.
func longestRun(text []int32) (longest, places int) {
	for end := 1; end < len(text)-1; end++ {
		n := 0
		for n <= end && n < maxRun && text[end-n] == text[len(text)-1-n] {
			n++
		}
		if longest = max(longest, n); n >= minRun {
			places++
		}
	}
	return longest, places
}

func TestWorth(t *testing.T) {
	for _, test := range []struct {
		likely []float64
		want   int
	}{
		{nil, 0},
		{[]float64{0}, 0},
		{[]float64{0.2, 0.04}, 0},
		{[]float64{0.9}, 1},
		{[]float64{0.9, 0.8, 0.7, 0.05}, 3},
		{[]float64{1, 1, 1, 1, 1, 1, 1}, 7},
		{[]float64{0.3, 0.3, 0.3, 0.3, 0.3}, 5}, // the first alone would not pay
	} {
		if got := worth(test.likely, cheap); got != test.want {
			t.Errorf("of %v %d tokens are drafted, want %d", test.likely, got, test.want)
		}
	}
}

func BenchmarkNGrams(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 1))
	text := make([]int32, 32768)
	for _, kind := range []struct {
		name   string
		tokens int
	}{{"no repetition", 1 << 18}, {"few words", 300}, {"one word", 1}} {
		for i := range text {
			text[i] = int32(random.IntN(kind.tokens))
		}
		b.Run("prompt/"+kind.name, func(b *testing.B) {
			d := NewNGrams()
			for b.Loop() {
				d.Restart(text)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(text)), "ns/token")
		})
		b.Run("answer/"+kind.name, func(b *testing.B) {
			d := NewNGrams()
			for b.Loop() {
				d.Restart(text[:1])
				for n := range len(text) {
					if _, err := d.Draft(b.Context(), text[:n+1], cheap); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(text)), "ns/token")
		})
	}
}

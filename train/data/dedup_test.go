package data

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// jaccard is the resemblance as it is defined.
func jaccard(a, b string) float64 {
	set := func(text string) map[string]bool {
		words := strings.Fields(text)
		m := map[string]bool{}
		for i := range max(1, len(words)-shingleWords+1) {
			m[strings.Join(words[i:min(i+shingleWords, len(words))], " ")] = true
		}
		return m
	}
	x, y := set(a), set(b)
	both := 0
	for s := range x {
		if y[s] {
			both++
		}
	}
	return float64(both) / float64(len(x)+len(y)-both)
}

// TestResemblance compares the estimate with the definition.
func TestResemblance(t *testing.T) {
	words := func(from, to int) string {
		var b strings.Builder
		for i := from; i < to; i++ {
			fmt.Fprintf(&b, "w%d ", i)
		}
		return b.String()
	}
	a := words(0, 400)
	for _, shift := range []int{0, 10, 40, 100, 200, 390, 500} {
		b := words(shift, shift+400)
		got, want := Resemblance(signature(a), signature(b)), jaccard(a, b)
		// four standard errors
		if limit := 4*math.Sqrt(want*(1-want)/signatureWidth) + 1e-9; math.Abs(got-want) > limit {
			t.Errorf("shifted by %d: %.3f, and it is %.3f", shift, got, want)
		}
	}
	if got := Resemblance(signature("One, TWO three!"), signature("one two three")); got != 1 {
		t.Errorf("case and punctuation: %v", got)
	}
	if got := Resemblance(signature("one"), signature("two")); got > 0.05 {
		t.Errorf("different short texts: %v", got)
	}
}

func TestBands(t *testing.T) {
	for _, threshold := range []float64{0.3, 0.5, 0.7, 0.8, 0.9, 1} {
		bands, rows := Bands(threshold)
		if bands*rows != signatureWidth {
			t.Errorf("%v: %d bands of %d", threshold, bands, rows)
		}
		if p := 1 - math.Pow(1-math.Pow(threshold, float64(rows)), float64(bands)); p < 0.95 {
			t.Errorf("%v: pairs at the threshold are found with a probability of %.3f", threshold, p)
		}
	}
}

func TestLanguageOf(t *testing.T) {
	for text, want := range map[string]string{
		"The cat sat on the mat and looked at the dog that was there.":      "en",
		"Der Hund und die Katze sind nicht mit dem Auto gekommen.":          "de",
		"Le chat est dans la maison avec les enfants qui ne sont pas là":    "fr",
		"El perro y los gatos están en la casa, pero no comen por la noche": "es",
		"Это не то, что он хотел, но так было для всех":                     "ru",
		"吾輩は猫である。名前はまだ無い。":                                                  "ja",
		"今天天气很好，我们去公园。":                                                     "zh",
		"안녕하세요 세계":                                                          "ko",
		"Καλημέρα κόσμε":                                                    "el",
		"x = 1 + 2":                                                         "latin",
		"123 456":                                                           "und",
		"":                                                                  "und",
	} {
		if got := languageOf(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

package eval

import (
	"regexp"
	"strings"
)

// Rouge are the F-measures of Lin, ROUGE: A Package for Automatic Evaluation of
// Summaries, 2004: of single words, of pairs, and of the longest common
// subsequence of the whole texts.
type Rouge struct {
	R1, R2, RL float64
}

// NewRouge compares a text with what it should be. Words are runs of a to z and
// digits in lower case, as in Google's rouge_score; stemmed are those of more than
// three letters.
func NewRouge(text, reference string, stemmed bool) Rouge {
	a, b := words(text, stemmed), words(reference, stemmed)
	return Rouge{
		R1: harmonic(common(grams(a, 1), grams(b, 1)), len(a), len(b)),
		R2: harmonic(common(grams(a, 2), grams(b, 2)), len(a)-1, len(b)-1),
		RL: harmonic(subsequence(a, b), len(a), len(b)),
	}
}

var notWord = regexp.MustCompile(`[^a-z0-9]+`)

func words(s string, stemmed bool) []string {
	all := strings.Fields(notWord.ReplaceAllString(strings.ToLower(s), " "))
	if stemmed {
		for i, w := range all {
			if len(w) > 3 {
				all[i] = stem(w)
			}
		}
	}
	return all
}

func grams(words []string, n int) map[string]int {
	counts := map[string]int{}
	for i := 0; i+n <= len(words); i++ {
		counts[strings.Join(words[i:i+n], " ")]++
	}
	return counts
}

// common is the size of the intersection of two bags.
func common(a, b map[string]int) int {
	n := 0
	for w, k := range a {
		n += min(k, b[w])
	}
	return n
}

// harmonic is the F-measure of n matches among a and b items.
func harmonic(n, a, b int) float64 {
	if n == 0 || a <= 0 || b <= 0 {
		return 0
	}
	return 2 * float64(n) / float64(a+b)
}

// subsequence is the length of the longest common one, in the memory of a row.
func subsequence(a, b []string) int {
	row := make([]int, len(b)+1)
	for _, x := range a {
		diagonal := 0
		for j, y := range b {
			up := row[j+1]
			if x == y {
				row[j+1] = diagonal + 1
			} else {
				row[j+1] = max(up, row[j])
			}
			diagonal = up
		}
	}
	return row[len(b)]
}

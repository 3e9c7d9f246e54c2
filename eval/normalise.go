package eval

import (
	"regexp"
	"strings"
	"unicode"
)

// normaliser makes answers comparable.
type normaliser string

// equal reports whether two answers are the same.
func (n normaliser) equal(a, b string) bool {
	if n == "numbers" {
		if y, ok := Number(b); ok {
			x, ok := Number(a)
			return ok && sameNumber(x, y)
		}
	}
	return n.text(a) == n.text(b)
}

// f1 is the overlap of two answers' words; of numbers it is whether they are the
// same.
func (n normaliser) f1(a, b string) float64 {
	if n == "numbers" {
		if _, ok := Number(b); ok {
			if n.equal(a, b) {
				return 1
			}
			return 0
		}
	}
	x, y := strings.Fields(n.text(a)), strings.Fields(n.text(b))
	if len(x) == 0 && len(y) == 0 {
		return 1
	}
	return harmonic(common(grams(x, 1), grams(y, 1)), len(x), len(y))
}

func (n normaliser) text(s string) string {
	if n == "plain" {
		return strings.Join(strings.Fields(s), " ")
	}
	return Squad(s)
}

var articles = regexp.MustCompile(`\b(a|an|the)\b`)

// Squad is the normalisation of the SQuAD evaluation (Rajpurkar et al. 2016,
// arXiv:1606.05250, evaluate-v1.1): lower case, no ASCII punctuation, no articles, single
// spaces.
func Squad(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsPunct(r) || unicode.IsSymbol(r)) {
			return -1
		}
		return r
	}, strings.ToLower(s))
	return strings.Join(strings.Fields(articles.ReplaceAllString(s, " ")), " ")
}

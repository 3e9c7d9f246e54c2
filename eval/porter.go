package eval

import "strings"

// stem is the stem of a lower-case word by M. F. Porter, An algorithm for suffix
// stripping, 1980, with the departures of NLTK's default stemmer, which the
// published ROUGE figures are made with: irregular words, ies and ied of short
// words, bli, fulli and logi, alli taken off again, y after a single letter.
func stem(w string) string {
	if s, ok := irregular[w]; ok {
		return s
	}
	if len(w) <= 2 {
		return w
	}
	w = pastAndPlural(w)
	if s, ok := strings.CutSuffix(w, "y"); ok && len(s) > 1 && consonant(s, len(s)-1) {
		w = s + "i"
	}
	return finish(replace(replace(doubleSuffix(w), single), last))
}

var irregular = map[string]string{
	"sky": "sky", "skies": "sky", "dying": "die", "lying": "lie", "tying": "tie", "news": "news",
	"innings": "inning", "inning": "inning", "outings": "outing", "outing": "outing", "cannings": "canning", "canning": "canning",
	"howe": "howe", "proceed": "proceed", "exceed": "exceed", "succeed": "succeed",
}

func consonant(w string, i int) bool {
	switch w[i] {
	case 'a', 'e', 'i', 'o', 'u':
		return false
	case 'y':
		return i == 0 || !consonant(w, i-1)
	}
	return true
}

// measure counts the times a vowel is followed by a consonant, Porter's m.
func measure(w string) int {
	m := 0
	for i := 1; i < len(w); i++ {
		if consonant(w, i) && !consonant(w, i-1) {
			m++
		}
	}
	return m
}

func hasVowel(w string) bool {
	for i := range len(w) {
		if !consonant(w, i) {
			return true
		}
	}
	return false
}

func endsDouble(w string) bool {
	n := len(w)
	return n >= 2 && w[n-1] == w[n-2] && consonant(w, n-1)
}

// endsShort is Porter's *o: consonant, vowel, and a consonant that is none of
// w, x, y.
func endsShort(w string) bool {
	n := len(w)
	if n == 2 {
		return !consonant(w, 0) && consonant(w, 1)
	}
	return n >= 3 && consonant(w, n-3) && !consonant(w, n-2) && consonant(w, n-1) && !strings.ContainsRune("wxy", rune(w[n-1]))
}

// pastAndPlural is step 1a and 1b.
func pastAndPlural(w string) string {
	switch {
	case strings.HasSuffix(w, "ies") && len(w) == 4:
		w = w[:3]
	case strings.HasSuffix(w, "sses"), strings.HasSuffix(w, "ies"):
		w = w[:len(w)-2]
	case strings.HasSuffix(w, "ss"):
	case strings.HasSuffix(w, "s"):
		w = w[:len(w)-1]
	}
	if s, ok := strings.CutSuffix(w, "ied"); ok {
		if len(w) == 4 {
			return s + "ie"
		}
		return s + "i"
	}
	if s, ok := strings.CutSuffix(w, "eed"); ok {
		if measure(s) > 0 {
			return s + "ee"
		}
		return w
	}
	for _, suffix := range []string{"ed", "ing"} {
		if s, ok := strings.CutSuffix(w, suffix); ok && hasVowel(s) {
			return tidy(s)
		}
	}
	return w
}

// tidy is what step 1b does after it took ed or ing off.
func tidy(s string) string {
	switch {
	case strings.HasSuffix(s, "at"), strings.HasSuffix(s, "bl"), strings.HasSuffix(s, "iz"):
		return s + "e"
	case endsDouble(s):
		if strings.ContainsRune("lsz", rune(s[len(s)-1])) {
			return s
		}
		return s[:len(s)-1]
	case measure(s) == 1 && endsShort(s):
		return s + "e"
	}
	return s
}

// suffix is a rule: what it ends with becomes something else, if the rest has a
// measure over least.
type suffix struct {
	from, to string
	least    int
}

var (
	double = []suffix{
		{"ational", "ate", 0}, {"tional", "tion", 0}, {"enci", "ence", 0}, {"anci", "ance", 0}, {"izer", "ize", 0},
		{"bli", "ble", 0}, {"alli", "al", 0}, {"entli", "ent", 0}, {"eli", "e", 0}, {"ousli", "ous", 0},
		{"ization", "ize", 0}, {"ation", "ate", 0}, {"ator", "ate", 0}, {"alism", "al", 0}, {"iveness", "ive", 0},
		{"fulness", "ful", 0}, {"ousness", "ous", 0}, {"aliti", "al", 0}, {"iviti", "ive", 0}, {"biliti", "ble", 0}, {"fulli", "ful", 0},
	}
	single = []suffix{
		{"icate", "ic", 0}, {"ative", "", 0}, {"alize", "al", 0}, {"iciti", "ic", 0}, {"ical", "ic", 0}, {"ful", "", 0}, {"ness", "", 0},
	}
	last = []suffix{
		{"al", "", 1}, {"ance", "", 1}, {"ence", "", 1}, {"er", "", 1}, {"ic", "", 1}, {"able", "", 1}, {"ible", "", 1}, {"ant", "", 1},
		{"ement", "", 1}, {"ment", "", 1}, {"ent", "", 1}, {"sion", "s", 1}, {"tion", "t", 1}, {"ou", "", 1}, {"ism", "", 1}, {"ate", "", 1},
		{"iti", "", 1}, {"ous", "", 1}, {"ive", "", 1}, {"ize", "", 1},
	}
)

// replace applies the first rule whose suffix is there, or none if that one's
// condition fails.
func replace(w string, rules []suffix) string {
	for _, r := range rules {
		s, ok := strings.CutSuffix(w, r.from)
		if !ok {
			continue
		}
		if (r.to == "s" || r.to == "t") && measure(s+r.to) > r.least || r.to != "s" && r.to != "t" && measure(s) > r.least {
			return s + r.to
		}
		return w
	}
	return w
}

// doubleSuffix is step 2.
func doubleSuffix(w string) string {
	if s, ok := strings.CutSuffix(w, "alli"); ok && measure(s) > 0 {
		return doubleSuffix(s + "al")
	}
	if r := replace(w, double); r != w {
		return r
	}
	if s, ok := strings.CutSuffix(w, "i"); ok && strings.HasSuffix(s, "log") && measure(s[:len(s)-2]) > 0 {
		return s
	}
	return w
}

// finish is step 5.
func finish(w string) string {
	if s, ok := strings.CutSuffix(w, "e"); ok {
		if m := measure(s); m > 1 || m == 1 && !endsShort(s) {
			w = s
		}
	}
	if strings.HasSuffix(w, "ll") && measure(w[:len(w)-1]) > 1 {
		return w[:len(w)-1]
	}
	return w
}

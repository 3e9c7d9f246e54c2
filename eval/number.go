package eval

import (
	"math"
	"regexp"
	"strconv"
	"strings"
)

// numeral is a number as people write it: a sign, a currency, groups of three,
// a fraction.
const numeral = `[-+−]?[$€£]?[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][-+]?\d+)?`

var (
	anyNumeral   = regexp.MustCompile(`[-+−]?[$€£]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|[-+−]?[$€£]?\.\d+`)
	wholeNumber  = regexp.MustCompile(`^(\()?\s*(` + numeral + `)\s*(\))?\s*(%|[a-z]+)?\s*\.?$`)
	numberScales = map[string]float64{
		"": 1, "%": 0.01, "percent": 0.01, "thousand": 1e3, "thousands": 1e3, "million": 1e6, "millions": 1e6, "billion": 1e9, "billions": 1e9,
	}
	spacedCurrency = regexp.MustCompile(`([$€£])\s+`)
	notNumeral     = strings.NewReplacer("−", "-", ",", "", "$", "", "€", "", "£", "", "+", "")
)

// Number reads a number with its scale: "$1,496.5 million", "12 %", "(3.4)", which
// is how accounts write −3.4. Anything else around it makes it no number.
func Number(s string) (float64, bool) {
	s = spacedCurrency.ReplaceAllString(strings.ToLower(strings.TrimSpace(s)), "$1")
	m := wholeNumber.FindStringSubmatch(s)
	if m == nil || (m[1] == "") != (m[3] == "") {
		return 0, false
	}
	scale, ok := numberScales[m[4]]
	if !ok {
		return 0, false
	}
	x, err := strconv.ParseFloat(notNumeral.Replace(m[2]), 64)
	if err != nil {
		return 0, false
	}
	if m[1] != "" {
		x = -x
	}
	return x * scale, true
}

// sameNumber forgives what rounding a fraction to four digits does.
func sameNumber(a, b float64) bool {
	return a == b || math.Abs(a-b) <= 1e-4*math.Max(math.Abs(a), math.Abs(b))
}

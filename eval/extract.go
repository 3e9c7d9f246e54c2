package eval

import (
	"fmt"
	"regexp"
	"strings"
)

// extractor takes an answer out of what was written: the first step that finds
// something counts, and if none does the answer is empty.
type extractor []func(string) string

var (
	letterAnswer = regexp.MustCompile(`(?:^|[^A-Za-z])\(?([A-Z])\)?(?:[^A-Za-z]|$)`)
	extractors   = map[string]func(string) string{
		"all":         strings.TrimSpace,
		"first_line":  firstLine,
		"last_number": lastNumber,
		"letter":      firstLetter,
	}
)

func newExtractor(steps []string) (extractor, error) {
	if len(steps) == 0 {
		return extractor{strings.TrimSpace}, nil
	}
	var e extractor
	for _, s := range steps {
		if len(s) > 2 && s[0] == '/' && s[len(s)-1] == '/' {
			re, err := regexp.Compile(s[1 : len(s)-1])
			if err != nil {
				return nil, fmt.Errorf("extract %s: %w", s, err)
			}
			e = append(e, func(text string) string { return firstGroup(re, text) })
			continue
		}
		f, ok := extractors[s]
		if !ok {
			return nil, fmt.Errorf("extract %q is none: want all, first_line, last_number, letter, or a /regular expression/", s)
		}
		e = append(e, f)
	}
	return e, nil
}

func (e extractor) from(text string) string {
	for _, step := range e {
		if s := step(text); s != "" {
			return s
		}
	}
	return ""
}

func firstGroup(re *regexp.Regexp, text string) string {
	m := re.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	return strings.TrimSpace(m[min(1, len(m)-1)])
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(line)
}

func lastNumber(text string) string {
	all := anyNumeral.FindAllString(text, -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

func firstLetter(text string) string { return firstGroup(letterAnswer, text) }

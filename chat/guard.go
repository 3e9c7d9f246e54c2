package chat

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// A guard is a character that stands inside every control token's spelling
// that came with a message, so that the spelling isn't found there once the
// template has put message and markup together; it is taken out again before
// the text is turned into tokens. Guards come from a private-use plane, and
// are characters that no message holds.
const firstGuard, lastGuard = 0xF0000, 0xFFFFD

// pickGuard is the first guard that occurs in none of the texts. Only a
// conversation of more than 65,534 distinct private-use characters has none.
func pickGuard(texts []string) (rune, bool) {
	var used map[rune]bool
	for _, t := range texts {
		for _, r := range t {
			if r >= firstGuard && r <= lastGuard {
				if used == nil {
					used = map[rune]bool{}
				}
				used[r] = true
			}
		}
	}
	for r := rune(firstGuard); r <= lastGuard; r++ {
		if !used[r] {
			return r, true
		}
	}
	return 0, false
}

// guarder marks the texts of one conversation.
type guarder struct {
	guard    string
	controls func(text string) [][2]int // spans of the control tokens in text
	used     bool
}

// mark puts a guard into each control token of text, and beside a bracket
// that could open or close one together with the template's own text.
func (g *guarder) mark(text string) string {
	// Breaking one token may uncover another that overlapped it, so look again
	// until none is left; each round lengthens no spelling, so it ends.
	for {
		spans := g.controls(text)
		if len(spans) == 0 {
			break
		}
		text = g.breakUp(text, spans)
		g.used = true
	}
	return g.edges(text)
}

func (g *guarder) breakUp(text string, spans [][2]int) string {
	var b strings.Builder
	from := 0
	for _, s := range spans {
		_, n := utf8.DecodeRuneInString(text[s[0]:])
		b.WriteString(text[from : s[0]+n])
		b.WriteString(g.guard)
		from = s[0] + n
	}
	b.WriteString(text[from:])
	return b.String()
}

// edges guards an unclosed bracket at either end ("<end_of" before the
// template's own text), inside the white space that templates trim.
func (g *guarder) edges(text string) string {
	if i := strings.LastIndexAny(text, "<["); i >= 0 && !strings.ContainsAny(text[i:], ">]") && !strings.ContainsFunc(text[i:], unicode.IsSpace) {
		text = text[:i+1] + g.guard + text[i+1:]
		g.used = true
	}
	if i := strings.IndexAny(text, ">]"); i >= 0 && !strings.ContainsAny(text[:i], "<[") && !strings.ContainsFunc(text[:i], unicode.IsSpace) {
		text = text[:i] + g.guard + text[i:]
		g.used = true
	}
	return text
}

package chat

import (
	"strings"
	"unicode"
)

// A prompt is made of pieces. Only what is markup here can become a control
// token, and only what is a soft token's place a media token; text is text,
// whatever it spells.
type piece struct {
	kind kind
	s    string // the text, or the token's spelling
	n    int    // soft: how many
	part *Part  // media and soft: whose
	open string // soft: the token before them; empty for none
}

type kind int

const (
	text   kind = iota
	markup      // a control token
	bos         // the token that begins a sequence
	media       // where a media part stands; s is its placeholder
	soft        // n tokens that the model puts vectors in place of
)

// writer collects the pieces of a prompt.
type writer struct{ pieces []piece }

func (w *writer) bos()            { w.pieces = append(w.pieces, piece{kind: bos, s: "<bos>"}) }
func (w *writer) text(s string)   { w.pieces = append(w.pieces, piece{kind: text, s: s}) }
func (w *writer) markup(s string) { w.pieces = append(w.pieces, piece{kind: markup, s: s}) }
func (w *writer) media(placeholder string, p *Part) {
	w.pieces = append(w.pieces, piece{kind: media, s: placeholder, part: p})
}

// spelled is the pieces as text, for people to read and for comparing.
func spelled(pieces []piece) string {
	var b strings.Builder
	for _, p := range pieces {
		b.WriteString(p.s)
	}
	return b.String()
}

// trim is Jinja's: what Python calls white space goes at both ends, which is
// Unicode's and four separators.
func trim(s string) string {
	return strings.TrimFunc(s, func(r rune) bool { return unicode.IsSpace(r) || 0x1c <= r && r <= 0x1f })
}

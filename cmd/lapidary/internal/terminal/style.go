package terminal

import (
	"strconv"
	"strings"

	"github.com/clipperhouse/displaywidth"
)

// A style is how a piece of text looks: attributes, and one of the terminal's
// own sixteen colours, so that it suits dark and light backgrounds alike.
type style struct {
	attrs  attr
	colour uint8 // SGR foreground code; 0 is the default one
}

type attr uint8

const (
	bold attr = 1 << iota
	dim
	italic
	underline
	strike
)

const (
	red     = 31
	green   = 32
	yellow  = 33
	blue    = 34
	magenta = 35
	cyan    = 36
)

func (s style) with(a attr) style { s.attrs |= a; return s }

func (s style) in(colour uint8) style { s.colour = colour; return s }

// sgr is the escape sequence that turns the style on, "" for the plain one.
func (s style) sgr(colours bool) string {
	var codes []string
	for i, code := range [...]string{"1", "2", "3", "4", "9"} {
		if s.attrs&(1<<i) != 0 {
			codes = append(codes, code)
		}
	}
	if s.colour != 0 && colours {
		codes = append(codes, strconv.Itoa(int(s.colour)))
	}
	if codes == nil {
		return ""
	}
	return "\x1b[" + strings.Join(codes, ";") + "m"
}

// span is text in one style.
type span struct {
	text string
	style
}

// line is one line to show. It carries all of its styles, so that any line can
// be painted without those above it.
type line []span

func text(s string) line { return line{{text: s}} }

func (l line) plain() string {
	if len(l) == 1 {
		return l[0].text
	}
	var b strings.Builder
	for _, s := range l {
		b.WriteString(s.text)
	}
	return b.String()
}

func (l line) width() int { return displaywidth.String(l.plain()) }

// ansi is the line with its escape sequences.
func (l line) ansi(colours bool) string {
	var b strings.Builder
	for _, s := range l {
		sgr := s.sgr(colours)
		if sgr == "" || s.text == "" {
			b.WriteString(s.text)
			continue
		}
		b.WriteString(sgr)
		b.WriteString(s.text)
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

// rows is the number of rows the line takes where the terminal is so wide.
func (l line) rows(width int) int {
	rows, column := 1, 0
	g := displaywidth.StringGraphemes(l.plain())
	for g.Next() {
		w := g.Width()
		if column+w > width && column > 0 {
			rows, column = rows+1, 0
		}
		column += w
	}
	return rows
}

// clean removes what would command the terminal rather than be shown: a model
// or a file may say anything, and an escape sequence can retitle the window,
// fill the clipboard or type for the user.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < ' ' || (r >= 0x7F && r <= 0x9F):
			return -1
		}
		return r
	}, s)
}

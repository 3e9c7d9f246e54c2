package terminal

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/clipperhouse/displaywidth"
)

// buffer is the text being edited. The cursor stands between two characters
// as people count them, which may have several code points.
type buffer struct {
	text   string
	at     int    // of the cursor, in bytes
	killed string // what was cut last, for yank

	undos  []state
	typing bool // the last change was a typed character; more of them are undone together
}

type state struct {
	text string
	at   int
}

// How many changes can be taken back.
const undoLimit = 200

func (b *buffer) before() string { return b.text[:b.at] }
func (b *buffer) after() string  { return b.text[b.at:] }

// replace puts s where text[from:to] is and the cursor after it.
func (b *buffer) replace(from, to int, s string) {
	b.remember()
	b.text = b.text[:from] + s + b.text[to:]
	b.at = from + len(s)
	b.settle()
}

// settle moves the cursor to the end of the character it is in: text that was
// put together may have joined two to one.
func (b *buffer) settle() {
	start := strings.LastIndexByte(b.text[:b.at], '\n') + 1
	at := start
	g := displaywidth.StringGraphemes(b.text[start:])
	for at < b.at && g.Next() {
		at += len(g.Value())
	}
	b.at = at
}

func (b *buffer) remember() {
	b.typing = false
	b.undos = append(b.undos, state{b.text, b.at})
	if len(b.undos) > undoLimit {
		b.undos = b.undos[1:]
	}
}

func (b *buffer) undo() {
	if n := len(b.undos); n > 0 {
		b.text, b.at = b.undos[n-1].text, b.undos[n-1].at
		b.undos = b.undos[:n-1]
		b.typing = false
	}
}

// set starts anew with a text, the cursor at its end.
func (b *buffer) set(s string) { b.text, b.at, b.undos, b.typing = s, len(s), nil, false }

// insert puts text at the cursor.
func (b *buffer) insert(s string) { b.replace(b.at, b.at, s) }

// typed is insert for one key.
func (b *buffer) typed(s string) {
	more := b.typing && !strings.ContainsFunc(s, unicode.IsSpace)
	b.insert(s)
	if more {
		b.undos = b.undos[:len(b.undos)-1]
	}
	b.typing = true
}

// Places in the text, seen from the cursor.

func (b *buffer) left() int {
	at, last := strings.LastIndexByte(b.before(), '\n')+1, 0
	if at == b.at {
		return max(0, b.at-1) // the line break
	}
	g := displaywidth.StringGraphemes(b.text[at:b.at])
	for g.Next() {
		last = len(g.Value())
	}
	return b.at - last
}

func (b *buffer) right() int {
	g := displaywidth.StringGraphemes(b.after())
	if !g.Next() {
		return b.at
	}
	return b.at + len(g.Value())
}

func (b *buffer) lineStart() int { return strings.LastIndexByte(b.before(), '\n') + 1 }

func (b *buffer) lineEnd() int {
	if i := strings.IndexByte(b.after(), '\n'); i >= 0 {
		return b.at + i
	}
	return len(b.text)
}

func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' }

func (b *buffer) wordLeft() int {
	s := strings.TrimRightFunc(b.before(), func(r rune) bool { return !inWord(r) })
	return len(strings.TrimRightFunc(s, inWord))
}

func (b *buffer) wordRight() int {
	s := strings.TrimLeftFunc(b.after(), func(r rune) bool { return !inWord(r) })
	return len(b.text) - len(strings.TrimLeftFunc(s, inWord))
}

// spaceLeft is the start of the word as Ctrl-W has it: white space ends it.
func (b *buffer) spaceLeft() int {
	s := strings.TrimRightFunc(b.before(), unicode.IsSpace)
	return strings.LastIndexFunc(s, unicode.IsSpace) + 1
}

// vertical is the place a line up (-1) or down (1), as far from the line's
// start as the cursor is, or false where there is no such line.
func (b *buffer) vertical(by int) (int, bool) {
	column := utf8.RuneCountInString(b.text[b.lineStart():b.at])
	start := b.lineEnd() + 1
	if by < 0 {
		if b.lineStart() == 0 {
			return 0, false
		}
		start = strings.LastIndexByte(b.text[:b.lineStart()-1], '\n') + 1
	}
	if start > len(b.text) {
		return 0, false
	}
	at := start
	for range column {
		r, n := utf8.DecodeRuneInString(b.text[at:])
		if r == '\n' || n == 0 {
			break
		}
		at += n
	}
	return at, true
}

// to moves the cursor.
func (b *buffer) to(at int) {
	b.at, b.typing = at, false
	b.settle()
}

// cut removes what is between the cursor and a place, and keeps it for yank.
func (b *buffer) cut(to int) {
	if to != b.at {
		b.killed = b.text[min(b.at, to):max(b.at, to)]
		b.remove(to)
	}
}

// remove removes what is between the cursor and a place.
func (b *buffer) remove(to int) {
	if to != b.at {
		b.replace(min(b.at, to), max(b.at, to), "")
	}
}

// transpose swaps the characters around the cursor, or the last two of a line.
func (b *buffer) transpose() {
	if b.at == b.lineEnd() && b.at > b.lineStart() {
		b.to(b.left())
	}
	if b.at == b.lineStart() || b.at == len(b.text) {
		return
	}
	l, at, r := b.left(), b.at, b.right()
	b.replace(l, r, b.text[at:r]+b.text[l:at])
}

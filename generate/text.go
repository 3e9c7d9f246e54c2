package generate

import (
	"strings"
	"unicode/utf8"
)

// text turns the bytes of tokens into valid UTF-8 and looks for stop strings.
// It holds back exactly what the bytes to come could still make part of a stop
// string or of a character. What it gives does not depend on how the bytes are
// split among tokens.
type text struct {
	stops   []matcher
	pending []byte
}

func newText(stops []string) *text {
	t := &text{}
	for _, s := range stops {
		t.stops = append(t.stops, newMatcher(s))
	}
	return t
}

// push takes a token's bytes and returns the text they release. When a stop
// string is completed it is returned too; the text then ends before it, and
// what follows it is forgotten. Of several completed by the same byte the
// longest counts.
func (t *text) push(b []byte) (out, stop string) {
	for _, c := range b {
		t.pending = append(t.pending, c)
		for i := range t.stops {
			if m := &t.stops[i]; m.step(c) && len(m.stop) > len(stop) {
				stop = m.stop
			}
		}
		if stop != "" {
			t.pending = t.pending[:len(t.pending)-len(stop)]
			return t.flush(), stop
		}
	}
	return t.release(len(t.pending) - t.held()), ""
}

// flush releases what was held back: nothing follows.
func (t *text) flush() string { return t.release(len(t.pending)) }

// held is how many of the pending bytes must wait.
func (t *text) held() int {
	n := 0
	for i := range t.stops {
		n = max(n, t.stops[i].matched)
	}
	if n > 0 {
		return n // a stop string begins with a whole character, so what is before it is complete
	}
	for n < len(t.pending) && n < utf8.UTFMax {
		n++
		tail := t.pending[len(t.pending)-n:]
		if utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// release takes the first n pending bytes out.
func (t *text) release(n int) string {
	if n == 0 {
		return ""
	}
	s := Text(t.pending[:n])
	t.pending = t.pending[:copy(t.pending, t.pending[n:])]
	return s
}

// Text is b as valid UTF-8: what cannot be decoded becomes U+FFFD, one for
// each maximal start of a character, as the Unicode Standard advises (3.9,
// "U+FFFD Substitution of Maximal Subparts").
func Text(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var s strings.Builder
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			n = subpart(b)
		}
		s.WriteRune(r)
		b = b[n:]
	}
	return s.String()
}

// subpart is the length of the start of a character that begins b.
func subpart(b []byte) int {
	for n := min(len(b), utf8.UTFMax-1); n > 1; n-- {
		if !utf8.FullRune(b[:n]) {
			return n
		}
	}
	return 1
}

// matcher follows one stop string through a stream (Knuth, Morris and Pratt
// 1977): matched is the length of its longest beginning that the stream ends
// with, which is also what has to be held back for it.
type matcher struct {
	stop    string
	border  []int // of each beginning: the longest shorter one it ends with
	matched int
}

func newMatcher(stop string) matcher {
	m := matcher{stop: stop, border: make([]int, len(stop)+1)}
	k := 0
	for i := 1; i < len(stop); i++ {
		for k > 0 && stop[i] != stop[k] {
			k = m.border[k]
		}
		if stop[i] == stop[k] {
			k++
		}
		m.border[i+1] = k
	}
	return m
}

// step takes a byte and reports whether it completes the stop string.
func (m *matcher) step(c byte) bool {
	for m.matched > 0 && c != m.stop[m.matched] {
		m.matched = m.border[m.matched]
	}
	if c == m.stop[m.matched] {
		m.matched++
	}
	return m.matched == len(m.stop)
}

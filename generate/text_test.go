package generate

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// feed pushes whole through t in the pieces that cuts say and returns what
// came out of each.
func feed(t *text, whole []byte, cuts []int) (out []string, stop string) {
	for len(whole) > 0 {
		n := len(whole)
		if len(cuts) > 0 {
			n, cuts = min(n, cuts[0]), cuts[1:]
		}
		var s string
		s, stop = t.push(whole[:n])
		out = append(out, s)
		if stop != "" {
			return out, stop
		}
		whole = whole[n:]
	}
	return append(out, t.flush()), ""
}

// naiveStop cuts the text at the stop string that is completed first, the
// longest of those that are completed together.
func naiveStop(whole []byte, stops []string) ([]byte, string) {
	for end := range len(whole) + 1 {
		found := ""
		for _, s := range stops {
			if bytes.HasSuffix(whole[:end], []byte(s)) && len(s) > len(found) {
				found = s
			}
		}
		if found != "" {
			return whole[:end-len(found)], found
		}
	}
	return whole, ""
}

// checkText is the promise of text, whatever the bytes and their pieces.
func checkText(t interface{ Fatalf(string, ...any) }, whole []byte, stops []string, cuts []int) {
	wantBytes, wantStop := naiveStop(whole, stops)
	out, stop := feed(newText(stops), whole, cuts)
	got := strings.Join(out, "")
	if want := Text(wantBytes); got != want || stop != wantStop {
		t.Fatalf("%q with stops %q in pieces %d: got %q and stop %q, want %q and %q", whole, stops, cuts, got, stop, want, wantStop)
	}
	for _, s := range out {
		if !utf8.ValidString(s) {
			t.Fatalf("piece %q is not valid UTF-8", s)
		}
	}
}

// checkHeld: what is held back after each push is exactly the longest end of
// the text that is the beginning of a stop string or of a character.
func checkHeld(t interface{ Fatalf(string, ...any) }, whole []byte, stops []string) {
	x := newText(stops)
	for i := range whole {
		if _, stop := x.push(whole[i : i+1]); stop != "" {
			return
		}
		want := 0
		for n := 1; n <= i+1; n++ {
			tail := whole[i+1-n : i+1]
			for _, s := range stops {
				if strings.HasPrefix(s, string(tail)) {
					want = n
				}
			}
			if want == 0 && n < utf8.UTFMax && utf8.RuneStart(tail[0]) && !utf8.FullRune(tail) {
				want = n
			}
		}
		if len(x.pending) != want {
			t.Fatalf("after %q with stops %q %q is held back, want %q", whole[:i+1], stops, x.pending, whole[i+1-want:i+1])
		}
	}
}

func TestTextProperty(t *testing.T) {
	// Few letters, so that stop strings begin often and overlap themselves;
	// parts of characters, so that both reasons to wait meet.
	atoms := []string{"a", "b", "ab", "é", "😀", "\xC3", "\xA9", "\xF0", "\x9F", "\xF0\x9F\x98", "\xE2\x82", " "}
	rapid.Check(t, func(t *rapid.T) {
		whole := []byte(strings.Join(rapid.SliceOfN(rapid.SampledFrom(atoms), 0, 30).Draw(t, "text"), ""))
		stop := rapid.Map(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "é", "😀", " "}), 1, 5), func(s []string) string { return strings.Join(s, "") })
		stops := rapid.SliceOfN(stop, 0, 3).Draw(t, "stops")
		cuts := rapid.SliceOf(rapid.IntRange(1, 6)).Draw(t, "cuts")
		checkText(t, whole, stops, cuts)
		checkHeld(t, whole, stops)
	})
}

func FuzzText(f *testing.F) {
	f.Add([]byte("Hello</s> and on"), "</s>", "nd", 3)
	f.Add([]byte("\xF0\x9F\x98\x80aab"), "aab", "ab", 1)
	f.Add([]byte("abababac"), "ababac", "\xF0\x9F", 2)
	f.Fuzz(func(t *testing.T, whole []byte, a, b string, cut int) {
		var stops []string
		for _, s := range []string{a, b} {
			if s != "" && utf8.ValidString(s) {
				stops = append(stops, s)
			}
		}
		var cuts []int
		for range whole {
			cuts = append(cuts, 1+max(cut, -cut)%7)
		}
		checkText(t, whole, stops, cuts)
		checkHeld(t, whole, stops)
	})
}

func TestTextSubstitution(t *testing.T) {
	// The example of the Unicode Standard, table 3-8, and others of its kind.
	for in, want := range map[string]string{
		"a\xF1\x80\x80\xE1\x80\xC2b\x80c\x80\xBFd": "a\uFFFD\uFFFD\uFFFDb\uFFFDc\uFFFD\uFFFDd",
		"\xC0\xAF":     "\uFFFD\uFFFD",
		"\xED\xA0\x80": "\uFFFD\uFFFD\uFFFD",
		"\xE2\x82":     "\uFFFD",
		"plain é":      "plain é",
	} {
		if got := Text([]byte(in)); got != want {
			t.Errorf("Text(%q) = %q, want %q", in, got, want)
		}
	}
}

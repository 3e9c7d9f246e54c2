package main

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// samples writes every form with registers and lanes that set each bit of
// their fields.
func samples() string {
	a := &assembler{}
	for name := range forms {
		a.arm(name, []vec{1, 30, 21}[:operands(forms[name])]...)
		a.arm(name, []vec{30, 21, 10}[:operands(forms[name])]...)
	}
	for name := range byLane {
		for i := range 4 {
			a.lane(name, 1, 30, 21, i)
			a.lane(name, 30, 21, 10, i)
		}
	}
	for _, by := range []int{1, 7, 32} {
		a.round(10, 21, by)
	}
	a.zero(10, 21)
	return a.text.String()
}

func operands(f form) int {
	n := 0
	for _, o := range strings.Fields(f.operands) {
		if o[0] != '#' {
			n++
		}
	}
	return n
}

// TestEncodings compares the instructions Go's assembler does not know with
// what GNU as makes of them.
func TestEncodings(t *testing.T) {
	f, err := os.Open("testdata/encodings.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	want := map[string]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		word, text, _ := strings.Cut(s.Text(), " ")
		want[text] = word
	}
	for line := range strings.Lines(samples()) {
		word, text, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "WORD $0x"), " // ")
		if want[text] != word {
			t.Errorf("%s: got %s, GNU as has %q", text, word, want[text])
		}
	}
}

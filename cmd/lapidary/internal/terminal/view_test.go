//go:build unix

package terminal

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"pgregory.net/rapid"
)

// paper is a screen that draws on an emulator.
func paper(width, height int) (*screen, *vt.Emulator) {
	e := vt.NewEmulator(width, height)
	return &screen{out: e, size: func() (int, int) { return width, height }, colours: true, reflows: true}, e
}

// drawn is every row of the emulator, those that scrolled off first.
func drawn(e *vt.Emulator) []string {
	w := &window{screen: e}
	return w.lines()
}

// expected is what a document looks like when it is complete.
func expected(document string, width int) []string {
	var out []string
	for i, b := range newMarkdown().render(document, width) {
		if i > 0 {
			out = append(out, "")
		}
		for _, l := range b.lines {
			out = append(out, hard(l.plain(), width)...)
		}
	}
	return out
}

// hard breaks a line as the terminal does.
func hard(s string, width int) []string {
	var out []string
	for len([]rune(s)) > width {
		out = append(out, strings.TrimRight(string([]rune(s)[:width]), " "))
		s = string([]rune(s)[width:])
	}
	return append(out, strings.TrimRight(s, " "))
}

var pieces = []string{
	"# A heading\n\n", "Underlined\n---\n\n", "Some **bold** and *slanted* words with `code` that go on for more than a line of the terminal, as prose does.\n\n",
	"- one\n- two\n  - nested\n- three\n\n", "1. first\n\n   more of it\n2. second\n\n",
	"```go\nfunc f() {\n\treturn // a long comment that is wider than the narrowest of the terminals here\n}\n```\n\n",
	"| a | b |\n|---|--:|\n| 1 | 2 |\n| a much longer cell | 3 |\n\n", "> quoted\n> words\n\n", "---\n\n", "word\nword\n\n", "* a\n\n* b\n\n",
	"a **never closed\n\n", "text\n| a | b |\n|---|---|\n| 1 | 2 |\n\n", "plain\n    not code\n\n    code\n\n", "| not | a table\n\n", "```\nnever closed\n",
}

// However an answer arrives, in the end the terminal shows what it would have
// shown had it come at once.
func TestAnyPiecesGiveTheSamePage(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		document := strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 1, 6).Draw(t, "pieces"), "")
		width := rapid.IntRange(20, 90).Draw(t, "width")
		s, e := paper(width, 400)
		v := &markdownView{screen: s, markdown: newMarkdown(), waiting: waiting{screen: s, since: time.Now().Add(-time.Hour)}}
		_ = v.update("") // what is shown while waiting has to go
		for at := 0; at < len(document); {
			at = min(at+rapid.IntRange(1, 40).Draw(t, "chunk"), len(document))
			if err := v.update(document[:at]); err != nil {
				t.Fatal(err)
			}
		}
		if err := v.end(document); err != nil {
			t.Fatal(err)
		}
		got, want := drawn(e), trimEnd(expected(document, width))
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Fatalf("width %d, document %q\ngot\n%s\nwant\n%s", width, document, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func trimEnd(lines []string) []string {
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// A block taller than the terminal ends up whole in the scrollback.
func TestTallBlocks(t *testing.T) {
	var list, table, code strings.Builder
	table.WriteString("| a | b |\n|---|---|\n")
	code.WriteString("```\n")
	for i := range 60 {
		fmt.Fprintf(&list, "%d. item\n", i+1)
		fmt.Fprintf(&table, "| %d | %s |\n", i, strings.Repeat("x", i%30))
		fmt.Fprintf(&code, "line %d\n", i)
	}
	code.WriteString("```\n")
	for name, document := range map[string]string{"list": list.String(), "table": table.String(), "code": code.String(), "all": list.String() + "\n" + table.String() + "\n" + code.String()} {
		t.Run(name, func(t *testing.T) {
			s, e := paper(50, 12)
			v := &markdownView{screen: s, markdown: newMarkdown(), waiting: waiting{screen: s, since: time.Now()}}
			for at := 7; at < len(document); at += 7 {
				if err := v.update(document[:at]); err != nil {
					t.Fatal(err)
				}
			}
			if err := v.end(document); err != nil {
				t.Fatal(err)
			}
			if got, want := strings.Join(drawn(e), "\n"), strings.Join(expected(document, 50), "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestPlainView(t *testing.T) {
	s, e := paper(20, 10)
	v := &plainView{screen: s, waiting: waiting{screen: s, since: time.Now().Add(-time.Hour)}}
	answer := " Words that go on past the edge.\n\n    indented\nend"
	_ = v.update("")
	for at := range len(answer) {
		if err := v.update(answer[:at]); err != nil {
			t.Fatal(err)
		}
	}
	if err := v.end(answer); err != nil {
		t.Fatal(err)
	}
	want := " Words that go on\npast the edge.\n\n    indented\nend"
	if got := strings.Join(drawn(e), "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A narrower terminal breaks what was painted; the next painting puts it
// right. The emulator doesn't break lines anew, so the test does.
func TestPaintAfterReflow(t *testing.T) {
	width := 20
	s, e := paper(width, 12)
	s.size = func() (int, int) { return width, 12 }
	_, _ = e.WriteString("above\r\n")
	s.paint([]line{text(strings.Repeat("a", 18)), text(strings.Repeat("b", 18))}, false)
	s.place(spot{0, 15})
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	width = 10
	e = vt.NewEmulator(width, 12) // what a terminal makes of it: cursor on the second row of the first line
	s.out = e
	_, _ = e.WriteString("above\r\n" + strings.Repeat("a", 10) + "\r\n" + strings.Repeat("a", 8) + "\r\n" + strings.Repeat("b", 10) + "\r\n" + strings.Repeat("b", 8) + "\x1b[2A\x1b[6G")
	s.paint([]line{text("aaaa"), text("bbbb")}, false)
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(drawn(e), "\n"); got != "above\naaaa\nbbbb" {
		t.Errorf("got\n%s", got)
	}
}

func BenchmarkMarkdownUpdate(b *testing.B) {
	document := strings.Repeat(strings.Join(pieces[:11], ""), 60) // 42 kB, some 10,000 tokens
	s, _ := paper(100, 40)
	s.out = discard{}
	v := &markdownView{screen: s, markdown: newMarkdown(), waiting: waiting{screen: s}}
	at := 0
	for b.Loop() {
		if at += 10; at > len(document) {
			at = 10
			*v = markdownView{screen: s, markdown: v.markdown, waiting: v.waiting}
		}
		if err := v.update(document[:at]); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

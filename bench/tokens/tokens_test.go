package main

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"lapidary/checkpoint"
	"lapidary/internal/realmodel"
	"lapidary/tokenizer"
)

func TestMerges(t *testing.T) {
	ids := map[string]int{"a": 0, "b": 1, "ab": 2, "ba": 3, "aba": 4}
	got := merges(ids, []float32{-9, -9, -1, -3, -2})
	want := [][2]string{{"a", "b"}, {"a", "ba"}, {"ab", "a"}, {"b", "a"}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestDifference(t *testing.T) {
	for _, c := range []struct {
		a, b []int32
		want int
	}{{nil, nil, -1}, {[]int32{1, 2}, []int32{1, 2}, -1}, {[]int32{1, 2}, []int32{1, 3}, 1}, {[]int32{1}, []int32{1, 2}, 1}, {[]int32{1, 2}, []int32{1}, 1}} {
		if got := difference(c.a, c.b); got != c.want {
			t.Errorf("%v and %v: %d, want %d", c.a, c.b, got, c.want)
		}
		around(c.a, c.want+1) // must not run over
	}
}

func TestScriptOf(t *testing.T) {
	for word, want := range map[string]string{"abc": "Latin", "Ωδη": "Greek", "日本": "Han", "aб": "", "12": "", "": ""} {
		if got := scriptOf(word); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

// The text is the same at every call, has the scripts and runs it is to have,
// and survives a JSON file, which is how the peer gets it.
func TestDocuments(t *testing.T) {
	c, err := checkpoint.Open(realmodel.Path(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tok, err := tokenizer.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	goroot, err := output("go", "env", "GOROOT")
	if err != nil {
		t.Fatal(err)
	}
	s, err := gather(tok, "../../tokenizer/testdata/agreement.json", goroot)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.scripts) < 20 {
		t.Errorf("%d scripts", len(s.scripts))
	}
	documents := s.documents(1 << 20)
	if !slices.Equal(documents, s.documents(1<<20)) {
		t.Error("the text changes from call to call")
	}
	text := strings.Join(documents, "")
	if len(text) < 1<<20 || !utf8.ValidString(text) || strings.Contains(text, "▁") {
		t.Errorf("%d bytes, valid %v", len(text), utf8.ValidString(text))
	}
	for _, part := range []string{"func ", "👩‍👩‍👧‍👦", strings.Repeat(" ", 30), "\n\n", "的", "ия", "の"} {
		if !strings.Contains(text, part) {
			t.Errorf("there is no %q in the text", part)
		}
	}
}

package lapidary

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"lapidary/generate"
	"lapidary/generate/generatetest"
)

// writeTable writes the alphabet with other metadata.
func writeTable(t *testing.T, extra map[string]any) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "small.gguf")
	if err := generatetest.WriteGGUF(path, alphabet(), 64, extra); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSpeculation(t *testing.T) {
	const want = "bcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcd"
	for _, test := range []struct {
		name   string
		opts   []Option
		drafts bool
	}{
		{"off", []Option{WithSpeculation(NoSpeculation)}, false},
		{"unless told", nil, true},
		{"n-grams", []Option{WithSpeculation(NGrams)}, true},
		{"a second model", []Option{WithDraft(writeTable(t, nil))}, true},
	} {
		m := openTable(t, nil, test.opts...)
		s := m.NewSession()
		text, end := read(t, s.Generate(t.Context(), m.Encode("a"), greedy(55)))
		if text != want || (end.Drafted > 0) != test.drafts || end.Drafted < end.Accepted {
			t.Errorf("%s: %q with %d of %d guesses right, want some to be made: %v", test.name, text, end.Accepted, end.Drafted, test.drafts)
		}
		// The session goes on from there: the cache holds all but the last token.
		if text, end := read(t, s.Generate(t.Context(), m.Encode("a"+want), greedy(4))); text != "efgh" || end.CachedTokens != 56 {
			t.Errorf("%s: going on gave %q with %d cached, want efgh with 56", test.name, text, end.CachedTokens)
		}
		s.Close()
		if err := m.Close(); err != nil {
			t.Errorf("%s: closing: %v", test.name, err)
		}
	}
}

func TestDraftRefused(t *testing.T) {
	pieces := generatetest.Pieces()
	pieces[len(pieces)-1] = "another"
	other := writeTable(t, map[string]any{"tokenizer.ggml.tokens": pieces})
	path := writeTable(t, nil)
	for _, test := range []struct {
		opts []Option
		is   error
		says string
	}{
		{[]Option{WithDraft(other)}, nil, `small.gguf: token 356 is "another" there and "~" here; choose a model with the same vocabulary`},
		{[]Option{WithDraft(filepath.Join(t.TempDir(), "none.gguf"))}, nil, "the drafting model: "},
		{[]Option{WithDraft("")}, generate.ErrParams, "without a name"},
		{[]Option{WithSpeculation("twice")}, generate.ErrParams, `speculation "twice"`},
		{[]Option{WithDraft(path), WithSpeculation(NoSpeculation)}, generate.ErrParams, "with speculation off"},
	} {
		m, err := Open(t.Context(), path, test.opts...)
		if err == nil {
			m.Close()
		}
		if err == nil || test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.says) {
			t.Errorf("opened with %v, want %q", err, test.says)
		}
	}
}

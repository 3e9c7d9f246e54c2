package data_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lapidary/chat"
	"lapidary/train/data"
)

// bytesTokenizer has a token for each byte, and 0, 1, 2 for the beginning, the
// end and the end of a turn.
type bytesTokenizer struct{ name string }

func (bytesTokenizer) Encode(text string) []int32 {
	var ids []int32
	for _, b := range []byte(text) {
		ids = append(ids, int32(b)+3)
	}
	return ids
}
func (bytesTokenizer) BOS() int32            { return 0 }
func (bytesTokenizer) EOS() int32            { return 1 }
func (b bytesTokenizer) Fingerprint() string { return "bytes" + b.name }

func (b bytesTokenizer) Chat(messages []chat.Message) (ids []int32, loss []bool, err error) {
	if messages[0].Role == chat.Assistant {
		return nil, nil, errors.New("the user begins")
	}
	ids, loss = []int32{0}, []bool{false}
	for _, m := range messages {
		for _, id := range append(b.Encode(m.Content), 2) {
			ids, loss = append(ids, id), append(loss, m.Role == chat.Assistant)
		}
	}
	return ids, loss, nil
}

func text(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		if id < 3 {
			b.WriteString([]string{"^", "$", "|"}[id])
			continue
		}
		b.WriteByte(byte(id - 3))
	}
	return b.String()
}

// marked is a sequence in which what is learnt stands in brackets.
func marked(s data.Sequence) string {
	var b strings.Builder
	on := false
	for i, id := range s.Tokens {
		if s.Loss[i] != on {
			on = !on
			b.WriteString(map[bool]string{true: "[", false: "]"}[on])
		}
		b.WriteString(text([]int32{id}))
	}
	if on {
		b.WriteString("]")
	}
	return b.String()
}

func write(t testing.TB, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func prepare(t testing.TB, s data.Settings, sources ...data.Source) *data.Set {
	t.Helper()
	if s.Folder == "" {
		s.Folder = t.TempDir()
	}
	set, err := data.Prepare(context.Background(), sources, bytesTokenizer{}, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return set
}

// documents are all documents of a side, marked.
func documents(t testing.TB, set *data.Set, side data.Side) []string {
	t.Helper()
	var out []string
	for i := range set.Len(side) {
		d, err := set.Document(side, i)
		if err != nil {
			t.Fatal(err)
		}
		var parts []string
		for _, s := range d.Sequences {
			parts = append(parts, marked(s))
		}
		doc := strings.Join(parts, " ~ ")
		if d.Label >= 0 {
			doc += " = " + set.Classes[d.Label]
		}
		out = append(out, doc)
	}
	return out
}

package beam

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"

	"lapidary/chat"
	"lapidary/train/data"
)

type bytesTokenizer struct{}

func (bytesTokenizer) Encode(text string) []int32 {
	var ids []int32
	for _, b := range []byte(text) {
		ids = append(ids, int32(b)+2)
	}
	return ids
}
func (bytesTokenizer) BOS() int32          { return 0 }
func (bytesTokenizer) EOS() int32          { return 1 }
func (bytesTokenizer) Fingerprint() string { return "bytes" }
func (bytesTokenizer) Chat([]chat.Message) ([]int32, []bool, error) {
	return nil, nil, chat.ErrNoTemplate
}

func fake(t *testing.T) {
	real := openTokenizer
	openTokenizer = func(*Job) (data.Tokenizer, error) { return bytesTokenizer{}, nil }
	t.Cleanup(func() { openTokenizer = real })
}

// all is every document of a set's sides.
func all(t *testing.T, set *data.Set) (out [2][]data.Document) {
	t.Helper()
	for _, side := range []data.Side{data.Train, data.Validation} {
		for i := range set.Len(side) {
			d, err := set.Document(side, i)
			if err != nil {
				t.Fatal(err)
			}
			out[side] = append(out[side], d)
		}
	}
	return out
}

// TestSameAsOneMachine: the pipeline keeps the documents that data.Prepare
// keeps, in its order, and counts the same duplicates.
func TestSameAsOneMachine(t *testing.T) {
	fake(t)
	dir := t.TempDir()
	words := func(n, changed int) string {
		var b strings.Builder
		for i := range 60 {
			if i < changed {
				fmt.Fprintf(&b, "c%d.%d ", n, i)
			}
			fmt.Fprintf(&b, "w%d.%d ", n, i)
		}
		return b.String()
	}
	for file := range 3 {
		var b strings.Builder
		for i := range 20 {
			n := (file*13 + i*7) % 25 // some come again in another file
			fmt.Fprintf(&b, "{\"t\": %q, \"l\": \"%d\"}\n", words(n, (file+i)%3), n%2)
		}
		b.WriteString("{broken\n")
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.jsonl", file)), []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sources := []data.Source{
		{Path: filepath.Join(dir, "[01].jsonl"), Text: "t", Label: "l", Split: 0.3, SkipBroken: true},
		{Path: filepath.Join(dir, "2.jsonl"), Text: "t", Label: "l", SkipBroken: true},
	}
	dedup := data.Dedup{Exact: true, Near: 0.7}
	want, err := data.Prepare(context.Background(), sources, bytesTokenizer{}, data.Settings{Folder: t.TempDir(), Dedup: dedup})
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	folder := t.TempDir()
	if err := Run(context.Background(), "prism", Job{Sources: sources, Dedup: dedup, Folder: folder}); err != nil {
		t.Fatal(err)
	}
	got, err := data.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if a, b := all(t, got), all(t, want); !reflect.DeepEqual(a, b) {
		t.Errorf("%d and %d documents, and not the same as %d and %d", len(a[0]), len(a[1]), len(b[0]), len(b[1]))
	}
	a, b := got.Report().Total, want.Report().Total
	if b.Exact == 0 || b.Near == 0 || a.Exact != b.Exact || a.Near != b.Near || a.Skipped != b.Skipped || a.Broken != b.Broken || b.Skipped != 3 {
		t.Errorf("got %+v, want %+v", a, b)
	}
}

func TestFailures(t *testing.T) {
	fake(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "a.jsonl")
	if err := os.WriteFile(path, []byte("{\"t\": \"x\"}\n{\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	job := Job{Sources: []data.Source{{Path: path, Text: "t"}}, Folder: filepath.Join(dir, "out")}
	err := Run(context.Background(), "prism", job)
	if err == nil || !strings.HasPrefix(err.Error(), path+", line 2: not JSON") {
		t.Errorf("a broken line: %v", err)
	}
	if _, err := data.Open(job.Folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a failed preparation can be opened: %v", err)
	}
	job.Sources[0].Limit = 5
	if err := Run(context.Background(), "prism", job); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("a limit: %v", err)
	}
}

package eval

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.jsonl")
	h := Header{Task: "t", Setup: "0123456789", Data: "abcdefghij", Examples: 3, Model: "m"}
	l, err := OpenLog(path, h)
	if err != nil {
		t.Fatal(err)
	}
	rs := scored("exact", 1, 0, 1)
	for _, r := range rs[:2] {
		if err := l.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an incomplete log has its name: %v", err)
	}
	// The last line was being written when the power went.
	part := path + ".part"
	content, err := os.ReadFile(part)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(part, content[:len(content)-5], 0o644); err != nil {
		t.Fatal(err)
	}
	other := h
	other.Model = "n"
	if _, err := OpenLog(path, other); !errors.Is(err, ErrOther) {
		t.Errorf("the log of another run is gone on with: %v", err)
	}
	if l, err = OpenLog(path, h); err != nil || len(l.records) != 1 {
		t.Fatalf("%d records are there, want 1: %v", len(l.records), err)
	}
	for _, r := range rs[1:] {
		if err := l.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Finish(); err != nil {
		t.Fatal(err)
	}
	got, read, err := ReadLog(path)
	if err != nil || got.Task != "t" || len(read) != 3 || read[1].ID != rs[1].ID || read[2].Scores["exact"] != 1 {
		t.Errorf("%+v, %+v, %v", got, read, err)
	}
	if l, err = OpenLog(path, h); err != nil || len(l.records) != 3 || l.file != nil {
		t.Errorf("a complete log opens with %d records: %v", len(l.records), err)
	}
	if _, err := OpenLog(path, other); !errors.Is(err, ErrOther) {
		t.Errorf("a complete log of another run: %v", err)
	}
}

func TestReadLogRefuses(t *testing.T) {
	dir := files(t, map[string]string{"empty": "", "text": "hello\n", "json": "{}\n", "record": "{\"task\":\"t\"}\n{\"id\":3}\n"})
	for name, want := range map[string]string{"empty": "no records", "text": "line 1 is no record", "json": "no records", "record": "line 2 is no record", "none": "none"} {
		if _, _, err := ReadLog(filepath.Join(dir, name)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if _, err := OpenLog(filepath.Join(dir, "record"), Header{}); err == nil {
		t.Error("a file that is no log is gone on with")
	}
}

func FuzzReadRecords(f *testing.F) {
	f.Add("{\"task\":\"t\"}\n{\"id\":\"a\",\"scores\":{\"exact\":1}}\n")
	f.Add("{\"task\":")
	f.Fuzz(func(t *testing.T, s string) {
		h, rs, end, err := readRecords(strings.NewReader(s))
		if err != nil {
			return
		}
		if end > int64(len(s)) {
			t.Fatalf("%d bytes of %d", end, len(s))
		}
		if len(rs) < 50 {
			_, _ = Summarise(h, rs)
		}
	})
}

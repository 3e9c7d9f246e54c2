package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestSiblingsStayTogether(t *testing.T) {
	in, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	if err := os.Mkdir(filepath.Join(in, "images"), 0o755); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for i := range 40 {
		id := fmt.Sprintf("%d-%d", i/4, i%4)
		fmt.Fprintf(&text, `{"sentence":"There is %s.","label":"true","identifier":"%s"}`+"\n", id, id)
		if err := os.WriteFile(filepath.Join(in, "images", "dev-"+id+"-0.png"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(in, "statements.jsonl"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (options{in, out, 50}).write(); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, name := range []string{"train.jsonl", "validation.jsonl"} {
		lines, err := os.ReadFile(filepath.Join(out, name))
		if err != nil {
			t.Fatal(err)
		}
		n := strings.Count(string(lines), "\n")
		if total += n; n == 0 || n%4 != 0 {
			t.Errorf("%s has %d statements of drawings with 4 each", name, n)
		}
	}
	if total != 40 {
		t.Errorf("%d statements, want 40", total)
	}
}

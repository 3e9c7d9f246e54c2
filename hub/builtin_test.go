package hub

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func resolveBuiltIn(t *testing.T, s *Store) Local {
	t.Helper()
	l, err := s.Resolve(t.Context(), BuiltIn)
	if err != nil {
		t.Fatal(err)
	}
	e, _ := Lookup(BuiltIn)
	if !holds(l.Path, e.Sources[0]) || l.SHA256() != e.Sources[0].SHA256 || l.Size < e.Sources[0].Size || l.Source != builtInRef || l.Licence.Name != e.Terms().Name {
		t.Fatalf("%+v is not the built-in model", l)
	}
	return l
}

// TestBuiltIn needs neither a pull nor a network.
func TestBuiltIn(t *testing.T) {
	if n := len(builtInWeights); n > 8e6 {
		t.Errorf("%d bytes in every program, more than 8 MB", n)
	}
	s := testStore(t)
	if _, err := s.Remove(t.Context(), BuiltIn); err == nil || !strings.Contains(err.Error(), "part of this program") {
		t.Errorf("what is not there was removed: %v", err)
	}
	first := resolveBuiltIn(t, s)
	if !strings.HasPrefix(first.Path, s.Root()) {
		t.Errorf("%s lies outside the store", first.Path)
	}
	before, err := os.Stat(first.Path)
	if err != nil {
		t.Fatal(err)
	}
	resolveBuiltIn(t, s)
	if after, err := os.Stat(first.Path); err != nil || !os.SameFile(before, after) {
		t.Errorf("written twice: %v", err)
	}
	if l, err := s.Pull(t.Context(), BuiltIn, nil); err != nil || l.Path != first.Path {
		t.Errorf("pulled as %+v, %v", l, err)
	}
	if models, err := s.List(); err != nil || len(models) != 1 || models[0].Name != "tiny:latest" {
		t.Errorf("listed: %+v, %v", models, err)
	}
	if n, err := s.Remove(t.Context(), BuiltIn); err != nil || n < before.Size() || exists(first.Path) {
		t.Errorf("removed %d bytes, %v", n, err)
	}
	resolveBuiltIn(t, s)
}

// TestBuiltInReplaced has a store in which another version of the program has
// written its model, or one that was interrupted, or whose files are gone.
func TestBuiltInReplaced(t *testing.T) {
	s := testStore(t)
	l := resolveBuiltIn(t, s)
	at := filepath.Join(l.Dir, manifestName)
	m, err := readManifest(l.Dir)
	if err != nil {
		t.Fatal(err)
	}
	m.Files[0].SHA256 = strings.Repeat("0", 64)
	writeTestFile(t, l.Path, []byte("GGUF of another version"))
	if err := writeJSON(at, m); err != nil {
		t.Fatal(err)
	}
	resolveBuiltIn(t, s)
	if err := os.Remove(l.Path); err != nil {
		t.Fatal(err)
	}
	resolveBuiltIn(t, s)
	writeTestFile(t, at, []byte("{"))
	resolveBuiltIn(t, s)
	if err := os.RemoveAll(l.Dir); err != nil {
		t.Fatal(err)
	}
	half := filepath.Join(workDir(l.Dir, builtInRef), "tiny.gguf.partial")
	writeTestFile(t, half, builtInWeights[:1000])
	writeTestFile(t, half+".json", []byte(`{"from": "built-in"}`))
	resolveBuiltIn(t, s)
}

// TestBuiltInWithoutStore has a store that cannot be written: not even root can
// make a folder in a file.
func TestBuiltInWithoutStore(t *testing.T) {
	testStore(t)
	dir := t.TempDir()
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, dir)
	}
	file := filepath.Join(dir, "file")
	writeTestFile(t, file, nil)
	s, err := New(filepath.Join(file, "store"))
	if err != nil {
		t.Fatal(err)
	}
	l := resolveBuiltIn(t, s)
	if !strings.HasPrefix(l.Path, dir) {
		t.Errorf("%s lies outside %s", l.Path, dir)
	}
	writeTestFile(t, l.Path, builtInWeights[:1000])
	if again := resolveBuiltIn(t, s); again.Path != l.Path {
		t.Errorf("written to %s, then to %s", l.Path, again.Path)
	}
	for _, name := range []string{"TMPDIR", "TMP", "TEMP"} {
		t.Setenv(name, file)
	}
	if _, err := s.Resolve(t.Context(), BuiltIn); err == nil || !strings.Contains(err.Error(), "nor can it be written elsewhere") {
		t.Errorf("written to nowhere: %v", err)
	}
}

// TestDefaultNamesBuiltIn: who cannot have the default model is told of the
// other, and is not given it in silence.
func TestDefaultNamesBuiltIn(t *testing.T) {
	const advice = "lapidary run tiny"
	for _, test := range []struct {
		name string
		err  error
		want bool
	}{
		{DefaultModel(), errors.New("no python"), true},
		{DefaultModel(), ErrNoSpace, false},
		{"gemma3:4b", errors.New("no python"), false},
	} {
		e := &pullError{test.name, []string{test.err.Error()}, test.err}
		if got := strings.Contains(e.Error(), advice); got != test.want {
			t.Errorf("%q, want the advice: %v", e.Error(), test.want)
		}
	}
}

package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lapidary/hub/hubtest"
)

// TestMain also is the other process of the tests that need one: a program
// that pulls one model, says what it is told, and can be killed.
func TestMain(m *testing.M) {
	if name := os.Getenv("HUB_TEST_PULL"); name != "" {
		os.Exit(child(name))
	}
	os.Exit(m.Run())
}

func child(name string) int {
	if err := shrinkDisk(); err != nil {
		fmt.Println("setup:", err)
		return 3
	}
	s, err := Default()
	if err != nil {
		fmt.Println("error:", err)
		return 1
	}
	s.retry.first = time.Millisecond
	l, err := s.Pull(context.Background(), name, printer{})
	if err != nil {
		fmt.Println("error:", err, "| no space:", errors.Is(err, ErrNoSpace))
		for _, f := range tree(s.Root()) {
			fmt.Println("left:", f)
		}
		return 1
	}
	fmt.Println("path:", l.Path)
	return 0
}

// printer says what matters to tests, at once.
type printer struct{ silence }

func (printer) Note(text string) { fmt.Println("note:", text) }

// recorder keeps what a pull said.
type recorder struct {
	files []string
	notes []string
	last  int64
}

func (r *recorder) File(name string, size int64) {
	r.files = append(r.files, fmt.Sprintf("%s %d", name, size))
}
func (r *recorder) At(done int64)    { r.last = done }
func (r *recorder) Note(text string) { r.notes = append(r.notes, text) }

func (r *recorder) noted(text string) bool {
	return strings.Contains(strings.Join(r.notes, "\n"), text)
}

// testStore is an empty store, cut off from whatever this machine's user has.
func testStore(t *testing.T) *Store {
	t.Helper()
	dir := t.TempDir()
	for name, value := range map[string]string{
		"HF_HOME": filepath.Join(dir, "hf"), "HF_HUB_CACHE": "", "HUGGINGFACE_HUB_CACHE": "", "HF_TOKEN": "",
		"HUGGING_FACE_HUB_TOKEN": "", "HF_TOKEN_PATH": "", "HF_HUB_OFFLINE": "",
		"OLLAMA_MODELS": filepath.Join(dir, "ollama"), "LAPIDARY_HOME": filepath.Join(dir, "store"),
	} {
		t.Setenv(name, value)
	}
	s, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	s.retry = retry{first: time.Millisecond, tries: 3, idle: 10 * time.Second}
	return s
}

func testHF(t *testing.T) *hubtest.HF {
	t.Helper()
	h := hubtest.NewHF()
	t.Cleanup(h.Close)
	t.Setenv("HF_ENDPOINT", h.URL)
	return h
}

func testOllama(t *testing.T) *hubtest.Ollama {
	t.Helper()
	o := hubtest.NewOllama()
	t.Cleanup(o.Close)
	t.Setenv("LAPIDARY_OLLAMA_REGISTRY", o.URL)
	return o
}

// tree lists the files below dir, except locks, which stay on purpose.
func tree(dir string) []string {
	var all []string
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(p, ".lock") {
			return nil
		}
		rel, _ := filepath.Rel(dir, p)
		all = append(all, filepath.ToSlash(rel))
		return nil
	})
	return all
}

func mustPull(t *testing.T, s *Store, name string, p Progress) Local {
	t.Helper()
	l, err := s.Pull(t.Context(), name, p)
	if err != nil {
		t.Fatalf("pull %s: %v", name, err)
	}
	return l
}

func mustHold(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if hubtest.SHA256(got) != hubtest.SHA256(want) {
		t.Errorf("%s: %d bytes that differ from the %d of the source", path, len(got), len(want))
	}
}

// mustFail checks an error's kind and that it is one line with these words.
func mustFail(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if kind != nil && !errors.Is(err, kind) {
		t.Errorf("%v: not a %v", err, kind)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%v: does not say %q", err, w)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q: more than one line", err)
	}
}

// eventually waits for what another process or goroutine is about to do.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 6000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("waited a minute for %s", what)
}

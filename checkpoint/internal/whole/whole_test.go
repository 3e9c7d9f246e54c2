package whole_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lapidary/checkpoint/internal/whole"
)

var errWork = errors.New("the work failed")

// left are the names in a folder.
func left(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	for _, text := range []string{"first", "second"} {
		err := whole.File(path, func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		})
		if got, _ := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	err := whole.File(path, func(w io.Writer) error {
		io.WriteString(w, strings.Repeat("x", 2<<20)) // more than is buffered
		return errWork
	})
	if got, _ := os.ReadFile(path); !errors.Is(err, errWork) || string(got) != "second" || left(t, dir) != "a" {
		t.Errorf("after a failure: %v, %q, %s", err, got, left(t, dir))
	}
	err = whole.File(filepath.Join(dir, "none", "a"), func(io.Writer) error { return nil })
	if err == nil || !strings.HasPrefix(err.Error(), filepath.Join(dir, "none", "a")+": ") || strings.Contains(err.Error(), ".a.") {
		t.Errorf("error %v", err)
	}
}

// What cannot take the file's place is an error, and the file is not left.
func TestFileInPlaceOfFolder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	if err := os.MkdirAll(filepath.Join(path, "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := whole.File(path, func(io.Writer) error { return nil }); err == nil || left(t, dir) != "a" {
		t.Errorf("error %v, %s is left", err, left(t, dir))
	}
}

func TestFolder(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a")
	fill := func(d string) error { return os.WriteFile(filepath.Join(d, "x"), nil, 0o600) }
	if err := os.Mkdir(path, 0o755); err != nil { // an empty one may be there
		t.Fatal(err)
	}
	if err := whole.Folder(path+"/", fill); err != nil || left(t, path) != "x" {
		t.Errorf("%v, %s", err, left(t, path))
	}
	if err := whole.Folder(path, fill); err == nil || !strings.Contains(err.Error(), "the folder is not empty") {
		t.Errorf("error %v", err)
	}
	other := filepath.Join(dir, "b")
	err := whole.Folder(other, func(d string) error { return errors.Join(fill(d), fmt.Errorf("%s/x: %w", d, errWork)) })
	if !errors.Is(err, errWork) || err.Error() != other+"/x: "+errWork.Error() {
		t.Errorf("error %v", err)
	}
	if left(t, dir) != "a" {
		t.Errorf("%s is left", left(t, dir))
	}
	if err := whole.Folder(filepath.Join(path, "x"), fill); err == nil {
		t.Error("a file's place was taken")
	}
}

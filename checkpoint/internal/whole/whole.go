// Package whole writes files and folders that are there as a whole or not at
// all.
package whole

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// File calls write with what will be the file at path once it returns without
// an error. Until then path is as it was, and after an error nothing is left.
// A file that was there is replaced; what had mapped it keeps the old one.
func File(path string, write func(io.Writer) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return about(path, err)
	}
	out := target{tmp, path}
	b := bufio.NewWriterSize(out, 1<<20)
	if err = write(b); err == nil {
		err = b.Flush()
	}
	if err == nil {
		err = about(path, errors.Join(tmp.Chmod(0o644), tmp.Sync()))
	}
	if closing := about(path, tmp.Close()); err == nil {
		err = closing
	}
	if err == nil {
		err = about(path, os.Rename(tmp.Name(), path))
	}
	if err != nil {
		_ = os.Remove(tmp.Name()) // what went wrong before it matters more
	}
	return err
}

// Folder calls fill with an empty folder, which is at path once fill returns
// without an error. There must be nothing at path, or an empty folder. After an
// error nothing is left.
func Folder(path string, fill func(dir string) error) error {
	entries, err := os.ReadDir(path)
	switch {
	case err == nil && len(entries) > 0:
		return fmt.Errorf("%s: the folder is not empty; name another, or remove it", path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return about(path, err)
	}
	path = filepath.Clean(path)
	tmp, err := os.MkdirTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return about(path, err)
	}
	if err = fill(tmp); err != nil {
		err = &renamed{err, strings.ReplaceAll(err.Error(), tmp, path)}
	}
	if err == nil {
		err = about(path, os.Chmod(tmp, 0o755))
	}
	if err == nil {
		_ = os.Remove(path) // the empty folder, which some systems do not replace
		err = about(path, os.Rename(tmp, path))
	}
	if err != nil {
		_ = os.RemoveAll(tmp) // what went wrong before it matters more
	}
	return err
}

// renamed is an error that calls the folder as it would have been called.
type renamed struct {
	error
	text string
}

func (r *renamed) Error() string { return r.text }
func (r *renamed) Unwrap() error { return r.error }

// target names the file as it will be called in the errors of its writes.
type target struct {
	f    *os.File
	path string
}

func (t target) Write(b []byte) (int, error) {
	n, err := t.f.Write(b)
	return n, about(t.path, err)
}

// about says which path an error is about, once, and not the temporary name.
func about(path string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		err = e.Err
	}
	return fmt.Errorf("%s: %w", path, err)
}

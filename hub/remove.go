package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Remove takes a model out of the store, with what an interrupted pull left
// of it, and returns the bytes that were freed. Files that another program
// put on this machine stay; so do those that another name still uses.
func (s *Store) Remove(ctx context.Context, name string) (freed int64, err error) {
	ref, err := parse(name)
	if err != nil {
		return 0, err
	}
	if ref.kind == kindPath {
		return 0, fmt.Errorf("%s is a file of your own, not a model in the store; delete it yourself", ref.text)
	}
	if e, ok := Lookup(ref.text); ok && ref.kind == kindName && !exists(s.modelDir(ref)) {
		if ref, err = parseName(e.Name); err != nil {
			return 0, err
		}
	}
	unlock, err := s.tryLock(ref)
	if err != nil {
		return 0, err
	}
	defer unlock()
	return s.remove(ctx, ref)
}

func (s *Store) remove(ctx context.Context, ref reference) (freed int64, err error) {
	dir := s.modelDir(ref)
	leftovers, err := filepath.Glob(filepath.Join(globEscape(filepath.Dir(dir)), "."+filepath.Base(dir)+".????????.partial"))
	if err != nil {
		return 0, err
	}
	if old := oldDir(dir); exists(old) {
		leftovers = append(leftovers, old)
	}
	if !exists(dir) && len(leftovers) == 0 {
		return 0, s.nothingToRemove(ctx, ref)
	}
	for _, d := range append(leftovers, dir) {
		freed += s.removeOwned(d)
		freed += freeable(d)
		if err := os.RemoveAll(d); err != nil {
			return 0, fmt.Errorf("remove %s: %w; end the programs that use it", ref.text, err)
		}
	}
	removeEmpty(filepath.Dir(dir), s.root)
	return freed, nil
}

func (s *Store) nothingToRemove(ctx context.Context, ref reference) error {
	if ref.kind == kindName && ref.text == BuiltIn+":latest" {
		return fmt.Errorf("%s is part of this program and has no copy in the store; there is nothing to remove", BuiltIn)
	}
	l, err := s.Resolve(ctx, ref.text)
	if err == nil {
		return fmt.Errorf("%s is not in the store: %s belongs to another program; remove it there", ref.text, l.Path)
	}
	if errors.Is(err, ErrNotPulled) {
		return fmt.Errorf("%s is %w; there is nothing to remove", ref.text, ErrNotPulled)
	}
	return err
}

// freeable is the bytes that deleting dir gives back: files that have a
// second link elsewhere give none.
func freeable(dir string) int64 {
	var n int64
	_ = filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		if fi, err := d.Info(); err == nil && links(fi) < 2 {
			n += fi.Size()
		}
		return nil
	})
	return n
}

// removeOwned deletes what the pull of the model in dir, whole or not, put
// into another program's cache, unless another model of the store lies in the
// same part of it.
func (s *Store) removeOwned(dir string) (freed int64) {
	owned := readClaims(dir)
	if m, err := readManifest(dir); err == nil {
		owned = append(owned, m.Owned...)
	}
	if len(owned) == 0 {
		return 0
	}
	part := filepath.Dir(filepath.Dir(owned[0])) // models--ORG--NAME
	others, _ := s.List()
	for _, l := range others {
		if l.Dir != dir && strings.HasPrefix(l.Path, part+string(filepath.Separator)) {
			return 0
		}
	}
	for _, blob := range owned {
		if filepath.Dir(filepath.Dir(blob)) != part || filepath.Base(filepath.Dir(blob)) != "blobs" {
			continue // not a path that pull writes
		}
		for _, file := range []string{blob, blob + unfinishedBlob} {
			n := freeable(file)
			if os.Remove(file) == nil {
				freed += n
			}
		}
	}
	dropDangling(part)
	return freed
}

// dropDangling removes snapshot links that lead nowhere, then empty folders.
func dropDangling(part string) {
	var folders []string
	_ = filepath.WalkDir(part, func(p string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
		case d.IsDir():
			folders = append(folders, p)
		case d.Type()&os.ModeSymlink != 0 && !exists(p):
			_ = os.Remove(p)
		}
		return nil
	})
	for i := len(folders) - 1; i >= 0; i-- {
		_ = os.Remove(folders[i]) // fails on those that are not empty
	}
	if !exists(filepath.Join(part, "snapshots")) {
		_ = os.RemoveAll(filepath.Join(part, "refs"))
		_ = os.Remove(part)
	}
}

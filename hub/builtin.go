package hub

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// BuiltIn is the catalogue name of the model that is part of the program: it
// needs no pull and no network. It shows how everything works, and is far too
// small to be right about anything.
const BuiltIn = "tiny"

// builtInRef is the source of that model in the catalogue and in manifests.
const builtInRef = "built-in"

//go:embed tiny/tiny.gguf
var builtInWeights []byte

// builtIn is the source of the model that is part of the program.
type builtIn struct {
	entry   EntrySource
	licence Licence
}

func (b builtIn) String() string       { return builtInRef }
func (b builtIn) local() (Local, bool) { return Local{}, false }

func (b builtIn) pull(ctx context.Context, j *job) (manifest, error) {
	m := manifest{Licence: b.licence, Weights: b.entry.File}
	it := item{dest: filepath.Join(j.dir, b.entry.File), size: b.entry.Size, digest: sha256Digest(b.entry.SHA256)}
	f, err := j.get(ctx, it, b)
	m.Files = []File{f}
	return m, err
}

func (b builtIn) fetch(_ context.Context, p *partial) error {
	if p.size > int64(len(builtInWeights)) {
		return errors.New("what an earlier program left is longer than the model")
	}
	_, err := p.Write(builtInWeights[p.size:])
	return err
}

// resolveBuiltIn finds the built-in model in the store. Weights are mapped from
// files, so it is written there the first time, and again by a program that has
// another one built in.
func (s *Store) resolveBuiltIn(ctx context.Context, ref reference) (Local, error) {
	e, ok := Lookup(ref.text)
	if !ok || len(e.Sources) != 1 {
		return Local{}, s.unknown(ref)
	}
	src := builtIn{e.Sources[0], e.licenceTerms}
	l, err := read(s.modelDir(ref))
	stale := err == nil && l.Source == builtInRef && l.SHA256() != src.entry.SHA256
	if err == nil && !stale {
		return l, nil
	}
	if l, err = s.pull(ctx, ref.text, nil, stale); err == nil || ctx.Err() != nil {
		return l, err
	}
	// The store may be one that others fill: a demonstration should run there too.
	l, tmpErr := src.temporary(ref)
	if tmpErr != nil {
		return Local{}, fmt.Errorf("%w; nor can it be written elsewhere: %w", err, tmpErr)
	}
	return l, nil
}

// temporary writes the model into the user's own part of the folder for
// temporary files, where the next command finds it.
func (b builtIn) temporary(ref reference) (Local, error) {
	dir, err := privateTemp()
	if err != nil {
		return Local{}, err
	}
	path := filepath.Join(dir, b.entry.SHA256[:16]+"-"+b.entry.File)
	if !holds(path, b.entry) {
		if err := writeFile(path, builtInWeights); err != nil {
			return Local{}, err
		}
		if !holds(path, b.entry) {
			return Local{}, fmt.Errorf("%w: %s is not what was written to it", ErrChecksum, path)
		}
	}
	fi, err := os.Stat(path)
	if err != nil {
		return Local{}, err
	}
	f := File{Name: filepath.Base(path), Size: fi.Size(), SHA256: b.entry.SHA256}
	return Local{Name: ref.text, Path: path, Source: builtInRef, Licence: b.licence, Dir: dir,
		Files: []File{f}, Size: fi.Size(), Modified: fi.ModTime()}, nil
}

// holds says whether the file at path is the model, to the bit.
func holds(path string, want EntrySource) bool {
	b, err := readSmall(path, want.Size)
	if err != nil {
		return false
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]) == want.SHA256
}

// privateTemp is a folder for temporary files that nobody else can write to:
// a mapped file that somebody cuts short ends the program.
func privateTemp() (string, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("lapidary-%d", os.Getuid()))
	if err := os.Mkdir(dir, 0o700); err == nil {
		return dir, nil
	}
	if fi, err := os.Lstat(dir); err == nil && fi.IsDir() && mine(fi) {
		return dir, nil
	}
	return os.MkdirTemp("", "lapidary-*")
}

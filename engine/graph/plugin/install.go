package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/gofrs/flock"
	"github.com/gomlx/go-xla/installer"

	"lapidary/hub"
)

// Sources that Install knows beside a path.
const (
	FromPip   = "pip"    // Python packages, fetched by the user's own pip
	FromGoXLA = "go-xla" // the release files of GoMLX, CPU only
)

// Install brings a plugin of a kind (cpu, cuda, cuda12, cuda13, tpu) to
// [List]'s first place and returns it. It comes from pip, from go-xla, or from
// a file that is copied; "" lets the kind decide. What is there already of the
// same version is replaced.
//
// A plugin exists from one rename on. Wheels that are whole when an install is
// interrupted are used by the next one. progress may be nil.
func Install(ctx context.Context, kind, from string, progress hub.Progress) (Plugin, error) {
	k, cuda, err := parseKind(kind)
	if err != nil {
		return Plugin{}, err
	}
	if progress == nil {
		progress = silence{}
	}
	root, err := home()
	if err != nil {
		return Plugin{}, err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return Plugin{}, err
	}
	lock := flock.New(filepath.Join(root, ".lock"))
	if ok, err := lock.TryLock(); err != nil || !ok {
		return Plugin{}, errors.Join(err, fmt.Errorf("another process installs a plugin in %s: %w", root, hub.ErrBusy))
	}
	defer func() { _ = lock.Unlock() }()
	j := &job{kind: k, cuda: cuda, root: root, stage: filepath.Join(root, "."+kind), progress: progress}
	m, err := j.fetch(ctx, from)
	if err != nil {
		return Plugin{}, err
	}
	return j.finish(m)
}

func parseKind(kind string) (k Kind, cuda string, err error) {
	switch kind {
	case "cpu", "tpu":
		return Kind(kind), "", nil
	case "cuda":
		return CUDA, cudaMajor(), nil
	case "cuda12", "cuda13":
		return CUDA, strings.TrimPrefix(kind, "cuda"), nil
	}
	return "", "", fmt.Errorf("%q is no plugin that can be installed; it is cpu, cuda (also cuda12, cuda13) or tpu", kind)
}

// job is one install. Everything lies in the stage, a folder that List passes
// by, until finish renames its tree.
type job struct {
	kind     Kind
	cuda     string // CUDA's major version
	root     string
	stage    string
	progress hub.Progress
}

// tree is what becomes the plugin's folder.
func (j *job) tree() string { return filepath.Join(j.stage, "tree") }

// fetch fills the tree.
func (j *job) fetch(ctx context.Context, from string) (manifest, error) {
	if err := os.RemoveAll(j.tree()); err != nil {
		return manifest{}, err
	}
	if err := os.MkdirAll(j.tree(), 0o755); err != nil {
		return manifest{}, err
	}
	switch from {
	case FromPip:
		return j.fromPip(ctx)
	case FromGoXLA:
		return j.fromGoXLA(ctx)
	case "":
		return j.fromWherever(ctx)
	}
	return j.fromFile(ctx, from)
}

// fromWherever takes the Python packages where there are any for this machine:
// their files carry checksums, the release files of go-xla do not.
func (j *job) fromWherever(ctx context.Context) (manifest, error) {
	if j.kind != CPU {
		return j.fromPip(ctx)
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return j.fromGoXLA(ctx)
	}
	m, err := j.fromPip(ctx)
	if err == nil || ctx.Err() != nil || errors.Is(err, hub.ErrNoSpace) {
		return m, err
	}
	j.progress.Note(err.Error() + "; trying go-xla's release files")
	m, err2 := j.fromGoXLA(ctx)
	if err2 != nil {
		return m, fmt.Errorf("%w; and %w", err, err2)
	}
	return m, nil
}

func (j *job) fromFile(ctx context.Context, path string) (manifest, error) {
	if err := checkLibrary(path); err != nil {
		return manifest{}, err
	}
	name := fmt.Sprintf("pjrt_c_api_%s_plugin%s", j.kind, strings.ToLower(filepath.Ext(path)))
	if err := j.copyFile(ctx, path, filepath.Join(j.tree(), name)); err != nil {
		return manifest{}, err
	}
	abs, err := filepath.Abs(path)
	return manifest{Name: strings.TrimSuffix(filepath.Base(path), filepath.Ext(path)), Kind: j.kind,
		Source: abs, Licence: "unknown: your own file", Library: name}, err
}

func (j *job) copyFile(ctx context.Context, from, to string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	if fi, err := r.Stat(); err == nil {
		j.progress.File(filepath.Base(from), fi.Size())
	}
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, &reader{ctx: ctx, r: r, at: j.progress.At})
	return errors.Join(err, w.Sync(), w.Close())
}

// fromGoXLA has go-xla's installer bring the release that it was tested with.
// Its other installers read the Python index by themselves, past the user's
// settings: those kinds come through pip.
func (j *job) fromGoXLA(ctx context.Context) (manifest, error) {
	if j.kind != CPU {
		return manifest{}, fmt.Errorf("go-xla has no release files for %s, it takes Python packages; so does --from pip", j.kind)
	}
	j.progress.File("go-xla's CPU plugin", -1)
	done := make(chan error, 1) // the installer takes no context
	go func() { done <- installer.CPUAutoInstall(j.tree(), true, installer.Quiet) }()
	select {
	case <-ctx.Done():
		return manifest{}, ctx.Err()
	case err := <-done:
		if err != nil {
			return manifest{}, fmt.Errorf("go-xla's installer: %w", firstLine(err))
		}
	}
	for _, p := range inFolder(place{j.tree(), FromGoXLA}) {
		if fi, err := os.Lstat(p.Path); err == nil && fi.Mode().IsRegular() {
			return manifest{Name: "go-xla " + p.Name, Kind: CPU, Version: p.Version, Source: FromGoXLA,
				Licence: "Apache-2.0", Library: filepath.Base(p.Path)}, nil
		}
	}
	return manifest{}, errors.New("go-xla's installer brought no plugin that can be recognised")
}

// finish checks the library, writes the manifest and renames the tree to its
// place, in which an older one is replaced.
func (j *job) finish(m manifest) (Plugin, error) {
	if err := checkLibrary(filepath.Join(j.tree(), filepath.FromSlash(m.Library))); err != nil {
		return Plugin{}, err
	}
	if err := m.write(j.tree()); err != nil {
		return Plugin{}, err
	}
	dir := filepath.Join(j.root, string(j.kind))
	old := filepath.Join(j.stage, "old")
	if err := os.RemoveAll(old); err != nil {
		return Plugin{}, err
	}
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return Plugin{}, err
	}
	if err := os.Rename(j.tree(), dir); err != nil {
		return Plugin{}, err
	}
	p := Plugin{Name: m.Name, Kind: m.Kind, Path: filepath.Join(dir, filepath.FromSlash(m.Library)),
		Where: "lapidary", Version: m.Version, Licence: m.Licence}
	return p, os.RemoveAll(j.stage)
}

// reader stops when its context does, and tells how far it is.
type reader struct {
	ctx  context.Context
	r    io.Reader
	at   func(int64)
	done int64
}

func (r *reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := r.r.Read(b)
	r.done += int64(n)
	if r.at != nil {
		r.at(r.done)
	}
	return n, err
}

type silence struct{}

func (silence) File(string, int64) {}
func (silence) At(int64)           {}
func (silence) Note(string)        {}

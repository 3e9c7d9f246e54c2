package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// source is one place that a model can come from.
type source interface {
	// String is the source as a user would write it.
	String() string
	// local finds the model where another program keeps it, without a network.
	local() (Local, bool)
	// pull brings the model into the job's folder and says what it brought.
	pull(ctx context.Context, j *job) (manifest, error)
}

// job is one pull from one source.
type job struct {
	store    *Store
	dir      string // becomes the model's folder when all is there
	progress Progress
	fresh    bool   // copies that other programs keep are not to be used
	promise  string // SHA-256 that the catalogue promises of the weights, or ""
}

// promised holds a source to the catalogue's word before its bytes are taken.
func (j *job) promised(sum string) error {
	if j.promise == "" || sum == j.promise {
		return nil
	}
	return fmt.Errorf("%w: the source offers SHA-256 %q, the catalogue promises %s", ErrChecksum, sum, j.promise)
}

// item is one file to be had.
type item struct {
	dest    string // where it goes when it is whole
	partial string // where it lies until then; "": dest + ".partial"
	label   string // what progress calls it; "": the base name
	size    int64  // bytes; -1 when nobody promised
	digest  digest
	// addressed says that the file's name is its checksum, so an unfinished
	// file of that name can only be the same one.
	addressed bool
}

// fetcher brings the bytes of one file.
type fetcher interface {
	String() string
	// fetch appends what p lacks. It may be called again after a failure.
	fetch(ctx context.Context, p *partial) error
}

// get brings one file: it goes on where an earlier pull stopped, checks what
// came and gives it its name only then.
func (j *job) get(ctx context.Context, it item, from fetcher) (File, error) {
	if it.partial == "" {
		it.partial = it.dest + ".partial"
	}
	if it.label == "" {
		it.label = filepath.Base(it.dest)
	}
	done, err := j.finished(ctx, it)
	if err == nil && done.Name != "" {
		return done, nil
	}
	if err = os.MkdirAll(filepath.Dir(it.dest), 0o755); err != nil {
		return File{}, err
	}
	f, err := j.attempt(ctx, it, from)
	var damaged *resumedDamage
	if errors.As(err, &damaged) {
		j.progress.Note("what an earlier pull left of " + it.label + " was damaged; starting it again")
		f, err = j.attempt(ctx, it, from)
	}
	return f, err
}

// resumedDamage is a wrong checksum that the bytes of an earlier pull may
// have caused, so that one more try is due.
type resumedDamage struct{ error }

func (d *resumedDamage) Unwrap() error { return d.error }

// finished recognises a file that an interrupted pull had already checked.
func (j *job) finished(ctx context.Context, it item) (File, error) {
	f, err := os.Open(it.dest)
	if err != nil {
		return File{}, err
	}
	p := &partial{path: it.dest, file: f, want: it.size}
	defer p.close()
	fi, err := f.Stat()
	if err != nil {
		return File{}, err
	}
	p.size = fi.Size()
	sum, err := p.verify(ctx, it.digest)
	if err != nil {
		return File{}, err
	}
	j.progress.File(it.label, p.size)
	j.progress.At(p.size)
	return j.file(it.dest, p.size, sum), nil
}

func (j *job) attempt(ctx context.Context, it item, from fetcher) (File, error) {
	p, err := openPartial(it.partial, it, from.String())
	if err != nil {
		return File{}, j.plain(err, it, nil)
	}
	j.progress.File(it.label, it.size)
	p.report = j.progress.At
	p.sizeKnown = func(n int64) { j.progress.File(it.label, n) }
	p.report(p.size)
	if it.size >= 0 {
		if err := needSpace(filepath.Dir(it.dest), it.size-p.size+scratch(from, it.size)); err != nil {
			p.discard()
			return File{}, err
		}
	}
	if it.size < 0 || p.size < it.size {
		if err := from.fetch(ctx, p); err != nil {
			return File{}, j.plain(err, it, p)
		}
	}
	sum, err := p.verify(ctx, it.digest)
	if err != nil {
		return File{}, j.plain(err, it, p)
	}
	if err := p.commit(it.dest); err != nil {
		return File{}, j.plain(err, it, p)
	}
	return j.file(it.dest, p.size, sum), nil
}

// scratch is the room that a fetcher takes besides the file itself.
func scratch(from fetcher, size int64) int64 {
	if s, ok := from.(interface{ scratch(size int64) int64 }); ok {
		return s.scratch(size)
	}
	return 0
}

// plain decides what a failure leaves on disk, and words it. An interrupted
// download stays to be gone on with; a wrong or unstorable one does not.
func (j *job) plain(err error, it item, p *partial) error {
	resumed := p != nil && p.resumed
	switch {
	case noSpace(err):
		err = fmt.Errorf("%w: writing %s failed with %s free; "+roomAdvice,
			ErrNoSpace, it.label, HumanSize(max(0, freeSpace(filepath.Dir(it.dest)))))
		fallthrough
	case errors.Is(err, ErrNoSpace):
		if p != nil {
			p.discard()
		}
	case errors.Is(err, ErrChecksum) && p != nil:
		p.discard()
		err = fmt.Errorf("%s: %w; nothing was kept", it.label, err)
		if resumed {
			return &resumedDamage{err}
		}
	case p != nil && p.size == 0:
		p.discard()
	case p != nil:
		p.close()
	}
	return err
}

// file records a finished file by its name in the model's folder.
func (j *job) file(dest string, size int64, sum string) File {
	name, err := filepath.Rel(j.dir, dest)
	if err != nil || !filepath.IsLocal(name) {
		name = dest
	}
	return File{Name: filepath.ToSlash(name), Size: size, SHA256: sum}
}

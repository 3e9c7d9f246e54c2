package hub

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// Pull brings a model to this machine and returns it; a model that is here
// already is returned as it is. When it is interrupted, by ctx or by a crash,
// the next Pull of the same model goes on where it stopped. While another
// process pulls the same model, Pull waits for it. progress may be nil.
func (s *Store) Pull(ctx context.Context, name string, progress Progress) (Local, error) {
	return s.pull(ctx, name, progress, false)
}

// Refresh pulls a model again although it is here, and takes nothing from
// other programs' caches. The old one stays usable until the new one is whole.
func (s *Store) Refresh(ctx context.Context, name string, progress Progress) (Local, error) {
	return s.pull(ctx, name, progress, true)
}

func (s *Store) pull(ctx context.Context, name string, progress Progress, fresh bool) (Local, error) {
	if progress == nil {
		progress = silence{}
	}
	ref, err := parse(name)
	if err != nil {
		return Local{}, err
	}
	if ref.kind == kindPath {
		return s.resolvePath(ref)
	}
	own := s.modelDir(ref)
	ref, sources, err := s.sources(ref)
	if l, rerr := read(own); rerr == nil && err != nil {
		if fresh {
			err = fmt.Errorf("%s is a copy of %s; pull that again instead", l.Name, l.Source)
			return Local{}, err
		}
		return l, nil
	}
	if err != nil {
		return Local{}, err
	}
	dir := s.modelDir(ref)
	if l, err := read(dir); err == nil && !fresh {
		return l, nil
	}
	unlock, waited, err := s.lock(ctx, ref, progress)
	if err != nil {
		return Local{}, err
	}
	defer unlock()
	if l, err := read(dir); err == nil && (!fresh || waited) {
		return l, nil // the process that was waited for has brought it
	}
	return s.pullFrom(ctx, ref, sources, progress, fresh)
}

// pullFrom tries the sources in their order of preference.
func (s *Store) pullFrom(ctx context.Context, ref reference, sources []source, progress Progress, fresh bool) (Local, error) {
	var failed []string
	var errs error
	for _, src := range sources {
		err := s.pullOne(ctx, ref, src, progress, fresh)
		if err == nil {
			return read(s.modelDir(ref))
		}
		if ctx.Err() != nil {
			return Local{}, fmt.Errorf("pull %s: stopped; what is here already will be used by the next pull: %w", ref.text, context.Cause(ctx))
		}
		if said := err.Error(); src.String() == ref.text || strings.HasPrefix(said, src.String()) {
			failed = append(failed, said)
		} else {
			failed = append(failed, src.String()+": "+said)
		}
		errs = errors.Join(errs, err)
		if errors.Is(err, ErrNoSpace) || errors.Is(err, ErrChecksum) {
			break // another source would hide that something is wrong here
		}
	}
	return Local{}, &pullError{ref.text, failed, errs}
}

// pullError words the failures of all sources in one line.
type pullError struct {
	name   string
	failed []string
	errs   error
}

func (e *pullError) Error() string {
	s := "pull " + e.name + ": " + strings.Join(e.failed, "; ")
	var away *unreachable
	if errors.As(e.errs, &away) {
		s += "; check the network, or name a proxy with HTTPS_PROXY"
	}
	if e.name == DefaultModel() && !errors.Is(e.errs, ErrNoSpace) && !errors.Is(e.errs, ErrChecksum) {
		s += "; without it there is the built-in demonstration: lapidary run " + BuiltIn
	}
	return s
}

func (e *pullError) Unwrap() error { return e.errs }

// pullOne brings the model from one source and puts it into the store.
func (s *Store) pullOne(ctx context.Context, ref reference, src source, progress Progress, fresh bool) error {
	dir := s.modelDir(ref)
	work := workDir(dir, src.String())
	if err := os.MkdirAll(work, 0o755); err != nil {
		if noSpace(err) {
			err = fmt.Errorf("%w: %s cannot be made; "+roomAdvice, ErrNoSpace, work)
		}
		return err
	}
	j := &job{store: s, dir: work, progress: progress, fresh: fresh}
	m, err := src.pull(ctx, j)
	if err == nil {
		m.Version, m.Name, m.Source, m.Pulled = manifestVersion, ref.text, src.String(), time.Now().UTC().Truncate(time.Second)
		err = install(work, dir, m)
	}
	if noSpace(err) {
		err = fmt.Errorf("%w in %s; "+roomAdvice, ErrNoSpace, dir)
	}
	if errors.Is(err, ErrNoSpace) || errors.Is(err, ErrChecksum) || err != nil && nothingKept(work) {
		s.removeOwned(work)
		_ = os.RemoveAll(work)
		removeEmpty(filepath.Dir(dir), s.root)
	}
	return err
}

// workDir is the folder where a pull from one source gathers its files. Two
// sources of one model do not mix theirs.
func workDir(dir, source string) string {
	sum := sha256.Sum256([]byte(source))
	return filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+"."+hex.EncodeToString(sum[:4])+".partial")
}

// install writes the manifest and swaps the finished folder in. The rename is
// the moment at which the model exists.
func install(work, dir string, m manifest) error {
	if err := writeNotice(work, &m); err != nil {
		return err
	}
	if err := prune(work, m); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(work, manifestName), m); err != nil {
		return err
	}
	old := oldDir(dir)
	if err := os.RemoveAll(old); err != nil {
		return err
	}
	if err := os.Rename(dir, old); err != nil && !isMissing(err) {
		return fmt.Errorf("the model that is here cannot be replaced; end the programs that use it: %w", err)
	}
	if err := os.Rename(work, dir); err != nil {
		return errors.Join(err, os.Rename(old, dir))
	}
	leftovers, _ := filepath.Glob(filepath.Join(globEscape(filepath.Dir(dir)), "."+filepath.Base(dir)+".????????.partial"))
	for _, l := range append(leftovers, old) {
		_ = os.RemoveAll(l) // only disk space is at stake
	}
	return syncDir(filepath.Dir(dir))
}

// oldDir is where a model waits while its replacement takes its place.
func oldDir(dir string) string {
	return filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".old")
}

// writeNotice stores the licence's name beside the model, in the words that
// the Gemma terms ask for where they apply.
func writeNotice(work string, m *manifest) error {
	if m.Licence.Name == "" {
		m.Licence.Name = "unknown"
	}
	text := fmt.Sprintf("%s comes under: %s\n", m.Name, m.Licence.Name)
	if m.Licence.URL != "" {
		text += m.Licence.URL + "\n"
	}
	if m.Licence.URL == gemmaTerms {
		text += "\nGemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms\n"
	}
	if err := writeFile(filepath.Join(work, noticeName), []byte(text)); err != nil {
		return err
	}
	m.Licence.Files = append([]string{noticeName}, m.Licence.Files...)
	m.Files = append(m.Files, File{Name: noticeName, Size: int64(len(text))})
	return nil
}

// prune removes what lies in work without being part of the model.
func prune(work string, m manifest) error {
	keep := map[string]bool{}
	for _, f := range m.Files {
		for p := filepath.FromSlash(f.Name); p != "."; p = filepath.Dir(p) {
			keep[p] = true
		}
	}
	return filepath.WalkDir(work, func(path string, d os.DirEntry, err error) error {
		rel, relErr := filepath.Rel(work, path)
		if err = errors.Join(err, relErr); err != nil || rel == "." || keep[rel] {
			return err
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
		if d.IsDir() {
			return filepath.SkipDir
		}
		return nil
	})
}

const noticeName = "LICENCE.txt"

// nothingKept says whether a failed pull left nothing to go on with.
func nothingKept(work string) bool {
	for _, blob := range readClaims(work) {
		if exists(blob) || exists(blob+unfinishedBlob) {
			return false
		}
	}
	entries, err := os.ReadDir(work)
	return err == nil && (len(entries) == 0 || len(entries) == 1 && entries[0].Name() == claimsName)
}

// removeEmpty removes dir and the folders above it, up to root, while they
// are empty.
func removeEmpty(dir, root string) {
	for strings.HasPrefix(dir, root) && len(dir) > len(root) && os.Remove(dir) == nil {
		dir = filepath.Dir(dir)
	}
}

// lock keeps other processes from pulling or replacing the same model. Lock
// files stay: removing one that another process is about to take would give
// two processes the lock.
func (s *Store) lock(ctx context.Context, ref reference, progress Progress) (unlock func(), waited bool, err error) {
	l, err := s.lockFile(ref)
	if err != nil {
		return nil, false, err
	}
	ok, err := l.TryLock()
	if err == nil && !ok {
		waited = true
		progress.Note("another process is pulling " + ref.text + "; waiting for it")
		_, err = l.TryLockContext(ctx, 100*time.Millisecond)
	}
	if err != nil {
		return nil, waited, fmt.Errorf("lock %s: %w", ref.text, err)
	}
	return func() { _ = l.Close() }, waited, nil
}

// tryLock is lock for those who had better not wait.
func (s *Store) tryLock(ref reference) (unlock func(), err error) {
	l, err := s.lockFile(ref)
	if err != nil {
		return nil, err
	}
	ok, err := l.TryLock()
	if err == nil && !ok {
		err = fmt.Errorf("%s is %w; try again when that has ended", ref.text, ErrBusy)
	}
	if err != nil {
		return nil, err
	}
	return func() { _ = l.Close() }, nil
}

func (s *Store) lockFile(ref reference) (*flock.Flock, error) {
	dir := filepath.Join(s.root, "locks")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("store folder: %w; set LAPIDARY_HOME to a folder that can be written", err)
	}
	return flock.New(filepath.Join(dir, flatten(ref.text, ref.text)+".lock")), nil
}

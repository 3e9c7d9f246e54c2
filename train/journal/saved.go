package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lapidary/checkpoint"
)

const (
	manifestFile = "manifest.json"
	stateFile    = "state.json"
	latestFile   = "latest"
	bestFile     = "best"
	savedPrefix  = "step-"
	partPrefix   = ".part-"  // is being written
	trashPrefix  = ".trash-" // is being removed
	// damagedPrefix is before one whose contents are not what was written.
	damagedPrefix = "damaged-"
)

// Saved is a whole checkpoint.
type Saved struct {
	Step int
	Dir  string
	// Score is the value of Options.Best at its step, nil if there was none.
	Score *float64

	files map[string]stored
}

// stored is what a manifest says about a file.
type stored struct {
	Bytes int64  `json:"bytes"`
	CRC   uint32 `json:"crc32c"`
}

type manifest struct {
	Step  int               `json:"step"`
	Score *float64          `json:"score,omitempty"`
	Files map[string]stored `json:"files"`
}

// Tensors opens a file of tensors of the checkpoint; close it after use.
func (s *Saved) Tensors(name string) (*checkpoint.Checkpoint, error) {
	return checkpoint.Open(filepath.Join(s.Dir, name))
}

// Has says whether the checkpoint has a file.
func (s *Saved) Has(name string) bool { _, ok := s.files[name]; return ok }

// State reads the state that [Journal.Checkpoint] was given.
func (s *Saved) State(into any) error {
	data, err := os.ReadFile(filepath.Join(s.Dir, stateFile))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s: %w", filepath.Join(s.Dir, stateFile), err)
	}
	return nil
}

// check compares the files with the manifest.
func (s *Saved) check() error {
	for name, want := range s.files {
		f, err := os.Open(filepath.Join(s.Dir, name))
		if err != nil {
			return err
		}
		sum := crc32.New(castagnoli)
		n, err := io.Copy(sum, f)
		f.Close()
		if err != nil {
			return err
		}
		if n != want.Bytes || sum.Sum32() != want.CRC {
			return fmt.Errorf("%s is damaged", filepath.Join(s.Dir, name))
		}
	}
	return nil
}

// Writer takes the files of a checkpoint.
type Writer struct {
	dir   string
	files map[string]stored
}

// Tensors writes a safetensors file. data writes those of one tensor after the
// other, as [checkpoint.StreamSafetensors] says; nil takes each tensor's Data.
func (w *Writer) Tensors(name string, tensors []checkpoint.Tensor, data func(io.Writer, checkpoint.Tensor) error) error {
	if data == nil {
		data = func(out io.Writer, t checkpoint.Tensor) error {
			_, err := out.Write(t.Data)
			return err
		}
	}
	return w.File(name, func(out io.Writer) error { return checkpoint.StreamSafetensors(out, tensors, data) })
}

// JSON writes a value as a file of JSON.
func (w *Writer) JSON(name string, value any) error {
	text, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return w.File(name, func(out io.Writer) error {
		_, err := out.Write(append(text, '\n'))
		return err
	})
}

// File writes any other file.
func (w *Writer) File(name string, write func(io.Writer) error) error {
	if name != filepath.Base(name) || strings.HasPrefix(name, ".") || name == "" {
		return fmt.Errorf("checkpoint file %q: the name of a file without folders is needed", name)
	}
	if _, twice := w.files[name]; twice {
		return fmt.Errorf("checkpoint file %q is written twice", name)
	}
	f, err := os.OpenFile(filepath.Join(w.dir, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	sum := &summing{f: f, sum: crc32.New(castagnoli)}
	if err = write(sum); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	w.files[name] = stored{sum.n, sum.sum.Sum32()}
	return nil
}

// summing counts and sums what goes through.
type summing struct {
	f   *os.File
	sum hash.Hash32
	n   int64
}

func (s *summing) Write(p []byte) (int, error) {
	n, err := s.f.Write(p)
	s.n += int64(n)
	_, _ = s.sum.Write(p[:n]) // never fails
	return n, err
}

// Checkpoint saves the run after a step: what write puts into the writer, and
// state as JSON (the data's position, the generators'; the step is in the
// manifest). It becomes [Journal.Latest] once it is on the disk whole. When it
// cannot be written, nothing of it stays and the checkpoints before it are as
// they were; the error of a full disk is an [ErrFull].
func (j *Journal) Checkpoint(step int, state any, write func(*Writer) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if step < j.step {
		return fmt.Errorf("checkpoint of step %d after the metrics of step %d", step, j.step)
	}
	if j.latest != nil && step <= j.latest.Step {
		return fmt.Errorf("checkpoint of step %d after that of step %d", step, j.latest.Step)
	}
	for _, a := range []*appender{j.metrics, j.timing} { // a resumed run needs them up to here
		if err := a.sync(); err != nil {
			return saying(step, err)
		}
	}
	saved, err := j.save(step, state, write)
	if err != nil {
		return saying(step, err)
	}
	j.latest = saved
	if err := j.prune(); err != nil {
		return fmt.Errorf("checkpoint of step %d is saved; older ones could not be removed: %w", step, full(err))
	}
	return nil
}

func saying(step int, err error) error {
	if err = full(err); errors.Is(err, ErrFull) {
		return fmt.Errorf("checkpoint of step %d: %w; earlier checkpoints are untouched: free some space and resume", step, err)
	}
	return fmt.Errorf("checkpoint of step %d: %w", step, err)
}

// save is 1. everything in a folder of another name, 2. on the disk, 3. renamed.
func (j *Journal) save(step int, state any, write func(*Writer) error) (*Saved, error) {
	root := filepath.Join(j.dir, checkpoints)
	name := fmt.Sprintf("%s%08d", savedPrefix, step)
	part, done := filepath.Join(root, partPrefix+name), filepath.Join(root, name)
	if err := os.RemoveAll(part); err != nil {
		return nil, err
	}
	if err := os.Mkdir(part, 0o755); err != nil {
		return nil, err
	}
	saved, err := j.fill(part, step, state, write)
	if err == nil {
		err = os.RemoveAll(done) // one that was found to be damaged
	}
	if err == nil {
		err = os.Rename(part, done)
	}
	if err == nil {
		err = syncDir(root)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(part))
	}
	saved.Dir = done
	return saved, nil
}

func (j *Journal) fill(part string, step int, state any, write func(*Writer) error) (*Saved, error) {
	w := &Writer{part, map[string]stored{}}
	if err := write(w); err != nil {
		return nil, err
	}
	if err := w.JSON(stateFile, state); err != nil {
		return nil, err
	}
	s := &Saved{Step: step, files: w.files}
	if score, ok := j.scored[j.options.Best]; ok && step == j.step && !math.IsNaN(score) && !math.IsInf(score, 0) {
		s.Score = &score
	}
	own := &Writer{part, map[string]stored{}}
	if err := own.JSON(manifestFile, manifest{step, s.Score, w.files}); err != nil {
		return nil, err
	}
	return s, syncDir(part)
}

// List are the whole checkpoints of the run in dir, oldest first. Whether their
// contents are as they were written is not looked at.
func List(dir string) ([]Saved, error) {
	root := filepath.Join(dir, checkpoints)
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Saved
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), savedPrefix) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, e.Name(), manifestFile))
		var m manifest
		if err != nil || json.Unmarshal(text, &m) != nil {
			continue // not one of ours, or damaged: not whole
		}
		all = append(all, Saved{m.Step, filepath.Join(root, e.Name()), m.Score, m.Files})
	}
	slices.SortFunc(all, func(a, b Saved) int { return a.Step - b.Step })
	return all, nil
}

// scan removes what was left unfinished and finds the newest checkpoint that is
// as it was written. notes are about those that are not.
func scan(root string) (newest *Saved, notes []string, err error) {
	entries, err := os.ReadDir(root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), partPrefix) || strings.HasPrefix(e.Name(), trashPrefix) || strings.HasPrefix(e.Name(), ".new-") {
			if err := os.RemoveAll(filepath.Join(root, e.Name())); err != nil {
				return nil, nil, err
			}
		}
	}
	all, err := List(filepath.Dir(root))
	if err != nil {
		return nil, nil, err
	}
	for _, s := range slices.Backward(all) {
		err := s.check()
		if err == nil {
			return &s, notes, nil
		}
		aside := filepath.Join(root, damagedPrefix+filepath.Base(s.Dir))
		if err := errors.Join(os.RemoveAll(aside), os.Rename(s.Dir, aside)); err != nil {
			return nil, nil, err
		}
		notes = append(notes, fmt.Sprintf("checkpoint of step %d is left out and put aside as %s: %v", s.Step, aside, err))
	}
	return nil, notes, nil
}

// prune writes the pointers and removes the checkpoints that are not kept.
func (j *Journal) prune() error {
	all, err := List(j.dir)
	if err != nil {
		return err
	}
	root := filepath.Join(j.dir, checkpoints)
	if err := writeWhole(filepath.Join(root, latestFile), []byte(filepath.Base(j.latest.Dir)+"\n")); err != nil {
		return err
	}
	best := best(all, j.options.Max)
	if best != nil {
		if err := writeWhole(filepath.Join(root, bestFile), []byte(filepath.Base(best.Dir)+"\n")); err != nil {
			return err
		}
	}
	if j.options.Keep <= 0 {
		return nil
	}
	for _, s := range all[:max(0, len(all)-j.options.Keep)] {
		if best != nil && s.Step == best.Step {
			continue
		}
		// Renamed first: a removal that is interrupted leaves nothing that looks whole.
		trash := filepath.Join(root, trashPrefix+filepath.Base(s.Dir))
		if err := errors.Join(os.Rename(s.Dir, trash), os.RemoveAll(trash)); err != nil {
			return err
		}
	}
	return nil
}

// Best is the best checkpoint of the run in dir by the metric it was told to
// watch, nil if none has one; more is better with max.
func Best(dir string, max bool) (*Saved, error) {
	all, err := List(dir)
	return best(all, max), err
}

// best is the first of the best.
func best(all []Saved, max bool) *Saved {
	var best *Saved
	for i, s := range all {
		if s.Score == nil {
			continue
		}
		if best == nil || *s.Score != *best.Score && (*s.Score > *best.Score) == max {
			best = &all[i]
		}
	}
	return best
}

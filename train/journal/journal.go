package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// Errors that callers tell apart.
var (
	// ErrBusy is that of a run that another process is writing.
	ErrBusy = errors.New("another process is writing this run")
	// ErrFull is that of a disk without room. What was written before is whole.
	ErrFull = errors.New("no room on the disk")
	// ErrExists is that of a folder that has a run already.
	ErrExists = errors.New("this folder has a run already")
)

// Options say what is kept.
type Options struct {
	// Keep is how many of the newest checkpoints stay; 0 keeps all.
	Keep int
	// Best is the metric whose best checkpoint stays besides; empty for none. A
	// checkpoint's is what [Journal.Metrics] was given for its step.
	Best string
	// Max says that more of it is better.
	Max bool
	// Free are the sections and keys of the recipe that may change when a run
	// is opened again, such as "checkpoint" or "steps".
	Free []string
}

// names of the files of a run.
const (
	recipeFile  = "recipe.yaml"
	logFile     = "log.txt"
	metricsFile = "metrics.jsonl"
	timingFile  = "timing.jsonl"
	eventsFile  = "events.out.tfevents.lapidary"
	reportFile  = "report.html"
	lockFile    = ".lock"
	checkpoints = "checkpoints"
)

// Journal is a run that is being written. It may be used from many goroutines.
type Journal struct {
	dir     string
	options Options
	lock    *flock.Flock

	mu      sync.Mutex
	log     *appender
	metrics *appender
	timing  *appender
	events  *appender
	scored  map[string]float64 // metrics of the step last written
	step    int
	latest  *Saved
}

// Create makes a new run in dir, which must not have one. recipe is its
// complete recipe in YAML.
func Create(dir string, recipe []byte, o Options) (*Journal, error) {
	if err := os.MkdirAll(filepath.Join(dir, checkpoints), 0o755); err != nil {
		return nil, full(err)
	}
	j, err := begin(dir, o)
	if err != nil {
		return nil, err
	}
	saved, err := List(dir)
	if _, e := os.Stat(filepath.Join(dir, recipeFile)); err != nil || len(saved) > 0 || !errors.Is(e, fs.ErrNotExist) {
		j.unlock()
		return nil, fmt.Errorf("%s: %w; resume it, or choose another folder", dir, ErrExists)
	}
	// The recipe comes last: a folder without one is not a run yet.
	for _, name := range []string{metricsFile, timingFile, logFile} {
		if err := writeWhole(filepath.Join(dir, name), nil); err != nil {
			j.unlock()
			return nil, err
		}
	}
	if err := writeWhole(filepath.Join(dir, recipeFile), recipe); err != nil {
		j.unlock()
		return nil, err
	}
	return j.start()
}

// Open goes on with the run in dir at its newest whole checkpoint, or at its
// beginning if there is none: [Journal.Latest]. A recipe that differs from the
// run's in more than Options.Free is refused with the keys that do; nil does
// not compare.
func Open(dir string, recipe []byte, o Options) (*Journal, error) {
	had, err := os.ReadFile(filepath.Join(dir, recipeFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no run to resume: there is no %s in it", dir, recipeFile)
	}
	if err != nil {
		return nil, err
	}
	j, err := begin(dir, o)
	if err != nil {
		return nil, err
	}
	if recipe != nil && !bytes.Equal(had, recipe) {
		if err = same(dir, had, recipe, o.Free); err == nil {
			err = writeWhole(filepath.Join(dir, recipeFile), recipe)
		}
	}
	if err == nil {
		err = j.recover()
	}
	if err != nil {
		j.unlock()
		return nil, err
	}
	return j.start()
}

// begin takes the lock.
func begin(dir string, o Options) (*Journal, error) {
	j := &Journal{dir: dir, options: o, lock: flock.New(filepath.Join(dir, lockFile)), scored: map[string]float64{}}
	got, err := j.lock.TryLock()
	if err != nil {
		return nil, full(fmt.Errorf("%s: %w", dir, err))
	}
	if !got {
		return nil, fmt.Errorf("%s: %w; wait for it or end it", dir, ErrBusy)
	}
	return j, nil
}

// recover puts the folder in the state of its newest whole checkpoint.
func (j *Journal) recover() error {
	saved, notes, err := scan(filepath.Join(j.dir, checkpoints))
	if err != nil {
		return err
	}
	step := 0
	if saved != nil {
		step = saved.Step
	}
	for _, name := range []string{metricsFile, timingFile} {
		if err := cut(filepath.Join(j.dir, name), step); err != nil {
			return err
		}
	}
	j.latest, j.step = saved, step
	if saved != nil { // the run may have ended between the checkpoint and its pointer
		if err := writeWhole(filepath.Join(j.dir, checkpoints, latestFile), []byte(filepath.Base(saved.Dir)+"\n")); err != nil {
			return err
		}
	}
	for _, n := range notes {
		if err := j.note(n); err != nil {
			return err
		}
	}
	return j.note(fmt.Sprintf("resumed at step %d", step))
}

// note is a line of the log before it is open.
func (j *Journal) note(text string) error {
	a, err := openAppend(filepath.Join(j.dir, logFile))
	if err != nil {
		return err
	}
	return errors.Join(a.add(logLine(time.Now(), text)), a.close())
}

// start opens the files that grow.
func (j *Journal) start() (*Journal, error) {
	err := j.open()
	if err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

func (j *Journal) open() (err error) {
	for _, f := range []struct {
		name string
		at   **appender
	}{{logFile, &j.log}, {metricsFile, &j.metrics}, {timingFile, &j.timing}} {
		if *f.at, err = openAppend(filepath.Join(j.dir, f.name)); err != nil {
			return err
		}
	}
	if err := rebuildEvents(j.dir); err != nil {
		return err
	}
	j.events, err = openAppend(filepath.Join(j.dir, eventsFile))
	return err
}

// Dir is the run's folder.
func (j *Journal) Dir() string { return j.dir }

// Log adds a line to the log.
func (j *Journal) Log(format string, values ...any) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.log.add(logLine(time.Now(), fmt.Sprintf(format, values...)))
}

func logLine(now time.Time, text string) []byte {
	text = strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
	return []byte(now.UTC().Format(time.RFC3339) + " " + text + "\n")
}

// Metrics records what a step has computed: losses, the learning rate, the
// gradient's norm, scores. Steps do not go back. What depends on the clock or
// the machine goes to [Journal.Timing].
func (j *Journal) Metrics(step int, values map[string]float64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if step < j.step {
		return fmt.Errorf("metrics of step %d after those of step %d", step, j.step)
	}
	line, err := encodeLine(step, values)
	if err != nil {
		return err
	}
	if err := j.metrics.add(line); err != nil {
		return err
	}
	if step > j.step {
		j.step, j.scored = step, map[string]float64{}
	}
	for name, v := range values {
		j.scored[name] = v
	}
	return j.show(scalars(nil, time.Now(), step, values))
}

// show adds to TensorBoard's file. It is made again from the others whenever the
// run is opened, so what a full disk has no room for is not lost.
func (j *Journal) show(record []byte) error {
	if err := j.events.add(record); !errors.Is(err, ErrFull) {
		return err
	}
	return nil
}

// Timing records how a step went: tokens a second, memory. The time is added.
func (j *Journal) Timing(step int, values map[string]float64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := time.Now()
	timed := map[string]float64{timeKey: float64(now.UnixMilli()) / 1000}
	for name, v := range values {
		timed[name] = v
	}
	line, err := encodeLine(step, timed)
	if err != nil {
		return err
	}
	if err := j.timing.add(line); err != nil {
		return err
	}
	return j.show(scalars(nil, now, step, values))
}

// Latest is the checkpoint the run goes on from; nil before there is one.
func (j *Journal) Latest() *Saved {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.latest
}

// Rewind goes back to the newest checkpoint while the run goes on, and cuts off
// what was measured since; nil is the beginning.
func (j *Journal) Rewind() (*Saved, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, a := range []*appender{j.log, j.metrics, j.timing, j.events} {
		if err := a.close(); err != nil {
			return nil, err
		}
	}
	j.scored = map[string]float64{}
	if err := j.recover(); err != nil {
		return nil, err
	}
	return j.latest, j.open()
}

// Close ends the writing; the run can be opened again.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var err error
	for _, a := range []*appender{j.log, j.metrics, j.timing, j.events} {
		err = errors.Join(err, a.close())
	}
	j.unlock()
	return err
}

func (j *Journal) unlock() {
	_ = j.lock.Unlock() // the system frees it with the process at the latest
}

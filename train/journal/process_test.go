package journal

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"lapidary/checkpoint"
)

// A child of the tests trains: it opens the run in JOURNAL_TEST_RUN or makes it
// and goes on to step JOURNAL_TEST_STEPS.
func TestMain(m *testing.M) {
	dir := os.Getenv("JOURNAL_TEST_RUN")
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := train(dir); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func train(dir string) error {
	if err := shrinkDisk(dir); err != nil {
		return fmt.Errorf("setup: %w", err)
	}
	last, err := strconv.Atoi(os.Getenv("JOURNAL_TEST_STEPS"))
	if err != nil {
		return err
	}
	o := Options{Keep: 2, Best: "validation_loss"}
	j, err := Open(dir, []byte(recipeText), o)
	if err != nil {
		if _, there := os.Stat(filepath.Join(dir, recipeFile)); there == nil {
			return err
		}
		if j, err = Create(dir, []byte(recipeText), o); err != nil {
			return err
		}
	}
	from := 0
	if s := j.Latest(); s != nil {
		var was state
		if err := s.State(&was); err != nil || was.Position != 10*s.Step {
			return fmt.Errorf("state of step %d is %v: %w", s.Step, was, err)
		}
		from = s.Step
	}
	size, err := strconv.Atoi(os.Getenv("JOURNAL_TEST_SIZE"))
	if err != nil {
		return err
	}
	grow := 0
	if os.Getenv("JOURNAL_TEST_DISK") != "" {
		grow = size // each checkpoint is larger than the one before
	}
	for n := from + 1; n <= last; n++ {
		if err := j.Metrics(n, map[string]float64{"loss": 5 / float64(n)}); err != nil {
			return err
		}
		if n%3 == 0 {
			if err := errors.Join(j.Metrics(n, map[string]float64{"validation_loss": float64(n % 7)}), save(j, n, size+grow*n/3)); err != nil {
				return wentOn(j, n, err)
			}
		}
	}
	return j.Close()
}

// wentOn trains a few steps more after a disk that was full, as on_full:
// continue does, and reports what had happened.
func wentOn(j *Journal, n int, err error) error {
	if !errors.Is(err, ErrFull) {
		return err
	}
	for more := n + 1; more < n+3; more++ {
		if e := j.Metrics(more, map[string]float64{"loss": 1}); e != nil {
			return e
		}
	}
	all, e := List(j.Dir())
	for _, s := range all {
		e = errors.Join(e, s.check())
		if s.Step != j.Latest().Step {
			continue
		}
		fmt.Println("newest:", s.Step)
	}
	entries, _ := filepath.Glob(filepath.Join(j.Dir(), checkpoints, ".*"))
	fmt.Println("left over:", len(entries))
	return errors.Join(err, e, j.Close())
}

func child(dir string, steps, size int) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "JOURNAL_TEST_RUN="+dir, "JOURNAL_TEST_STEPS="+strconv.Itoa(steps), "JOURNAL_TEST_SIZE="+strconv.Itoa(size))
	return cmd
}

// A run that is killed at random moments goes on from a whole checkpoint every
// time, and its metrics are those of one that nobody has killed.
func TestKilled(t *testing.T) {
	const kills, size = 20, 20_000
	root := t.TempDir()
	dir := filepath.Join(root, "killed")
	random := rand.New(rand.NewPCG(1, 2))
	step, halves := 0, 0
	for kill := range kills {
		cmd := child(dir, 1_000_000, size)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		wait := time.Duration(random.IntN(60)) * time.Millisecond
		<-time.After(wait)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatalf("kill %d: %v", kill, err)
		}
		cmd.Wait()
		if cmd.ProcessState.Exited() {
			t.Fatalf("kill %d: the child had ended by itself: %v", kill, cmd.ProcessState)
		}
		if _, err := os.Stat(filepath.Join(dir, recipeFile)); err != nil {
			continue // it was killed before there was a run
		}
		if half, _ := filepath.Glob(filepath.Join(dir, checkpoints, ".*")); len(half) > 0 {
			halves++
		}
		step = checkWhole(t, dir, step)
	}
	if step == 0 {
		t.Fatal("no child came to a checkpoint")
	}
	last := step/3*3 + 30
	whole := filepath.Join(root, "whole")
	for _, d := range []string{dir, whole} {
		if out, err := child(d, last, size).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if read(t, dir, metricsFile) != read(t, whole, metricsFile) {
		t.Error("the metrics of the run that was killed differ from those of one that was not")
	}
	if a, b := steps(t, dir), steps(t, whole); !reflect.DeepEqual(a, b) {
		t.Errorf("checkpoints %v, want %v", a, b)
	}
	t.Logf("%d kills, %d while a checkpoint was being written or removed; %d steps", kills, halves, last)
}

// checkWhole opens the run as a trainer does and gives its step.
func checkWhole(t *testing.T, dir string, before int) int {
	t.Helper()
	j := reopen(t, dir, Options{Keep: 2, Best: "validation_loss"})
	defer j.Close()
	s := j.Latest()
	if s == nil {
		if before > 0 {
			t.Fatalf("step %d was saved, and there is no checkpoint", before)
		}
		return 0
	}
	if s.Step < before {
		t.Fatalf("step %d was saved, and the newest checkpoint is %d", before, s.Step)
	}
	aside, _ := filepath.Glob(filepath.Join(dir, checkpoints, damagedPrefix+"*"))
	if len(aside) > 0 {
		t.Fatalf("damaged: %v", aside)
	}
	c, err := s.Tensors("model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w, _ := c.Tensor("w")
	if want := weights(s.Step, w.Shape[0])[0]; string(w.Data) != string(want.Data) {
		t.Fatalf("the tensor of step %d is not its own", s.Step)
	}
	return s.Step
}

// On a full disk a checkpoint fails with one line, nothing of it stays, those
// before it are whole and the run goes on.
func TestFullDisk(t *testing.T) {
	out := fullDisk(t)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 3 || lines[1] != "left over: 0" || !strings.HasPrefix(lines[0], "newest: ") || lines[0] == "newest: 0" ||
		!strings.Contains(lines[2], ErrFull.Error()) || !strings.Contains(lines[2], "earlier checkpoints are untouched") {
		t.Errorf("got %s", out)
	}
}

// A tensor that cannot be written whole is an error of its own.
func TestTensorsThatEnd(t *testing.T) {
	j := create(t, Options{})
	err := j.Checkpoint(1, nil, func(w *Writer) error {
		return w.Tensors("model.safetensors", weights(1, 8), func(out io.Writer, _ checkpoint.Tensor) error {
			_, err := out.Write([]byte{1, 2, 3, 4})
			return err
		})
	})
	if err == nil || !strings.Contains(err.Error(), "checkpoint of step 1: ") {
		t.Errorf("got %v", err)
	}
	if got := steps(t, j.Dir()); got != nil {
		t.Errorf("left %v", got)
	}
}

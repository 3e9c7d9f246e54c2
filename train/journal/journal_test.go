package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"lapidary/checkpoint"
)

const recipeText = "model: {name: tiny}\noptimizer: {lr: 0.001}\nsteps: 100\ncheckpoint: {every: 5}\n"

// state is what a trainer would keep besides tensors.
type state struct {
	Position int
	RNG      [2]uint64
}

func create(t *testing.T, o Options) *Journal {
	t.Helper()
	j, err := Create(filepath.Join(t.TempDir(), "run"), []byte(recipeText), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func reopen(t *testing.T, dir string, o Options) *Journal {
	t.Helper()
	j, err := Open(dir, []byte(recipeText), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

// weights are tensors that depend on the step.
func weights(step, n int) []checkpoint.Tensor {
	data := make([]byte, 0, 4*n)
	for i := range n {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(step)+float32(i)/float32(n)))
	}
	return []checkpoint.Tensor{{Name: "w", Type: checkpoint.F32, Shape: []int{n}, Data: data}}
}

func save(j *Journal, step, n int) error {
	return j.Checkpoint(step, state{step * 10, [2]uint64{uint64(step), 1 << 63}}, func(w *Writer) error {
		if err := w.Tensors("model.safetensors", weights(step, n), nil); err != nil {
			return err
		}
		return w.Tensors("optimizer.safetensors", weights(-step, n), nil)
	})
}

func step(t *testing.T, j *Journal, n int) {
	t.Helper()
	err := errors.Join(
		j.Metrics(n, map[string]float64{"loss": 5 / float64(n), "lr": 1e-3}),
		j.Timing(n, map[string]float64{"tokens_per_second": 1000 + float64(n)}))
	if err == nil && n%5 == 0 {
		err = errors.Join(j.Metrics(n, map[string]float64{"validation_loss": math.Abs(float64(n) - 10)}), save(j, n, 100))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A run that ended at any step and went on has the metrics of one that did not.
func TestResumedMetricsAreTheSame(t *testing.T) {
	whole := create(t, Options{Keep: 2})
	for n := 1; n <= 20; n++ {
		step(t, whole, n)
	}
	want := read(t, whole.Dir(), metricsFile)
	for _, stop := range []int{0, 3, 5, 9, 16} {
		j := create(t, Options{Keep: 2})
		for n := 1; n <= stop; n++ {
			step(t, j, n)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		torn, err := os.OpenFile(filepath.Join(j.Dir(), metricsFile), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := torn.WriteString(`{"step":99,"lo`); err != nil {
			t.Fatal(err)
		}
		torn.Close()
		j = reopen(t, j.Dir(), Options{Keep: 2})
		from := 0
		if s := j.Latest(); s != nil {
			from = s.Step
		}
		if from != stop/5*5 {
			t.Errorf("stopped at %d: goes on at %d", stop, from)
		}
		for n := from + 1; n <= 20; n++ {
			step(t, j, n)
		}
		if got := read(t, j.Dir(), metricsFile); got != want {
			t.Errorf("stopped at %d: the metrics differ:\n%s\n%s", stop, got, want)
		}
	}
}

func TestWhatIsInACheckpoint(t *testing.T) {
	j := create(t, Options{})
	for n := 1; n <= 5; n++ {
		step(t, j, n)
	}
	j.Close()
	j = reopen(t, j.Dir(), Options{})
	s := j.Latest()
	var got state
	if err := s.State(&got); err != nil || !reflect.DeepEqual(got, state{50, [2]uint64{5, 1 << 63}}) {
		t.Errorf("state %v, %v", got, err)
	}
	c, err := s.Tensors("model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w, ok := c.Tensor("w")
	if !ok || !bytes.Equal(w.Data, weights(5, 100)[0].Data) {
		t.Error("the tensor is not what was written")
	}
	if !s.Has("optimizer.safetensors") || s.Has("nothing") {
		t.Error("the files are not those that were written")
	}
	if got := read(t, j.Dir(), checkpoints, latestFile); got != "step-00000005\n" {
		t.Errorf("latest is %q", got)
	}
}

// steps are those of the checkpoints that are there.
func steps(t *testing.T, dir string) (all []int) {
	t.Helper()
	saved, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range saved {
		all = append(all, s.Step)
	}
	return all
}

func TestKeepAndBest(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want []int
		best int
	}{
		{Options{}, []int{5, 10, 15, 20, 25, 30}, 0},
		{Options{Keep: 2}, []int{25, 30}, 0},
		{Options{Keep: 2, Best: "validation_loss"}, []int{10, 25, 30}, 10},
		{Options{Keep: 1, Best: "validation_loss", Max: true}, []int{30}, 30},
		{Options{Keep: 1, Best: "accuracy"}, []int{30}, 0},
	} {
		j := create(t, c.o)
		for n := 1; n <= 30; n++ {
			step(t, j, n)
		}
		if got := steps(t, j.Dir()); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v: kept %v, want %v", c.o, got, c.want)
		}
		best, err := Best(j.Dir(), c.o.Max)
		if err != nil || (best == nil) != (c.best == 0) || best != nil && best.Step != c.best {
			t.Errorf("%+v: best %v, %v", c.o, best, err)
		}
	}
}

// A score belongs to the step it was measured at.
func TestScoreOfAnotherStepIsNone(t *testing.T) {
	j := create(t, Options{Best: "validation_loss"})
	if err := errors.Join(j.Metrics(1, map[string]float64{"validation_loss": 1}), j.Metrics(2, map[string]float64{"loss": 1}), save(j, 2, 1)); err != nil {
		t.Fatal(err)
	}
	if s := j.Latest(); s.Score != nil {
		t.Errorf("the score is %v", *s.Score)
	}
}

func TestOneWriter(t *testing.T) {
	j := create(t, Options{})
	if _, err := Open(j.Dir(), nil, Options{}); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	if _, err := Create(j.Dir(), nil, Options{}); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	j.Close()
	if _, err := Create(j.Dir(), nil, Options{}); !errors.Is(err, ErrExists) {
		t.Errorf("got %v", err)
	}
	if _, err := Open(t.TempDir(), nil, Options{}); err == nil || !strings.Contains(err.Error(), "has no run to resume") {
		t.Errorf("got %v", err)
	}
	step(t, reopen(t, j.Dir(), Options{}), 5)
}

// A folder that lost its recipe still has what was trained in it.
func TestCheckpointsWithoutARecipe(t *testing.T) {
	j := create(t, Options{})
	step(t, j, 5)
	j.Close()
	if err := os.Remove(filepath.Join(j.Dir(), recipeFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Create(j.Dir(), []byte(recipeText), Options{}); !errors.Is(err, ErrExists) {
		t.Errorf("got %v", err)
	}
	if got := steps(t, j.Dir()); !reflect.DeepEqual(got, []int{5}) {
		t.Errorf("checkpoints %v", got)
	}
}

// What an ended process left half written or half removed goes, and is no
// checkpoint.
func TestLeftovers(t *testing.T) {
	j := create(t, Options{})
	for n := 1; n <= 5; n++ {
		step(t, j, n)
	}
	j.Close()
	root := filepath.Join(j.Dir(), checkpoints)
	for _, name := range []string{partPrefix + "step-00000010", trashPrefix + "step-00000001"} {
		if err := os.CopyFS(filepath.Join(root, name), os.DirFS(filepath.Join(root, "step-00000005"))); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.WriteFile(filepath.Join(root, ".new-1"), nil, 0o600), os.WriteFile(filepath.Join(root, latestFile), []byte("step-00000001\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	j = reopen(t, j.Dir(), Options{})
	entries, err := os.ReadDir(root)
	if err != nil || len(entries) != 2 || j.Latest().Step != 5 || read(t, root, latestFile) != "step-00000005\n" {
		t.Errorf("left %v, %v, goes on at %v", entries, err, j.Latest())
	}
}

func TestChangedRecipe(t *testing.T) {
	j := create(t, Options{})
	j.Close()
	changed := strings.NewReplacer("0.001", "0.002", "steps: 100", "steps: 200", "every: 5", "every: 7").Replace(recipeText) + "seed: 4\n"
	_, err := Open(j.Dir(), []byte(changed), Options{Free: []string{"checkpoint"}})
	var c *ChangedError
	want := []string{"optimizer.lr (0.001, now 0.002)", "seed (not given, now 4)", "steps (100, now 200)"}
	if !errors.As(err, &c) || !reflect.DeepEqual(c.Keys, want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v", err)
	}
	if got := read(t, j.Dir(), recipeFile); got != recipeText {
		t.Errorf("a refused recipe was taken: %s", got)
	}
	free := strings.Replace(recipeText, "every: 5", "every: 7", 1)
	again, err := Open(j.Dir(), []byte(free), Options{Free: []string{"checkpoint"}})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if got := read(t, j.Dir(), recipeFile); got != free {
		t.Errorf("a change that is free was not taken: %s", got)
	}
}

// Where the newest checkpoint is not what was written, the one before it is
// gone on from.
func TestDamagedCheckpoint(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"a bit":    func(p string) error { return flip(p) },
		"shorter":  func(p string) error { return os.Truncate(p, 50) },
		"missing":  os.Remove,
		"manifest": func(p string) error { return os.Truncate(filepath.Join(filepath.Dir(p), manifestFile), 5) },
	} {
		t.Run(name, func(t *testing.T) {
			j := create(t, Options{Keep: 2})
			for n := 1; n <= 10; n++ {
				step(t, j, n)
			}
			j.Close()
			if err := damage(filepath.Join(j.Latest().Dir, "model.safetensors")); err != nil {
				t.Fatal(err)
			}
			j = reopen(t, j.Dir(), Options{Keep: 2})
			if j.Latest() == nil || j.Latest().Step != 5 {
				t.Fatalf("goes on at %+v", j.Latest())
			}
			lines, err := ReadMetrics(j.Dir())
			if err != nil || lines[len(lines)-1].Step != 5 {
				t.Errorf("metrics end with %v, %v", lines[len(lines)-1], err)
			}
			for n := 6; n <= 10; n++ {
				step(t, j, n)
			}
			if got := steps(t, j.Dir()); !reflect.DeepEqual(got, []int{5, 10}) {
				t.Errorf("checkpoints %v", got)
			}
		})
	}
}

func flip(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[len(b)-1] ^= 1
	return os.WriteFile(path, b, 0o644)
}

func TestFailedCheckpointLeavesNothing(t *testing.T) {
	j := create(t, Options{Keep: 1})
	for n := 1; n <= 5; n++ {
		step(t, j, n)
	}
	broken := errors.New("the device is gone")
	err := j.Checkpoint(6, nil, func(w *Writer) error {
		return w.File("half", func(out io.Writer) error {
			if _, err := out.Write([]byte("something")); err != nil {
				return err
			}
			return broken
		})
	})
	if !errors.Is(err, broken) || errors.Is(err, ErrFull) {
		t.Errorf("got %v", err)
	}
	entries, err := os.ReadDir(filepath.Join(j.Dir(), checkpoints))
	if err != nil || len(entries) != 2 { // step-00000005 and latest
		t.Errorf("left %v, %v", entries, err)
	}
	if j.Latest().Step != 5 {
		t.Errorf("latest is %+v", j.Latest())
	}
}

func TestRefused(t *testing.T) {
	j := create(t, Options{})
	step(t, j, 5)
	write := func(names ...string) error {
		return j.Checkpoint(6, nil, func(w *Writer) error {
			for _, n := range names {
				if err := w.JSON(n, 1); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{j.Metrics(4, nil), "metrics of step 4 after those of step 5"},
		{j.Metrics(6, map[string]float64{"step": 1}), `a metric cannot be called "step"`},
		{save(j, 4, 1), "checkpoint of step 4 after the metrics of step 5"},
		{save(j, 5, 1), "checkpoint of step 5 after that of step 5"},
		{write("a/b"), "without folders"},
		{write("../b"), "without folders"},
		{write(".b"), "without folders"},
		{write("a", "a"), "written twice"},
		{write(stateFile), "written twice"},
		{j.Checkpoint(7, math.NaN(), func(*Writer) error { return nil }), "unsupported value"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("got %v, want %s", c.err, c.want)
		}
	}
	j.Close()
	if err := j.Metrics(9, map[string]float64{"a": 1}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestRewind(t *testing.T) {
	j := create(t, Options{})
	for n := 1; n <= 7; n++ {
		step(t, j, n)
	}
	before := read(t, j.Dir(), metricsFile)
	s, err := j.Rewind()
	if err != nil || s.Step != 5 {
		t.Fatalf("%+v, %v", s, err)
	}
	step(t, j, 6)
	step(t, j, 7)
	if got := read(t, j.Dir(), metricsFile); got != before {
		t.Errorf("got\n%s\nwant\n%s", got, before)
	}
}

func TestNumbersJSONDoesNotHave(t *testing.T) {
	j := create(t, Options{})
	want := map[string]float64{"nan": math.NaN(), "up": math.Inf(1), "down": math.Inf(-1), "small": 5e-324, "big": 1e300}
	if err := j.Metrics(1, want); err != nil {
		t.Fatal(err)
	}
	lines, err := ReadMetrics(j.Dir())
	if err != nil || len(lines) != 1 || len(lines[0].Values) != len(want) {
		t.Fatal(lines, err)
	}
	for name, w := range want {
		if got := lines[0].Values[name]; got != w && !(math.IsNaN(got) && math.IsNaN(w)) {
			t.Errorf("%s: got %v", name, got)
		}
	}
}

// A metrics file that something else wrote into is left as it is.
func TestChangedMetrics(t *testing.T) {
	j := create(t, Options{})
	for n := 1; n <= 5; n++ {
		step(t, j, n)
	}
	j.Close()
	path := filepath.Join(j.Dir(), metricsFile)
	text := "hello\n" + read(t, path)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Open(j.Dir(), nil, Options{})
	if err == nil || !strings.Contains(err.Error(), "metrics.jsonl: line 1: ") || read(t, path) != text {
		t.Errorf("got %v", err)
	}
	reopenable := strings.TrimPrefix(text, "hello\n")
	if err := os.WriteFile(path, []byte(reopenable), 0o644); err != nil {
		t.Fatal(err)
	}
	reopen(t, j.Dir(), Options{}) // the refusal gave the lock back
}

func FuzzDecodeLine(f *testing.F) {
	f.Add([]byte(`{"step":1,"loss":"NaN","lr":1e-5}`))
	f.Add([]byte(`{"step":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, err := decodeLine(text)
		if err != nil {
			return
		}
		again, err := encodeLine(l.Step, l.Values)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := decodeLine(again); err != nil || m.Step != l.Step || len(m.Values) != len(l.Values) {
			t.Errorf("%q became %q: %v", text, again, err)
		}
	})
}

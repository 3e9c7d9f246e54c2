package train

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"

	"lapidary/checkpoint"
	"lapidary/engine/graph"
	"lapidary/engine/graph/plugin"
	"lapidary/gemma"
	"lapidary/train/optimizer"
	"lapidary/train/recipe"
)

// virtual is the CPU as so many devices.
func virtual(t *testing.T, devices int) *graph.Engine {
	t.Helper()
	choice, err := plugin.Best("cpu")
	if err != nil || choice.Plugin == nil {
		t.Skip("several devices need XLA's CPU plugin:", choice.Reason, err)
	}
	e, err := graph.New(graph.Options{Backend: choice.WithDevices(devices).Config, Spread: devices > 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// spread is a machine that trains all weights of the golden model on a layout.
func spread(t *testing.T, l recipe.Layout) (*machine, subject) {
	t.Helper()
	c, err := checkpoint.Open(gemma3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	e := virtual(t, l.Count())
	model, err := gemma.Load(c, e)
	if err != nil {
		t.Fatal(err)
	}
	s := subject{engine: e, model: model}
	r, err := nextToken{}.trace(t.Context(), s, walkBatch(0, 4, 16, model.Config().Vocab), 1)
	if err != nil {
		t.Fatal(err)
	}
	names, dims := make([]string, len(r.Weights)), make([][]int, len(r.Weights))
	for i, w := range r.Weights {
		rows, cols := w.Dims()
		names[i], dims[i] = w.Name(), []int{rows, cols}
	}
	o, err := optimizer.New(adamW)
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{engine: e, optimizer: o, clip: 1}
	t.Cleanup(m.close)
	if m.mesh, err = newMesh(e.Backend(), l); err != nil {
		t.Fatal(err)
	}
	if err := m.begin(r.Weights, optimizer.Parameters(adamW, names, dims)); err != nil {
		t.Fatal(err)
	}
	return m, s
}

// walked are the losses and norms of steps of two passes of four lines each.
func walked(t *testing.T, m *machine, s subject, steps int) (losses, norms []float64) {
	t.Helper()
	for step := range steps {
		var micros []micro
		for k := range 2 {
			b := walkBatch(2*step+k, 4, 16, s.model.Config().Vocab)
			r, err := nextToken{}.trace(t.Context(), s, b, 1/(2*nextToken{}.counts(b)))
			if err != nil {
				t.Fatal(err)
			}
			micros = append(micros, r)
		}
		got, err := m.step(micros, step+1, 3e-3, func(float64) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		losses, norms = append(losses, got.loss), append(norms, got.norm)
	}
	return losses, norms
}

// TestLayouts: 20 steps, each of two passes and clipped, end where one device's
// do, however data and weights lie.
func TestLayouts(t *testing.T) {
	const steps = 20
	m, s := spread(t, recipe.Layout{Data: 1, FSDP: 1, Model: 1})
	want, wantNorms := walked(t, m, s, steps)
	if want[steps-1] >= want[0] {
		t.Fatalf("one device learns nothing: %v", want)
	}
	for _, name := range []string{"data=4", "data=2,model=2", "fsdp=4", "data=4,model=2"} {
		t.Run(name, func(t *testing.T) {
			var l recipe.Layout
			if err := l.UnmarshalText([]byte(name)); err != nil {
				t.Fatal(err)
			}
			m, s := spread(t, l)
			got, norms := walked(t, m, s, steps)
			var worst float64
			for i := range want {
				off := math.Abs(got[i] - want[i])
				if worst = max(worst, off); !(off <= 1e-5) || !(math.Abs(norms[i]-wantNorms[i]) <= 1e-4*wantNorms[i]) {
					t.Fatalf("step %d: a loss of %v, a gradient of length %v; one device has %v and %v", i, got[i], norms[i], want[i], wantNorms[i])
				}
			}
			t.Logf("the losses of %d steps are off by %.1e at most", steps, worst)
			m.check(t, l)
		})
	}
}

// check looks at where the weights lie after steps.
func (m *machine) check(t *testing.T, l recipe.Layout) {
	t.Helper()
	part, whole := 0, 0
	for _, w := range m.weights {
		for _, b := range append(w.slots, w.value) {
			s := b.(*shards)
			shape, err := s.parts[len(s.parts)-1].Shape()
			if err != nil {
				t.Fatal(err)
			}
			if want := s.spec.ShardShape(s.shape); !shape.Equal(want) {
				t.Fatalf("%s: a part is %s, want %s", w.Name, shape, want)
			}
			part, whole = part+shape.Size(), whole+s.shape.Size()
		}
	}
	if share := float64(part) / float64(whole); share > 1.1/float64(l.FSDP*l.Model) {
		t.Errorf("a device holds %.2f of the weights and the optimiser's state", share)
	}
}

// TestShards: what is spread is read back as it was, whatever is split.
func TestShards(t *testing.T) {
	e := virtual(t, 8)
	m, err := newMesh(e.Backend(), recipe.Layout{Data: 2, FSDP: 2, Model: 2})
	if err != nil {
		t.Fatal(err)
	}
	dims := []int{8, 4, 3}
	values := make([]float32, size(dims))
	for i := range values {
		values[i] = float32(i)
	}
	for _, split := range [][][]string{nil, {{dataAxis, fsdpAxis}}, {{modelAxis}, {fsdpAxis}}, {nil, {dataAxis, modelAxis}}, {{fsdpAxis, modelAxis, dataAxis}}} {
		b, err := m.put(values, shapes.Make(dtypes.Float32, dims...), m.spec(dims, split...))
		if err != nil {
			t.Fatal(err)
		}
		got, err := read(b, dims)
		if err != nil || !slices.Equal(got, values) {
			t.Errorf("%v: %v, %v", split, got, err)
		}
		release(b)
	}
	if s := m.spec([]int{5}, []string{dataAxis, fsdpAxis}); !s.IsReplicated() {
		t.Errorf("5 rows are split among 4 devices: %v", s)
	}
	if _, err := newMesh(e.Backend(), recipe.Layout{Data: 16, FSDP: 1, Model: 1}); err == nil {
		t.Error("16 devices of 8")
	}
}

// TestSpreadRun: a run that is spread over devices, and goes on over others from
// what it kept, learns what a run on one device does.
func TestSpreadRun(t *testing.T) {
	virtual(t, 8) // or there is nothing to test
	folder := t.TempDir()
	var text strings.Builder
	for i := range 400 {
		fmt.Fprintf(&text, "The sum of %d and %d is %d. ", i, 3*i%7, i+3*i%7)
	}
	if err := os.WriteFile(filepath.Join(folder, "sums.txt"), []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func(out, devices string, steps int, resume bool) []float64 {
		out = filepath.Join(folder, out)
		r, err := recipe.Parse("r.yaml", fmt.Appendf(nil, `
model: {from_scratch: {layers: 1, width: 32, heads: 4, kv_heads: 2, head_size: 8, vocab: {train: 300}}}
data: [{path: %q}]
batch: {sequences: 8, micro: 4, length: 32}
schedule: {kind: constant, warmup: 0}
steps: %d
engine: cpu
devices: %q
out: %q
`, filepath.Join(folder, "sums.txt"), steps, devices, out))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Run(t.Context(), r, Options{Resume: resume}); err != nil {
			t.Fatal(err)
		}
		return lossesOf(t, out)
	}
	want := run("one", "data=1", 6, false)
	run("many", "data=2,fsdp=2,model=2", 3, false)
	got := run("many", "fsdp=4", 6, true)
	if len(got) != 6 || len(want) != 6 {
		t.Fatalf("losses of %d and %d steps", len(got), len(want))
	}
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= 1e-5) {
			t.Errorf("step %d: a loss of %v, one device has %v", i+1, got[i], want[i])
		}
	}
}

// lossesOf reads them from a run's folder.
func lossesOf(t *testing.T, out string) (losses []float64) {
	t.Helper()
	lines, err := os.ReadFile(filepath.Join(out, "metrics.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(lines)) {
		var m struct{ Loss *float64 }
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		if m.Loss != nil {
			losses = append(losses, *m.Loss)
		}
	}
	return losses
}

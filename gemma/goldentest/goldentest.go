// Package goldentest holds models against reference outputs: tiny checkpoints of
// every family with what transformers makes of them.
package goldentest

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/engine"
	"lapidary/gemma"
)

// Run runs every case on every engine, in both spellings of its configuration.
// Whatever a case's golden.json states is compared; gradients are where an engine
// has them. The cases are in the folder that LAPIDARY_GOLDENS names, or in the
// given one.
func Run(t *testing.T, folder string, engines []Engine) {
	t.Helper()
	if named := os.Getenv("LAPIDARY_GOLDENS"); named != "" {
		folder = named
	}
	cases, err := filepath.Glob(filepath.Join(folder, "*", "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, path := range cases {
		folder := filepath.Dir(path)
		name := filepath.Base(folder)
		features := featureCases[name]
		if _, err := os.Stat(filepath.Join(folder, "model.safetensors")); err != nil && features == nil {
			continue // of something other than a Gemma
		}
		ran++
		t.Run(name, func(t *testing.T) {
			if features != nil {
				features(t, folder)
				return
			}
			runs := readRuns(t, path)
			for _, e := range engines {
				for _, spelling := range spellings(t, folder) {
					t.Run(filepath.Join(e.Label, spelling.name), func(t *testing.T) {
						c := &Case{T: t, folder: folder, runs: runs, Engine: e, Model: Load(t, spelling.folder, e)}
						for _, r := range runs {
							t.Run(r.Name, func(t *testing.T) {
								sub := *c
								sub.T = t
								sub.run(r)
							})
						}
					})
				}
			}
		})
	}
	if ran < 29 {
		t.Errorf("%d cases in %s, want 29", ran, folder)
	}
}

// golden is a run of a golden.json.
type golden struct {
	Name            string
	Inputs, Outputs map[string]array
	Loss            *float64
	Grads           map[string]struct {
		L2   float64
		Head []float64
	}
}

func readRuns(t *testing.T, path string) []golden {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ Runs []golden }
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	for i := range doc.Runs {
		for name, v := range doc.Runs[i].Inputs { // as another run's, with changes
			if name == "same_inputs_as" {
				doc.Runs[i].borrow(doc.Runs, v.text)
			}
		}
	}
	return doc.Runs
}

func (g *golden) borrow(runs []golden, from string) {
	for _, r := range runs {
		if r.Name != from {
			continue
		}
		for name, v := range r.Inputs {
			if _, own := g.Inputs[name]; !own {
				g.Inputs[name] = v
			}
		}
	}
}

// array is a tensor, a number, a text or nothing.
type array struct {
	Shape []int
	Data  []float64
	text  string
}

func (a *array) UnmarshalJSON(data []byte) error {
	switch data[0] {
	case '{':
		type tensor struct {
			Shape []int
			Data  []float64
		}
		var v tensor
		if err := json.Unmarshal(data, &v); err != nil {
			return err
		}
		a.Shape, a.Data = v.Shape, v.Data
		return nil
	case '"':
		return json.Unmarshal(data, &a.text)
	case '[':
		if err := json.Unmarshal(data, &a.Data); err != nil {
			return err
		}
		a.Shape = []int{len(a.Data)}
		return nil
	case 'n':
		return nil
	}
	a.Shape, a.Data = []int{1}, make([]float64, 1)
	return json.Unmarshal(data, &a.Data[0])
}

// row is row i of the last axis but one.
func (a array) row(i int) []float64 {
	n := a.Shape[len(a.Shape)-1]
	return a.Data[i*n : (i+1)*n]
}

// part is what lies at index i of the first axis.
func (a array) part(i int) array {
	n := len(a.Data) / a.Shape[0]
	return array{Shape: a.Shape[1:], Data: a.Data[i*n : (i+1)*n]}
}

// floats are all elements.
func (a array) floats() []float32 {
	out := make([]float32, len(a.Data))
	for i, v := range a.Data {
		out[i] = float32(v)
	}
	return out
}

// ids are row i as tokens.
func (a array) ids(i int) []int32 {
	var ids []int32
	for _, v := range a.row(i) {
		ids = append(ids, int32(v))
	}
	return ids
}

// Engine is one to test.
type Engine struct {
	Label string
	engine.Engine
	// Tolerance, absolute or relative: two sound programs that keep all in
	// float32 differ by 5e-6.
	Tolerance float64
	// Trace begins a trace, on an engine that has gradients; else nil.
	Trace func() Trace
}

// Trace is an engine that writes passes down. What is read out of them it knows
// again.
type Trace interface {
	engine.Engine
	// Gradients of the mean cross-entropy of labels, but for those that are −100,
	// given rows of states of which head makes logits, or that are logits if head
	// is nil: the loss, and its derivatives by weights as they were loaded.
	Gradients(states [][]float32, width int, head engine.Weight, softCap float32, labels []int32) (float32, []Gradient, error)
}

// Gradient is that of a weight.
type Gradient struct {
	checkpoint.Tensor
	Values []float32
}

type spelling struct{ name, folder string }

// spellings are the case's folder and, where it states its configuration in
// another way, one with that.
func spellings(t *testing.T, folder string) []spelling {
	t.Helper()
	all := []spelling{{"", folder}}
	hub := filepath.Join(folder, "config.hub.json")
	text, err := os.ReadFile(hub)
	if err != nil {
		return all
	}
	other := t.TempDir()
	if err := os.CopyFS(other, modelFiles{os.DirFS(folder)}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other, "config.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return append(all, spelling{"hub", other})
}

// modelFiles are a folder's weights alone.
type modelFiles struct{ fs.FS }

func (f modelFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(f.FS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() && e.Name() != "model.safetensors" }), err
}

// Case is a model's reference outputs on an engine.
type Case struct {
	*testing.T
	Model  *gemma.Model
	Engine Engine
	folder string
	runs   []golden
}

// Load opens a model, closed when t ends.
func Load(t *testing.T, path string, e engine.Engine) *gemma.Model {
	t.Helper()
	c, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if labelled, ok := e.(Engine); ok {
		e = labelled.Engine
	}
	m, err := gemma.Load(c, e)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Near fails unless the rows agree.
func (c *Case) Near(what string, got []float32, want []float64) {
	c.Helper()
	if len(got) != len(want) {
		c.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i, w := range want {
		if diff := math.Abs(float64(got[i])-w) / max(1, math.Abs(w)); !(diff <= c.Engine.Tolerance) {
			c.Fatalf("%s: element %d is %v, want %v", what, i, got[i], w)
		}
	}
}

// rowsNear compares rows, of which skip may leave some out.
func (c *Case) rowsNear(what string, got [][]float32, want array) {
	c.Helper()
	if n := len(want.Data) / want.Shape[len(want.Shape)-1]; len(got) != n {
		c.Fatalf("%s: %d rows, want %d", what, len(got), n)
	}
	for i := range got {
		c.Near(fmt.Sprintf("%s, row %d", what, i), got[i], want.row(i))
	}
}

// Must is for calls that have no business failing.
func Must[T any](c *Case) func(v T, err error) T {
	return func(v T, err error) T {
		c.Helper()
		if err != nil {
			c.Fatal(err)
		}
		return v
	}
}

func (c *Case) Forward(steps []gemma.Step, out *gemma.Logits) {
	c.Helper()
	if err := c.Model.Forward(c.Context(), steps, out); err != nil {
		c.Fatal(err)
	}
}

// Best is the token with the greatest logit.
func Best(logits []float32) int32 {
	return int32(slices.Index(logits, slices.Max(logits)))
}

// run compares one run. Every name that a case may have is here.
func (c *Case) run(r golden) {
	config := c.Model.Config()
	switch r.Name {
	case "forward", "no_token_types":
		if config.Encoder != nil {
			c.translation(r)
		} else {
			c.media(r)
			c.logits(r)
		}
	case "greedy":
		if config.Encoder != nil {
			c.greedyTranslation(r)
		} else {
			c.greedy(r)
		}
	case "train":
		if c.Engine.Trace != nil {
			c.gradients(r)
		} else {
			c.loss(r)
		}
	case "left_padded":
		c.batch(r)
	case "left_padded_greedy":
		c.batchGreedy(r)
	case "embed", "text", "multimodal":
		c.embed(r)
	case "classify", "tag":
		if config.Head.Yes != config.Head.No {
			c.verdict(r)
		} else {
			c.classify(r)
			if c.Engine.Trace != nil && r.Loss != nil {
				c.labelGradients(r)
			}
		}
	case "pairs":
		c.pairs(r)
	case "audio":
		c.sounds(r)
	case "draft":
		c.draft(r)
	case "denoise":
		c.denoise(r)
	default:
		c.Fatalf("no test for a run called %q", r.Name)
	}
}

// HiddenStates compares the stream after the embedding, after each layer, and
// after the last norm.
func HiddenStates(t *testing.T, goldens string, engines []Engine) {
	t.Helper()
	for _, name := range []string{"gemma1_text", "gemma2_text", "gemma3_text"} {
		for _, e := range engines {
			t.Run(filepath.Join(name, e.Label), func(t *testing.T) {
				folder := filepath.Join(goldens, name)
				c := &Case{T: t, folder: folder, Engine: e, Model: Load(t, folder, e)}
				c.hiddenStates(readRuns(t, filepath.Join(folder, "golden.json"))[0])
			})
		}
	}
}

func (c *Case) hiddenStates(r golden) {
	traces, err := checkpoint.Open(filepath.Join(c.folder, "trace.safetensors"))
	if err != nil {
		c.Fatal(err)
	}
	defer traces.Close()
	layers := len(c.Model.Config().Layers)
	want := map[string]string{"embed": "forward/hidden_0", "norm": fmt.Sprint("forward/hidden_", layers)}
	for i := range layers - 1 {
		want[fmt.Sprint("layers.", i)] = fmt.Sprint("forward/hidden_", i+1)
	}
	watch := func(name string, rows [][]float32) bool {
		stored, ok := traces.Tensor(want[name])
		if !ok {
			return false
		}
		delete(want, name)
		for i, v := range checkpointtest.Floats(stored) {
			if got := rows[i/stored.Cols()][i%stored.Cols()]; !(math.Abs(float64(got-v)) <= c.Engine.Tolerance*max(1, math.Abs(float64(v)))) {
				c.Fatalf("%s: row %d, element %d is %v, want %v", name, i/stored.Cols(), i%stored.Cols(), got, v)
			}
		}
		return false
	}
	steps := []gemma.Step{{Tokens: r.Inputs["input_ids"].ids(0), Logits: gemma.AllRows}}
	if err := c.Model.ForwardObserved(c.Context(), steps, new(gemma.Logits), watch); err != nil {
		c.Fatal(err)
	}
	if len(want) > 0 {
		c.Errorf("not observed: %v", want)
	}
}

// rows are copies of the rows of logits.
func rows(l *gemma.Logits) (rows [][]float32) {
	for i := range l.Rows() {
		rows = append(rows, slices.Clone(l.Row(i)))
	}
	return rows
}

package gemma_test

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/engine"
	"lapidary/engine/cpu"
	"lapidary/engine/cpu/kernel"
	"lapidary/engine/ref"
	"lapidary/gemma"
)

// golden is testdata/<case>/golden.json.
type golden struct {
	Runs []struct {
		Name            string
		Inputs, Outputs map[string]array
	}
}

type array struct {
	Shape []int
	Data  []float64
}

// row is row i of the last axis but one.
func (a array) row(i int) []float64 {
	n := a.Shape[len(a.Shape)-1]
	return a.Data[i*n : (i+1)*n]
}

// ids are row i as tokens.
func (a array) ids(i int) []int32 {
	var ids []int32
	for _, v := range a.row(i) {
		ids = append(ids, int32(v))
	}
	return ids
}

// goldens opens the cases and calls f with each of them on each engine.
func goldens(t *testing.T, f func(t *testing.T, c *goldenCase)) {
	for _, name := range []string{"gemma1_text", "gemma2_text", "gemma3_text"} {
		for _, e := range engines(t) {
			t.Run(name+"/"+e.name, func(t *testing.T) { f(t, openGolden(t, name, e)) })
		}
	}
}

type named struct {
	name string
	engine.Engine
}

// tolerance is that of the goldens, absolute or relative: two sound programs
// that keep all in float32 differ by 5e-6.
const tolerance = 1e-4

func engines(t *testing.T) []named {
	all := []named{{"ref", ref.New()}}
	for _, set := range kernel.All() {
		e, err := cpu.New(cpu.Options{Kernels: set.Name, Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		all = append(all, named{set.Name, e})
	}
	return all
}

type goldenCase struct {
	*testing.T
	folder string
	runs   golden
	model  *gemma.Model
	engine named
}

func openGolden(t *testing.T, name string, e named) *goldenCase {
	c := &goldenCase{T: t, folder: filepath.Join("testdata", name), engine: e}
	text, err := os.ReadFile(filepath.Join(c.folder, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &c.runs); err != nil {
		t.Fatal(err)
	}
	c.model = load(t, c.folder, e)
	return c
}

func load(t *testing.T, path string, e engine.Engine) *gemma.Model {
	t.Helper()
	c, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	m, err := gemma.Load(c, e)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// run is a run's inputs and outputs; false where the case has none of the name.
func (c *goldenCase) run(name string) (in, out map[string]array, ok bool) {
	for _, r := range c.runs.Runs {
		if r.Name == name {
			return r.Inputs, r.Outputs, true
		}
	}
	return nil, nil, false
}

// near fails unless the rows agree.
func (c *goldenCase) near(what string, got []float32, want []float64) float64 {
	c.Helper()
	if len(got) != len(want) {
		c.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	var most float64
	for i, w := range want {
		diff := math.Abs(float64(got[i])-w) / max(1, math.Abs(w))
		if !(diff <= tolerance) {
			c.Fatalf("%s: element %d is %v, want %v", what, i, got[i], w)
		}
		most = max(most, diff)
	}
	return most
}

func (c *goldenCase) forward(steps []gemma.Step, out *gemma.Logits) {
	c.Helper()
	if err := c.model.Forward(c.Context(), steps, out); err != nil {
		c.Fatal(err)
	}
}

// TestGoldenLogits: one pass over a sequence longer than the window.
func TestGoldenLogits(t *testing.T) {
	goldens(t, func(t *testing.T, c *goldenCase) {
		in, out, _ := c.run("forward")
		var logits gemma.Logits
		for _, cache := range []engine.Cache{nil, c.model.NewCache()} {
			c.forward([]gemma.Step{{Cache: cache, Tokens: in["input_ids"].ids(0), Logits: gemma.AllRows}}, &logits)
			if logits.Rows() != 24 {
				t.Fatalf("%d rows of logits, want 24", logits.Rows())
			}
			var most float64
			for i := range logits.Rows() {
				most = max(most, c.near(fmt.Sprint("row ", i), logits.Row(i), out["logits"].row(i)))
			}
			t.Logf("greatest difference %.1e", most)
		}
	})
}

// TestGoldenHiddenStates: the stream after the embedding, after each layer,
// and after the last norm.
func TestGoldenHiddenStates(t *testing.T) {
	goldens(t, func(t *testing.T, c *goldenCase) {
		in, _, _ := c.run("forward")
		traces, err := checkpoint.Open(filepath.Join(c.folder, "trace.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer traces.Close()
		layers := len(c.model.Config().Layers)
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
				if got := rows[i/stored.Cols()][i%stored.Cols()]; !(math.Abs(float64(got-v)) <= tolerance*max(1, math.Abs(float64(v)))) {
					t.Fatalf("%s: row %d, element %d is %v, want %v", name, i/stored.Cols(), i%stored.Cols(), got, v)
				}
			}
			return false
		}
		steps := []gemma.Step{{Tokens: in["input_ids"].ids(0), Logits: gemma.AllRows}}
		if err := c.model.ForwardObserved(t.Context(), steps, new(gemma.Logits), watch); err != nil {
			t.Fatal(err)
		}
		if len(want) > 0 {
			t.Errorf("not observed: %v", want)
		}
	})
}

func best(logits []float32) int32 {
	return int32(slices.Index(logits, slices.Max(logits)))
}

// TestGoldenGreedy decodes past the window, with the cache and without.
func TestGoldenGreedy(t *testing.T) {
	goldens(t, func(t *testing.T, c *goldenCase) {
		in, out, _ := c.run("greedy")
		prompt, want := in["input_ids"].ids(0), out["tokens"].ids(0)
		for _, cached := range []bool{true, false} {
			var cache engine.Cache
			if cached {
				cache = c.model.NewCache()
			}
			tokens, next := slices.Clone(prompt), prompt
			var logits gemma.Logits
			for at := 0; len(tokens) < len(want); at++ {
				if !cached {
					next = tokens
				}
				c.forward([]gemma.Step{{Cache: cache, Tokens: next, Logits: gemma.LastRow}}, &logits)
				c.near(fmt.Sprintf("cache %v, token %d", cached, at), logits.Row(0), out["logits_uncached"].row(at))
				tokens = append(tokens, best(logits.Row(0)))
				next = tokens[len(tokens)-1:]
			}
			if !slices.Equal(tokens, want) {
				t.Errorf("with cache %v: %v, want %v", cached, tokens, want)
			}
		}
	})
}

// unpadded are the rows of a batch without the padding at their left.
func unpadded(in map[string]array) (rows [][]int32) {
	for i := range in["input_ids"].Shape[0] {
		ids, mask := in["input_ids"].ids(i), in["attention_mask"].row(i)
		rows = append(rows, ids[slices.Index(mask, 1):])
	}
	return rows
}

// TestGoldenBatch: two sequences of different lengths in one pass, which the
// reference had to pad.
func TestGoldenBatch(t *testing.T) {
	goldens(t, func(t *testing.T, c *goldenCase) {
		in, out, ok := c.run("left_padded")
		if !ok {
			t.Skip("the case has no batch")
		}
		var steps []gemma.Step
		for _, ids := range unpadded(in) {
			steps = append(steps, gemma.Step{Tokens: ids, Logits: gemma.AllRows})
		}
		var logits gemma.Logits
		c.forward(steps, &logits)
		width, row := in["input_ids"].Shape[1], 0
		for i, s := range steps {
			for j := range s.Tokens {
				at := i*width + width - len(s.Tokens) + j
				c.near(fmt.Sprintf("sequence %d, row %d", i, j), logits.Row(row), out["logits"].row(at))
				row++
			}
		}
	})
}

// TestGoldenBatchGreedy decodes both sequences together.
func TestGoldenBatchGreedy(t *testing.T) {
	goldens(t, func(t *testing.T, c *goldenCase) {
		in, out, ok := c.run("left_padded_greedy")
		if !ok {
			t.Skip("the case has no batch")
		}
		var steps []gemma.Step
		got := unpadded(in)
		for _, ids := range got {
			steps = append(steps, gemma.Step{Cache: c.model.NewCache(), Tokens: ids, Logits: gemma.LastRow})
		}
		var logits gemma.Logits
		for range out["tokens"].Shape[1] - in["input_ids"].Shape[1] {
			c.forward(steps, &logits)
			for i := range steps {
				got[i] = append(got[i], best(logits.Row(i)))
				steps[i].Tokens = got[i][len(got[i])-1:]
			}
		}
		for i, ids := range got {
			all := out["tokens"].ids(i)
			if want := all[len(all)-len(ids):]; !slices.Equal(ids, want) {
				t.Errorf("sequence %d: %v, want %v", i, ids, want)
			}
		}
	})
}

package train

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	_ "github.com/gomlx/compute/gobackend"

	"lapidary/checkpoint"
	"lapidary/engine/graph"
	"lapidary/gemma"
	"lapidary/train/data"
	"lapidary/train/optimizer"
	"lapidary/train/recipe"
)

const gemma3 = "../gemma/testdata/goldens/gemma3_text"

// opened is a model on the pure-Go backend.
func opened(t *testing.T, path string) (subject, *checkpoint.Checkpoint) {
	t.Helper()
	return openedAs(t, path, false)
}

// openedAs is opened, in bfloat16 or not.
func openedAs(t *testing.T, path string, half bool) (subject, *checkpoint.Checkpoint) {
	t.Helper()
	e, err := graph.New(graph.Options{Backend: "go", Half: half})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	c, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	m, err := gemma.Load(c, e)
	if err != nil {
		t.Fatal(err)
	}
	return subject{engine: e, model: m}, c
}

// walk is the text of parity.py.
func walk(step, lines, length, vocab int) []int32 {
	state := uint32(step) * 2654435761
	vocab -= 4
	var out []int32
	for range lines {
		last := state % uint32(vocab)
		for range length {
			out = append(out, 4+int32(last))
			state = 1664525*state + 1013904223
			if state>>29 != 0 {
				last = (3*last + 7) % uint32(vocab)
			} else {
				last = (state >> 8) % uint32(vocab)
			}
		}
	}
	return out
}

// TestParity: the same model, data and optimiser as in transformers give the same
// loss at every one of 200 steps (testdata/parity.py).
func TestParity(t *testing.T) {
	text, err := os.ReadFile("testdata/parity.json")
	if err != nil {
		t.Fatal(err)
	}
	var want struct{ Losses, Norms []float64 }
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	const lines, length, warmup, rate = 2, 48, 20, 3e-3
	s, _ := opened(t, gemma3)
	settings := recipe.Optimizer{
		Kind: recipe.AdamW, LR: rate, Betas: [2]float64{0.9, 0.999}, Eps: 1e-8, WeightDecay: 0.01, Clip: 1,
		Groups: []recipe.Group{{Pattern: "norm", LRFactor: 1, DecayFactor: 0}, {LRFactor: 1, DecayFactor: 1}},
	}
	m := testMachine(t, s, settings, nextToken{}, walkBatch(0, lines, length, s.model.Config().Vocab))
	curve := recipe.Curve{Kind: recipe.CosineSchedule, Peak: rate, Warmup: warmup, Total: len(want.Losses)}
	var worst float64
	for step := range want.Losses {
		b := walkBatch(step, lines, length, s.model.Config().Vocab)
		r, err := (nextToken{}).trace(t.Context(), s, b, 1/(nextToken{}).counts(b))
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.step([]micro{r}, step+1, curve.LR(step), func(float64) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		off := math.Abs(got.loss - want.Losses[step])
		if worst = max(worst, off); !(off <= 1e-3) {
			t.Fatalf("step %d: a loss of %v, want %v", step, got.loss, want.Losses[step])
		}
		if !(math.Abs(got.norm-want.Norms[step]) <= 1e-2*want.Norms[step]) {
			t.Fatalf("step %d: a gradient of length %v, want %v", step, got.norm, want.Norms[step])
		}
	}
	t.Logf("the losses of %d steps are off by %.1e at most", len(want.Losses), worst)
}

func walkBatch(step, lines, length, vocab int) data.Batch {
	b := data.Batch{Lines: lines, Length: length, Tokens: walk(step, lines, length, vocab), Loss: make([]float32, lines*length), Parts: 1}
	for i := range b.Loss {
		if i%length > 0 {
			b.Loss[i] = 1
		}
	}
	for range lines {
		b.Documents = append(b.Documents, []int{length})
	}
	return b
}

// testMachine trains all weights that a batch goes through.
func testMachine(t *testing.T, s subject, settings recipe.Optimizer, goal objective, b data.Batch) *machine {
	t.Helper()
	r, err := goal.trace(t.Context(), s, b, 1)
	if err != nil {
		t.Fatal(err)
	}
	names, dims := make([]string, len(r.Weights)), make([][]int, len(r.Weights))
	for i, w := range r.Weights {
		rows, cols := w.Dims()
		names[i], dims[i] = w.Name(), []int{rows, cols}
	}
	o, err := optimizer.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMachine(s.engine, o, settings.Clip, false, r.Weights, optimizer.Parameters(settings, names, dims))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	return m
}

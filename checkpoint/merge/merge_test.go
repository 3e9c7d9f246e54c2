package merge_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lapidary/adapter"
	"lapidary/checkpoint"
	"lapidary/checkpoint/merge"
	"lapidary/checkpoint/quantize"
	"lapidary/engine/ref"
	"lapidary/gemma"
)

const (
	adapters = "../../adapter/testdata"
	base     = "../../gemma/testdata/goldens/gemma3_text"
)

type golden struct {
	Input    []int32 `json:"input_ids"`
	Variants []struct {
		Name   string
		Logits []float32 `json:"last_logits"`
	}
}

func readGolden(t *testing.T) (g golden) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(adapters, "golden.json"))
	if err == nil {
		err = json.Unmarshal(text, &g)
	}
	if err != nil || len(g.Variants) != 3 {
		t.Fatalf("%d variants, %v", len(g.Variants), err)
	}
	return g
}

func open(t *testing.T, path string) *checkpoint.Checkpoint {
	t.Helper()
	c, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func share(t *testing.T, name string, by float64) adapter.Weighted {
	t.Helper()
	a, err := adapter.Open(filepath.Join(adapters, name))
	if err != nil {
		t.Fatal(err)
	}
	return adapter.Weighted{Adapter: a, By: by}
}

// logits are those after the last token, with a sum of adapters beside the weights.
func logits(t *testing.T, c *checkpoint.Checkpoint, tokens []int32, sum ...adapter.Weighted) []float32 {
	t.Helper()
	m, err := gemma.Load(c, ref.New())
	if err != nil {
		t.Fatal(err)
	}
	step := gemma.Step{Tokens: tokens, Logits: gemma.LastRow}
	if len(sum) > 0 {
		if step.Adapter, err = m.BindAdapter(sum...); err != nil {
			t.Fatal(err)
		}
	}
	var out gemma.Logits
	if err := m.Forward(t.Context(), []gemma.Step{step}, &out); err != nil {
		t.Fatal(err)
	}
	return out.Row(0)
}

func farthest(a, b []float32) (most float32) {
	for i := range a {
		most = max(most, a[i]-b[i], b[i]-a[i])
	}
	return most
}

// TestGoldens merges PEFT's files into a folder and a GGUF file.
func TestGoldens(t *testing.T) {
	g := readGolden(t)
	for _, v := range g.Variants {
		for _, out := range []string{"folder", "model.gguf"} {
			t.Run(v.Name+"/"+out, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), out)
				r, err := merge.Write(t.Context(), path, open(t, base), []adapter.Weighted{share(t, v.Name, 1)}, merge.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if r.Merged != 18 || r.Formats[checkpoint.F32] != 80 || r.Bytes < 280_000 {
					t.Errorf("%+v", r)
				}
				if d := farthest(logits(t, open(t, path), g.Input), v.Logits); d > 1e-4 {
					t.Errorf("logits are %g apart", d)
				}
			})
		}
	}
}

// TestSumInFewBits merges two adapters into a file of fewer bits, which then
// keeps its formats.
func TestSumInFewBits(t *testing.T) {
	g := readGolden(t)
	sum := []adapter.Weighted{share(t, "lora", 0.5), share(t, "dora", 0.25)}
	mix, err := quantize.Find("Q8_0")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	first, second := filepath.Join(dir, "a.gguf"), filepath.Join(dir, "b.gguf")
	done := int64(0)
	a, err := merge.Write(t.Context(), first, open(t, base), nil, merge.Options{Mixture: &mix, Progress: func(n, _ int64) { done = n }})
	if err != nil {
		t.Fatal(err)
	}
	if a.Formats[checkpoint.Q8_0] == 0 || done < 280_000 {
		t.Errorf("%+v, %d bytes done", a, done)
	}
	want := logits(t, open(t, first), g.Input, sum...)
	b, err := merge.Write(t.Context(), second, open(t, first), sum, merge.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if b.Formats[checkpoint.Q8_0] != a.Formats[checkpoint.Q8_0] || b.Bytes != a.Bytes || b.Merged != 18 {
		t.Errorf("%+v, then %+v", a, b)
	}
	got := logits(t, open(t, second), g.Input)
	if near, far := farthest(got, want), farthest(got, logits(t, open(t, first), g.Input)); near > 0.05 || far < 10*near {
		t.Errorf("%g from the adapters beside the weights, %g from none", near, far)
	}
}

// TestRefuses leaves nothing behind.
func TestRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "model.gguf")
	if _, err := merge.Write(t.Context(), file, open(t, base), nil, merge.Options{}); err != nil {
		t.Fatal(err)
	}
	lora := []adapter.Weighted{share(t, "lora", 1)}
	mix, _ := quantize.Find("Q8_0")
	ended, end := context.WithCancel(t.Context())
	end()
	for want, write := range map[string]func() error{
		"was made for another model": func() error {
			_, err := merge.Write(t.Context(), filepath.Join(dir, "x"), open(t, filepath.Dir(base)+"/gemma2_text"), lora, merge.Options{})
			return err
		},
		"is the model that is read": func() error {
			_, err := merge.Write(t.Context(), file, open(t, file), lora, merge.Options{})
			return err
		},
		"merge it into a file": func() error {
			_, err := merge.Write(t.Context(), filepath.Join(dir, "x"), open(t, file), lora, merge.Options{})
			return err
		},
		"keep their formats": func() error {
			_, err := merge.Write(t.Context(), filepath.Join(dir, "x"), open(t, base), lora, merge.Options{Mixture: &mix})
			return err
		},
		"the folder is not empty": func() error {
			_, err := merge.Write(t.Context(), dir, open(t, base), lora, merge.Options{})
			return err
		},
		"is no folder": func() error {
			_, err := merge.Write(t.Context(), filepath.Join(dir, "x"), open(t, base+"/model.safetensors"), lora, merge.Options{})
			return err
		},
		context.Canceled.Error(): func() error {
			_, err := merge.Write(ended, filepath.Join(dir, "x"), open(t, base), lora, merge.Options{})
			return err
		},
	} {
		if err := write(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files, %v", len(entries), err)
	}
	if _, err := merge.Write(t.Context(), filepath.Join(dir, "x"), open(t, filepath.Dir(base)+"/gemma2_text"), lora, merge.Options{}); !errors.Is(err, adapter.ErrMismatch) {
		t.Error(err)
	}
}

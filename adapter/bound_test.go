package adapter_test

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"lapidary/adapter"
	"lapidary/checkpoint"
	"lapidary/engine"
	"lapidary/engine/cpu"
	"lapidary/engine/ref"
	"lapidary/gemma"
	"lapidary/gemma/goldentest"
)

const goldens = "../gemma/testdata/goldens"

// adapterGolden is what PEFT gives with the adapters beside it.
type adapterGolden struct {
	Input    []int32 `json:"input_ids"`
	Variants []struct {
		Name       string
		Logits     []float32 `json:"last_logits"`
		Parameters int       `json:"trainable"`
		Loss       float64   `json:"train_loss"`
	}
}

func readAdapterGolden(t *testing.T) (g adapterGolden) {
	text, err := os.ReadFile(filepath.Join("testdata", "golden.json"))
	if err == nil {
		err = json.Unmarshal(text, &g)
	}
	if err != nil || len(g.Variants) != 3 {
		t.Fatalf("%d variants, %v", len(g.Variants), err)
	}
	return g
}

// TestAdapterGoldens runs PEFT's files beside the weights, bound for inference
// and for training.
func TestAdapterGoldens(t *testing.T) {
	g := readAdapterGolden(t)
	for _, e := range engines(t) {
		m := goldentest.Load(t, filepath.Join(goldens, "gemma3_text"), e)
		for _, v := range g.Variants {
			t.Run(e.Name()+"/"+v.Name, func(t *testing.T) {
				a := open(t, v.Name)
				if n := a.Parameters(); n != v.Parameters || string(a.Config.Kind()) != v.Name {
					t.Errorf("%d parameters of a %s, want %d", n, a.Config.Kind(), v.Parameters)
				}
				folded, err := m.BindAdapter(adapter.Weighted{Adapter: a, By: 1})
				if err != nil {
					t.Fatal(err)
				}
				trained, err := m.TrainAdapter(a)
				if err != nil {
					t.Fatal(err)
				}
				for _, b := range []*gemma.BoundAdapter{folded, trained} {
					var out gemma.Logits
					step := gemma.Step{Tokens: g.Input, Logits: gemma.AllRows, Adapter: b}
					if err := m.Forward(t.Context(), []gemma.Step{step}, &out); err != nil {
						t.Fatal(err)
					}
					if d := farthest(out.Row(len(g.Input)-1), v.Logits); d > 1e-4 {
						t.Errorf("logits are %g apart", d)
					}
					if loss := crossEntropy(&out, g.Input[1:]); math.Abs(loss-v.Loss) > 1e-4 {
						t.Errorf("loss %v, want %v", loss, v.Loss)
					}
				}
			})
		}
	}
}

func engines(t *testing.T) []engine.Engine {
	t.Helper()
	fast, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { fast.Close() })
	return []engine.Engine{ref.New(), fast}
}

// crossEntropy is the mean loss of the labels, one for each of the first rows.
func crossEntropy(out *gemma.Logits, labels []int32) (mean float64) {
	for i, label := range labels {
		sum := 0.0
		for _, x := range out.Row(i) {
			sum += math.Exp(float64(x))
		}
		mean += (math.Log(sum) - float64(out.Row(i)[label])) / float64(len(labels))
	}
	return mean
}

// TestAdaptersOfRows mixes adapters in a pass: each changes its own rows, with
// caches and where few rows go on.
func TestAdaptersOfRows(t *testing.T) {
	for _, e := range engines(t) {
		t.Run(e.Name(), func(t *testing.T) { adaptersOfRows(t, goldentest.Load(t, filepath.Join(goldens, "gemma3_text"), e)) })
	}
}

func adaptersOfRows(t *testing.T, m *gemma.Model) {
	bind := func(sum ...adapter.Weighted) *gemma.BoundAdapter {
		b, err := m.BindAdapter(sum...)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	lora, dora := open(t, "lora"), open(t, "dora")
	all := []*gemma.BoundAdapter{bind(adapter.Weighted{Adapter: lora, By: 1}), nil, bind(adapter.Weighted{Adapter: dora, By: 0.5}),
		bind(adapter.Weighted{Adapter: lora, By: 0.25}, adapter.Weighted{Adapter: dora, By: 1}), nil}
	all[4] = all[0]
	var steps []gemma.Step
	for i, b := range all {
		cache := m.NewCache()
		defer cache.Close()
		steps = append(steps, gemma.Step{Cache: cache, Tokens: []int32{2, 16, int32(100 + i), 18, 126}[:3+i%3], Logits: gemma.Want(i % 3), Adapter: b})
	}
	steps[1].Logits, steps[4].Logits = gemma.LastRow, gemma.AllRows
	var together, alone gemma.Logits
	if err := m.Forward(t.Context(), steps, &together); err != nil {
		t.Fatal(err)
	}
	row := 0
	for i, step := range steps {
		step.Cache = nil
		if err := m.Forward(t.Context(), []gemma.Step{step}, &alone); err != nil {
			t.Fatal(err)
		}
		for j := range alone.Rows() {
			if d := farthest(alone.Row(j), together.Row(row)); d > 1e-5 {
				t.Errorf("step %d, row %d: %g apart", i, j, d)
			}
			row++
		}
	}
	if row != together.Rows() || farthest(together.Row(0), together.Row(1)) < 1e-2 {
		t.Errorf("%d rows of %d", row, together.Rows())
	}
	if err := goldentest.Load(t, filepath.Join(goldens, "gemma3_text"), ref.New()).Forward(t.Context(), steps[2:3], &alone); !errors.Is(err, gemma.ErrOtherModel) {
		t.Errorf("another model's adapter: %v", err)
	}
}

// TestAdaptersStepByStep wants of a pass over a few tokens the bits that a pass
// for each gives: verifying drafts stands on it.
func TestAdaptersStepByStep(t *testing.T) {
	m := goldentest.Load(t, filepath.Join(goldens, "gemma3_text"), engines(t)[1])
	b, err := m.BindAdapter(adapter.Weighted{Adapter: open(t, "lora"), By: 1}, adapter.Weighted{Adapter: open(t, "dora"), By: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	tokens := []int32{2, 16, 154, 18, 126}
	var together, alone gemma.Logits
	if err := m.Forward(t.Context(), []gemma.Step{{Tokens: tokens, Logits: gemma.AllRows, Adapter: b}}, &together); err != nil {
		t.Fatal(err)
	}
	cache := m.NewCache()
	defer cache.Close()
	for i := range tokens {
		step := gemma.Step{Cache: cache, Tokens: tokens[i : i+1], Logits: gemma.LastRow, Adapter: b}
		if err := m.Forward(t.Context(), []gemma.Step{step}, &alone); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(alone.Row(0), together.Row(i)) {
			t.Errorf("token %d: %g apart", i, farthest(alone.Row(0), together.Row(i)))
		}
	}
}

func farthest(a, b []float32) (most float32) {
	for i := range a {
		most = max(most, a[i]-b[i], b[i]-a[i])
	}
	return most
}

// TestAdaptersOfFamilies compares adapters of all linear layers beside the
// weights with merged ones, in every family's text.
func TestAdaptersOfFamilies(t *testing.T) {
	for _, family := range []string{"gemma1_text", "gemma2_text", "gemma3_seqcls", "gemma3n_text", "gemma4_e2b_mm", "gemma4_moe_text", "gemma4_unified",
		"gemma3_mm", "paligemma2", "recurrent_gemma", "shieldgemma2", "t5gemma", "t5gemma2", "vaultgemma_text", "embeddinggemma", "embeddinggemma2"} {
		t.Run(family, func(t *testing.T) {
			folder := filepath.Join(goldens, family)
			m := goldentest.Load(t, folder, ref.New())
			for i, dora := range []bool{false, true} {
				rng := rand.New(rand.NewPCG(1, uint64(i)))
				a, err := adapter.New(adapter.Config{Rank: 3, Alpha: 6, DoRA: dora, TargetModules: []string{adapter.AllLinear}}, m.Linears(), m.Weight, rng)
				if err != nil {
					t.Fatal(err)
				}
				for _, module := range a.Modules {
					disturb(t, rng, module.B, 0.05)
					if dora {
						disturb(t, rng, module.Magnitude, 0.05)
					}
				}
				a = again(t, a)
				b, err := m.BindAdapter(adapter.Weighted{Adapter: a, By: 0.75})
				if err != nil {
					t.Fatal(err)
				}
				merged := goldentest.Load(t, mergedFolder(t, folder, a, 0.75), ref.New())
				got, want, before := reads(t, m, b), reads(t, merged, nil), reads(t, m, nil)
				if d := farthest(got, want); d > 1e-4 {
					t.Errorf("beside and merged are %g apart", d)
				}
				if farthest(got, before) < 1e-3 {
					t.Error("the adapter changes nothing")
				}
			}
		})
	}
}

// again is an adapter after writing and reading.
func again(t *testing.T, a *adapter.Adapter) *adapter.Adapter {
	t.Helper()
	dir := t.TempDir()
	if err := a.Write(dir); err != nil {
		t.Fatal(err)
	}
	back, err := adapter.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range a.Modules {
		if n := back.Modules[i]; m.Name != n.Name || m.Path != n.Path {
			t.Fatalf("%s at %s came back as %s at %s", m.Name, m.Path, n.Name, n.Path)
		}
	}
	return back
}

// disturb adds random numbers to a float32 tensor.
func disturb(t *testing.T, rng *rand.Rand, x checkpoint.Tensor, by float64) {
	v := make([]float32, x.Rows()*x.Cols())
	if err := checkpoint.Dequantize(x.Type, v, x.Data); err != nil {
		t.Fatal(err)
	}
	for i := range v {
		v[i] += float32(by * rng.NormFloat64())
	}
	copy(x.Data, adapter.Floats("", v, len(v)).Data)
}

// mergedFolder is a copy of a model with the adapter merged.
func mergedFolder(t *testing.T, folder string, a *adapter.Adapter, by float64) string {
	t.Helper()
	c, err := checkpoint.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	tensors := append([]checkpoint.Tensor(nil), c.Tensors()...)
	data := map[string][]byte{}
	for _, x := range tensors {
		data[x.Name] = x.Data
		if m, ok := a.Module(x.Name[:max(0, len(x.Name)-len(".weight"))]); ok {
			v, err := adapter.Merge(x, adapter.Share{Module: m, By: by})
			if err != nil {
				t.Fatal(err)
			}
			data[x.Name] = adapter.Floats("", v, len(v)).Data
		}
	}
	err = adapter.WriteWhole(filepath.Join(dir, "model.safetensors"), func(w io.Writer) error {
		return checkpoint.StreamSafetensors(w, tensors, func(w io.Writer, x checkpoint.Tensor) error {
			_, err := w.Write(data[x.Name])
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// reads is what a model makes of a few tokens: logits, or hidden states.
func reads(t *testing.T, m *gemma.Model, b *gemma.BoundAdapter) []float32 {
	t.Helper()
	tokens := []int32{2, 16, 54, 18, 26, 41, 9, 36}
	if m.Config().Head.Pooled > 0 {
		v, err := m.Hidden(t.Context(), []gemma.Step{{Tokens: tokens, Adapter: b}})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	var cache engine.Cache
	if m.Config().Encoder != nil {
		cache = m.NewCache()
		defer cache.Close()
		if err := m.Source(t.Context(), cache, gemma.Step{Tokens: tokens[3:], Adapter: b}); err != nil {
			t.Fatal(err)
		}
	}
	var out gemma.Logits
	if err := m.Forward(t.Context(), []gemma.Step{{Cache: cache, Tokens: tokens, Logits: gemma.LastRow, Adapter: b}}, &out); err != nil {
		t.Fatal(err)
	}
	return out.Row(0)
}

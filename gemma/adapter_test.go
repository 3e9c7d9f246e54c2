package gemma_test

import (
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"lapidary/adapter"
	"lapidary/checkpoint"
	"lapidary/engine"
	"lapidary/engine/ref"
	"lapidary/gemma"
	"lapidary/gemma/goldentest"
)

const adapterFiles = "../adapter/testdata"

// adapterGolden is what PEFT gives with the adapters beside it.
type adapterGolden struct {
	Input    []int32 `json:"input_ids"`
	Variants []struct {
		Name        string
		Logits      []float64 `json:"last_logits"`
		Parameters  int       `json:"trainable"`
		ExpectsLoss float64   `json:"train_loss"`
	}
}

func readAdapterGolden(t *testing.T) (g adapterGolden) {
	text, err := os.ReadFile(filepath.Join(adapterFiles, "golden.json"))
	if err == nil {
		err = json.Unmarshal(text, &g)
	}
	if err != nil || len(g.Variants) != 3 {
		t.Fatalf("%d variants, %v", len(g.Variants), err)
	}
	return g
}

func openAdapter(t *testing.T, name string) *adapter.Adapter {
	t.Helper()
	a, err := adapter.Open(filepath.Join(adapterFiles, name))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestAdapterGoldens runs PEFT's files beside the weights, bound for inference
// and for training.
func TestAdapterGoldens(t *testing.T) {
	g := readAdapterGolden(t)
	for _, e := range engines(t) {
		c := &goldentest.Case{T: t, Engine: e, Model: goldentest.Load(t, "testdata/goldens/gemma3_text", e)}
		for _, v := range g.Variants {
			t.Run(e.Label+"/"+v.Name, func(t *testing.T) {
				sub := *c
				sub.T = t
				a := openAdapter(t, v.Name)
				if n := a.Parameters(); n != v.Parameters || string(a.Config.Kind()) != v.Name {
					t.Errorf("%d parameters of a %s, want %d", n, a.Config.Kind(), v.Parameters)
				}
				folded := goldentest.Must[*gemma.BoundAdapter](&sub)(c.Model.BindAdapter(adapter.Weighted{Adapter: a, By: 1}))
				trained := goldentest.Must[*gemma.BoundAdapter](&sub)(c.Model.TrainAdapter(a))
				for _, b := range []*gemma.BoundAdapter{folded, trained} {
					var out gemma.Logits
					sub.Forward([]gemma.Step{{Tokens: g.Input, Logits: gemma.AllRows, Adapter: b}}, &out)
					sub.Near("logits", out.Row(len(g.Input)-1), v.Logits)
					rows := make([][]float32, len(g.Input)-1)
					for i := range rows {
						rows[i] = out.Row(i)
					}
					sub.Near("loss", []float32{goldentest.CrossEntropy(rows, g.Input[1:])}, []float64{v.ExpectsLoss})
				}
			})
		}
	}
}

// TestAdaptersOfRows mixes adapters in a pass: each changes its own rows, with
// caches and where few rows go on.
func TestAdaptersOfRows(t *testing.T) {
	m := goldentest.Load(t, "testdata/goldens/gemma3_text", ref.New())
	bind := func(sum ...adapter.Weighted) *gemma.BoundAdapter {
		b, err := m.BindAdapter(sum...)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	lora, dora := openAdapter(t, "lora"), openAdapter(t, "dora")
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
	if err := goldentest.Load(t, "testdata/goldens/gemma3_text", ref.New()).Forward(t.Context(), steps[2:3], &alone); !errors.Is(err, gemma.ErrOtherModel) {
		t.Errorf("another model's adapter: %v", err)
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
		"paligemma2", "recurrent_gemma", "t5gemma", "t5gemma2", "vaultgemma_text", "embeddinggemma", "embeddinggemma2"} {
		t.Run(family, func(t *testing.T) {
			folder := filepath.Join("testdata", "goldens", family)
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

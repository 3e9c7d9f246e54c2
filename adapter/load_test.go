package adapter_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lapidary/adapter"
	"lapidary/checkpoint"
	"lapidary/engine/ref"
	"lapidary/gemma"
	"lapidary/gemma/goldentest"
)

func loadBase(t *testing.T) *gemma.Model {
	return goldentest.Load(t, filepath.Join(goldens, "gemma3_text"), ref.New())
}

func open(t *testing.T, name string) *adapter.Adapter {
	t.Helper()
	a, err := adapter.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// written are adapters made here, with numbers of any size in them.
func written(t *testing.T, m *gemma.Model) map[string]*adapter.Adapter {
	t.Helper()
	out := map[string]*adapter.Adapter{}
	for name, c := range map[string]adapter.Config{
		"plain": {Rank: 2, Alpha: 3, TargetModules: []string{"q_proj", "o_proj"}, Task: "CAUSAL_LM"},
		"dora": {Rank: 3, Alpha: 4, RsLoRA: true, DoRA: true, TargetModules: []string{adapter.AllLinear}, Task: "CAUSAL_LM",
			RankPattern:  adapter.Pattern{{Match: `layers\.1\.self_attn\.q_proj`, Value: 5}, {Match: `self_attn\..*`, Value: 1}},
			AlphaPattern: adapter.Pattern{{Match: "down_proj", Value: 7.5}}},
	} {
		rng := rand.New(rand.NewPCG(7, uint64(len(name))))
		a, err := adapter.New(c, m.Linears(), m.Weight, rng)
		if err != nil {
			t.Fatal(err)
		}
		for i := range a.Modules {
			module := &a.Modules[i]
			v := make([]float32, module.B.Rows()*module.B.Cols())
			for j := range v {
				v[j] = float32(rng.NormFloat64() * 0.1)
			}
			if err := a.Set(module.B.Name, v); err != nil {
				t.Fatal(err)
			}
		}
		out[name] = a
	}
	return out
}

func lastLogits(t *testing.T, m *gemma.Model, a *adapter.Adapter) []float32 {
	t.Helper()
	b, err := m.BindAdapter(adapter.Weighted{Adapter: a, By: 1})
	if err != nil {
		t.Fatal(err)
	}
	var out gemma.Logits
	tokens := []int32{2, 16, 154, 18, 126, 141, 9, 36, 98, 75, 117, 151}
	if err := m.Forward(t.Context(), []gemma.Step{{Tokens: tokens, Logits: gemma.LastRow, Adapter: b}}, &out); err != nil {
		t.Fatal(err)
	}
	return out.Row(0)
}

// TestFilesForPEFT writes adapters and reads them back. Where
// LAPIDARY_PEFT_OUT names a folder, they are left there with their logits, for
// testdata/load_in_peft.py.
func TestFilesForPEFT(t *testing.T) {
	m := loadBase(t)
	dir := os.Getenv("LAPIDARY_PEFT_OUT")
	if dir == "" {
		dir = t.TempDir()
	}
	for name, a := range written(t, m) {
		folder := filepath.Join(dir, name)
		if err := a.Write(folder); err != nil {
			t.Fatal(err)
		}
		want := lastLogits(t, m, a)
		back, err := adapter.Open(folder)
		if err != nil {
			t.Fatal(err)
		}
		if got := lastLogits(t, m, back); !slices.Equal(got, want) {
			t.Errorf("%s: other logits after writing and reading", name)
		}
		if !reflect.DeepEqual(back.Modules, a.Modules) {
			t.Errorf("%s: other modules after writing and reading", name)
		}
		text, err := json.Marshal(want)
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, "logits.json"), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestNew looks at what training begins with.
func TestNew(t *testing.T) {
	m := loadBase(t)
	a := written(t, m)["dora"]
	if n := len(a.Modules); n != 6*7 {
		t.Fatalf("%d modules", n)
	}
	q, _ := a.Module("layers.1.self_attn.q_proj")
	k, _ := a.Module("layers.1.self_attn.k_proj")
	down, _ := a.Module("layers.5.mlp.down_proj")
	if q.Rank() != 5 || k.Rank() != 1 || down.Rank() != 3 || down.Scale != 7.5/math.Sqrt(3) || k.Scale != 4 {
		t.Errorf("ranks %d %d %d, scales %v %v", q.Rank(), k.Rank(), down.Rank(), down.Scale, k.Scale)
	}
	fresh, err := adapter.New(adapter.Config{Rank: 4, Alpha: 8, DoRA: true, TargetModules: []string{"down_proj"}}, m.Linears(), m.Weight, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		t.Fatal(err)
	}
	var most float64
	for _, x := range numbers(t, fresh.Modules[0].A) {
		most = max(most, math.Abs(float64(x)))
	}
	if bound := 1 / math.Sqrt(48); most > bound || most < bound/2 {
		t.Errorf("A reaches %v, want up to %v", most, bound)
	}
	w, _ := m.Weight("layers.0.mlp.down_proj")
	merged, err := adapter.Merge(w, adapter.Share{Module: &fresh.Modules[0], By: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range numbers(t, w) {
		if math.Abs(float64(merged[i]-x)) > 1e-6 {
			t.Fatalf("a new adapter changes element %d from %v to %v", i, x, merged[i])
		}
	}
}

func numbers(t *testing.T, x checkpoint.Tensor) []float32 {
	t.Helper()
	v := make([]float32, x.Rows()*x.Cols())
	if err := checkpoint.Dequantize(x.Type, v, x.Data); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSet(t *testing.T) {
	a := open(t, "dora")
	m := &a.Modules[0]
	for name, n := range map[string]int{m.A.Name: 3, "other": 1} {
		if err := a.Set(name, make([]float32, n)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%d values in %s: %v", n, name, err)
		}
	}
	if err := a.Set(m.Magnitude.Name, make([]float32, m.Out())); err != nil || numbers(t, m.Magnitude)[0] != 0 {
		t.Errorf("%v, %v", err, numbers(t, m.Magnitude)[0])
	}
	a.Config.Alpha = 0
	m.Scale = 0
	if _, err := loadBase(t).TrainAdapter(a); err == nil || !strings.Contains(err.Error(), "lora_alpha 0") {
		t.Errorf("training of nothing: %v", err)
	}
}

// TestNewRefuses wants the names that would have fitted.
func TestNewRefuses(t *testing.T) {
	m := loadBase(t)
	for want, c := range map[string]adapter.Config{
		`target module "query": the model has no such linear layer; it has gate_proj, `: {Rank: 2, TargetModules: []string{"q_proj", "query"}},
		"no target modules": {Rank: 2},
		"rank r 0":          {TargetModules: []string{"q_proj"}},
		"the pattern":       {Rank: 1, RankPattern: adapter.Pattern{{Match: "(", Value: 1}}},
	} {
		if _, err := adapter.New(c, m.Linears(), nil, rand.New(rand.NewPCG(1, 1))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	c := adapter.Config{Rank: 1, DoRA: true, TargetModules: []string{"q_proj"}}
	if _, err := adapter.New(c, m.Linears(), nil, rand.New(rand.NewPCG(1, 1))); err == nil || !strings.Contains(err.Error(), "there are no weights") {
		t.Errorf("a DoRA of nothing: %v", err)
	}
}

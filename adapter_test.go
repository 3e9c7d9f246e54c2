package lapidary_test

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lapidary"
	"lapidary/adapter"
	"lapidary/generate"
	"lapidary/hub"
)

const tinyFolder = "gemma/testdata/goldens/gemma3_text"

// peftLoss is what PEFT says of an adapter of the tiny model.
func peftLoss(t *testing.T, name string) (ids []int32, loss float64) {
	t.Helper()
	var g struct {
		Input    []int32 `json:"input_ids"`
		Variants []struct {
			Name string
			Loss float64 `json:"train_loss"`
		}
	}
	text, err := os.ReadFile("adapter/testdata/golden.json")
	if err == nil {
		err = json.Unmarshal(text, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range g.Variants {
		if v.Name == name {
			return g.Input, v.Loss
		}
	}
	t.Fatalf("no variant %s", name)
	return nil, 0
}

func loss(t *testing.T, m *lapidary.Model, ids []int32) (mean float64) {
	t.Helper()
	scores, err := m.ScoreTokens(t.Context(), ids, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scores {
		mean -= float64(s.LogProb) / float64(len(scores))
	}
	return mean
}

// TestAdapters opens a model with an adapter and looks at it with others.
func TestAdapters(t *testing.T) {
	home := t.TempDir()
	t.Setenv("LAPIDARY_HOME", home)
	if err := os.CopyFS(filepath.Join(home, "adapters", "mine"), os.DirFS("adapter/testdata/dora")); err != nil {
		t.Fatal(err)
	}
	m, err := lapidary.Open(t.Context(), tinyFolder, lapidary.WithoutTokenizer(), lapidary.WithAdapter("./adapter/testdata/lora", 1))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ids, want := peftLoss(t, "lora")
	if got := loss(t, m, ids); math.Abs(got-want) > 1e-3 {
		t.Errorf("opened with a LoRA: %v, want %v", got, want)
	}
	a, err := lapidary.OpenAdapter(t.Context(), "mine")
	if err != nil {
		t.Fatal(err)
	}
	other, err := m.Adapted(adapter.Weighted{Adapter: a, By: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, want = peftLoss(t, "dora")
	if got := loss(t, other, ids); math.Abs(got-want) > 1e-3 {
		t.Errorf("with a DoRA in its place: %v, want %v", got, want)
	}
	bare, err := other.Adapted()
	if err != nil {
		t.Fatal(err)
	}
	plain, err := lapidary.Open(t.Context(), tinyFolder, lapidary.WithoutTokenizer())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if got, want := loss(t, bare, ids), loss(t, plain, ids); got != want {
		t.Errorf("without adapters: %v, want %v", got, want)
	}
	if a, b := first(t, m, ids), first(t, bare, ids); a == b {
		t.Errorf("both go on with %d", a)
	}
	if err := bare.Close(); err != nil || loss(t, bare, ids) == 0 {
		t.Errorf("closing a view: %v", err)
	}
	m.Close()
	if _, err := bare.ScoreTokens(t.Context(), ids, 0); !errors.Is(err, lapidary.ErrClosed) {
		t.Errorf("a view of a closed model: %v", err)
	}
}

// first is the likeliest token after the ids.
func first(t *testing.T, m *lapidary.Model, ids []int32) int32 {
	t.Helper()
	p := lapidary.Defaults()
	p.Temperature, p.MaxTokens = 0, 1
	for token, err := range m.GenerateTokens(t.Context(), ids, p) {
		if err != nil {
			t.Fatal(err)
		}
		return token.ID
	}
	return -1
}

// TestAdaptersRefused wants a line that says why.
func TestAdaptersRefused(t *testing.T) {
	t.Setenv("LAPIDARY_HOME", t.TempDir())
	for _, c := range []struct {
		name, want string
		by         float64
		is         error
	}{
		{"./adapter/testdata/lora", "was made for another model: its layers.0.self_attn.v_proj is 32 wide with 32 outputs, here it is 32 with 16", 1, adapter.ErrMismatch},
		{"none", "no adapter", 1, os.ErrNotExist},
		{"hf:org/repo", "get it with: lapidary pull hf:org/repo", 1, hub.ErrNotPulled},
		{"", "without a name", 1, generate.ErrParams},
		{"x", "share of NaN", math.NaN(), generate.ErrParams},
	} {
		_, err := lapidary.Open(t.Context(), filepath.Join(filepath.Dir(tinyFolder), "gemma1_text"), lapidary.WithoutTokenizer(), lapidary.WithAdapter(c.name, c.by))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("%q: %v, want %q", c.name, err, c.want)
		}
	}
}

func TestParseAdapter(t *testing.T) {
	for _, c := range []struct {
		text, name string
		by         float64
		fails      bool
	}{
		{"finance", "finance", 1, false},
		{"./a:b", "./a:b", 1, false},
		{`C:\x:0.5`, `C:\x`, 0.5, false},
		{"a:-2", "a", -2, false},
		{"a:1e9", "a", 1e9, true},
		{"a:nan", "a", math.NaN(), true},
	} {
		name, by, err := lapidary.ParseAdapter(c.text)
		if name != c.name || by != c.by && !c.fails || (err != nil) != c.fails {
			t.Errorf("%q: %q, %v, %v", c.text, name, by, err)
		}
	}
}

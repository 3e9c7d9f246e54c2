package train

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapidary/checkpoint"
	"lapidary/engine/ref"
	"lapidary/gemma"
	"lapidary/train/recipe"
)

const classifier = "../gemma/testdata/goldens/gemma3_seqcls"

func TestClassify(t *testing.T) {
	s, _ := opened(t, classifier)
	m := plain(t, s, classifier)
	texts := [][]int32{{2, 7, 8, 9}, {2, 30, 31}, nil, {2, 40, 41, 42, 43, 44, 45, 46}, {2, 50}}
	b := linesOf(8, 1, texts...)
	b.Labels = []int32{1, 0, 0, 0, -1}
	goal, err := newClassify(recipe.Objective{LabelSmoothing: 0.1}, s.model.Config(), []string{"LABEL_0", "LABEL_1", "LABEL_2"}, []string{"LABEL_2", "LABEL_1"})
	if err != nil {
		t.Fatal(err)
	}
	if n := goal.counts(b); n != 3 {
		t.Errorf("%v texts, want 3", n)
	}
	var want float64
	for i, label := range map[int]int{0: 1, 1: 2, 3: 2} {
		rows, err := m.Classify(t.Context(), []gemma.Step{{Tokens: texts[i]}})
		if err != nil {
			t.Fatal(err)
		}
		logs := plainLogSoftmax(rows[0], 1)
		for k, v := range logs {
			share := 0.1 / float64(len(logs))
			if k == label {
				share += 0.9
			}
			want -= share * v / 3
		}
	}
	holds(t, s, goal, b, want, "score.weight", "layers.1.self_attn.v_proj.weight", "embed_tokens.weight")
}

// plainLogSoftmax is of logits / temperature.
func plainLogSoftmax(logits []float32, temperature float64) []float64 {
	top, sum := float64(slices.Max(logits))/temperature, 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v)/temperature - top)
	}
	out := make([]float64, len(logits))
	for i, v := range logits {
		out[i] = float64(v)/temperature - top - math.Log(sum)
	}
	return out
}

func TestClassifyRefused(t *testing.T) {
	head, _ := opened(t, classifier)
	none, _ := opened(t, gemma3)
	names := []string{"a", "b", "c"}
	for _, c := range []struct {
		s       subject
		o       recipe.Objective
		classes []string
		want    string
	}{
		{none, recipe.Objective{}, names, "no head"},
		{head, recipe.Objective{}, []string{"a", "d"}, `label "d" is not among`},
		{head, recipe.Objective{Labels: names[:2]}, names[:2], "2 names, and the model's head has 3"},
	} {
		if _, err := newClassify(c.o, c.s.model.Config(), names, c.classes); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

// TestNewHead: a model without a head gets one that gemma reads, and is the same
// model.
func TestNewHead(t *testing.T) {
	for _, name := range []string{"gemma1_text", "gemma2_text", "gemma3_text"} {
		from := filepath.Join("../gemma/testdata/goldens", name)
		c, err := checkpoint.Open(from)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		base, err := gemma.Load(c, ref.New())
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(t.TempDir(), "labelled")
		if err := addHead(c, to, []string{"no", "yes"}, base.Config().Width, 7); err != nil {
			t.Fatal(err)
		}
		labelled, err := checkpoint.Open(to)
		if err != nil {
			t.Fatal(err)
		}
		defer labelled.Close()
		m, err := gemma.Load(labelled, ref.New())
		if err != nil {
			t.Fatal(err)
		}
		rows, err := m.Classify(t.Context(), []gemma.Step{{Tokens: []int32{2, 9, 8}}})
		if err != nil || len(rows[0]) != 2 || rows[0][0] == rows[0][1] {
			t.Errorf("%s: logits %v, %v", name, rows, err)
		}
		names, err := labelNames(labelled.ConfigJSON())
		if err != nil || !slices.Equal(names, []string{"no", "yes"}) {
			t.Errorf("%s: labels %q, %v", name, names, err)
		}
		if got, want := len(labelled.Tensors()), len(c.Tensors())+1; got != want {
			t.Errorf("%s: %d tensors, want %d", name, got, want)
		}
	}
}

func TestNewHeadRefused(t *testing.T) {
	if _, err := labelledConfig([]byte(`{"architectures": ["T5GemmaForConditionalGeneration"]}`), []string{"a", "b"}); err == nil || !strings.Contains(err.Error(), "gets no new head") {
		t.Errorf("an encoder–decoder: %v", err)
	}
}

// fromRandom is the beginning of a recipe that takes a moment.
const fromRandom = `
model:
  from_scratch: {family: %s, layers: 2, width: 32, heads: 2, kv_heads: 1, head_size: 16, feed_forward: 64, window: 16, vocab: {train: 320}}
batch: {length: 64, sequences: 4}
engine: go
seed: 3
`

// ran does what a recipe of some lines more asks for, with a file of data.
func ran(t *testing.T, family, more, file, text string) (Result, error) {
	t.Helper()
	folder := t.TempDir()
	path, named := filepath.Join(folder, file), filepath.Join(folder, "recipe.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	more = strings.NewReplacer("DATA", path, "OUT", filepath.Join(folder, "run")).Replace(more)
	if err := os.WriteFile(named, []byte(fmt.Sprintf(fromRandom, family)+more), 0o644); err != nil {
		t.Fatal(err)
	}
	r, err := recipe.Load(named)
	if err != nil {
		t.Fatal(err)
	}
	return Run(t.Context(), r, Options{})
}

// TestClassifyRun: a model without a head learns two labels, and what is written
// is a classifier.
func TestClassifyRun(t *testing.T) {
	var rows strings.Builder
	rows.WriteString("text,label\n")
	for i := range 40 {
		fmt.Fprintf(&rows, "aaa aa %d aa,low\nzzz zz %d zz,high\n", i, i)
	}
	result, err := ran(t, "gemma3", `
objective: classify
data: {sources: [{path: DATA, text: "{text}", label: "{label}"}]}
optimizer: {kind: adamw, lr: 3e-3}
steps: 30
out: OUT
`, "data.csv", rows.String())
	if err != nil {
		t.Fatal(err)
	}
	if !(result.Loss < 0.3) {
		t.Errorf("a loss of %v after %d steps", result.Loss, result.Steps)
	}
	c, err := checkpoint.Open(result.Model)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	names, err := labelNames(c.ConfigJSON())
	if err != nil || !slices.Equal(names, []string{"high", "low"}) {
		t.Errorf("labels %q, %v", names, err)
	}
	m, err := gemma.Load(c, ref.New())
	if err != nil {
		t.Fatal(err)
	}
	if m.Config().Head.Labels != 2 {
		t.Errorf("a head of %d labels", m.Config().Head.Labels)
	}
}

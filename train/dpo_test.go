package train

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"lapidary/adapter"
	"lapidary/engine/graph"
	"lapidary/gemma"
	"lapidary/train/data"
	"lapidary/train/optimizer"
	"lapidary/train/recipe"
)

// someAdapter is one that changes something already.
func someAdapter(t *testing.T, m *gemma.Model) *adapter.Adapter {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 2))
	a, err := adapter.New(adapter.Config{Rank: 2, Alpha: 4, TargetModules: []string{"q_proj", "down_proj"}}, m.Linears(), m.Weight, rng)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range a.Tensors() {
		if !strings.Contains(x.Name, "lora_B") {
			continue
		}
		values := make([]float32, x.Rows()*x.Cols())
		for i := range values {
			values[i] = float32(0.5 * rng.NormFloat64())
		}
		if err := a.Set(x.Name, values); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// adapterMachine trains the adapter alone.
func adapterMachine(t *testing.T, s subject, a *adapter.Adapter) *machine {
	t.Helper()
	o, err := optimizer.New(adamW)
	if err != nil {
		t.Fatal(err)
	}
	var weights []*graph.Weight
	var names []string
	var dims [][]int
	for _, x := range a.Tensors() {
		weights = append(weights, s.adapter.Weights()[x.Name].(*graph.Weight))
		names, dims = append(names, x.Name), append(dims, []int{x.Rows(), x.Cols()})
	}
	m, err := newMachine(s.engine, o, 0, false, weights, optimizer.Parameters(adamW, names, dims))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.close)
	return m
}

func TestDPO(t *testing.T) {
	s, _ := opened(t, gemma3)
	a := someAdapter(t, s.model)
	var err error
	if s.adapter, err = s.model.TrainAdapter(a); err != nil {
		t.Fatal(err)
	}
	m := plain(t, s, gemma3)
	bound, err := m.TrainAdapter(a)
	if err != nil {
		t.Fatal(err)
	}
	b := linesOf(8, 2,
		[]int32{2, 7, 8, 9, 10, 11}, []int32{2, 7, 8, 19, 20, 21},
		nil, nil,
		[]int32{2, 30, 31, 40}, []int32{2, 30, 31, 41, 42, 43, 44})
	probability := func(line int, by *gemma.BoundAdapter) (sum float64) {
		document := b.Tokens[line*8 : line*8+documentOf(b, line)]
		var out gemma.Logits
		if err := m.Forward(t.Context(), []gemma.Step{{Tokens: document, Logits: gemma.AllRows, Adapter: by}}, &out); err != nil {
			t.Fatal(err)
		}
		for at := 1; at < len(document); at++ {
			if b.Loss[line*8+at] > 0 {
				sum += plainLogSoftmax(out.Row(at-1), 1)[document[at]]
			}
		}
		return sum
	}
	for _, goal := range []dpo{{recipe.Objective{Beta: 3}}, {recipe.Objective{Beta: 10, LabelSmoothing: 0.2}}} {
		var want float64
		for _, line := range []int{0, 4} {
			z := goal.Beta * (probability(line, bound) - probability(line+1, bound) - probability(line, nil) + probability(line+1, nil))
			want += ((1-goal.LabelSmoothing)*math.Log1p(math.Exp(-z)) + goal.LabelSmoothing*math.Log1p(math.Exp(z))) / 2
		}
		if math.Abs(want-math.Ln2) < 1e-2 {
			t.Errorf("a loss of %v says nothing", want)
		}
		var names []string
		for _, x := range a.Tensors() {
			if strings.Contains(x.Name, "layers.1.") {
				names = append(names, x.Name)
			}
		}
		holdsOn(t, adapterMachine(t, s, a), s, goal, b, want, names...)
	}
}

// TestAdapterTask: an adapter says what it was trained for.
func TestAdapterTask(t *testing.T) {
	text, _ := opened(t, gemma3)
	translator, _ := opened(t, "../gemma/testdata/goldens/t5gemma")
	for _, c := range []struct {
		o    recipe.ObjectiveKind
		s    subject
		want string
	}{
		{recipe.NextToken, text, "CAUSAL_LM"}, {recipe.DPO, text, "CAUSAL_LM"}, {recipe.Classify, text, "SEQ_CLS"},
		{recipe.Contrastive, text, "FEATURE_EXTRACTION"}, {recipe.SpanDenoise, translator, "SEQ_2_SEQ_LM"},
	} {
		if got := task(c.o, c.s.model.Config()); got != c.want {
			t.Errorf("%s: %s, want %s", c.o, got, c.want)
		}
	}
}

// TestAdapters: what learns from an adapter's model learns through the adapter,
// an encoder's part of it included.
func TestAdapters(t *testing.T) {
	texts := [][]int32{{2, 7, 8, 9, 10, 11}, {2, 7, 8, 19, 20, 21}, {2, 30, 31, 40}, {2, 30, 31, 41, 42, 43, 44}}
	labelled := linesOf(8, 1, texts...)
	labelled.Labels = []int32{0, 1, 0, 1}
	for name, c := range map[string]struct {
		path string
		goal objective
		b    data.Batch
	}{
		"contrastive": {embeddingGemma, contrastive{0.5, []int{8, 16}}, linesOf(8, 2, texts...)},
		"classify":    {classifier, classify{labels: []int32{2, 0}}, labelled},
		"denoise":     {"../gemma/testdata/goldens/t5gemma", corrupting, filled(2, 40, 17)},
		"next token":  {gemma3, nextToken{}, linesOf(8, 1, texts...)},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := opened(t, c.path)
			a := someAdapter(t, s.model)
			loss := func(m *machine) float64 {
				r, err := c.goal.trace(t.Context(), s, c.b, 1/c.goal.counts(c.b))
				if err != nil {
					t.Fatal(err)
				}
				v, err := m.evaluate([]micro{r})
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			without := loss(testMachine(t, s, adamW, c.goal, c.b))
			var err error
			if s.adapter, err = s.model.TrainAdapter(a); err != nil {
				t.Fatal(err)
			}
			m := adapterMachine(t, s, a)
			with := loss(m)
			if math.Abs(with-without) < 1e-3 {
				t.Errorf("a loss of %v with the adapter and %v without", with, without)
			}
			var names []string
			for _, x := range a.Tensors() {
				if strings.Contains(x.Name, "layers.1.") {
					names = append(names, x.Name)
				}
			}
			holdsOn(t, m, s, c.goal, c.b, with, names...)
		})
	}
}

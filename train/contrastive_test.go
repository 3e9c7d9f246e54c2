package train

import (
	"math"
	"slices"
	"strings"
	"testing"

	"lapidary/checkpoint"
	"lapidary/engine/ref"
	"lapidary/gemma"
	"lapidary/train/data"
	"lapidary/train/recipe"
)

const embeddingGemma = "../gemma/testdata/goldens/embeddinggemma"

// linesOf is a batch of one document a line; an empty one leaves its line out.
func linesOf(length, parts int, documents ...[]int32) data.Batch {
	b := data.Batch{Lines: len(documents), Length: length, Parts: parts, Documents: make([][]int, len(documents))}
	b.Tokens, b.Loss = make([]int32, b.Lines*length), make([]float32, b.Lines*length)
	for i, d := range documents {
		if len(d) == 0 {
			continue
		}
		copy(b.Tokens[i*length:], d)
		b.Documents[i] = []int{len(d)}
		for j := max(1, len(d)/2); j < len(d); j++ {
			b.Loss[i*length+j] = 1
		}
	}
	return b
}

// plain is the subject's model on the engine that is the measure of all others.
func plain(t *testing.T, s subject, path string) *gemma.Model {
	t.Helper()
	_, c := opened(t, path)
	m, err := gemma.Load(c, ref.New())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

var adamW = recipe.Optimizer{Kind: recipe.AdamW, LR: 1e-3, Betas: [2]float64{0.9, 0.999}, Eps: 1e-8}

// holds compares an objective's loss with want, and its gradient by weights with
// these names with central differences along it.
func holds(t *testing.T, s subject, goal objective, b data.Batch, want float64, names ...string) {
	t.Helper()
	holdsOn(t, testMachine(t, s, adamW, goal, b), s, goal, b, want, names...)
}

func holdsOn(t *testing.T, m *machine, s subject, goal objective, b data.Batch, want float64, names ...string) {
	t.Helper()
	r, err := goal.trace(t.Context(), s, b, 1/goal.counts(b))
	if err != nil {
		t.Fatal(err)
	}
	by, loss, err := m.gradients([]micro{r})
	if err != nil {
		t.Fatal(err)
	}
	if value, err := m.evaluate([]micro{r}); err != nil || value != loss {
		t.Errorf("a loss of %v to evaluate and %v to train: %v", value, loss, err)
	}
	if !(math.Abs(loss-want) <= 2e-5*max(1, math.Abs(want))) {
		t.Errorf("a loss of %v, want %v", loss, want)
	}
	for _, name := range names {
		i := slices.IndexFunc(m.weights, func(w *trained) bool { return w.weight.Name() == name })
		if i < 0 {
			t.Fatalf("no weight %s is trained", name)
		}
		got, err := read(by[i], m.weights[i].Dims)
		if err != nil {
			t.Fatal(err)
		}
		length := norm(got)
		if along := m.along(t, r, i, got); length == 0 || !(math.Abs(along-length) <= 0.01*length) {
			t.Errorf("%s: a gradient of length %v, and the loss rises by %v along it", name, length, along)
		}
	}
}

func norm(x []float32) float64 {
	var squares float64
	for _, v := range x {
		squares += float64(v) * float64(v)
	}
	return math.Sqrt(squares)
}

// along is how fast the loss rises where weight i goes in a direction: central
// differences of two sizes, so that the curve's own bend falls out.
func (m *machine) along(t *testing.T, r micro, i int, direction []float32) float64 {
	t.Helper()
	w := m.weights[i]
	kept := w.value
	defer func() { w.value = kept }()
	values, err := read(kept, w.Dims)
	if err != nil {
		t.Fatal(err)
	}
	slope := func(part float64) float64 {
		each := part * norm(values) / norm(direction)
		var ends [2]float64
		for k, sign := range []float64{-1, 1} {
			moved := slices.Clone(values)
			for j := range moved {
				moved[j] += float32(sign * each * float64(direction[j]))
			}
			if w.value, err = m.upload(moved, w.Dims); err != nil {
				t.Fatal(err)
			}
			if ends[k], err = m.evaluate([]micro{r}); err != nil {
				t.Fatal(err)
			}
			release(w.value)
		}
		return (ends[1] - ends[0]) / (2 * each * norm(direction))
	}
	const step = 2e-3
	return (4*slope(step) - slope(2*step)) / 3
}

// plainInfoNCE is the loss of embeddings, of which lines without any are nil.
func plainInfoNCE(vectors [][]float32, texts [][]int32, parts int, temperature float64, dims []int) float64 {
	var sum, pairs float64
	for i := 0; i < len(vectors); i += parts {
		if vectors[i] == nil {
			continue
		}
		pairs++
		for _, n := range dims {
			var total, own float64
			for j, v := range vectors {
				if j%parts == 0 || v == nil || j != i+1 && slices.Equal(texts[j], texts[i+1]) {
					continue
				}
				var dot float64
				a, c := gemma.Truncated(vectors[i], n), gemma.Truncated(v, n)
				for k := range a {
					dot += float64(a[k]) * float64(c[k])
				}
				if total += math.Exp(dot / temperature); j == i+1 {
					own = dot / temperature
				}
			}
			sum += (math.Log(total) - own) / float64(len(dims))
		}
	}
	return sum / pairs
}

func TestContrastive(t *testing.T) {
	s, _ := opened(t, embeddingGemma)
	m := plain(t, s, embeddingGemma)
	texts := [][]int32{
		{2, 7, 8, 9, 1}, {2, 30, 31, 1}, {2, 40, 41, 42, 43, 44, 1},
		{2, 17, 9, 1}, {2, 60, 61, 62, 63, 64, 65, 66, 67, 68, 69, 1}, nil,
		{2, 99, 98, 97, 1}, {2, 30, 31, 1}, {2, 7, 8, 9, 1},
		nil, nil, nil,
	}
	vectors := make([][]float32, len(texts))
	for i, ids := range texts {
		if ids != nil {
			v, err := m.Embed(t.Context(), []gemma.Step{{Tokens: ids}})
			if err != nil {
				t.Fatal(err)
			}
			vectors[i] = v[0]
		}
	}
	goal, err := newContrastive(recipe.Objective{Temperature: 0.1, Dims: []int{8, 4}}, s.model.Config())
	if err != nil {
		t.Fatal(err)
	}
	b := linesOf(12, 3, texts...)
	if n := goal.counts(b); n != 3 {
		t.Errorf("%v pairs, want 3", n)
	}
	want := plainInfoNCE(vectors, texts, 3, 0.1, []int{4, 8, m.Config().Head.Pooled})
	holds(t, s, goal, b, want, "layers.0.self_attn.q_proj.weight", "layers.5.mlp.down_proj.weight", "embed_tokens.weight", "weight")
}

// TestContrastiveShapes: where documents end is no part of a graph.
func TestContrastiveShapes(t *testing.T) {
	s, _ := opened(t, embeddingGemma)
	goal := contrastive{0.1, []int{16}}
	var keys []string
	for _, texts := range [][][]int32{{{2, 7, 1}, {2, 8, 1}, {2, 9, 9, 9, 9, 9, 9, 1}, {2, 1}}, {{2, 7, 1}, {2, 7, 8, 1}, nil, nil}} {
		r, err := goal.trace(t.Context(), s, linesOf(8, 2, texts...), 0.5)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, r.Key)
	}
	if keys[0] != keys[1] {
		t.Error("two batches of one shape have two graphs")
	}
}

func TestContrastiveRefused(t *testing.T) {
	s, _ := opened(t, gemma3)
	if _, err := newContrastive(recipe.Objective{Temperature: 1}, s.model.Config()); err == nil || !strings.Contains(err.Error(), "no embeddings") {
		t.Errorf("a model without embeddings: %v", err)
	}
	s, _ = opened(t, embeddingGemma)
	if _, err := newContrastive(recipe.Objective{Temperature: 1, Dims: []int{4096}}, s.model.Config()); err == nil || !strings.Contains(err.Error(), "4096") {
		t.Errorf("dims past the embedding: %v", err)
	}
	r := &recipe.Recipe{Objective: recipe.Objective{Kind: recipe.Contrastive, Temperature: 1}, Batch: recipe.Batch{Micro: 1}}
	alone := &session{recipe: r, subject: s, set: &data.Set{Kind: data.Contrasts, Parts: 2}}
	if _, err := newObjective(t.Context(), alone); err == nil || !strings.Contains(err.Error(), "no negatives") {
		t.Errorf("pairs one at a time: %v", err)
	}
	alone.set.Parts = 3
	if _, err := newObjective(t.Context(), alone); err != nil {
		t.Errorf("pairs with negatives one at a time: %v", err)
	}
}

// TestExportParts: the layers behind an encoder, in folders of their own, are
// written as they were trained.
func TestExportParts(t *testing.T) {
	s, c := opened(t, embeddingGemma)
	goal := contrastive{0.1, []int{s.model.Config().Head.Pooled}}
	b := linesOf(8, 2, []int32{2, 7, 1}, []int32{2, 8, 1}, []int32{2, 9, 10, 1}, []int32{2, 11, 1})
	m := testMachine(t, s, adamW, goal, b)
	r, err := goal.trace(t.Context(), s, b, 0.5)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.step([]micro{r}, 1, 1e-2, func(float64) error { return nil }); err != nil {
		t.Fatal(err)
	}
	run := &session{recipe: &recipe.Recipe{Out: t.TempDir()}, base: &base{checkpoint: c}, machine: m, subject: s}
	to, err := run.export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, written := opened(t, to)
	for i, name := range []string{"2_Dense", "3_Dense"} {
		part, err := written.Part(name)
		if err != nil {
			t.Fatal(err)
		}
		stored, _ := part.Tensor("weight")
		got := make([]float32, stored.Rows()*stored.Cols())
		if err := checkpoint.Dequantize(stored.Type, got, stored.Data); err != nil {
			t.Fatal(err)
		}
		dense := slices.Collect(func(yield func(*trained) bool) {
			for _, w := range m.weights {
				if w.weight.Name() == "weight" && !yield(w) {
					return
				}
			}
		})
		want, err := read(dense[i].value, dense[i].Dims)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s is not what was trained", name)
		}
	}
}

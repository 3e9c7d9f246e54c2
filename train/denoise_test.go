package train

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapidary/gemma"
	"lapidary/tokenizer"
	"lapidary/train/data"
	"lapidary/train/recipe"
)

var corrupting = denoise{rate: 0.15, length: 3, seed: 5, marks: []int32{150, 151, 152, 153, 154, 155, 156}, begin: 2, end: 1}

// filled is lines full of documents that end anywhere.
func filled(lines, length, each int) data.Batch {
	b := data.Batch{Lines: lines, Length: length, Parts: 1, Tokens: make([]int32, lines*length), Loss: make([]float32, lines*length)}
	for line := range lines {
		var documents []int
		for at := 0; at < length; at += each {
			n := min(each, length-at)
			for i := range n {
				b.Tokens[line*length+at+i] = int32(3 + (7*line+5*at+3*i*i)%140)
			}
			b.Tokens[line*length+at] = 2
			documents = append(documents, n)
		}
		b.Documents = append(b.Documents, documents)
	}
	return b
}

// TestCorrupt: what was taken out, put back where its marks stand, is the text.
func TestCorrupt(t *testing.T) {
	for n := 4; n < 200; n += 7 {
		text := make([]int32, n)
		for i := range text {
			text[i] = int32(3 + i%140)
		}
		noise, spans := corrupting.parts(n)
		source, target := corrupting.corrupt(text, 0)
		if len(source) != 1+n-noise+spans || len(target) != noise+spans+2 {
			t.Fatalf("%d tokens: a source of %d and a target of %d", n, len(source), len(target))
		}
		taken := map[int32][]int32{}
		var mark int32
		for _, id := range target[:len(target)-1] {
			if slices.Contains(corrupting.marks, id) {
				mark = id
				taken[id] = nil
				continue
			}
			taken[mark] = append(taken[mark], id)
		}
		var back []int32
		for _, id := range source[1:] {
			if !slices.Contains(corrupting.marks, id) {
				back = append(back, id)
				continue
			}
			if len(taken[id]) == 0 {
				t.Errorf("%d tokens: nothing was taken at %d", n, id)
			}
			back = append(back, taken[id]...)
		}
		if !slices.Equal(back, text) || source[0] != 2 || target[len(target)-1] != 1 {
			t.Errorf("%d tokens: %v and %v are not %v", n, source, target, text)
		}
	}
}

// TestCorruptDraws: seed, epoch and text decide alone, and every place is as
// likely to be taken as another, but for the first, which never is.
func TestCorruptDraws(t *testing.T) {
	text := filled(1, 100, 100).Tokens
	source, _ := corrupting.corrupt(text, 0)
	if again, _ := corrupting.corrupt(text, 0); !slices.Equal(source, again) {
		t.Error("the same text is corrupted in two ways")
	}
	if later, _ := corrupting.corrupt(text, 1); slices.Equal(source, later) {
		t.Error("the next epoch takes the same spans")
	}
	const draws = 4000
	numbered := make([]int32, 60)
	for i := range numbered {
		numbered[i] = int32(1000 + i)
	}
	missing := make([]int, len(numbered))
	for epoch := range draws {
		source, _ := corrupting.corrupt(numbered, epoch)
		there := map[int32]bool{}
		for _, id := range source {
			there[id] = true
		}
		for i, id := range numbered {
			if !there[id] {
				missing[i]++
			}
		}
	}
	noise, _ := corrupting.parts(len(numbered))
	for i := 10; i < 50; i++ {
		if share := float64(missing[i]) / draws; math.Abs(share-float64(noise)/60) > 0.06 {
			t.Errorf("place %d is taken %.2f of the time", i, share)
		}
	}
	if missing[0] > 0 {
		t.Error("the first token is taken")
	}
}

func TestDenoise(t *testing.T) {
	for path, names := range map[string][]string{
		"t5gemma":  {"encoder.layers.0.self_attn.q_proj.weight", "decoder.layers.1.cross_attn.k_proj.weight", "decoder.layers.0.mlp.up_proj.weight"},
		"t5gemma2": {"encoder.layers.0.self_attn.q_proj.weight", "decoder.layers.1.self_attn.k_proj.weight", "decoder.layers.0.mlp.up_proj.weight"},
	} {
		path = "../gemma/testdata/goldens/" + path
		s, _ := opened(t, path)
		m := plain(t, s, path)
		b := filled(2, 40, 17)
		stream := corrupting.stream(b)
		size := corrupting.size(b, len(stream))
		if size < 30 {
			t.Fatalf("texts of %d tokens", size)
		}
		var want, n float64
		for line := range b.Lines {
			source, target := corrupting.corrupt(stream[line*size:(line+1)*size], 0)
			cache := m.NewCache()
			if err := m.Source(t.Context(), cache, gemma.Step{Tokens: source}); err != nil {
				t.Fatal(err)
			}
			var out gemma.Logits
			in := append([]int32{2}, target[:len(target)-1]...)
			if err := m.Forward(t.Context(), []gemma.Step{{Cache: cache, Tokens: in, Logits: gemma.AllRows}}, &out); err != nil {
				t.Fatal(err)
			}
			for i, id := range target {
				want, n = want-plainLogSoftmax(out.Row(i), 1)[id], n+1
			}
		}
		if got := corrupting.counts(b); got != n {
			t.Errorf("%v tokens to write, want %v", got, n)
		}
		holds(t, s, corrupting, b, want/n, names...)
	}
}

// TestDenoiseShapes: where documents end is no part of a graph.
func TestDenoiseShapes(t *testing.T) {
	s, _ := opened(t, "../gemma/testdata/goldens/t5gemma")
	var keys []string
	for _, each := range []int{40, 20} {
		r, err := corrupting.trace(t.Context(), s, filled(2, 40, each), 1)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, r.Key)
	}
	if keys[0] != keys[1] {
		t.Error("two batches of one shape have two graphs")
	}
}

func TestDenoiseRefused(t *testing.T) {
	s, _ := opened(t, gemma3)
	if _, err := newDenoise(recipe.Objective{}, 0, s.model.Config(), tokenizer.None()); err == nil || !strings.Contains(err.Error(), "no encoder") {
		t.Errorf("a decoder alone: %v", err)
	}
	s, _ = opened(t, "../gemma/testdata/goldens/t5gemma")
	if _, err := newDenoise(recipe.Objective{}, 0, s.model.Config(), tokenizer.None()); err == nil || !strings.Contains(err.Error(), "0 unused tokens") {
		t.Errorf("no marks: %v", err)
	}
}

// TestDenoiseRun: a small encoder–decoder learns to fill in what was taken out of
// texts that are much alike.
func TestDenoiseRun(t *testing.T) {
	var text strings.Builder
	for i := range 40 {
		fmt.Fprintf(&text, "the cat sat on the mat and looked at the moon %d times. ", i)
	}
	result, err := ran(t, "t5gemma", `
objective: span_denoise
data: {sources: [{path: DATA, format: text}]}
optimizer: {kind: adamw, lr: 1e-2}
eval: {prompts: ["the cat"], max_tokens: 4}
steps: 40
out: OUT
`, "data.txt", text.String())
	if err != nil {
		t.Fatal(err)
	}
	if !(result.Loss < 4) {
		t.Errorf("a loss of %v", result.Loss)
	}
	page, err := os.ReadFile(filepath.Join(filepath.Dir(result.Model), "report.html"))
	if err != nil || !strings.Contains(string(page), "Samples") {
		t.Errorf("a report without samples: %v", err)
	}
}

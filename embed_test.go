package lapidary

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/convert"
	"lapidary/checkpoint/quantize"
	"lapidary/gemma"
	"lapidary/generate"
	"lapidary/internal/embedtest"
	"lapidary/internal/realmodel"
)

//go:embed testdata/embeddinggemma-300m.json
var embeddingsJSON []byte

// eightBits writes the model in Q8_0 to a file, as the command quantize does.
func eightBits(t *testing.T, path string) string {
	t.Helper()
	from, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	m, err := convert.ToGGUF(from)
	if err != nil {
		t.Fatal(err)
	}
	mix, err := quantize.Find("Q8_0")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "q8_0.gguf")
	if _, err := quantize.Write(t.Context(), file, m, mix, quantize.Options{}); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestEmbedReference compares the real model with sentence-transformers, each
// text alone and all together.
func TestEmbedReference(t *testing.T) {
	var references []struct {
		Prompt    *string   `json:"prompt_name"`
		Text      string    `json:"text"`
		Embedding []float32 `json:"embedding"`
	}
	if err := json.Unmarshal(embeddingsJSON, &references); err != nil || len(references) != 6 {
		t.Fatalf("%d references, %v", len(references), err)
	}
	path := realmodel.EmbeddingPath(t)
	for _, tc := range []struct {
		name  string
		round bool
		least float64 // cosine
	}{{"float32", false, 0.99999}, {"Q8_0", true, 0.999}} {
		t.Run(tc.name, func(t *testing.T) {
			file := path
			if tc.round {
				file = eightBits(t, path)
			}
			m := openEmbedder(t, file)
			prompts, err := m.Prompts()
			if err != nil {
				t.Fatal(err)
			}
			var texts []string
			for _, r := range references {
				var opts []EmbedOption
				text := r.Text
				if r.Prompt != nil {
					opts, text = append(opts, EmbedPrompt(*r.Prompt)), prompts[*r.Prompt]+text
				}
				texts = append(texts, text)
				alone := embed(t, m, []string{r.Text}, opts...)
				atLeast(t, r.Text, alone[0], r.Embedding, tc.least)
				short := embed(t, m, []string{r.Text}, append(opts, EmbedDimensions(256))...)
				atLeast(t, r.Text+" in 256", short[0], r.Embedding[:256], tc.least)
			}
			for i, v := range embed(t, m, texts) {
				atLeast(t, texts[i]+" in company", v, references[i].Embedding, tc.least)
			}
		})
	}
}

func atLeast(t *testing.T, what string, got, want []float32, least float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	var dot, gg, ww float64
	for i := range got {
		dot += float64(got[i]) * float64(want[i])
		gg += float64(got[i]) * float64(got[i])
		ww += float64(want[i]) * float64(want[i])
	}
	if math.Abs(gg-1) > 1e-5 {
		t.Errorf("%s: length %g, want 1", what, math.Sqrt(gg))
	}
	if cosine := dot / math.Sqrt(gg*ww); cosine < least || math.IsNaN(cosine) {
		t.Errorf("%s: cosine %.7f, want at least %g", what, cosine, least)
	} else {
		t.Logf("%s: cosine %.7f", what, cosine)
	}
}

func openEmbedder(t *testing.T, path string) *Model {
	t.Helper()
	m, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// tinyEmbedder is a random model, some of whose files are others.
func tinyEmbedder(t *testing.T, files map[string]string) *Model {
	t.Helper()
	dir := t.TempDir()
	if err := embedtest.Write(dir); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return openEmbedder(t, dir)
}

func embed(t *testing.T, m *Model, texts []string, opts ...EmbedOption) [][]float32 {
	t.Helper()
	v, err := m.Embed(t.Context(), texts, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestEmbedPrompts(t *testing.T) {
	m := tinyEmbedder(t, nil)
	want := embed(t, m, []string{"q: a", "a", "s: a"})
	for _, tc := range []struct {
		name string
		opts []EmbedOption
		want []float32
	}{
		{"of the file", []EmbedOption{EmbedPrompt("query")}, want[0]},
		{"in other capitals", []EmbedOption{EmbedPrompt("sts")}, want[2]},
		{"as a text", []EmbedOption{EmbedPrefix("q: ")}, want[0]},
		{"none", []EmbedOption{EmbedPrompt("query"), EmbedPrefix("")}, want[1]},
	} {
		atLeast(t, tc.name, embed(t, m, []string{"a"}, tc.opts...)[0], tc.want, 0.999999)
	}
	if _, err := m.Embed(t.Context(), []string{"a"}, EmbedPrompt("no such")); !errors.Is(err, generate.ErrParams) || !strings.Contains(err.Error(), "STS") {
		t.Errorf("an unknown prompt: %v", err)
	}
	prompts, err := m.Prompts()
	if err != nil || prompts["STS"] != "s: " || prompts["Clustering"] != published["Clustering"] {
		t.Errorf("prompts %q, %v", prompts, err)
	}
	prompts["query"] = "changed"
	if again, _ := m.Prompts(); again["query"] != "q: " {
		t.Error("a caller's change reaches the model")
	}
}

func TestEmbedDefaultPrompt(t *testing.T) {
	m := tinyEmbedder(t, map[string]string{"config_sentence_transformers.json": `{"prompts":{"x":"x: "},"default_prompt_name":"x"}`})
	atLeast(t, "default", embed(t, m, []string{"a"})[0], embed(t, m, []string{"x: a"}, EmbedPrefix(""))[0], 0.999999)
}

func TestEmbedDimensions(t *testing.T) {
	m := tinyEmbedder(t, nil)
	whole := embed(t, m, []string{"some text"})[0]
	if len(whole) != embedtest.Width || m.EmbeddingWidth() != embedtest.Width {
		t.Fatalf("%d numbers, EmbeddingWidth %d", len(whole), m.EmbeddingWidth())
	}
	for _, n := range []int{1, 7, embedtest.Width} {
		atLeast(t, "part", embed(t, m, []string{"some text"}, EmbedDimensions(n))[0], whole[:n], 0.999999)
	}
	for _, n := range []int{-1, 0, embedtest.Width + 1} {
		if _, err := m.Embed(t.Context(), []string{"a"}, EmbedDimensions(n)); !errors.Is(err, generate.ErrParams) {
			t.Errorf("%d dimensions: %v", n, err)
		}
	}
}

// A text of bytes has as many tokens, and two marks.
func TestEmbedLength(t *testing.T) {
	for _, tc := range []struct {
		files map[string]string
		limit int
	}{{nil, embedtest.Context}, {map[string]string{"sentence_bert_config.json": `{"max_seq_length": 12}`}, 12}} {
		m := tinyEmbedder(t, tc.files)
		fits, long := strings.Repeat("x", tc.limit-2), strings.Repeat("x", tc.limit-1)+"end"
		_, err := m.Embed(t.Context(), []string{"a", fits, long})
		var at *TextError
		if !errors.As(err, &at) || at.Index != 2 || !errors.Is(err, gemma.ErrContext) || !strings.HasPrefix(err.Error(), "text 3: ") {
			t.Errorf("a text that is too long: %v", err)
		}
		all, err := m.Embeddings(t.Context(), []string{"a", fits, long}, EmbedTruncate())
		if err != nil {
			t.Fatal(err)
		}
		if all[0].Tokens != 3 || all[1].Tokens != tc.limit || all[2].Tokens != tc.limit || all[1].Cut || !all[2].Cut {
			t.Errorf("tokens %d, %d, %d; cut %v, %v", all[0].Tokens, all[1].Tokens, all[2].Tokens, all[1].Cut, all[2].Cut)
		}
		atLeast(t, "cut", all[2].Vector, all[1].Vector, 0.999999)
	}
}

// An empty text still has its marks; without them there is nothing to embed.
func TestEmbedEmpty(t *testing.T) {
	m := tinyEmbedder(t, nil)
	if v := embed(t, m, nil); len(v) != 0 {
		t.Errorf("%d vectors of no texts", len(v))
	}
	if v := embed(t, m, []string{""}); len(v[0]) != embedtest.Width {
		t.Errorf("%d numbers", len(v[0]))
	}
	bare := tinyEmbedder(t, map[string]string{"tokenizer_config.json": `{"add_bos_token": false, "add_eos_token": false}`})
	if _, err := bare.Embed(t.Context(), []string{"a", ""}); err == nil || !strings.Contains(err.Error(), "text 2: an empty text") {
		t.Errorf("no tokens: %v", err)
	}
}

// What is spelled like a control token is text: 5 bytes, not one token.
func TestEmbedForgesNothing(t *testing.T) {
	m := tinyEmbedder(t, nil)
	all, err := m.Embeddings(t.Context(), []string{"<eos>"})
	if err != nil || all[0].Tokens != 7 {
		t.Errorf("%+v, %v", all, err)
	}
}

// Vectors come in the order of their texts, however these share passes.
func TestEmbedOrder(t *testing.T) {
	m := tinyEmbedder(t, nil)
	var texts []string
	for i := range 60 {
		texts = append(texts, strings.Repeat(string(rune('a'+i%26)), 1+(i*7)%37))
	}
	for i, v := range embed(t, m, texts) {
		atLeast(t, texts[i], v, embed(t, m, texts[i:i+1])[0], 0.9999)
	}
}

func TestPasses(t *testing.T) {
	var ids [][]int32
	for _, n := range []int{5, 100, 60, 40, 30, 300, 1, 100, 99} {
		ids = append(ids, make([]int32, n))
	}
	got := passes(ids, 100)
	want := [][]int{{5}, {1}, {7}, {8, 6}, {2, 3}, {4, 0}}
	if !slices.EqualFunc(got, want, slices.Equal) {
		t.Errorf("passes %v, want %v", got, want)
	}
	if got := passes(nil, 100); len(got) != 0 {
		t.Errorf("passes %v of nothing", got)
	}
}

func TestEmbedRefusals(t *testing.T) {
	m := openTable(t, nil)
	_, err := m.Embed(t.Context(), []string{"a"})
	if !errors.Is(err, ErrNoEmbeddings) || m.EmbeddingWidth() != 0 || strings.Contains(err.Error(), "\n") {
		t.Errorf("a model that writes text: %v", err)
	}
	if _, err := m.Prompts(); !errors.Is(err, ErrNoEmbeddings) {
		t.Errorf("its prompts: %v", err)
	}
	for name, files := range map[string]map[string]string{
		"last token":     {"1_Pooling/config.json": `{"pooling_mode_mean_tokens": false, "pooling_mode_lasttoken": true}`},
		"without prompt": {"1_Pooling/config.json": `{"pooling_mode_mean_tokens": true, "include_prompt": false}`},
		"no JSON":        {"config_sentence_transformers.json": `{`},
	} {
		for file := range files {
			if _, err := tinyEmbedder(t, files).Embed(t.Context(), []string{"a"}); err == nil || !strings.Contains(err.Error(), file) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestEmbedEnds(t *testing.T) {
	m := tinyEmbedder(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Embed(ctx, []string{"a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	m.Close()
	if _, err := m.Embed(t.Context(), []string{"a"}); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

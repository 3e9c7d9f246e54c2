package convert_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/checkpoint/convert"
	"lapidary/checkpoint/quantize"
	"lapidary/engine"
	"lapidary/engine/ref"
	"lapidary/gemma"
	"lapidary/generate/generatetest"
	"lapidary/tokenizer"
)

const goldens = "../../gemma/testdata/goldens"

// families are cases of a text model and nothing else; models has those of more.
var (
	families = []string{"gemma1_text", "gemma2_text", "gemma3_text", "gemma3n_text", "gemma4_31b_text", "gemma4_e2b_text", "gemma4_moe_text",
		"embeddinggemma", "gemma4_assistant"}
	models = []string{"gemma3_mm", "gemma4_31b_mm", "gemma4_e2b_mm", "gemma4_unified", "gemma4_assistant_ordered"}
)

func open(t *testing.T, path string) *checkpoint.Checkpoint {
	t.Helper()
	c, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// toGGUF writes a folder as a GGUF file and opens that.
func toGGUF(t *testing.T, from string, dtype string) *checkpoint.Checkpoint {
	t.Helper()
	m, err := convert.ToGGUF(open(t, from))
	if err != nil {
		t.Fatal(err)
	}
	mix, err := quantize.Find(dtype)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "model.gguf")
	if _, err := quantize.Write(t.Context(), path, m, mix, quantize.Options{}); err != nil {
		t.Fatal(err)
	}
	return open(t, path)
}

// toFolder writes a GGUF checkpoint as a folder and opens that.
func toFolder(t *testing.T, c *checkpoint.Checkpoint, dtype checkpoint.Type) *checkpoint.Checkpoint {
	t.Helper()
	path := filepath.Join(t.TempDir(), "folder")
	if err := convert.WriteFolder(t.Context(), path, c, dtype, nil); err != nil {
		t.Fatal(err)
	}
	return open(t, path)
}

// logits are those of the reference engine for the golden's tokens.
// outputs are a model's logits, an encoder's embedding, or what a drafter
// guesses after the tokens.
func outputs(t *testing.T, c *checkpoint.Checkpoint, tokens []int32) [][]float32 {
	t.Helper()
	e := ref.New()
	m := load(t, c, e)
	switch config := m.Config(); {
	case config.Drafter != nil:
		return draft(t, m, e, tokens)
	case config.Head.Pooled > 0:
		vectors, err := m.Embed(t.Context(), []gemma.Step{{Tokens: tokens}})
		if err != nil {
			t.Fatal(err)
		}
		return vectors
	}
	var out gemma.Logits
	if err := m.Forward(t.Context(), []gemma.Step{{Tokens: tokens, Logits: gemma.AllRows}}, &out); err != nil {
		t.Fatal(err)
	}
	return rows(&out)
}

func load(t *testing.T, c *checkpoint.Checkpoint, e engine.Engine) *gemma.Model {
	t.Helper()
	m, err := gemma.Load(c, e)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func rows(out *gemma.Logits) [][]float32 {
	var rows [][]float32
	for i := range out.Rows() {
		rows = append(rows, append([]float32{}, out.Row(i)...))
	}
	return rows
}

// draft is what an assistant guesses after the tokens of its target.
func draft(t *testing.T, assistant *gemma.Model, e engine.Engine, tokens []int32) [][]float32 {
	t.Helper()
	target := load(t, open(t, filepath.Join(goldens, "gemma4_e2b_text")), e)
	cache := target.NewCache()
	var out gemma.Logits
	if err := target.Forward(t.Context(), []gemma.Step{{Cache: cache, Tokens: tokens, Logits: gemma.LastRow}}, &out); err != nil {
		t.Fatal(err)
	}
	d, err := gemma.NewDrafter(assistant, target)
	if err != nil {
		t.Fatal(err)
	}
	hidden := make([]float32, target.Config().Width)
	for i := range hidden {
		hidden[i] = float32(i%7) - 3
	}
	next, err := d.Step(t.Context(), cache, 7, len(tokens)-1, hidden, &out)
	if err != nil {
		t.Fatal(err)
	}
	return append(rows(&out), next)
}

// golden are the reference's logits of a case that has such; nil for others.
func golden(t *testing.T, family string) (tokens []int32, want []float64) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(goldens, family, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		Runs []struct {
			Name            string
			Inputs, Outputs map[string]struct{ Data []float64 }
		}
	}
	if err := json.Unmarshal(text, &g); err != nil {
		return []int32{2, 30, 17, 99, 5, 64, 120, 8, 77, 3, 41, 12, 90}, nil // inputs that are no arrays
	}
	for _, v := range g.Runs[0].Inputs["input_ids"].Data {
		tokens = append(tokens, int32(v))
	}
	if g.Runs[0].Name != "forward" {
		return tokens[:13], nil
	}
	return tokens, g.Runs[0].Outputs["logits"].Data
}

func TestGoldens(t *testing.T) {
	for _, family := range append(slices.Clone(families), models...) {
		t.Run(family, func(t *testing.T) {
			tokens, want := golden(t, family)
			folder := open(t, filepath.Join(goldens, family))
			file := toGGUF(t, folder.Path(), "F32")
			again := toFolder(t, file, checkpoint.F32)
			last := toGGUF(t, again.Path(), "F32")
			if family == "gemma4_assistant_ordered" { // llama.cpp's files look at all tokens, as its folder without the clusters does
				folder = again
			}
			if want == nil {
				for _, row := range outputs(t, folder, tokens) {
					for _, v := range row {
						want = append(want, float64(v))
					}
				}
			}
			for what, c := range map[string]*checkpoint.Checkpoint{"folder": folder, "file": file, "folder again": again, "file again": last} {
				near(t, what, outputs(t, c, tokens), want)
			}
			if slices.Contains(families, family) {
				sameTensors(t, folder, again)
			}
			sameTensors(t, file, last)
		})
	}
}

func near(t *testing.T, what string, got [][]float32, want []float64) {
	t.Helper()
	n := 0
	for i, row := range got {
		for j, v := range row {
			if w := want[n]; !(math.Abs(float64(v)-w) <= 1e-4*max(1, math.Abs(w))) {
				t.Fatalf("%s: row %d, element %d is %v, want %v", what, i, j, v, w)
			}
			n++
		}
	}
	if n != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, n, len(want))
	}
}

func sameTensors(t *testing.T, a, b *checkpoint.Checkpoint) {
	t.Helper()
	if len(a.Tensors()) != len(b.Tensors()) {
		t.Fatalf("%d tensors have become %d", len(a.Tensors()), len(b.Tensors()))
	}
	for _, x := range a.Tensors() {
		y, ok := b.Tensor(x.Name)
		if x.Name == "embed_tokens_per_layer.weight" && y.Rows() > x.Rows() { // filled up
			y.Shape, y.Data = x.Shape, y.Data[:len(x.Data)]
		}
		if !ok || !reflect.DeepEqual(x.Shape, y.Shape) {
			t.Fatalf("%s %v has become %v", x.Name, x.Shape, y.Shape)
		}
		if a.Format() == "safetensors" && strings.Contains(x.Name, "self_attn.q_") {
			continue // which may have got the score scale
		}
		p, q := checkpointtest.Floats(x), checkpointtest.Floats(y)
		for i := range p {
			if d := math.Abs(float64(p[i] - q[i])); d > 1e-7 || d > 0 && !strings.HasSuffix(x.Name, "norm.weight") {
				t.Fatalf("%s: element %d is %v, was %v", x.Name, i, q[i], p[i])
			}
		}
	}
}

// TestSettings: both formats say the same of a model, whose score scale aside.
// TestSettings: a configuration stays what it is, in GGUF and back, but for
// what GGUF does not say.
func TestSettings(t *testing.T) {
	for _, family := range append(slices.Clone(families), models...) {
		folder := open(t, filepath.Join(goldens, family))
		file := toGGUF(t, folder.Path(), "F32")
		want, got := readConfig(t, folder), readConfig(t, file)
		again := readConfig(t, toFolder(t, file, checkpoint.BF16))
		offset := want.NormOffset
		if got.NormOffset != 0 || again.NormOffset != offset {
			t.Errorf("%s: norms are offset by %v and %v", family, got.NormOffset, again.NormOffset)
		}
		got.NormOffset = offset
		if want.Family == "gemma4_unified" {
			want.Family = "gemma4"
		}
		want.SigLIP, want.Patches, want.Pixels, want.Sounds, want.Frames, want.Tokens = nil, nil, nil, nil, nil, got.Tokens
		for i := range want.Layers {
			a, b := &want.Layers[i].Attention, got.Layers[i].Attention
			a.Scale, a.Groups = b.Scale, b.Groups // folded into queries; of pictures
		}
		if want.PerLayer != nil {
			want.PerLayer.Vocab = want.Vocab // filled up
		}
		if want.Drafter != nil {
			want.Drafter.Clusters, want.Drafter.Top = 0, 0
		}
		for what, c := range map[string]gemma.Config{"GGUF": got, "config.json": again} {
			if !reflect.DeepEqual(c, want) {
				t.Errorf("%s in %s: %+v\nwant %+v", family, what, c, want)
			}
		}
	}
}

func readConfig(t *testing.T, c *checkpoint.Checkpoint) gemma.Config {
	t.Helper()
	config, err := gemma.ReadConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// TestDtypes: 16-bit folders and files hold the nearest numbers.
func TestDtypes(t *testing.T) {
	folder := open(t, filepath.Join(goldens, "gemma3_text"))
	for _, dtype := range []checkpoint.Type{checkpoint.F16, checkpoint.BF16} {
		file := toGGUF(t, folder.Path(), dtype.String())
		there := toFolder(t, file, dtype)
		for _, c := range []*checkpoint.Checkpoint{file, there} {
			x, _ := folder.Tensor("layers.1.mlp.up_proj.weight")
			y, _ := c.Tensor("layers.1.mlp.up_proj.weight")
			if y.Type != dtype {
				t.Fatalf("%s: the weights are %s", dtype, y.Type)
			}
			p, q := checkpointtest.Floats(x), checkpointtest.Floats(y)
			for i := range p {
				if math.Abs(float64(p[i]-q[i])) > math.Abs(float64(p[i]))/256+1e-7 {
					t.Fatalf("%s: element %d is %v, was %v", dtype, i, q[i], p[i])
				}
			}
		}
	}
}

// bigram is a GGUF file with a tokenizer and all that goes with it.
func bigram(t *testing.T) *checkpoint.Checkpoint {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bigram.gguf")
	extra := map[string]any{"tokenizer.chat_template": "{{ bos_token }}", "tokenizer.ggml.eot_token_id": uint32(5),
		"general.sampling.top_k": int32(64), "general.sampling.top_p": float32(0.95), "general.sampling.temp": float32(0.7)}
	if err := generatetest.WriteGGUF(path, generatetest.Table{}.Chain("a", "b", "a"), 64, extra); err != nil {
		t.Fatal(err)
	}
	return open(t, path)
}

// TestTokenizer: the tokenizer and what goes with it survive the way to a
// folder and back.
func TestTokenizer(t *testing.T) {
	file := bigram(t)
	folder := toFolder(t, file, checkpoint.F32)
	last := toGGUF(t, folder.Path(), "F32")
	for _, key := range []string{"model", "tokens", "scores", "token_type", "bos_token_id", "eos_token_id", "unknown_token_id", "padding_token_id",
		"eot_token_id", "add_bos_token", "add_space_prefix"} {
		want, got := plain(file.Metadata().Any("tokenizer.ggml."+key)), plain(last.Metadata().Any("tokenizer.ggml."+key))
		if key == "token_type" || key == "scores" { // added tokens have those of all added tokens
			want, got = want[6:], got[6:]
		}
		if !reflect.DeepEqual(want, got) {
			t.Errorf("%s was %v and is %v", key, want, got)
		}
	}
	for _, key := range []string{"tokenizer.chat_template", "general.sampling.top_k", "general.sampling.top_p", "general.sampling.temp"} {
		if want, got := file.Metadata().Any(key), last.Metadata().Any(key); want == nil || !reflect.DeepEqual(want, got) {
			t.Errorf("%s was %v and is %v", key, want, got)
		}
	}
	const text = "<start_of_turn>a b  κ\n<eos>"
	var want []tokenizer.Token
	for _, c := range []*checkpoint.Checkpoint{file, folder, last} {
		tok, err := tokenizer.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		got := tok.EncodeSpecial(text)
		if want == nil {
			want = got
		}
		if !reflect.DeepEqual(got, want) || len(got) < 8 || tok.EOS()[0] != 1 || len(tok.EOS()) != 2 || tok.BOS() != 2 {
			t.Errorf("%s: %v, ends %v, begins %d; want %v", c.Path(), got, tok.EOS(), tok.BOS(), want)
		}
	}
}

// plain makes arrays comparable.
func plain(v any) []any {
	switch v := v.(type) {
	case checkpoint.StringArray:
		var out []any
		for _, s := range v.All() {
			out = append(out, string(s))
		}
		return out
	case []float32:
		return anys(v)
	case []int32:
		return anys(v)
	}
	return []any{v}
}

func anys[T any](v []T) []any {
	var out []any
	for _, x := range v {
		out = append(out, x)
	}
	return out
}

// TestTokenizerJSON: without a tokenizer.model the tokenizer.json is taken.
// TestTokenizerJSON: as scores, and as merges for Gemma 4.
func TestTokenizerJSON(t *testing.T) {
	for _, family := range []string{"gemma3_text", "gemma4_31b_text"} {
		t.Run(family, func(t *testing.T) { tokenizerJSON(t, family) })
	}
}

func tokenizerJSON(t *testing.T, family string) {
	dir := filepath.Join(t.TempDir(), "folder")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(goldens, family))); err != nil {
		t.Fatal(err)
	}
	vocab := map[string]int{"<pad>": 0, "<eos>": 1, "<bos>": 2, "<unk>": 3, "a": 4, "b": 5, "▁": 6, "ab": 7, "▁ab": 8, "▁▁": 9}
	file := map[string]any{
		"added_tokens": []map[string]any{{"id": 0, "content": "<pad>", "special": true}, {"id": 1, "content": "<eos>", "special": true},
			{"id": 2, "content": "<bos>", "special": true}, {"id": 3, "content": "<unk>", "special": true},
			{"id": 9, "content": "▁▁", "special": false}, {"id": 10, "content": "<image_soft_token>", "special": true}},
		"normalizer": map[string]any{"type": "Replace", "pattern": map[string]any{"String": " "}, "content": "▁"},
		"post_processor": map[string]any{"type": "TemplateProcessing", "single": []map[string]any{
			{"SpecialToken": map[string]any{"id": "<bos>"}}, {"Sequence": map[string]any{"id": "A"}}}},
		"model": map[string]any{"type": "BPE", "vocab": vocab, "merges": []any{[]string{"a", "b"}, "▁ ab"}},
	}
	text, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	want, err := tokenizer.FromJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	gguf := toGGUF(t, dir, "F32")
	sameTokens(t, want, gguf)
	sameTokens(t, want, toFolder(t, gguf, checkpoint.F32))
}

func sameTokens(t *testing.T, want *tokenizer.Tokenizer, c *checkpoint.Checkpoint) {
	t.Helper()
	got, err := tokenizer.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"ab ab", " ab", "a  b", "<image_soft_token>a<eos>"} {
		if a, b := want.EncodeSpecial(s), got.EncodeSpecial(s); !reflect.DeepEqual(a, b) || len(a) == 0 {
			t.Errorf("%q: %v, want %v", s, b, a)
		}
	}
	if c.Metadata() != nil && got.Len() != 160 {
		t.Errorf("%d tokens for 160 rows of the embedding", got.Len())
	}
}

// TestRefuses: one line that says what is wrong.
// TestExpertsApart: files that store an expert's two halves as two tensors, back
// in a folder too.
func TestExpertsApart(t *testing.T) {
	const family = "gemma4_moe_text"
	m, err := convert.ToGGUF(open(t, filepath.Join(goldens, family)))
	if err != nil {
		t.Fatal(err)
	}
	var tensors []checkpoint.Tensor
	for _, x := range m.Tensors {
		name, ok := strings.CutSuffix(x.Name, "gate_up_proj")
		if !ok {
			tensors = append(tensors, x)
			continue
		}
		gate, up := x, x
		gate.Name, up.Name = name+"gate_proj", name+"up_proj"
		gate.Shape = []int{x.Shape[0], x.Shape[1] / 2, x.Shape[2]}
		up.Shape, gate.Data, up.Data = gate.Shape, nil, nil
		half := gate.Shape[1] * x.RowBytes()
		for i := range x.Shape[0] {
			gate.Data = append(gate.Data, x.Data[2*i*half:(2*i+1)*half]...)
			up.Data = append(up.Data, x.Data[(2*i+1)*half:(2*i+2)*half]...)
		}
		tensors = append(tensors, gate, up)
	}
	path := filepath.Join(t.TempDir(), "apart.gguf")
	if err := checkpointtest.WriteGGUF(path, m.Metadata, tensors); err != nil {
		t.Fatal(err)
	}
	file := open(t, path)
	tokens, want := golden(t, family)
	near(t, "apart", outputs(t, file, tokens), want)
	near(t, "folder", outputs(t, toFolder(t, file, checkpoint.F32), tokens), want)
}

// TestNoArchitecture: what llama.cpp does not run cannot be GGUF.
func TestNoArchitecture(t *testing.T) {
	for family, want := range map[string]string{
		"vaultgemma_text": `llama.cpp has no architecture for models of the family "vaultgemma"`, "recurrent_gemma": `"recurrent_gemma"`, "t5gemma": `"t5gemma"`,
		"t5gemma2": `"t5gemma2"`, "paligemma1": `"paligemma"`, "diffusion_gemma": `"diffusion_gemma"`, "embeddinggemma2": `"embedding_gemma2"`,
		"shieldgemma2": `"shieldgemma2"`, "siglip": `"siglip"`, "gemma3_seqcls": "no place for the classification head of a gemma3 model",
	} {
		dir := filepath.Join(goldens, family)
		if _, err := convert.ToGGUF(open(t, dir)); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), dir) {
			t.Errorf("%s: error %v, want one line with %q", family, err, want)
		}
	}
}

func TestRefuses(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "folder")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(goldens, "gemma3_text"))); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ file, text, want string }{
		{"tokenizer.model", "\x0a\x7f", "tokenizer.model: "},
		{"tokenizer.json", "{", "tokenizer.json: unexpected end"},
		{"tokenizer.json", `{"model": {"type": "WordPiece"}}`, `model.type is "WordPiece"`},
		{"tokenizer.json", `{"model": {"type": "BPE", "vocab": {"a": -1}}}`, `token "a" has the id -1`},
		{"tokenizer.json", `{"model": {"type": "BPE", "vocab": {"a": 99999999999}}}`, "tokenizer.json"},
		{"tokenizer.json", `{"model": {"type": "BPE", "vocab": {"a": 160}}}`, "the tokenizer has 161 tokens and the weights know 160"},
		{"tokenizer.json", `{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]}}`, "merges: entry 0"},
		{"config.json", `{"model_type": "llama"}`, `model_type "llama"`},
	} {
		path := filepath.Join(dir, c.file)
		before, missing := os.ReadFile(path)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := convert.ToGGUF(open(t, dir))
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), dir) {
			t.Errorf("%s %s: error %v, want the folder and %q", c.file, c.text, err, c.want)
		}
		if errors.Is(missing, fs.ErrNotExist) {
			err = os.Remove(path)
		} else {
			err = os.WriteFile(path, before, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestFolderRefuses: nothing is left where nothing could be written.
func TestFolderRefuses(t *testing.T) {
	parent := t.TempDir()
	out := filepath.Join(parent, "out")
	for want, c := range map[string]struct {
		from  *checkpoint.Checkpoint
		dtype checkpoint.Type
	}{
		"weights of a folder cannot be Q4_0": {bigram(t), checkpoint.Q4_0},
		"this is safetensors already":        {open(t, filepath.Join(goldens, "gemma1_text")), checkpoint.F32},
	} {
		if err := convert.WriteFolder(t.Context(), out, c.from, c.dtype, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if err := os.MkdirAll(filepath.Join(out, "mine"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := convert.WriteFolder(t.Context(), out, bigram(t), checkpoint.F32, nil); err == nil || !strings.Contains(err.Error(), "the folder is not empty") {
		t.Errorf("error %v", err)
	}
	if entries, err := os.ReadDir(parent); err != nil || len(entries) != 1 {
		t.Errorf("%v is left, %v", entries, err)
	}
}

func ExampleToGGUF() {
	c, err := checkpoint.Open(filepath.Join(goldens, "gemma3_text"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	m, err := convert.ToGGUF(c)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Metadata["general.architecture"], m.Metadata["gemma3.embedding_length"], len(m.Tensors))
	// Output: gemma3 32 80
}

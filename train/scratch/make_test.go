package scratch

import (
	"crypto/sha256"
	"errors"
	"iter"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapidary/chat"
	"lapidary/checkpoint"
	"lapidary/checkpoint/convert"
	"lapidary/engine/cpu"
	"lapidary/gemma"
	"lapidary/media/picture"
	"lapidary/media/sound"
	"lapidary/tokenizer"
	"lapidary/train/recipe"
)

// small is a model of a family that takes milliseconds to make.
func small(family string) recipe.FromScratch {
	r := recipe.FromScratch{
		Family: family, Layers: 3, Width: 32, Heads: 4, KVHeads: 2, HeadSize: 8, FeedForward: 48, Window: 8, Pattern: 2, Context: 64,
		Vocab: recipe.Vocab{Train: 400},
	}
	switch family {
	case "gemma4_unified":
		r.Pictures, r.Sounds = &recipe.Pictures{Patch: 2, Pooling: 2, Places: 4}, &recipe.Sounds{Samples: 20}
	case "recurrent_gemma":
		r.KVHeads = 1
	}
	return r
}

func texts(t testing.TB) iter.Seq[string] {
	t.Helper()
	text, err := os.ReadFile("testdata/texts.txt")
	if err != nil {
		t.Fatal(err)
	}
	return slices.Values([]string{string(text)})
}

func made(t testing.TB, r recipe.FromScratch, seed uint64) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "model")
	if err := Make(r, texts(t), seed, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// loaded is the model in a folder.
func loaded(t testing.TB, dir string) *gemma.Model {
	t.Helper()
	c, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	e, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		c.Close()
	})
	m, err := gemma.Load(c, e)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestEveryFamilyRuns(t *testing.T) {
	for family := range families {
		t.Run(family, func(t *testing.T) {
			m := loaded(t, made(t, small(family), 1))
			cache, tokens := m.NewCache(), []int32{2, 300, 301, 302, 7}
			if m.Config().Encoder != nil {
				if err := m.Source(t.Context(), cache, gemma.Step{Tokens: tokens}); err != nil {
					t.Fatal(err)
				}
			}
			finite(t, logits(t, m, gemma.Step{Tokens: tokens, Cache: cache, Logits: gemma.LastRow}), m.Config().Vocab)
		})
	}
}

func logits(t testing.TB, m *gemma.Model, s gemma.Step) []float32 {
	t.Helper()
	var out []float32
	err := m.ForwardEach(t.Context(), []gemma.Step{s}, func(_ int, row []float32) error {
		out = append(out, row...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func finite(t testing.TB, row []float32, n int) {
	t.Helper()
	if len(row) != n {
		t.Fatalf("%d logits of a vocabulary of %d", len(row), n)
	}
	for i, v := range row {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			t.Fatalf("logit %d is %v", i, v)
		}
	}
	if slices.Max(row) == slices.Min(row) {
		t.Error("all logits are the same")
	}
}

func TestUnifiedSeesAndHears(t *testing.T) {
	m := loaded(t, made(t, small("gemma4_unified"), 1))
	pixels := make([]float32, 2*3*4*4)
	for i := range pixels {
		pixels[i] = float32(i%7) / 7
	}
	seen, err := m.Pictures(t.Context(), []gemma.Picture{{Pixels: pixels, Places: [][2]int32{{0, 0}, {1, 0}}}})
	if err != nil {
		t.Fatal(err)
	}
	sound := make([]float32, 20)
	sound[3] = 0.5
	heard, err := m.Sounds(t.Context(), []gemma.Sound{{Frames: [][]float32{sound}, Valid: 1}})
	if err != nil {
		t.Fatal(err)
	}
	finite(t, seen[0], 2*m.Config().Width)
	finite(t, heard[0], m.Config().Width)
	tokens := m.Config().Tokens
	finite(t, logits(t, m, gemma.Step{
		Tokens: []int32{2, tokens.ImageStart, tokens.Image, tokens.Image, tokens.ImageEnd, tokens.AudioStart, tokens.Audio, tokens.AudioEnd},
		Soft:   []gemma.Soft{{At: 2, Vectors: seen[0]}, {At: 6, Vectors: heard[0]}}, Logits: gemma.LastRow,
	}), m.Config().Vocab)
}

// A picture of 4:1 has its places.
func TestSoftTokens(t *testing.T) {
	for places, want := range map[int]int{1: 1, 8: 16, 17: 70, 24: 140, 34: 280, 1120: 280, math.MaxInt: 280} {
		if got := softTokens(places); got != want {
			t.Errorf("%d places: %d, want %d", places, got, want)
		}
	}
}

func TestPicturesOfFourToOneHavePlaces(t *testing.T) {
	r := small("gemma4_unified")
	dir := made(t, r, 1)
	p, err := picture.ReadConfig(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	side := r.Pictures.Patch * r.Pictures.Pooling
	for _, size := range [][2]int{{400, 100}, {100, 400}, {64, 48}, {50, 50}} {
		w, h, err := p.Image.TargetSize(size[0], size[1])
		if err != nil {
			t.Fatal(err)
		}
		if w/side > r.Pictures.Places || h/side > r.Pictures.Places || w%side != 0 || h%side != 0 {
			t.Errorf("%v becomes %d × %d, and there are %d places of %d", size, w, h, r.Pictures.Places, side)
		}
	}
	s, err := sound.ReadParams(dir)
	if err != nil || s.Size != r.Sounds.Samples {
		t.Errorf("frames of %d samples, %v; want %d", s.Size, err, r.Sounds.Samples)
	}
}

// sums are the checksums of a folder's files.
func sums(t testing.TB, dir string) map[string][32]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][32]byte{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = sha256.Sum256(data)
	}
	return out
}

func TestSeedDecidesTheBytes(t *testing.T) {
	r := small("gemma3")
	one, again, other := sums(t, made(t, r, 7)), sums(t, made(t, r, 7)), sums(t, made(t, r, 8))
	if len(one) != 6 || !maps.Equal(one, again) {
		t.Errorf("the same seed makes other files: %v", slices.Sorted(maps.Keys(one)))
	}
	if one["model.safetensors"] == other["model.safetensors"] {
		t.Error("another seed makes the same weights")
	}
	r.Seed = 8
	if own := sums(t, made(t, r, 7)); !maps.Equal(own, other) {
		t.Error("the model's own seed does not go before the recipe's")
	}
}

func values(t testing.TB, c *checkpoint.Checkpoint, name string) []float32 {
	t.Helper()
	tensor, ok := c.Tensor(name)
	if !ok {
		t.Fatalf("there is no %s", name)
	}
	out := make([]float32, tensor.Rows()*tensor.Cols())
	if err := checkpoint.Dequantize(tensor.Type, out, tensor.Data); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestFirstNumbers(t *testing.T) {
	c, err := checkpoint.Open(made(t, small("gemma3"), 1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	embedding := values(t, c, "embed_tokens.weight")
	if slices.Max(embedding[:32]) != 0 || slices.Min(embedding[:32]) != 0 {
		t.Error("the padding token is not 0")
	}
	sum, squares := 0.0, 0.0
	rest := embedding[32:]
	for _, v := range rest {
		sum, squares = sum+float64(v), squares+float64(v)*float64(v)
	}
	mean, deviation := sum/float64(len(rest)), math.Sqrt(squares/float64(len(rest)))
	if math.Abs(mean) > 1e-3 || math.Abs(deviation-0.02) > 1e-3 {
		t.Errorf("embeddings are around %g by %g, want 0 by 0.02", mean, deviation)
	}
	if norm := values(t, c, "layers.0.input_layernorm.weight"); slices.Max(norm) != 0 {
		t.Error("norms of Gemma 3, which add 1, are not 0")
	}
	four, err := checkpoint.Open(made(t, small("gemma4_unified"), 1))
	if err != nil {
		t.Fatal(err)
	}
	defer four.Close()
	for _, name := range []string{"layers.0.input_layernorm.weight", "layers.1.layer_scalar", "vision_embedder.pos_norm.weight"} {
		if v := values(t, four, name); slices.Max(v) != 1 || slices.Min(v) != 1 {
			t.Errorf("%s is not 1", name)
		}
	}
}

// A decay's square lies evenly between 0.9² and 0.999².
func TestDecay(t *testing.T) {
	for _, c := range []struct{ u, want float64 }{{0, 0.9}, {1, 0.999}} {
		softplus := math.Log1p(math.Exp(float64(decay(c.u))))
		if got := math.Exp(-softplus); math.Abs(got-c.want) > 1e-6 {
			t.Errorf("decay(%g) is %g, want %g", c.u, got, c.want)
		}
	}
}

func TestConfigsOfOthersAreMade(t *testing.T) {
	for _, name := range []string{"gemma1_text", "gemma2_text", "vaultgemma_text", "gemma3_text", "gemma4_unified", "recurrent_gemma", "t5gemma", "gemma3_seqcls", "gemma4_31b_text"} {
		t.Run(name, func(t *testing.T) {
			golden := filepath.Join("../../gemma/testdata/goldens", name)
			r := recipe.FromScratch{Config: larger(t, golden), Vocab: recipe.Vocab{Train: 400}}
			got, want := shapes(t, made(t, r, 1)), shapes(t, golden)
			for tensor, shape := range want {
				if tensor == "embed_tokens.weight" || strings.HasSuffix(tensor, "coder.embed_tokens.weight") {
					shape = []int{400, shape[1]}
				}
				if !slices.Equal(got[tensor], shape) {
					t.Errorf("%s is %v, want %v", tensor, got[tensor], shape)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%d tensors, want %d", len(got), len(want))
			}
			if !strings.HasPrefix(name, "t5") {
				m := loaded(t, made(t, r, 1))
				if m.Config().Head.Labels == 0 {
					finite(t, logits(t, m, gemma.Step{Tokens: []int32{2, 30, 31}, Logits: gemma.LastRow}), m.Config().Vocab)
				}
			}
		})
	}
}

// larger is a golden's config.json with room for a vocabulary.
func larger(t testing.TB, golden string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(golden, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.json")
	changed := strings.ReplaceAll(string(text), `"vocab_size": 160`, `"vocab_size": 400`)
	if err := os.WriteFile(path, []byte(changed), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func shapes(t testing.TB, dir string) map[string][]int {
	t.Helper()
	c, err := checkpoint.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	out := map[string][]int{}
	for _, tensor := range c.Tensors() {
		out[tensor.Name] = tensor.Shape
	}
	return out
}

func TestChatForms(t *testing.T) {
	talk := []chat.Message{{Role: chat.System, Content: "be brief"}, {Role: chat.User, Content: " one "}, {Role: chat.Assistant, Content: "two"}, {Role: chat.User, Content: "three"}}
	for family, builtIn := range map[string]string{"gemma3": "gemma3", "gemma2": "gemma3", "gemma4_unified": "gemma4"} {
		c, err := checkpoint.Open(made(t, small(family), 1))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		own, err := chat.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		got, err := own.Render(talk, true)
		if err != nil {
			t.Fatal(err)
		}
		want, err := chat.BuiltIn(builtIn).Render(talk, true)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", family, got, want)
		}
		tok, err := tokenizer.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		ids, err := own.Encode(tok, talk)
		if err != nil {
			t.Fatal(err)
		}
		if ids[0] != 2 || ids[1] != 4 || !slices.Contains(own.StopTokens(tok), 5) {
			t.Errorf("%s: ids begin %v, stop tokens are %v", family, ids[:2], own.StopTokens(tok))
		}
	}
}

func TestMakeRefuses(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	heads := small("recurrent_gemma")
	heads.HeadSize = 16
	tower := recipe.FromScratch{Config: larger(t, "../../gemma/testdata/goldens/gemma3_mm"), Vocab: recipe.Vocab{Train: 400}}
	narrow := recipe.FromScratch{Config: "../../gemma/testdata/goldens/gemma3_text/config.json", Vocab: recipe.Vocab{Train: 400}}
	empty := filepath.Join(t.TempDir(), "model")
	for _, c := range []struct {
		r    recipe.FromScratch
		dir  string
		want string
	}{
		{small("gemma3"), full, "is not empty"},
		{heads, empty, "4 heads of 16 make 64"},
		{tower, empty, "a vision tower cannot be made"},
		{narrow, empty, "vocab_size 160, and the tokenizer has 400 pieces"},
		{recipe.FromScratch{Family: "gemma4_unified", Vocab: recipe.Vocab{Train: 400}}, empty, "layers is 0, want 1 to 1024"},
		{recipe.FromScratch{Family: "gemma3", Layers: math.MaxInt, Vocab: recipe.Vocab{Train: 400}}, empty, "want 1 to 1024"},
		{recipe.FromScratch{Family: "gemma3", Layers: 2, Vocab: recipe.Vocab{Train: 400}}, empty, "config: width is 0"},
		{small("t5gemma2"), empty, `family "t5gemma2" cannot be made of sizes alone`},
	} {
		err := Make(c.r, texts(t), 1, c.dir)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	if entries, err := os.ReadDir(filepath.Dir(empty)); err != nil || len(entries) != 0 {
		t.Errorf("what was refused has left %v, %v", entries, err)
	}
	if err := Make(small("gemma3"), nil, 1, empty); err == nil || !strings.Contains(err.Error(), "there are no texts") {
		t.Errorf("%v", err)
	}
}

// A GGUF file keeps the pieces in their order and the scores that say what is
// merged first.
func TestTokenizerOfGGUFIsTaken(t *testing.T) {
	c, err := checkpoint.Open(made(t, small("gemma3"), 1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	m, err := convert.ToGGUF(c)
	if err != nil {
		t.Fatal(err)
	}
	r := small("gemma3")
	r.Vocab = recipe.Vocab{Path: filepath.Join(t.TempDir(), "m.gguf")}
	f, err := os.Create(r.Vocab.Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(checkpoint.WriteGGUF(f, m.Metadata, m.Tensors), f.Close()); err != nil {
		t.Fatal(err)
	}
	again := filepath.Join(t.TempDir(), "again")
	if err := Make(r, nil, 1, again); err != nil {
		t.Fatal(err)
	}
	taken, err := checkpoint.Open(again)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	got, err := tokenizer.Open(taken)
	if err != nil {
		t.Fatal(err)
	}
	want, err := tokenizer.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	for text := range texts(t) {
		if got, want := got.EncodeSpecial(text+"<end_of_turn>"), want.EncodeSpecial(text+"<end_of_turn>"); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

func TestTokenizerModelIsTaken(t *testing.T) {
	t.Setenv("LAPIDARY_HOME", t.TempDir())
	const model = "../../tokenizer/testdata/small.model"
	data, err := os.ReadFile(model)
	if err != nil {
		t.Fatal(err)
	}
	want, err := tokenizer.FromModel(data)
	if err != nil {
		t.Fatal(err)
	}
	r := small("gemma2")
	r.Vocab = recipe.Vocab{Path: model}
	dir := filepath.Join(t.TempDir(), "model")
	if err := Make(r, nil, 1, dir); err != nil {
		t.Fatal(err)
	}
	if got := loaded(t, dir).Config().Vocab; got != want.Len() {
		t.Errorf("vocabulary of %d, want %d", got, want.Len())
	}
	r.Vocab.Path = "nothing:of-that-name"
	if err := Make(r, nil, 1, dir+"2"); err == nil || !strings.HasPrefix(err.Error(), "from_scratch: vocab.path: ") {
		t.Errorf("%v", err)
	}
}

func TestTokenizersOfOthersAreTaken(t *testing.T) {
	model := made(t, small("gemma3"), 1)
	for _, path := range []string{filepath.Join(model, "tokenizer.json"), model} {
		r := small("gemma3")
		r.Vocab = recipe.Vocab{Path: path}
		again := filepath.Join(t.TempDir(), "again")
		if err := Make(r, nil, 1, again); err != nil {
			t.Fatal(err)
		}
		if got, want := sums(t, again), sums(t, model); !maps.Equal(got, want) {
			t.Errorf("%s makes another model", path)
		}
	}
}

package gemma_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"lapidary/checkpoint"
	"lapidary/engine"
	"lapidary/gemma"
)

// fromJSON reads a config.json as it lies beside weights.
func fromJSON(t *testing.T, text string) (gemma.Config, error) {
	t.Helper()
	folder := t.TempDir()
	for name, data := range map[string]string{"config.json": text, "model.safetensors": "\x02\x00\x00\x00\x00\x00\x00\x00{}"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return read(t, folder)
}

func fromMetadata(t *testing.T, metadata map[string]any) (gemma.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.gguf")
	writeGGUF(t, path, metadata, nil)
	return read(t, path)
}

func read(t *testing.T, path string) (gemma.Config, error) {
	t.Helper()
	c, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return gemma.ReadConfig(c)
}

// facts are what a published model is known by.
type facts struct {
	family                       string
	layers, width, feed, context int
	heads, kvHeads, headSize     int
	window, globals              int // of the local layers; how many see everything
	base, localBase, scale       float64
	queries                      float64 // 1/scoreScale²
	attentionCap, finalCap       float32
}

func factsOf(c gemma.Config) facts {
	a := c.Layers[0].Attention
	f := facts{family: c.Family, layers: len(c.Layers), width: c.Width, feed: c.Layers[0].Feed.Width, context: c.Context,
		heads: a.Heads, kvHeads: a.KVHeads, headSize: a.HeadSize,
		queries: math.Round(1 / float64(a.Scale) / float64(a.Scale)), attentionCap: a.SoftCap, finalCap: c.FinalCap}
	for _, l := range c.Layers {
		if a := l.Attention; a.Window == 0 {
			f.globals++
			f.base, f.scale = a.Rope.Base, a.Rope.Scale
		} else {
			f.window, f.localBase = a.Window, a.Rope.Base
		}
	}
	return f
}

// published are the models as their makers published them: config.json on
// Hugging Face, with what matters here, and the metadata that llama.cpp's
// converter makes of it. The parameters are those Hugging Face counts, without
// the vision tower and its projection (416,866,032 and 1152·(width + 1)).
var published = []struct {
	name       string
	json       string
	gguf       map[string]any
	want       facts
	parameters int64 // by config.json; GGUF files leave out the 64 rows for pictures from 4B on
}{
	{"Gemma 1 2B", `{"model_type": "gemma", "head_dim": 256, "hidden_act": "gelu", "hidden_size": 2048, "intermediate_size": 16384,
		"max_position_embeddings": 8192, "num_attention_heads": 8, "num_hidden_layers": 18, "num_key_value_heads": 1,
		"rms_norm_eps": 1e-06, "rope_scaling": null, "rope_theta": 10000.0, "vocab_size": 256000}`,
		meta("gemma", 18, 2048, 16384, 8192, 8, 1, 256, 256000, nil),
		facts{"gemma", 18, 2048, 16384, 8192, 8, 1, 256, 0, 18, 1e4, 0, 1, 256, 0, 0}, 2_506_172_416},
	{"Gemma 1 7B", `{"model_type": "gemma", "head_dim": 256, "hidden_act": "gelu_pytorch_tanh", "hidden_activation": null,
		"hidden_size": 3072, "intermediate_size": 24576, "max_position_embeddings": 8192, "num_attention_heads": 16,
		"num_hidden_layers": 28, "num_key_value_heads": 16, "rope_theta": 10000.0, "vocab_size": 256000}`,
		meta("gemma", 28, 3072, 24576, 8192, 16, 16, 256, 256000, nil),
		facts{"gemma", 28, 3072, 24576, 8192, 16, 16, 256, 0, 28, 1e4, 0, 1, 256, 0, 0}, 8_537_680_896},
	{"Gemma 2 2B", `{"model_type": "gemma2", "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "head_dim": 256,
		"hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2304, "intermediate_size": 9216, "max_position_embeddings": 8192,
		"num_attention_heads": 8, "num_hidden_layers": 26, "num_key_value_heads": 4, "query_pre_attn_scalar": 256,
		"rope_theta": 10000.0, "sliding_window": 4096, "vocab_size": 256000}`,
		// The first files, of June 2024, name neither window nor caps.
		meta("gemma2", 26, 2304, 9216, 8192, 8, 4, 256, 256000, nil),
		facts{"gemma2", 26, 2304, 9216, 8192, 8, 4, 256, 4096, 13, 1e4, 1e4, 1, 256, 50, 30}, 2_614_341_888},
	{"Gemma 2 9B", `{"model_type": "gemma2", "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "head_dim": 256,
		"hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 3584, "intermediate_size": 14336,
		"max_position_embeddings": 8192, "num_attention_heads": 16, "num_hidden_layers": 42, "num_key_value_heads": 8,
		"query_pre_attn_scalar": 256, "rope_theta": 10000.0, "sliding_window": 4096, "sliding_window_size": 4096, "vocab_size": 256000}`,
		meta("gemma2", 42, 3584, 14336, 8192, 16, 8, 256, 256000, map[string]any{
			"attention.sliding_window": uint32(4096), "attn_logit_softcapping": float32(50), "final_logit_softcapping": float32(30)}),
		facts{"gemma2", 42, 3584, 14336, 8192, 16, 8, 256, 4096, 21, 1e4, 1e4, 1, 256, 50, 30}, 9_241_705_984},
	{"Gemma 2 27B", `{"model_type": "gemma2", "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0, "head_dim": 128,
		"hidden_activation": "gelu_pytorch_tanh", "hidden_size": 4608, "intermediate_size": 36864, "max_position_embeddings": 8192,
		"num_attention_heads": 32, "num_hidden_layers": 46, "num_key_value_heads": 16, "query_pre_attn_scalar": 144,
		"rope_theta": 10000.0, "sliding_window": 4096, "vocab_size": 256000}`,
		meta("gemma2", 46, 4608, 36864, 8192, 32, 16, 128, 256000, map[string]any{"attention.sliding_window": uint32(4096)}),
		facts{"gemma2", 46, 4608, 36864, 8192, 32, 16, 128, 4096, 23, 1e4, 1e4, 1, 144, 50, 30}, 27_227_128_320},
	{"Gemma 3 270M", `{"model_type": "gemma3_text", "_sliding_window_pattern": 6, "attn_logit_softcapping": null,
		"final_logit_softcapping": null, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 640,
		"intermediate_size": 2048, "layer_types": [` + layerTypes(18) + `], "max_position_embeddings": 32768,
		"num_attention_heads": 4, "num_hidden_layers": 18, "num_key_value_heads": 1, "query_pre_attn_scalar": 256,
		"rope_local_base_freq": 10000.0, "rope_scaling": null, "rope_theta": 1000000.0, "sliding_window": 512,
		"use_bidirectional_attention": false, "vocab_size": 262144}`,
		meta("gemma3", 18, 640, 2048, 32768, 4, 1, 256, 262144, map[string]any{
			"attention.sliding_window": uint32(512), "rope.freq_base": float32(1e6)}),
		facts{"gemma3", 18, 640, 2048, 32768, 4, 1, 256, 512, 3, 1e6, 1e4, 1, 256, 0, 0}, 268_098_176},
	{"Gemma 3 1B", `{"model_type": "gemma3_text", "attn_logit_softcapping": null, "final_logit_softcapping": null, "head_dim": 256,
		"hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152, "intermediate_size": 6912, "max_position_embeddings": 32768,
		"num_attention_heads": 4, "num_hidden_layers": 26, "num_key_value_heads": 1, "query_pre_attn_scalar": 256,
		"rope_local_base_freq": 10000, "rope_scaling": null, "rope_theta": 1000000, "sliding_window": 512,
		"sliding_window_pattern": 6, "vocab_size": 262144}`,
		meta("gemma3", 26, 1152, 6912, 32768, 4, 1, 256, 262144, map[string]any{
			"attention.sliding_window": uint32(512), "rope.freq_base": float32(1e6)}),
		facts{"gemma3", 26, 1152, 6912, 32768, 4, 1, 256, 512, 4, 1e6, 1e4, 1, 256, 0, 0}, 999_885_952},
	// From 4B on, heads, vocabulary, context and rotary bases are left to the
	// defaults of transformers' Gemma3TextConfig.
	{"Gemma 3 4B", `{"model_type": "gemma3", "image_token_index": 262144, "mm_tokens_per_image": 256, "text_config": {
		"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text", "num_hidden_layers": 34,
		"rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024},
		"vision_config": {"hidden_size": 1152, "image_size": 896, "num_attention_heads": 16, "num_hidden_layers": 27, "patch_size": 14}}`,
		meta("gemma3", 34, 2560, 10240, 131072, 8, 4, 256, 262144, map[string]any{"attention.sliding_window": uint32(1024),
			"rope.freq_base": float32(1e6), "rope.scaling.type": "linear", "rope.scaling.factor": float32(8)}),
		facts{"gemma3", 34, 2560, 10240, 131072, 8, 4, 256, 1024, 5, 1e6, 1e4, 0.125, 256, 0, 0}, 4_300_079_472 - 419_816_304},
	{"Gemma 3 27B", `{"model_type": "gemma3", "text_config": {
		"head_dim": 128, "hidden_size": 5376, "intermediate_size": 21504, "model_type": "gemma3_text", "num_attention_heads": 32,
		"num_hidden_layers": 62, "num_key_value_heads": 16, "query_pre_attn_scalar": 168,
		"rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024}, "vision_config": {"hidden_size": 1152, "image_size": 896, "patch_size": 14}}`,
		meta("gemma3", 62, 5376, 21504, 131072, 32, 16, 128, 262144, map[string]any{"attention.sliding_window": uint32(1024),
			"rope.freq_base": float32(1e6), "rope.scaling.type": "linear", "rope.scaling.factor": float32(8)}),
		facts{"gemma3", 62, 5376, 21504, 131072, 32, 16, 128, 1024, 10, 1e6, 1e4, 0.125, 168, 0, 0}, 27_432_406_640 - 423_060_336},
}

// layerTypes is five local layers to one global.
func layerTypes(n int) string {
	var kinds []string
	for i := range n {
		kinds = append(kinds, map[bool]string{true: `"full_attention"`, false: `"sliding_attention"`}[i%6 == 5])
	}
	return strings.Join(kinds, ", ")
}

// meta is what every GGUF file of a family says, and more.
func meta(family string, layers, width, feed, context, heads, kvHeads, headSize, vocab int, more map[string]any) map[string]any {
	m := map[string]any{"general.architecture": family}
	for key, n := range map[string]int{"block_count": layers, "embedding_length": width, "feed_forward_length": feed,
		"context_length": context, "attention.head_count": heads, "attention.head_count_kv": kvHeads,
		"attention.key_length": headSize, "attention.value_length": headSize, "vocab_size": vocab} {
		m[family+"."+key] = uint32(n)
	}
	m[family+".attention.layer_norm_rms_epsilon"] = float32(1e-6)
	for key, v := range more {
		m[family+"."+key] = v
	}
	return m
}

func TestPublishedConfigs(t *testing.T) {
	for _, p := range published {
		t.Run(p.name, func(t *testing.T) {
			hub, err := fromJSON(t, p.json)
			if err != nil {
				t.Fatal(err)
			}
			stored, err := fromMetadata(t, p.gguf)
			if err != nil {
				t.Fatal(err)
			}
			for source, c := range map[string]gemma.Config{"config.json": hub, "GGUF": stored} {
				if got := factsOf(c); got != p.want {
					t.Errorf("%s: %+v, want %+v", source, got, p.want)
				}
			}
			if got := hub.Parameters(); got != p.parameters {
				t.Errorf("%d parameters, want %d", got, p.parameters)
			}
			expectSame(t, hub, stored)
		})
	}
}

// expectSame compares the text stacks of two configs but for what the files do
// differently: GGUF stores norm weights with 1 added, and leaves out rows for
// pictures.
func expectSame(t *testing.T, hub, stored gemma.Config) {
	t.Helper()
	if hub.NormOffset != 1 || stored.NormOffset != 0 {
		t.Errorf("norm offsets %v and %v, want 1 from config.json and 0 from GGUF", hub.NormOffset, stored.NormOffset)
	}
	if extra := hub.Vocab - stored.Vocab; extra != 0 && extra != 64 {
		t.Errorf("%d tokens by config.json, %d by GGUF", hub.Vocab, stored.Vocab)
	}
	hub.NormOffset, hub.Vocab = stored.NormOffset, stored.Vocab
	if hub.Family != stored.Family || !reflect.DeepEqual(hub.Stack, stored.Stack) {
		t.Errorf("config.json: %+v\nGGUF: %+v", hub.Stack, stored.Stack)
	}
}

// TestLayers looks at the layers one by one.
func TestLayers(t *testing.T) {
	for _, p := range published {
		c, err := fromJSON(t, p.json)
		if err != nil {
			t.Fatal(err)
		}
		period := map[string]int{"gemma": 1, "gemma2": 2, "gemma3": 6}[c.Family]
		for i, l := range c.Layers {
			a := l.Attention
			want := engine.Rope{Base: p.want.localBase, Scale: 1}
			if (i+1)%period == 0 {
				want = engine.Rope{Base: p.want.base, Scale: p.want.scale}
			}
			if (a.Window == 0) != ((i+1)%period == 0) || a.Rope != want {
				t.Errorf("%s: layer %d has the window %d and turns by %+v, want %+v", p.name, i, a.Window, a.Rope, want)
			}
			if a.QKNorm != (c.Family == "gemma3") || l.PostNorms != (c.Family != "gemma") || l.Feed.Activation != engine.GELUTanh {
				t.Errorf("%s: layer %d is %+v", p.name, i, l)
			}
		}
		if want := float32(math.Sqrt(float64(c.Width))); c.EmbedScale != want || c.NormEps != 1e-6 {
			t.Errorf("%s: embeddings are scaled by %v, want %v; epsilon is %v", p.name, c.EmbedScale, want, c.NormEps)
		}
	}
}

// TestSpellings: what published files and transformers 5 call differently is
// the same, and so is the same model's GGUF.
func TestSpellings(t *testing.T) {
	want, err := read(t, gemma3)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(gemma3, "config.hub.json"))
	if err != nil {
		t.Fatal(err)
	}
	nested := fmt.Sprintf(`{"model_type": "gemma3", "text_config": %s}`, text)
	for name, text := range map[string]string{"config.hub.json": string(text), "text_config": nested} {
		got, err := fromJSON(t, text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v\n%+v\nwant %+v", name, err, got, want)
		}
	}
	stored, err := fromMetadata(t, tinyMetadata())
	if err != nil {
		t.Fatal(err)
	}
	// GGUF has no key for the score scale, which this model chose freely.
	for i := range stored.Layers {
		stored.Layers[i].Attention.Scale = want.Layers[i].Attention.Scale
	}
	expectSame(t, want, stored)
}

// tiny is a config.json that works, with some keys changed; nil takes one out.
func tiny(t *testing.T, change map[string]any) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(gemma3, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	for key, v := range change {
		if all[key] = v; v == nil {
			delete(all, key)
		}
	}
	text, err = json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDefaults: where config.json has no key, transformers' default; where it
// says null, nothing.
func TestDefaults(t *testing.T) {
	type keys = map[string]any
	null := json.RawMessage("null")
	for _, c := range []struct {
		what   string
		change keys
		check  func(c gemma.Config) bool
	}{
		{"Gemma 2's caps", keys{"model_type": "gemma2", "attn_logit_softcapping": nil, "final_logit_softcapping": nil},
			func(c gemma.Config) bool { return c.Layers[0].Attention.SoftCap == 50 && c.FinalCap == 30 }},
		{"Gemma 2 without caps", keys{"model_type": "gemma2", "attn_logit_softcapping": null, "final_logit_softcapping": null},
			func(c gemma.Config) bool { return c.Layers[0].Attention.SoftCap == 0 && c.FinalCap == 0 }},
		{"Gemma 3's score scale", keys{"query_pre_attn_scalar": nil},
			func(c gemma.Config) bool { return c.Layers[0].Attention.Scale == 1./16 }},
		{"Gemma 1's score scale", keys{"model_type": "gemma", "query_pre_attn_scalar": nil, "layer_types": nil, "_sliding_window_pattern": nil},
			func(c gemma.Config) bool {
				return c.Layers[0].Attention.Scale == 1./4 && c.Layers[0].Attention.Window == 0
			}},
		{"rotary bases", keys{"rope_parameters": nil}, func(c gemma.Config) bool {
			return c.Layers[0].Attention.Rope == engine.Rope{Base: 1e4, Scale: 1} && c.Layers[2].Attention.Rope == engine.Rope{Base: 1e6, Scale: 1}
		}},
		{"one rotary setting for all", keys{"model_type": "gemma2", "rope_parameters": keys{"rope_type": "linear", "factor": 2, "rope_theta": 500}},
			func(c gemma.Config) bool { return c.Layers[2].Attention.Rope == engine.Rope{Base: 500, Scale: 0.5} }},
		{"Gemma 3's period", keys{"layer_types": nil, "_sliding_window_pattern": nil},
			func(c gemma.Config) bool { return factsOf(c).globals == 1 && c.Layers[5].Attention.Window == 0 }},
		{"exact GELU", keys{"hidden_activation": "gelu"}, func(c gemma.Config) bool { return c.Layers[0].Feed.Activation == engine.GELU }},
		{"SiLU", keys{"hidden_activation": "silu"}, func(c gemma.Config) bool { return c.Layers[0].Feed.Activation == engine.SiLU }},
		{"no window where all layers are global", keys{"sliding_window": null, "layer_types": []string{"full_attention", "full_attention"}, "num_hidden_layers": 2},
			func(c gemma.Config) bool { return factsOf(c).globals == 2 }},
	} {
		got, err := fromJSON(t, tiny(t, c.change))
		if err != nil || !c.check(got) {
			t.Errorf("%s: %+v, %v", c.what, got, err)
		}
	}
}

// TestBadConfigs: one line that says what is wrong, and where.
func TestBadConfigs(t *testing.T) {
	for _, c := range []struct{ text, says string }{
		{"", "no config.json"},
		{"{", "config.json: unexpected end"},
		{"[1]", "config.json: json: cannot unmarshal array"},
		{`{"model_type": "llama"}`, `model_type "llama" is not a Gemma model`},
		{`{"model_type": "gemma3", "text_config": {"hidden_size": "wide"}}`, "text_config: json: cannot unmarshal string"},
		{`{"model_type": "gemma3_text"}`, "layers is 0, want 1 to 1024"},
		{tiny(t, map[string]any{"num_hidden_layers": 1e9}), "layers is 1000000000, want 1 to 1024"},
		{tiny(t, map[string]any{"hidden_size": -8}), "width is -8"},
		{tiny(t, map[string]any{"vocab_size": 1 << 40}), "vocabulary is 1099511627776"},
		{tiny(t, map[string]any{"num_key_value_heads": 3}), "4 attention heads cannot share 3 key-value heads"},
		{tiny(t, map[string]any{"num_key_value_heads": 0}), "key-value heads is 0"},
		{tiny(t, map[string]any{"head_dim": 15}), "head size 15 is odd"},
		{tiny(t, map[string]any{"num_hidden_layers": 7}), "given for 6 of 7 layers"},
		{tiny(t, map[string]any{"layer_types": []string{"full_attention", "moon"}}), `layer_types[1] is "moon"`},
		{tiny(t, map[string]any{"sliding_window": 0}), "sliding window is 0"},
		{tiny(t, map[string]any{"sliding_window": -4}), "sliding window is -4"},
		{tiny(t, map[string]any{"rms_norm_eps": 0}), "norm epsilon is 0"},
		{tiny(t, map[string]any{"query_pre_attn_scalar": -1}), "score scale is NaN"},
		{tiny(t, map[string]any{"query_pre_attn_scalar": 0}), "score scale is +Inf"},
		{tiny(t, map[string]any{"hidden_activation": "relu"}), `hidden_activation "relu" is not supported`},
		{tiny(t, map[string]any{"attention_bias": true}), "attention_bias"},
		{tiny(t, map[string]any{"use_bidirectional_attention": "sideways"}), "use_bidirectional_attention is \"sideways\""},
		{tiny(t, map[string]any{"rope_parameters": map[string]any{"full_attention": map[string]any{"rope_type": "yarn"}}}), `rope_type "yarn" is not supported`},
		{tiny(t, map[string]any{"rope_parameters": map[string]any{"sliding_attention": map[string]any{"rope_theta": -1}}}), "local rotary base is -1"},
		{tiny(t, map[string]any{"rope_parameters": 3}), "rope_parameters"},
		{tiny(t, map[string]any{"max_position_embeddings": 0}), "context is 0"},
	} {
		_, err := fromJSON(t, c.text)
		expectLine(t, err, c.says)
	}
}

func TestBadMetadata(t *testing.T) {
	for _, c := range []struct {
		change map[string]any // nil takes a key out
		says   string
	}{
		{map[string]any{"general.architecture": "llama"}, `"llama" is not a Gemma text model`},
		{map[string]any{"general.architecture": nil}, `"" is not a Gemma text model`},
		{map[string]any{"gemma3.block_count": nil}, "gemma3.block_count is missing"},
		{map[string]any{"gemma3.embedding_length": "wide"}, "gemma3.embedding_length is missing or not a size"},
		{map[string]any{"gemma3.embedding_length": uint64(1) << 60}, "gemma3.embedding_length is missing or not a size"},
		{map[string]any{"gemma3.feed_forward_length": uint32(1 << 30)}, "feed-forward width is 1073741824"},
		{map[string]any{"gemma3.attention.value_length": uint32(8)}, "value_length is 8, want the key length 16"},
		{map[string]any{"gemma3.attention.head_count_kv": uint32(0)}, "key-value heads is 0"},
		{map[string]any{"gemma3.rope.scaling.type": "yarn"}, `rope.scaling.type "yarn" is not supported`},
		{map[string]any{"gemma3.rope.scaling.factor": float32(0)}, "rotary scale is +Inf"},
		{map[string]any{"gemma3.rope.freq_base": float32(math.NaN())}, "rotary base is NaN"},
		{map[string]any{"gemma3.attention.sliding_window": nil}, "sliding window is 0"},
		{map[string]any{"gemma3.attention.sliding_window_pattern": []bool{true, false}}, "given for 2 of 6 layers"},
		{map[string]any{"gemma3.vocab_size": nil}, "gemma3.vocab_size is missing"},
	} {
		m := tinyMetadata()
		maps.Copy(m, c.change)
		maps.DeleteFunc(m, func(_ string, v any) bool { return v == nil })
		_, err := fromMetadata(t, m)
		expectLine(t, err, c.says)
	}
}

func expectLine(t *testing.T, err error, says string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want %q", says)
	} else if !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), os.TempDir()) {
		t.Errorf("%q, want one line that begins with the path and says %q", err, says)
	}
}

// TestMetadataForms: a list of which layers are local, and the vocabulary as
// the list of its tokens.
func TestMetadataForms(t *testing.T) {
	m := tinyMetadata()
	want, err := fromMetadata(t, m)
	if err != nil {
		t.Fatal(err)
	}
	m["gemma3.attention.sliding_window_pattern"] = []bool{true, true, false, true, true, false}
	delete(m, "gemma3.vocab_size")
	m["tokenizer.ggml.tokens"] = make([]string, 160)
	got, err := fromMetadata(t, m)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v\nwant %+v", got, err, want)
	}
}

// Package embedtest makes an embedding model that is small enough to try
// everything on in milliseconds: EmbeddingGemma's architecture with random
// weights, two layers and a vocabulary of bytes.
package embedtest

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
)

// The model's sizes. Context is that of a text between its two marks.
const (
	Width   = 24
	Context = 40

	hidden, heads, size, feed = 32, 2, 16, 48
	controls                  = 4
	vocab                     = controls + 256 + 1
)

// Write writes the model as a folder of Hugging Face's layout. Files there may
// be added or replaced afterwards.
func Write(dir string) error {
	rng := rand.New(rand.NewPCG(7, 9))
	weights := []checkpoint.Tensor{random(rng, "embed_tokens.weight", vocab, hidden), random(rng, "norm.weight", hidden)}
	for i := range 2 {
		weights = append(weights, layer(rng, fmt.Sprintf("layers.%d.", i))...)
	}
	dense := []checkpoint.Tensor{random(rng, "linear.weight", Width, hidden)}
	texts := map[string]any{
		"config.json":           config,
		"tokenizer.json":        tokenizer(),
		"tokenizer_config.json": map[string]any{"add_bos_token": true, "add_eos_token": true},
		"2_Dense/config.json":   map[string]any{"in_features": hidden, "out_features": Width, "bias": false, "activation_function": "torch.nn.modules.linear.Identity"},
		"config_sentence_transformers.json": map[string]any{
			"prompts": map[string]string{"query": "q: ", "STS": "s: "}, "default_prompt_name": nil,
		},
	}
	for name, v := range texts {
		if err := writeJSON(filepath.Join(dir, filepath.FromSlash(name)), v); err != nil {
			return err
		}
	}
	if err := writeWeights(filepath.Join(dir, "2_Dense", "model.safetensors"), dense); err != nil {
		return err
	}
	return writeWeights(filepath.Join(dir, "model.safetensors"), weights)
}

var config = map[string]any{
	"model_type": "gemma3_text", "architectures": []string{"Gemma3TextModel"}, "use_bidirectional_attention": true,
	"hidden_size": hidden, "intermediate_size": feed, "num_hidden_layers": 2, "num_attention_heads": heads,
	"num_key_value_heads": 1, "head_dim": size, "query_pre_attn_scalar": size, "vocab_size": vocab,
	"max_position_embeddings": Context, "sliding_window": 8, "_sliding_window_pattern": 2,
	"layer_types": []string{"sliding_attention", "full_attention"}, "rms_norm_eps": 1e-6,
	"rope_theta": 1e6, "rope_local_base_freq": 1e4, "hidden_activation": "gelu_pytorch_tanh",
}

func layer(rng *rand.Rand, l string) []checkpoint.Tensor {
	out := []checkpoint.Tensor{
		random(rng, l+"self_attn.q_proj.weight", heads*size, hidden),
		random(rng, l+"self_attn.k_proj.weight", size, hidden),
		random(rng, l+"self_attn.v_proj.weight", size, hidden),
		random(rng, l+"self_attn.o_proj.weight", hidden, heads*size),
		random(rng, l+"self_attn.q_norm.weight", size),
		random(rng, l+"self_attn.k_norm.weight", size),
		random(rng, l+"mlp.gate_proj.weight", feed, hidden),
		random(rng, l+"mlp.up_proj.weight", feed, hidden),
		random(rng, l+"mlp.down_proj.weight", hidden, feed),
	}
	for _, norm := range []string{"input", "post_attention", "pre_feedforward", "post_feedforward"} {
		out = append(out, random(rng, l+norm+"_layernorm.weight", hidden))
	}
	return out
}

func random(rng *rand.Rand, name string, shape ...int) checkpoint.Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(rng.NormFloat64() * 0.3)
	}
	return checkpointtest.FloatTensor(name, values, shape...)
}

// tokenizer is a BPE without merges: a text is its bytes.
func tokenizer() any {
	ids := map[string]int{}
	var added []map[string]any
	for i, name := range []string{"<pad>", "<eos>", "<bos>", "<unk>"} {
		ids[name] = i
		added = append(added, map[string]any{"id": i, "content": name, "special": true})
	}
	for b := range 256 {
		ids[fmt.Sprintf("<0x%02X>", b)] = controls + b
	}
	ids["▁"] = vocab - 1
	return map[string]any{
		"added_tokens": added,
		"normalizer":   map[string]any{"type": "Replace", "pattern": map[string]any{"String": " "}, "content": "▁"},
		"model":        map[string]any{"type": "BPE", "byte_fallback": true, "unk_token": "<unk>", "vocab": ids, "merges": []string{}},
	}
}

func writeJSON(path string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

func writeWeights(path string, tensors []checkpoint.Tensor) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	err = checkpoint.StreamSafetensors(f, tensors, func(w io.Writer, t checkpoint.Tensor) error {
		_, err := w.Write(t.Data)
		return err
	})
	if err != nil {
		return err
	}
	return f.Close()
}

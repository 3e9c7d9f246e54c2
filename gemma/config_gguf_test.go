package gemma_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/gemma"
)

// fromFile reads the configuration of a GGUF file with tensors.
func fromFile(t *testing.T, metadata map[string]any, tensors ...checkpoint.Tensor) (gemma.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.gguf")
	writeGGUF(t, path, metadata, tensors)
	return read(t, path)
}

// tensor is one of zeros.
func tensor(name string, shape ...int) checkpoint.Tensor {
	n := 4
	for _, d := range shape {
		n *= d
	}
	return checkpoint.Tensor{Name: name, Type: checkpoint.F32, Shape: shape, Data: make([]byte, n)}
}

// divisors are a rope_freqs.weight.
func divisors(v ...float32) checkpoint.Tensor {
	t := tensor("rope_freqs.weight", len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint32(t.Data[4*i:], math.Float32bits(x))
	}
	return t
}

// quarter are those of a head of 512 of which a quarter turns.
func quarter() checkpoint.Tensor {
	v := slices.Repeat([]float32{1}, 64)
	return divisors(append(v, slices.Repeat([]float32{1e30}, 192)...)...)
}

// every is one value for each layer, another for each n-th.
func every[T any](layers, n int, usual, other T) []T {
	v := slices.Repeat([]T{usual}, layers)
	for i := n - 1; i < layers; i += n {
		v[i] = other
	}
	return v
}

// kinds are layer_types with each n-th global.
func kinds(layers, n int) string {
	text, _ := json.Marshal(every(layers, n, "sliding_attention", "full_attention"))
	return string(text)
}

func gemma4Meta(layers, period, width, context, heads int, more map[string]any) map[string]any {
	m := meta("gemma4", layers, width, 1, context, heads, 1, 512, 262144, map[string]any{
		"attention.key_length_swa": uint32(256), "attention.value_length_swa": uint32(256), "attention.sliding_window": uint32(1024),
		"attention.sliding_window_pattern": every(layers, period, true, false), "attention.shared_kv_layers": uint32(0),
		"embedding_length_per_layer_input": uint32(0), "rope.freq_base": float32(1e6), "rope.freq_base_swa": float32(1e4),
		"rope.dimension_count": uint32(512), "rope.dimension_count_swa": uint32(256), "final_logit_softcapping": float32(30)})
	for key, v := range more {
		m["gemma4."+key] = v
	}
	return m
}

const ropes4 = `"rope_parameters": {"full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1000000.0, "rope_type": "proportional"},
	"sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"}}, "final_logit_softcapping": 30.0, "vocab_size": 262144, "head_dim": 256, "global_head_dim": 512`

// later are models as config.json and llama.cpp's files have them, the latter
// by what its loader prints of published ones.
var later = []struct {
	name    string
	json    string
	gguf    map[string]any
	tensors []checkpoint.Tensor // what tells more than the keys
}{
	{"Gemma 3n E4B", `{"model_type": "gemma3n_text", "hidden_size": 2048, "num_hidden_layers": 35, "intermediate_size": 16384,
		"num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 256, "max_position_embeddings": 32768, "sliding_window": 512,
		"vocab_size": 262400, "vocab_size_per_layer_input": 262400, "hidden_size_per_layer_input": 256, "num_kv_shared_layers": 15,
		"altup_num_inputs": 4, "altup_active_idx": 0, "laurel_rank": 64, "final_logit_softcapping": 30.0, "rope_theta": 1000000.0,
		"rope_local_base_freq": 10000.0, "layer_types": ` + kinds(35, 5) + `}`,
		meta("gemma3n", 35, 2048, 16384, 32768, 8, 2, 256, 262400, map[string]any{"attention.sliding_window": uint32(512),
			"attention.sliding_window_pattern": every(35, 5, true, false), "attention.shared_kv_layers": uint32(15), "final_logit_softcapping": float32(30),
			"rope.freq_base": float32(1e6), "altup.active_idx": uint32(0), "altup.num_inputs": uint32(4), "embedding_length_per_layer_input": uint32(256),
			"activation_sparsity_scale": append(slices.Repeat([]float32{1.6448535}, 10), slices.Repeat([]float32{float32(math.Inf(-1))}, 25)...)}), nil},
	{"Gemma 4 E2B", `{"model_type": "gemma4_text", "hidden_size": 1536, "num_hidden_layers": 35, "intermediate_size": 6144, "use_double_wide_mlp": true,
		"num_attention_heads": 8, "num_key_value_heads": 1, "max_position_embeddings": 131072, "sliding_window": 512, "num_kv_shared_layers": 20,
		"hidden_size_per_layer_input": 256, "vocab_size_per_layer_input": 262144, "layer_types": ` + kinds(35, 5) + `, ` + ropes4 + `}`,
		gemma4Meta(35, 5, 1536, 131072, 8, map[string]any{"attention.sliding_window": uint32(512), "attention.shared_kv_layers": uint32(20),
			"embedding_length_per_layer_input": uint32(256),
			"feed_forward_length":              append(slices.Repeat([]int32{6144}, 15), slices.Repeat([]int32{12288}, 20)...)}),
		[]checkpoint.Tensor{quarter(), tensor("blk.4.attn_k.weight", 1, 1), tensor("blk.4.attn_v.weight", 1, 1)}},
	{"Gemma 4 12B unified", `{"model_type": "gemma4_unified_text", "hidden_size": 3840, "num_hidden_layers": 48, "intermediate_size": 15360,
		"num_attention_heads": 16, "num_key_value_heads": 8, "num_global_key_value_heads": 1, "attention_k_eq_v": true,
		"max_position_embeddings": 262144, "sliding_window": 1024, "layer_types": ` + kinds(48, 6) + `, ` + ropes4 + `}`,
		gemma4Meta(48, 6, 3840, 262144, 16, map[string]any{"attention.head_count_kv": every[int32](48, 6, 8, 1), "feed_forward_length": uint32(15360)}),
		[]checkpoint.Tensor{tensor("blk.5.attn_k.weight", 1, 1)}},
	{"Gemma 4 31B", `{"model_type": "gemma4_text", "hidden_size": 5376, "num_hidden_layers": 60, "intermediate_size": 21504, "hidden_size_per_layer_input": 0,
		"num_attention_heads": 32, "num_key_value_heads": 16, "num_global_key_value_heads": 4, "attention_k_eq_v": true, "use_bidirectional_attention": "vision",
		"max_position_embeddings": 262144, "sliding_window": 1024, "layer_types": ` + kinds(60, 6) + `, ` + ropes4 + `}`,
		gemma4Meta(60, 6, 5376, 262144, 32, map[string]any{"attention.head_count_kv": every[int32](60, 6, 16, 4), "feed_forward_length": uint32(21504)}),
		[]checkpoint.Tensor{quarter(), tensor("blk.5.attn_k.weight", 1, 1)}},
	{"Gemma 4 26B-A4B", `{"model_type": "gemma4_text", "hidden_size": 2816, "num_hidden_layers": 30, "intermediate_size": 2112, "hidden_size_per_layer_input": 0,
		"num_attention_heads": 16, "num_key_value_heads": 8, "num_global_key_value_heads": 2, "attention_k_eq_v": true, "use_bidirectional_attention": "vision",
		"enable_moe_block": true, "num_experts": 128, "top_k_experts": 8, "moe_intermediate_size": 704,
		"max_position_embeddings": 262144, "sliding_window": 1024, "layer_types": ` + kinds(30, 6) + `, ` + ropes4 + `}`,
		gemma4Meta(30, 6, 2816, 262144, 16, map[string]any{"attention.head_count_kv": every[int32](30, 6, 8, 2), "feed_forward_length": uint32(2112),
			"expert_count": uint32(128), "expert_used_count": uint32(8), "expert_feed_forward_length": uint32(704)}),
		[]checkpoint.Tensor{quarter(), tensor("blk.5.attn_k.weight", 1, 1)}},
}

func TestLaterConfigs(t *testing.T) {
	for _, p := range later {
		want, err := fromJSON(t, p.json)
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		got, err := fromFile(t, p.gguf, p.tensors...)
		if err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		if !reflect.DeepEqual(got.Stack, want.Stack) {
			t.Errorf("%s: GGUF: %+v\nconfig.json: %+v", p.name, got.Stack, want.Stack)
		}
	}
}

// TestEmbeddingGemma: as llama.cpp calls it, and as Ollama first did.
func TestEmbeddingGemma(t *testing.T) {
	want, err := fromJSON(t, `{"model_type": "gemma3_text", "hidden_size": 768, "num_hidden_layers": 24, "intermediate_size": 1152, "num_attention_heads": 3,
		"num_key_value_heads": 1, "head_dim": 256, "max_position_embeddings": 2048, "query_pre_attn_scalar": 256, "rope_local_base_freq": 10000.0,
		"rope_theta": 1000000.0, "sliding_window": 512, "use_bidirectional_attention": true, "vocab_size": 262144}`)
	if err != nil {
		t.Fatal(err)
	}
	want.Head.Dense, want.NormOffset = []int{3072, 768}, 0
	keys := map[string]any{"attention.sliding_window": uint32(512), "rope.freq_base": float32(1e6), "pooling_type": uint32(1)}
	llama := meta("gemma-embedding", 24, 768, 1152, 2048, 3, 1, 256, 262144, keys)
	ollama := meta("gemma3", 24, 768, 1152, 2048, 3, 1, 256, 262144, keys)
	ollama["gemma3.attention.causal"] = false
	ollama["gemma3.attention.sliding_window_pattern"] = every(24, 6, true, false)
	for _, c := range []struct {
		metadata      map[string]any
		first, second string
	}{{llama, "dense_2.weight", "dense_3.weight"}, {ollama, "dense.0.weight", "dense.1.weight"}} {
		got, err := fromFile(t, c.metadata, tensor(c.first, 3072, 768), tensor(c.second, 768, 3072))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v\nwant %+v", got, err, want)
		}
		_, err = fromFile(t, c.metadata, tensor(c.first, 3072, 768), tensor(c.second, 768, 768))
		expectLine(t, err, "tensor 3_Dense.weight is [768 768] and follows a layer of 3072")
	}
	llama["gemma-embedding.pooling_type"] = uint32(3)
	_, err = fromFile(t, llama)
	expectLine(t, err, "gemma-embedding.pooling_type is 3, only 1, the mean, is supported")
	delete(ollama, "gemma3.attention.causal")
	if c, err := fromFile(t, ollama); err != nil || c.Head.Pooled != 0 || c.Layers[0].Attention.Ahead != 0 {
		t.Errorf("a Gemma 3 that looks back: %+v, %v", c, err)
	}
}

// TestOllamaWords: what its converter calls otherwise.
func TestOllamaWords(t *testing.T) {
	m := tinyMetadata()
	delete(m, "gemma3.rope.freq_base")
	m["gemma3.rope.global.freq_base"], m["gemma3.rope.local.freq_base"] = float32(5e5), float32(2e4)
	c, err := fromMetadata(t, m)
	if err != nil {
		t.Fatal(err)
	}
	near, far := c.Layers[0].Attention.Rope, c.Layers[2].Attention.Rope
	m["gemma3.mm.tokens_per_image"], m["gemma3.context_length"] = uint32(256), uint32(1<<17)
	delete(m, "gemma3.rope.scaling.type")
	delete(m, "gemma3.rope.scaling.factor")
	if c, err := fromMetadata(t, m); err != nil || c.Layers[2].Attention.Rope.Scale != 0.125 {
		t.Errorf("scaled by %v, %v, want the eighth that goes without saying", c.Layers[2].Attention.Rope.Scale, err)
	}
	if near.Base != 2e4 || far.Base != 5e5 {
		t.Errorf("local layers turn by %v and global ones by %v", near.Base, far.Base)
	}
}

func TestBadLaterMetadata(t *testing.T) {
	const e2b = 1
	base, tensors := later[e2b].gguf, later[e2b].tensors
	for _, c := range []struct {
		change map[string]any
		tensor checkpoint.Tensor
		says   string
	}{
		{map[string]any{"gemma4.attention.head_count_kv": []int32{1, 1}}, quarter(), "head_count_kv is given for 2 of 35 layers"},
		{map[string]any{"gemma4.attention.head_count_kv": append([]int32{2}, slices.Repeat([]int32{1}, 34)...)}, quarter(), "layer 1 has 1 and others of its kind 2"},
		{map[string]any{"gemma4.feed_forward_length": []int32{-1}}, quarter(), "entry 0 is -1, which is not a size"},
		{map[string]any{"gemma4.feed_forward_length": []int32{}}, quarter(), "kinds of feed-forward is 0"},
		{map[string]any{"gemma4.attention.shared_kv_layers": uint32(34)}, quarter(), "none before layer 1 is of its kind"},
		{map[string]any{"gemma4.attention.value_length_swa": uint32(128)}, quarter(), "value_length_swa is 128, want the key length 256"},
		{map[string]any{"gemma4.expert_count": uint32(8)}, quarter(), "gemma4.expert_used_count is missing"},
		{map[string]any{"gemma4.embedding_length_per_layer_input": uint32(1 << 30)}, quarter(), "per-layer width is 1073741824"},
		{nil, divisors(1, 2), "rope_freqs.weight is [2], want half of a global head of 512"},
		{nil, divisors(slices.Repeat([]float32{2}, 256)...), "angle 0 is divided by 2, which is not supported"},
		{nil, divisors(slices.Repeat([]float32{1e30}, 256)...), "leaves no angle to turn"},
		{nil, divisors(append(slices.Repeat([]float32{1e30}, 255), 1)...), "angle 255 is divided by 1, which is not supported"},
	} {
		m := maps.Clone(base)
		maps.Copy(m, c.change)
		_, err := fromFile(t, m, append([]checkpoint.Tensor{c.tensor}, tensors[1:]...)...)
		expectLine(t, err, c.says)
	}
	_, err := fromFile(t, map[string]any{"general.architecture": "clip"})
	expectLine(t, err, "towers for pictures and sounds (mmproj)")
	m := meta("gemma3n", 35, 64, 64, 256, 2, 1, 32, 160, map[string]any{"attention.sliding_window": uint32(8)})
	_, err = fromFile(t, m)
	expectLine(t, err, "gemma3n.embedding_length_per_layer_input is missing or 0")
}

// FuzzConfigGGUF: whatever a file's keys say, there is a model that could be
// built, or one line that says why not.
func FuzzConfigGGUF(f *testing.F) {
	for i := range later {
		f.Add(uint8(i), "attention.sliding_window", int64(0), 1.0)
		f.Add(uint8(i), "attention.shared_kv_layers", int64(-1), 0.5)
		f.Add(uint8(i), "rope.scaling.factor", int64(1), 0.0)
	}
	names := []string{"rope_freqs.weight", "per_layer_token_embd.weight", "blk.0.laurel_l.weight", "blk.5.attn_k.weight"}
	f.Fuzz(func(t *testing.T, model uint8, key string, whole int64, part float64) {
		if key == "" || strings.ContainsRune(key, 0) {
			return
		}
		p := later[int(model)%len(later)]
		arch := p.gguf["general.architecture"].(string)
		for _, v := range []any{whole, part, []int64{whole, 1}, []float64{part}, part > 0} {
			m := maps.Clone(p.gguf)
			m[arch+"."+key] = v
			path := filepath.Join(t.TempDir(), "model.gguf")
			n := int(whole&7) + 1
			if checkpointtest.WriteGGUF(path, m, []checkpoint.Tensor{tensor(names[n%len(names)], n, 1+n/2)}) != nil {
				return
			}
			c, err := read(t, path)
			switch {
			case err != nil && (strings.Contains(err.Error(), "\n") || err.Error() == ""):
				t.Fatalf("%q is not one line", err)
			case err == nil && (len(c.Layers) == 0 || fmt.Sprint(c.Layers[0].Attention.Scale) == "NaN"):
				t.Fatalf("%+v", c)
			}
		}
	})
}

package convert

import (
	"fmt"
	"math"

	"lapidary/engine"
	"lapidary/gemma"
)

// family is what GGUF leaves unsaid about a family: a reader takes it for
// granted, so a model that differs has to say so.
type family struct {
	json, class string // model_type and architectures of config.json
	period      int    // every period-th layer is global
	localBase   float64
	// wide is the layer count of the size whose scores are scaled by
	// width/heads and not by the head size.
	wide int
}

// families are those that are written, by their name in GGUF.
var families = map[string]family{
	"gemma":  {"gemma", "GemmaForCausalLM", 1, 0, 0},
	"gemma2": {"gemma2", "Gemma2ForCausalLM", 2, 0, 46},
	"gemma3": {"gemma3_text", "Gemma3ForCausalLM", 6, 10000, 62},
}

// settings are a configuration in the terms that both formats share.
type settings struct {
	gemma.Config
	family
	heads   gemma.Attention // of the first layer; all have the same
	window  int
	local   []bool // a layer: sees a window only
	global  engine.Rope
	nearby  engine.Rope // of local layers
	queries float64     // the square of the inverse score scale that GGUF implies
}

// settingsOf takes a configuration apart and refuses what the two formats
// cannot say.
func settingsOf(c gemma.Config) (settings, error) {
	f, ok := families[c.Family]
	if !ok {
		return settings{}, fmt.Errorf("models of the family %q cannot be converted yet: gemma, gemma2 and gemma3 can", c.Family)
	}
	s := settings{Config: c, family: f, heads: c.Layers[0].Attention}
	for i, l := range c.Layers {
		a := l.Attention
		if a.Heads != s.heads.Heads || a.KVHeads != s.heads.KVHeads || a.HeadSize != s.heads.HeadSize || a.Scale != s.heads.Scale ||
			a.SoftCap != s.heads.SoftCap || l.Feed != c.Layers[0].Feed {
			return settings{}, fmt.Errorf("layer %d differs from the first in its sizes, which cannot be converted", i)
		}
		s.local = append(s.local, a.Window > 0)
		s.window = max(s.window, a.Window)
		if a.Window > 0 {
			s.nearby = a.Rope
		} else {
			s.global = a.Rope
		}
	}
	if c.Layers[0].Feed.Activation != engine.GELUTanh {
		return settings{}, fmt.Errorf("the activation is not the tanh form of GELU, which GGUF takes for granted")
	}
	if s.global == (engine.Rope{}) {
		s.global = s.nearby
	}
	s.queries = float64(s.heads.HeadSize)
	if len(c.Layers) == f.wide {
		s.queries = float64(c.Width) / float64(s.heads.Heads)
	}
	return s, nil
}

// fold is what queries have to be multiplied with so that the score scale that
// GGUF implies gives this model's scores.
func (s *settings) fold() float64 { return float64(s.heads.Scale) * math.Sqrt(s.queries) }

// usual reports whether the local layers are where the family has them.
func (s *settings) usual() bool {
	for i, local := range s.local {
		if local == ((i+1)%s.period == 0) {
			return false
		}
	}
	return true
}

// metadata says the settings in GGUF's keys, as llama.cpp's converter does.
func (s *settings) metadata() map[string]any {
	p := s.Family + "."
	m := map[string]any{
		"general.architecture":                 s.Family,
		"general.type":                         "model",
		p + "context_length":                   uint32(s.Context),
		p + "embedding_length":                 uint32(s.Width),
		p + "block_count":                      uint32(len(s.Layers)),
		p + "feed_forward_length":              uint32(s.Layers[0].Feed.Width),
		p + "vocab_size":                       uint32(s.Vocab),
		p + "attention.head_count":             uint32(s.heads.Heads),
		p + "attention.head_count_kv":          uint32(s.heads.KVHeads),
		p + "attention.key_length":             uint32(s.heads.HeadSize),
		p + "attention.value_length":           uint32(s.heads.HeadSize),
		p + "attention.layer_norm_rms_epsilon": s.NormEps,
		p + "rope.freq_base":                   float32(s.global.Base),
	}
	if s.window > 0 {
		m[p+"attention.sliding_window"] = uint32(s.window)
		if base := s.usualLocalBase(); s.nearby.Base != base {
			m[p+"rope.freq_base_swa"] = float32(s.nearby.Base)
		}
	}
	if !s.usual() {
		m[p+"attention.sliding_window_pattern"] = s.local
	}
	if s.global.Scale != 1 {
		m[p+"rope.scaling.type"] = "linear"
		m[p+"rope.scaling.factor"] = float32(1 / s.global.Scale)
	}
	if s.Family == "gemma2" || s.heads.SoftCap != 0 {
		m[p+"attn_logit_softcapping"] = s.heads.SoftCap
	}
	if s.Family == "gemma2" || s.FinalCap != 0 {
		m[p+"final_logit_softcapping"] = s.FinalCap
	}
	return m
}

func (s *settings) usualLocalBase() float64 {
	if s.localBase != 0 {
		return s.localBase
	}
	return s.global.Base
}

// config says the settings in the keys of config.json that published
// checkpoints have, which every version of transformers reads.
func (s *settings) config(dtype string, v *vocab, tied bool) map[string]any {
	c := map[string]any{
		"architectures": []string{s.class}, "model_type": s.json, "torch_dtype": dtype,
		"hidden_size": s.Width, "vocab_size": s.Vocab, "max_position_embeddings": s.Context,
		"num_hidden_layers": len(s.Layers), "intermediate_size": s.Layers[0].Feed.Width,
		"num_attention_heads": s.heads.Heads, "num_key_value_heads": s.heads.KVHeads, "head_dim": s.heads.HeadSize,
		"rms_norm_eps": shortest(s.NormEps), "rope_theta": s.global.Base,
		"hidden_activation": "gelu_pytorch_tanh", "hidden_act": "gelu_pytorch_tanh",
		"attention_bias": false, "attention_dropout": 0.0, "tie_word_embeddings": tied, "use_cache": true,
	}
	for key, id := range map[string]int{"bos_token_id": v.bos, "eos_token_id": v.eos, "pad_token_id": v.pad} {
		if id >= 0 {
			c[key] = id
		}
	}
	if s.Family == "gemma" {
		return c
	}
	c["query_pre_attn_scalar"] = integral(1 / (float64(s.heads.Scale) * float64(s.heads.Scale)))
	c["attn_logit_softcapping"], c["final_logit_softcapping"] = orNull(s.heads.SoftCap), orNull(s.FinalCap)
	c["layer_types"] = s.layerTypes()
	c["sliding_window"] = s.window
	if s.Family == "gemma3" {
		c["sliding_window_pattern"] = s.period
		c["rope_local_base_freq"] = s.nearby.Base
		c["rope_scaling"] = nil
		if s.global.Scale != 1 {
			c["rope_scaling"] = map[string]any{"rope_type": "linear", "factor": 1 / s.global.Scale}
		}
	}
	return c
}

func (s *settings) layerTypes() []string {
	kinds := make([]string, len(s.local))
	for i, local := range s.local {
		kinds[i] = "full_attention"
		if local {
			kinds[i] = "sliding_attention"
		}
	}
	return kinds
}

func orNull(cap float32) any {
	if cap == 0 {
		return nil
	}
	return shortest(cap)
}

// shortest is the float64 that prints as short as the float32 does: 1e-06 and
// not 9.999999974752427e-07.
func shortest(v float32) float64 {
	var f float64
	if _, err := fmt.Sscan(fmt.Sprint(v), &f); err != nil {
		return float64(v)
	}
	return f
}

// integral is v, or the integer that a float32's rounding has moved it from.
func integral(v float64) float64 {
	if r := math.Round(v); math.Abs(v-r) < 1e-4*r {
		return r
	}
	return v
}

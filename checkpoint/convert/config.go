package convert

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// config says the settings in the keys of config.json that published
// checkpoints have, which every version of transformers reads.
func (s *settings) config(dtype string, v *vocab, tied bool) map[string]any {
	c := map[string]any{
		"architectures": []string{s.class}, "model_type": s.json, "torch_dtype": dtype,
		"hidden_size": s.Width, "vocab_size": s.Vocab, "max_position_embeddings": s.Context,
		"num_hidden_layers": len(s.Layers), "intermediate_size": s.Layers[0].Feed.Width,
		"num_attention_heads": s.near.Heads, "num_key_value_heads": s.near.KVHeads, "head_dim": s.near.HeadSize,
		"rms_norm_eps": shortest(s.NormEps), "rope_theta": s.far.Rope.Base,
		"hidden_activation": "gelu_pytorch_tanh", "hidden_act": "gelu_pytorch_tanh",
		"attention_bias": false, "attention_dropout": 0.0, "tie_word_embeddings": tied, "use_cache": true,
	}
	for key, id := range map[string]int{"bos_token_id": v.bos, "eos_token_id": v.eos, "pad_token_id": v.pad} {
		if id >= 0 {
			c[key] = id
		}
	}
	if s.arch == "gemma" {
		return c
	}
	c["final_logit_softcapping"] = orNull(s.FinalCap)
	c["layer_types"] = s.layerTypes()
	c["sliding_window"] = s.window
	switch {
	case s.split:
		s.configSplit(c)
	case s.plain:
		s.config3n(c)
	default:
		s.configScaled(c)
	}
	if s.Drafter == nil {
		return c
	}
	c["model_type"] = "gemma4_text"
	return map[string]any{"architectures": c["architectures"], "model_type": s.json, "torch_dtype": dtype, "tie_word_embeddings": tied,
		"text_config": c, "backbone_hidden_size": s.Drafter.Backbone, "use_ordered_embeddings": false}
}

// configScaled is what Gemma 2 and 3 have.
func (s *settings) configScaled(c map[string]any) {
	c["query_pre_attn_scalar"] = integral(1 / (float64(s.near.Scale) * float64(s.near.Scale)))
	c["attn_logit_softcapping"] = orNull(s.near.SoftCap)
	if s.Family != "gemma3" {
		return
	}
	c["sliding_window_pattern"] = s.period
	c["rope_local_base_freq"] = s.near.Rope.Base
	c["rope_scaling"] = nil
	if s.far.Rope.Scale != 1 {
		c["rope_scaling"] = map[string]any{"rope_type": "linear", "factor": 1 / s.far.Rope.Scale}
	}
	if s.Head.Pooled > 0 {
		c["use_bidirectional_attention"] = true
	}
}

// config3n is what Gemma 3n has.
func (s *settings) config3n(c map[string]any) {
	a := s.Streams
	c["rope_local_base_freq"] = s.near.Rope.Base
	c["intermediate_size"] = s.feeds()
	c["num_kv_shared_layers"] = s.shared
	c["hidden_size_per_layer_input"], c["vocab_size_per_layer_input"] = s.PerLayer.Width, s.PerLayer.Vocab
	c["altup_num_inputs"], c["altup_active_idx"], c["altup_correct_scale"], c["laurel_rank"] = a.Count, a.Active, a.Scaled, a.Rank
	var sparsity []float64
	for _, l := range s.Layers {
		sparsity = append(sparsity, l.Feed.Sparsity)
	}
	c["activation_sparsity_pattern"] = sparsity
}

// configSplit is what Gemma 4 has.
func (s *settings) configSplit(c map[string]any) {
	delete(c, "rope_theta")
	c["global_head_dim"] = s.far.HeadSize
	c["attention_k_eq_v"] = s.far.TiedKV
	c["num_global_key_value_heads"] = nil
	if n := s.far.KVHeads; n != s.near.KVHeads && s.far.TiedKV {
		c["num_global_key_value_heads"] = n
	} else if n != s.near.KVHeads { // the other key counts only where keys are values
		own := map[string]any{}
		for i, local := range s.local {
			if !local {
				own[strconv.Itoa(i)] = map[string]any{"num_key_value_heads": n}
			}
		}
		c["per_layer_config"] = own
	}
	full := map[string]any{"rope_type": "proportional", "rope_theta": s.far.Rope.Base, "partial_rotary_factor": 1.0}
	if n := s.far.Rope.Turn; n > 0 {
		full["partial_rotary_factor"] = float64(2*n) / float64(s.far.HeadSize)
	}
	c["rope_parameters"] = map[string]any{"full_attention": full,
		"sliding_attention": map[string]any{"rope_type": "default", "rope_theta": s.near.Rope.Base}}
	c["hidden_size_per_layer_input"] = 0
	if p := s.PerLayer; p != nil {
		c["hidden_size_per_layer_input"], c["vocab_size_per_layer_input"] = p.Width, p.Vocab
	}
	c["num_kv_shared_layers"] = s.shared
	if s.Drafter != nil {
		c["num_kv_shared_layers"] = len(s.Layers)
	}
	s.configFeeds(c)
	if s.near.Groups {
		c["use_bidirectional_attention"] = "vision"
	}
	e := s.Layers[0].Feed.Experts
	if c["enable_moe_block"] = e.Count > 0; e.Count > 0 {
		c["num_experts"], c["top_k_experts"], c["moe_intermediate_size"] = e.Count, e.Top, e.Width
	}
}

// configFeeds: transformers knows one width, which layers that share may have
// twice; any other list stays one.
func (s *settings) configFeeds(c map[string]any) {
	feeds := s.feeds()
	first := len(feeds) - s.shared
	twice := s.shared > 0 && first > 0
	for i, f := range feeds {
		twice = twice && (i < first && f == feeds[0] || i >= first && f == 2*feeds[0])
	}
	if c["use_double_wide_mlp"] = twice; !twice && slices.Min(feeds) != slices.Max(feeds) {
		c["intermediate_size"] = feeds
	}
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

package checkpoint

import "testing"

func TestCanonicalGGUF(t *testing.T) {
	for _, test := range []struct{ arch, name, want string }{
		{"gemma3", "token_embd.weight", "embed_tokens.weight"},
		{"gemma3", "output_norm.weight", "norm.weight"},
		{"gemma3", "output.weight", "lm_head.weight"},
		{"gemma3", "blk.0.attn_norm.weight", "layers.0.input_layernorm.weight"},
		{"gemma3", "blk.17.attn_output.weight", "layers.17.self_attn.o_proj.weight"},
		{"gemma3", "blk.3.attn_k_norm.weight", "layers.3.self_attn.k_norm.weight"},
		{"gemma3", "blk.3.ffn_norm.weight", "layers.3.pre_feedforward_layernorm.weight"},
		{"gemma", "blk.3.ffn_norm.weight", "layers.3.post_attention_layernorm.weight"},
		{"gemma", "blk.3.ffn_up.weight", "layers.3.mlp.up_proj.weight"},
		{"gemma2", "blk.3.post_attention_norm.weight", "layers.3.post_attention_layernorm.weight"},
		{"gemma2", "blk.3.post_ffw_norm.weight", "layers.3.post_feedforward_layernorm.weight"},
		{"gemma3", "blk.x.ffn_up.weight", "blk.x.ffn_up.weight"},
		{"gemma3", "blk.N.ffn_up.weight", "blk.N.ffn_up.weight"},
		{"gemma3", "blk.0.ffn_up.bias", "blk.0.ffn_up.bias"},
		{"gemma2", "v.blk.0.attn_q.weight", "v.blk.0.attn_q.weight"},
		{"gemma4", "blk.3.layer_output_scale.weight", "layers.3.layer_scalar"},
		{"gemma4", "blk.3.post_norm.weight", "layers.3.post_per_layer_input_norm.weight"},
		{"gemma4", "blk.3.ffn_down_exps.scale", "layers.3.router.per_expert_scale"},
		{"gemma3n", "altup_proj.weight", "altup_projections.weight"},
		{"gemma-embedding", "dense_3.weight", "3_Dense.weight"},
		{"gemma3", "dense.0.weight", "2_Dense.weight"},
		{"gemma3", "dense.1.weight", "3_Dense.weight"},
		{"gemma3", "v.blk.3.attn_output.bias", "vision_tower.encoder.layers.3.self_attn.o_proj.bias"},
		{"gemma3", "v.blk.3.mlp.fc1.weight", "vision_tower.encoder.layers.3.mlp.up_proj.weight"},
		{"gemma3", "v.position_embedding.weight", "vision_tower.embeddings.position_embedding.weight"},
		{"gemma3", "mm.mm_soft_emb_norm.weight", "multi_modal_projector.mm_soft_emb_norm.weight"},
		{"gemma2", "dense.1.weight", "dense.1.weight"},
		{"gemma3", "", ""},
	} {
		if got := canonicalGGUF(test.arch, test.name); got != test.want {
			t.Errorf("canonicalGGUF(%q, %q) = %q, want %q", test.arch, test.name, got, test.want)
		}
	}
}

// Every name of the tables goes to GGUF and back, and no two names meet.
func TestNamesInvert(t *testing.T) {
	for _, arch := range []string{"gemma", "gemma4"} {
		seen := map[string]string{}
		for gguf := range ggufNames {
			if arch == "gemma" && gguf == "blk.N.post_attention_norm.weight" {
				continue // Gemma 1 has no such tensor
			}
			stored := withNumber(gguf, "12")
			canonical := canonicalGGUF(arch, stored)
			if other, twice := seen[canonical]; twice {
				t.Errorf("%s: %s and %s are both %s", arch, gguf, other, canonical)
			}
			seen[canonical] = gguf
			if back := ggufName(arch, canonical); back != stored {
				t.Errorf("%s: %s became %s and came back as %s", arch, stored, canonical, back)
			}
		}
	}
}

func TestCanonicalHF(t *testing.T) {
	for name, want := range map[string]string{
		"model.embed_tokens.weight":                                       "embed_tokens.weight",
		"embed_tokens.weight":                                             "embed_tokens.weight",
		"lm_head.weight":                                                  "lm_head.weight",
		"language_model.lm_head.weight":                                   "lm_head.weight",
		"language_model.model.norm.weight":                                "norm.weight",
		"model.language_model.norm.weight":                                "norm.weight",
		"model.layers.25.self_attn.q_proj.weight":                         "layers.25.self_attn.q_proj.weight",
		"language_model.model.layers.0.mlp.gate_proj.weight":              "layers.0.mlp.gate_proj.weight",
		"model.language_model.layers.0.post_feedforward_layernorm.weight": "layers.0.post_feedforward_layernorm.weight",
		"model.vision_tower.norm.weight":                                  "vision_tower.norm.weight",
		"vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight":       "vision_tower.encoder.layers.0.mlp.up_proj.weight",
		"model.model.language_model.model.layers.3.mlp.up_proj.weight":    "layers.3.mlp.up_proj.weight",
		"model.encoder.vision_tower.post_layernorm.bias":                  "vision_tower.post_layernorm.bias",
		"model.encoder.language_model.layers.2.layer_scalar":              "encoder.layers.2.layer_scalar",
		"model.decoder.layers.0.pre_self_attn_layernorm.weight":           "decoder.layers.0.input_layernorm.weight",
		"model.layers.1.temporal_block.rg_lru.recurrent_param":            "layers.1.self_attn.rg_lru.recurrent_param",
		"language_model.layers.1.ple_block.per_layer_projection.weight":   "layers.1.per_layer_projection.weight",
		"language_model.ple.per_layer_projection_norm.weight":             "per_layer_projection_norm.weight",
		"model.": "model.",
	} {
		if got := CanonicalName(name); got != want {
			t.Errorf("CanonicalName(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestGGUFName(t *testing.T) {
	for _, c := range []struct {
		arch, canonical, want string
		ok                    bool
	}{
		{"gemma-embedding", "2_Dense.weight", "dense_2.weight", true},
		{"gemma3", "2_Dense.weight", "dense.0.weight", true}, // as the file that it comes from
		{"gemma", "layers.7.post_attention_layernorm.weight", "blk.7.ffn_norm.weight", true},
		{"gemma4", "layers.7.experts.gate_up_proj", "blk.7.ffn_gate_up_exps.weight", true},
		{"gemma4", "vision_tower.std_bias", "vision_tower.std_bias", false},
	} {
		if got, ok := GGUFName(c.arch, c.canonical); got != c.want || ok != c.ok {
			t.Errorf("GGUFName(%q, %q) is %q, %v, want %q, %v", c.arch, c.canonical, got, ok, c.want, c.ok)
		}
	}
}

// Ollama's files of Gemma 3 have the tower in them, and keep its names.
func TestOllamaTower(t *testing.T) {
	for _, name := range []string{"v.patch_embedding.weight", "v.patch_embedding.bias", "v.position_embedding.weight", "v.post_layernorm.bias",
		"v.blk.12.layer_norm1.weight", "v.blk.12.layer_norm2.bias", "v.blk.0.attn_q.weight", "v.blk.0.attn_k.bias", "v.blk.0.attn_v.weight",
		"v.blk.0.attn_output.weight", "v.blk.0.mlp.fc1.bias", "v.blk.0.mlp.fc2.weight", "mm.mm_input_projection.weight", "mm.mm_soft_emb_norm.weight"} {
		canonical := canonicalGGUF("gemma3", name)
		if canonical == name || ggufName("gemma3", canonical) != name {
			t.Errorf("%s became %s and came back as %s", name, canonical, ggufName("gemma3", canonical))
		}
		if _, ok := GGUFName("gemma3", canonical); ok {
			t.Errorf("llama.cpp has %s in the model's own file", canonical)
		}
	}
}

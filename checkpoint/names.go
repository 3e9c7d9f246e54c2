package checkpoint

import "strings"

// Canonical names are those of Hugging Face's text models without the prefix
// that says where in a larger model the decoder hangs. In the tables N stands
// for a layer's number.

// ggufNames maps the names llama.cpp gives to canonical ones.
var ggufNames = map[string]string{
	"token_embd.weight":                "embed_tokens.weight",
	"output_norm.weight":               "norm.weight",
	"output.weight":                    "lm_head.weight",
	"blk.N.attn_norm.weight":           "layers.N.input_layernorm.weight",
	"blk.N.attn_q.weight":              "layers.N.self_attn.q_proj.weight",
	"blk.N.attn_k.weight":              "layers.N.self_attn.k_proj.weight",
	"blk.N.attn_v.weight":              "layers.N.self_attn.v_proj.weight",
	"blk.N.attn_output.weight":         "layers.N.self_attn.o_proj.weight",
	"blk.N.attn_q_norm.weight":         "layers.N.self_attn.q_norm.weight",
	"blk.N.attn_k_norm.weight":         "layers.N.self_attn.k_norm.weight",
	"blk.N.post_attention_norm.weight": "layers.N.post_attention_layernorm.weight",
	"blk.N.ffn_norm.weight":            "layers.N.pre_feedforward_layernorm.weight",
	"blk.N.ffn_gate.weight":            "layers.N.mlp.gate_proj.weight",
	"blk.N.ffn_up.weight":              "layers.N.mlp.up_proj.weight",
	"blk.N.ffn_down.weight":            "layers.N.mlp.down_proj.weight",
	"blk.N.post_ffw_norm.weight":       "layers.N.post_feedforward_layernorm.weight",

	// Gemma 4
	"blk.N.layer_output_scale.weight": "layers.N.layer_scalar",
	"rope_freqs.weight":               "rope_freqs.weight", // what the angles of global layers are divided by
	"blk.N.ffn_gate_inp.weight":       "layers.N.router.proj.weight",
	"blk.N.ffn_gate_inp.scale":        "layers.N.router.scale",
	"blk.N.ffn_down_exps.scale":       "layers.N.router.per_expert_scale",
	"blk.N.ffn_gate_up_exps.weight":   "layers.N.experts.gate_up_proj",
	"blk.N.ffn_gate_exps.weight":      "layers.N.experts.gate_proj",
	"blk.N.ffn_up_exps.weight":        "layers.N.experts.up_proj",
	"blk.N.ffn_down_exps.weight":      "layers.N.experts.down_proj",
	"blk.N.pre_ffw_norm_2.weight":     "layers.N.pre_feedforward_layernorm_2.weight",
	"blk.N.post_ffw_norm_1.weight":    "layers.N.post_feedforward_layernorm_1.weight",
	"blk.N.post_ffw_norm_2.weight":    "layers.N.post_feedforward_layernorm_2.weight",

	// its drafting assistants
	"nextn.pre_projection.weight":  "pre_projection.weight",
	"nextn.post_projection.weight": "post_projection.weight",
	"masked_embd_centroids.weight": "masked_embedding.centroids.weight",
	"masked_embd_ordering":         "masked_embedding.token_ordering",

	// Gemma 3n and 4
	"per_layer_token_embd.weight": "embed_tokens_per_layer.weight",
	"per_layer_model_proj.weight": "per_layer_model_projection.weight",
	"per_layer_proj_norm.weight":  "per_layer_projection_norm.weight",
	"blk.N.inp_gate.weight":       "layers.N.per_layer_input_gate.weight",
	"blk.N.proj.weight":           "layers.N.per_layer_projection.weight",
	"blk.N.post_norm.weight":      "layers.N.post_per_layer_input_norm.weight",

	// Gemma 3n; of a matrix for each stream but the first GGUF makes one tensor
	"altup_proj.weight":                "altup_projections.weight",
	"altup_unembd_proj.weight":         "altup_unembed_projections.weight",
	"blk.N.altup_correct_coef.weight":  "layers.N.altup.correction_coefs.weight",
	"blk.N.altup_correct_scale.weight": "layers.N.altup.correct_output_scale",
	"blk.N.altup_predict_coef.weight":  "layers.N.altup.prediction_coefs.weight",
	"blk.N.altup_router.weight":        "layers.N.altup.modality_router.weight",
	"blk.N.altup_router_norm.weight":   "layers.N.altup.router_norm.weight",
	"blk.N.laurel_l.weight":            "layers.N.laurel.linear_left.weight",
	"blk.N.laurel_r.weight":            "layers.N.laurel.linear_right.weight",
	"blk.N.laurel_post_norm.weight":    "layers.N.laurel.post_laurel_norm.weight",

	// EmbeddingGemma
	"dense_2.weight": "2_Dense.weight",
	"dense_3.weight": "3_Dense.weight",
}

// ggufOverrides holds what an architecture calls differently. Gemma 1 has one
// norm before its feed-forward, which Hugging Face names after the attention;
// Ollama's first files of EmbeddingGemma say that they are a Gemma 3.
var ggufOverrides = map[string]map[string]string{
	"gemma":  {"blk.N.ffn_norm.weight": "layers.N.post_attention_layernorm.weight"},
	"gemma3": {"dense.0.weight": "2_Dense.weight", "dense.1.weight": "3_Dense.weight"},
}

// ggufNamesBack is the inverse of ggufNames.
var ggufNamesBack = inverse(ggufNames)

func inverse(names map[string]string) map[string]string {
	back := make(map[string]string, len(names))
	for from, to := range names {
		back[to] = from
	}
	return back
}

// trunk are the words before a decoder's names in Hugging Face files, in any
// order and number: where in a larger model it hangs is no part of its name.
var trunk = []string{"model.", "language_model."}

// branches are what the trunk's other limbs are called by some files, and what
// they are called here.
var branches = []struct{ from, to string }{
	{"vision_tower.vision_model.", "vision_tower."},
	{"vision_model.", "vision_tower."},
	{"encoder.vision_tower.vision_model.", "vision_tower."},
	{"encoder.vision_tower.", "vision_tower."},
	{"encoder.embed_vision.", "embed_vision."},
	{"encoder.multi_modal_projector.", "multi_modal_projector."},
	{"encoder.text_model.", "encoder."},
	{"encoder.language_model.", "encoder."},
	{"ple.", ""},
}

// words are parts of names that families spell differently.
var words = map[string]string{
	"pre_self_attn_layernorm":  "input_layernorm",
	"post_self_attn_layernorm": "post_attention_layernorm",
	"temporal_pre_norm":        "input_layernorm",
	"channel_pre_norm":         "pre_feedforward_layernorm",
	"layer_norm1":              "input_layernorm",
	"layer_norm2":              "pre_feedforward_layernorm",
	"temporal_block":           "self_attn",
	"mlp_block":                "mlp",
	"final_norm":               "norm",
	"fc1":                      "up_proj",
	"fc2":                      "down_proj",
	"out_proj":                 "o_proj",
	"ple_block":                "",
	"linear":                   "", // of a layer that is bounded, or alone
}

// canonicalGGUF is the canonical form of a GGUF name of the given
// general.architecture. Unknown names stay as they are.
func canonicalGGUF(arch, name string) string {
	canonical, ok := rename(name, ggufOverrides[arch], ggufNames)
	if !ok && arch == "gemma3" && (strings.HasPrefix(name, "v.") || strings.HasPrefix(name, "mm.")) {
		return canonicalClip("gemma3", ollamaTower.Replace(name), false)
	}
	return canonical
}

// ggufName is what llama.cpp calls the tensor with a canonical name.
func ggufName(arch, canonical string) string {
	name, ok := GGUFName(arch, canonical)
	if !ok && arch == "gemma3" && (strings.HasPrefix(name, "vision_tower.") || strings.HasPrefix(name, "multi_modal_projector.")) {
		return towerOllama.Replace(name)
	}
	return name
}

// GGUFName is what llama.cpp calls the tensor with a canonical name in files of
// an architecture, and whether it has such a tensor at all.
func GGUFName(arch, canonical string) (name string, ok bool) {
	return rename(canonical, inverse(ggufOverrides[arch]), ggufNamesBack)
}

// CanonicalName is what a tensor that a Hugging Face checkpoint calls name is
// called here: without the trunk, translated where families differ.
func CanonicalName(name string) string {
	rest := name
	for again := true; again; {
		again = false
		for _, t := range trunk {
			if after, ok := strings.CutPrefix(rest, t); ok {
				rest, again = after, true
			}
		}
	}
	for _, b := range branches {
		if after, ok := strings.CutPrefix(rest, b.from); ok {
			rest = b.to + after
			break
		}
	}
	parts := strings.Split(rest, ".")
	kept := parts[:0]
	for _, part := range parts {
		if to, ok := words[part]; ok {
			part = to
		}
		if part != "" {
			kept = append(kept, part)
		}
	}
	if len(kept) == 0 {
		return name
	}
	return strings.Join(kept, ".")
}

// rename looks a name up in the first table that has it.
func rename(name string, tables ...map[string]string) (string, bool) {
	pattern, number := splitNumber(name)
	for _, table := range tables {
		if to, ok := table[name]; ok && !strings.Contains(name, ".N.") {
			return to, true
		}
		to, ok := table[pattern]
		if ok && strings.Contains(pattern, ".N.") == (number != "") { // a file may say "blk.N." too
			return withNumber(to, number), true
		}
	}
	return name, false
}

// withNumber is the inverse of splitNumber.
func withNumber(pattern, number string) string {
	return strings.Replace(pattern, ".N.", "."+number+".", 1)
}

// splitNumber replaces a name's first all-digit part by N and returns it:
// "blk.12.attn_q.weight" gives "blk.N.attn_q.weight" and "12".
func splitNumber(name string) (pattern, number string) {
	for at := 0; ; {
		dot := strings.IndexByte(name[at:], '.')
		if dot < 0 {
			return name, ""
		}
		part := name[at : at+dot]
		if part != "" && strings.Trim(part, "0123456789") == "" {
			return name[:at] + "N" + name[at+dot:], part
		}
		at += dot + 1
	}
}

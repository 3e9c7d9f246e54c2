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
}

// ggufOverrides holds what an architecture calls differently. Gemma 1 has one
// norm before its feed-forward, which Hugging Face names after the attention.
var ggufOverrides = map[string]map[string]string{
	"gemma": {"blk.N.ffn_norm.weight": "layers.N.post_attention_layernorm.weight"},
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
	canonical, _ := rename(name, ggufOverrides[arch], ggufNames)
	return canonical
}

// ggufName is what llama.cpp calls the tensor with a canonical name.
func ggufName(arch, canonical string) string {
	name, _ := rename(canonical, inverse(ggufOverrides[arch]), ggufNamesBack)
	return name
}

// canonicalHF strips the trunk and translates what is left.
func canonicalHF(name string) string {
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

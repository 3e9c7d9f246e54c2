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

// prefixes are the places a decoder hangs at in Hugging Face files, longest
// first: text models, and both generations of multimodal ones.
var prefixes = []string{"language_model.model.", "model.language_model.", "language_model.", "model."}

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

// canonicalHF strips a known prefix when what remains is a canonical name.
func canonicalHF(name string) string {
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(name, p); ok {
			if _, known := rename(rest, ggufNamesBack); known {
				return rest
			}
		}
	}
	return name
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

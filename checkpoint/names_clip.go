package checkpoint

import "strings"

// clipLayer are the parts of a tower's layer in files whose architecture is
// "clip" (llama.cpp's mmproj), and what they are called here.
var clipLayer = map[string]string{
	"ln1": "input_layernorm", "ln2": "pre_feedforward_layernorm", "attn_post_norm": "post_attention_layernorm", "ffn_post_norm": "post_feedforward_layernorm",
	"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_out": "self_attn.o_proj",
	"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
	"ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}

// clipNames are the parts around the layers, by clip.projector_type.
var clipNames = map[string]map[string]string{
	"gemma3": {
		"v.patch_embd.weight":        "vision_tower.embeddings.patch_embedding.weight",
		"v.patch_embd.bias":          "vision_tower.embeddings.patch_embedding.bias",
		"v.position_embd.weight":     "vision_tower.embeddings.position_embedding.weight",
		"v.post_ln.weight":           "vision_tower.post_layernorm.weight",
		"v.post_ln.bias":             "vision_tower.post_layernorm.bias",
		"mm.input_projection.weight": "multi_modal_projector.mm_input_projection_weight",
		"mm.soft_emb_norm.weight":    "multi_modal_projector.mm_soft_emb_norm.weight",
	},
	"gemma4v": {
		"v.patch_embd.weight":        "vision_tower.patch_embedder.input_proj.weight",
		"v.position_embd.weight":     "vision_tower.patch_embedder.position_embedding_table",
		"v.std_bias":                 "vision_tower.std_bias",
		"v.std_scale":                "vision_tower.std_scale",
		"mm.input_projection.weight": "embed_vision.embedding_projection.weight",
	},
}

// ollamaTower says the names of Ollama's files of Gemma 3, which have the model
// and its tower in one, as llama.cpp does.
var ollamaTower = strings.NewReplacer("v.patch_embedding.", "v.patch_embd.", "v.position_embedding.", "v.position_embd.", "v.post_layernorm.", "v.post_ln.",
	".layer_norm1.", ".ln1.", ".layer_norm2.", ".ln2.", ".attn_output.", ".attn_out.", ".mlp.fc1.", ".ffn_up.", ".mlp.fc2.", ".ffn_down.",
	"mm.mm_input_projection.", "mm.input_projection.", "mm.mm_soft_emb_norm.", "mm.soft_emb_norm.")

// towerOllama is the way back, for files that stay as they are.
var towerOllama = strings.NewReplacer("vision_tower.embeddings.", "v.", "vision_tower.post_layernorm.", "v.post_layernorm.", "vision_tower.encoder.layers.", "v.blk.",
	".input_layernorm.", ".layer_norm1.", ".pre_feedforward_layernorm.", ".layer_norm2.", ".self_attn.q_proj.", ".attn_q.", ".self_attn.k_proj.", ".attn_k.",
	".self_attn.v_proj.", ".attn_v.", ".self_attn.o_proj.", ".attn_output.", ".mlp.up_proj.", ".mlp.fc1.", ".mlp.down_proj.", ".mlp.fc2.",
	"multi_modal_projector.mm_input_projection_weight", "mm.mm_input_projection.weight", "multi_modal_projector.mm_soft_emb_norm.", "mm.mm_soft_emb_norm.")

// clipProjector is what kind of towers a file has; empty for a model's own.
func clipProjector(m *Metadata) string {
	if arch, _ := m.String("general.architecture"); arch != "clip" {
		return ""
	}
	kind, ok := m.String("clip.projector_type")
	if !ok {
		kind, _ = m.String("clip.vision.projector_type")
	}
	return kind
}

// canonicalClip is the canonical form of a name in a file of towers. The first
// files of Gemma 3 have the two layers of a feed-forward the wrong way round.
func canonicalClip(projector, name string, swapped bool) string {
	if to, ok := clipNames[projector][name]; ok {
		return to
	}
	rest, ok := strings.CutPrefix(name, "v.blk.")
	parts := strings.SplitN(rest, ".", 3)
	if !ok || len(parts) != 3 {
		return name
	}
	part := parts[1]
	if swapped {
		switch part {
		case "ffn_up":
			part = "ffn_down"
		case "ffn_down":
			part = "ffn_up"
		}
	}
	to, ok := clipLayer[part]
	if !ok {
		return name
	}
	return "vision_tower.encoder.layers." + parts[0] + "." + to + "." + parts[2]
}

// swappedFeeds reports whether what is called the way down leads up: from the
// width of the tower.
func swappedFeeds(m *Metadata, stored []storedTensor) bool {
	width, _ := m.Uint("clip.vision.embedding_length")
	for _, t := range stored {
		if t.stored == "v.blk.0.ffn_down.weight" {
			return len(t.Shape) == 2 && uint64(t.Shape[1]) == width && uint64(t.Shape[0]) != width
		}
	}
	return false
}

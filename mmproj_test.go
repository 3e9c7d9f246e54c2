package lapidary_test

import (
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/checkpoint/convert"
	"lapidary/checkpoint/quantize"
)

// clipWords are llama.cpp's names of what a picture tower has, in files whose
// architecture is "clip".
var clipWords = strings.NewReplacer(
	"vision_tower.encoder.layers.", "v.blk.", ".input_layernorm.", ".ln1.", ".self_attn.q_proj.", ".attn_q.", ".self_attn.k_proj.", ".attn_k.",
	".self_attn.v_proj.", ".attn_v.", ".self_attn.o_proj.", ".attn_out.", ".self_attn.q_norm.", ".attn_q_norm.", ".self_attn.k_norm.", ".attn_k_norm.",
	".post_attention_layernorm.", ".attn_post_norm.", ".pre_feedforward_layernorm.", ".ln2.", ".post_feedforward_layernorm.", ".ffn_post_norm.",
	".mlp.gate_proj.", ".ffn_gate.", ".mlp.up_proj.", ".ffn_up.", ".mlp.down_proj.", ".ffn_down.",
	"vision_tower.embeddings.patch_embedding.", "v.patch_embd.", "vision_tower.embeddings.position_embedding.", "v.position_embd.",
	"vision_tower.post_layernorm.", "v.post_ln.", "multi_modal_projector.mm_input_projection_weight", "mm.input_projection.weight",
	"multi_modal_projector.mm_soft_emb_norm.", "mm.soft_emb_norm.",
	"vision_tower.patch_embedder.input_proj.", "v.patch_embd.", "vision_tower.patch_embedder.position_embedding_table", "v.position_embd.weight",
	"vision_tower.std_", "v.std_", "embed_vision.embedding_projection.", "mm.input_projection.",
)

// split writes a folder as people have it for llama.cpp: the model as a GGUF
// file, its picture tower as another beside it.
func split(t *testing.T, folder string, clip map[string]any, patch int) string {
	t.Helper()
	c, err := checkpoint.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	model, err := convert.ToGGUF(c)
	if err != nil {
		t.Fatal(err)
	}
	float, err := quantize.Find("F32")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := quantize.Write(t.Context(), filepath.Join(dir, "model.gguf"), model, float, quantize.Options{}); err != nil {
		t.Fatal(err)
	}
	var tensors []checkpoint.Tensor
	for _, tensor := range c.Tensors() {
		name := clipWords.Replace(tensor.Name)
		values := checkpointtest.Floats(tensor)
		shape := tensor.Shape
		switch {
		case name == tensor.Name: // the language model's
			continue
		case name == "mm.soft_emb_norm.weight":
			for i := range values {
				values[i]++
			}
		case name == "v.patch_embd.weight" && patch > 0:
			values, shape = planes(values, patch), []int{shape[0], 3, patch, patch}
		}
		tensors = append(tensors, checkpointtest.FloatTensor(name, values, shape...))
	}
	clip["general.architecture"], clip["clip.has_vision_encoder"] = "clip", true
	if err := checkpointtest.WriteGGUF(filepath.Join(dir, "mmproj-F32.gguf"), clip, tensors); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "model.gguf")
}

// planes turns patches with three colours a point into patches of three planes.
func planes(points []float32, patch int) []float32 {
	area := patch * patch
	out := make([]float32, 0, len(points))
	for row := range slices.Chunk(points, 3*area) {
		for colour := range 3 {
			for at := range area {
				out = append(out, row[3*at+colour])
			}
		}
	}
	return out
}

// TestTowersBesideGGUF: pictures are seen through the tower in an mmproj file as
// through that of the folder it was made of.
func TestTowersBesideGGUF(t *testing.T) {
	for _, c := range []struct {
		golden string
		files  map[string]string
		soft   int // of a picture, where GGUF does not say
		patch  int // of towers that take points
		clip   map[string]any
	}{
		{"gemma3_mm", nil, 0, 0, map[string]any{
			"clip.projector_type": "gemma3", "clip.vision.embedding_length": uint32(24), "clip.vision.feed_forward_length": uint32(40), "clip.vision.block_count": uint32(2),
			"clip.vision.attention.head_count": uint32(2), "clip.vision.image_size": uint32(32), "clip.vision.patch_size": uint32(8),
			"clip.vision.projection_dim": uint32(32), "clip.vision.attention.layer_norm_epsilon": float32(1e-6), "clip.vision.projector.scale_factor": uint32(2),
		}},
		{"gemma4_31b_mm", gemma4Files, 70, 4, map[string]any{
			"clip.vision.projector_type": "gemma4v", "clip.vision.embedding_length": uint32(32), "clip.vision.feed_forward_length": uint32(48), "clip.vision.block_count": uint32(2),
			"clip.vision.attention.head_count": uint32(2), "clip.vision.patch_size": uint32(4), "clip.vision.projection_dim": uint32(32),
			"clip.vision.attention.layer_norm_epsilon": float32(1e-6), "clip.vision.projector.scale_factor": uint32(2),
		}},
	} {
		t.Run(c.golden, func(t *testing.T) {
			folder := tuned(t, c.golden, c.files)
			whole, parted := opened(t, folder), opened(t, split(t, folder, c.clip, c.patch))
			picture := drawing(t, 40, 40, 3)
			picture.SoftTokens = c.soft
			want, got := asked(t, whole, "What?", picture), asked(t, parted, "What?", picture)
			if !slices.Equal(got.Tokens, want.Tokens) {
				t.Fatalf("from GGUF %v, from the folder %v", got.Tokens, want.Tokens)
			}
			for i, v := range want.Soft[0].Vectors {
				if d := math.Abs(float64(got.Soft[0].Vectors[i] - v)); d > 1e-4 {
					t.Fatalf("%g at %d of the soft tokens", d, i)
				}
			}
			session := parted.NewSession()
			defer session.Close()
			if ids, _ := answered(t, session, got, 3); len(ids) == 0 {
				t.Error("no answer")
			}
		})
	}
}

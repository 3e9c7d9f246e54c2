package convert_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/checkpoint/convert"
	"lapidary/checkpoint/quantize"
	"lapidary/engine/ref"
	"lapidary/gemma"
)

// clipParts are what llama.cpp's converter calls a tower's parts, by what they
// are here.
var clipParts = strings.NewReplacer(
	"vision_tower.encoder.layers.", "v.blk.", "input_layernorm", "ln1", "pre_feedforward_layernorm", "ln2",
	"post_attention_layernorm", "attn_post_norm", "post_feedforward_layernorm", "ffn_post_norm",
	"self_attn.q_proj", "attn_q", "self_attn.k_proj", "attn_k", "self_attn.v_proj", "attn_v", "self_attn.o_proj", "attn_out",
	"self_attn.q_norm", "attn_q_norm", "self_attn.k_norm", "attn_k_norm", "mlp.gate_proj", "ffn_gate", "mlp.up_proj", "ffn_up", "mlp.down_proj", "ffn_down",
	"vision_tower.embeddings.patch_embedding", "v.patch_embd", "vision_tower.embeddings.position_embedding", "v.position_embd",
	"vision_tower.post_layernorm", "v.post_ln", "multi_modal_projector.mm_input_projection_weight", "mm.input_projection.weight",
	"multi_modal_projector.mm_soft_emb_norm", "mm.soft_emb_norm",
	"vision_tower.patch_embedder.input_proj", "v.patch_embd", "vision_tower.patch_embedder.position_embedding_table", "v.position_embd.weight",
	"vision_tower.std_", "v.std_", "embed_vision.embedding_projection", "mm.input_projection",
)

// mmproj writes a folder's picture tower as llama.cpp's converter does.
func mmproj(t *testing.T, path string, folder *checkpoint.Checkpoint, kind string, swap bool) {
	t.Helper()
	config := readConfig(t, folder)
	var tensors []checkpoint.Tensor
	for _, x := range folder.Tensors() {
		name := clipParts.Replace(x.Name)
		if !strings.HasPrefix(name, "v.") && !strings.HasPrefix(name, "mm.") {
			continue
		}
		v := checkpointtest.Floats(x)
		switch {
		case name == "mm.soft_emb_norm.weight":
			for i := range v {
				v[i]++
			}
		case name == "v.patch_embd.weight" && len(x.Shape) == 2: // colours into planes
			p := config.Patches.Patch
			x.Shape = []int{x.Shape[0], 3, p, p}
			planes := make([]float32, len(v))
			for i := range v {
				row, at, colour := i/(3*p*p), i%(3*p*p)/3, i%3
				planes[row*3*p*p+colour*p*p+at] = v[i]
			}
			v = planes
		case swap:
			name = strings.NewReplacer("ffn_up", "ffn_down", "ffn_down", "ffn_up").Replace(name)
		}
		if len(x.Shape) == 0 {
			x.Shape = []int{1}
		}
		x.Name, x.Type, x.Data = name, checkpoint.F32, nil
		for _, f := range v {
			x.Data = binary.LittleEndian.AppendUint32(x.Data, math.Float32bits(f))
		}
		tensors = append(tensors, x)
	}
	const p = "clip.vision."
	m := map[string]any{"general.architecture": "clip", p + "projection_dim": uint32(config.Width)}
	var numbers map[string]int
	if s := config.SigLIP; s != nil {
		m["clip.projector_type"] = kind
		numbers = map[string]int{"embedding_length": s.Width, "feed_forward_length": s.Layers[0].Feed.Width, "block_count": len(s.Layers),
			"attention.head_count": s.Layers[0].Attention.Heads, "patch_size": s.Patch, "image_size": s.Patch * s.Side, "projector.scale_factor": s.Side / s.Tokens}
	} else {
		s := config.Patches
		m["clip.vision.projector_type"] = kind
		numbers = map[string]int{"embedding_length": s.Width, "feed_forward_length": s.Layers[0].Feed.Width, "block_count": len(s.Layers),
			"attention.head_count": s.Layers[0].Attention.Heads, "patch_size": s.Patch, "image_size": 224, "projector.scale_factor": s.Pool}
	}
	for key, n := range numbers {
		m[p+key] = uint32(n)
	}
	if err := checkpointtest.WriteGGUF(path, m, tensors); err != nil {
		t.Fatal(err)
	}
}

// TestTowersBeside: a model in two GGUF files sees what it sees as a folder.
func TestTowersBeside(t *testing.T) {
	for _, c := range []struct {
		family, kind string
		swap         bool
	}{{"gemma3_mm", "gemma3", false}, {"gemma3_mm", "gemma3", true}, {"gemma4_31b_mm", "gemma4v", false}, {"gemma4_e2b_mm", "gemma4v", false}} {
		t.Run(fmt.Sprint(c.family, c.swap), func(t *testing.T) {
			folder := open(t, filepath.Join(goldens, c.family))
			dir := t.TempDir()
			m, err := convert.ToGGUF(folder)
			if err != nil {
				t.Fatal(err)
			}
			mix, err := quantize.Find("F32")
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "model.gguf")
			if _, err := quantize.Write(t.Context(), path, m, mix, quantize.Options{}); err != nil {
				t.Fatal(err)
			}
			alone := readConfig(t, open(t, path))
			if alone.SigLIP != nil || alone.Patches != nil {
				t.Fatal("a text model has a tower")
			}
			mmproj(t, filepath.Join(dir, "mmproj-F32.gguf"), folder, c.kind, c.swap)
			file := open(t, path)
			want, got := readConfig(t, folder), readConfig(t, file)
			if want.SigLIP != nil {
				want.SigLIP.Vocab, want.SigLIP.Context = 0, 0 // of SigLIP's other half
			}
			if fmt.Sprintf("%+v %+v", want.SigLIP, want.Patches) != fmt.Sprintf("%+v %+v", got.SigLIP, got.Patches) {
				t.Errorf("%+v %+v\nwant %+v %+v", got.SigLIP, got.Patches, want.SigLIP, want.Patches)
			}
			picture := drawn(want)
			a, err := load(t, folder, ref.New()).Pictures(t.Context(), []gemma.Picture{picture})
			if err != nil {
				t.Fatal(err)
			}
			b, err := load(t, file, ref.New()).Pictures(t.Context(), []gemma.Picture{picture})
			if err != nil {
				t.Fatal(err)
			}
			var flat []float64
			for _, v := range a[0] {
				flat = append(flat, float64(v))
			}
			near(t, "soft tokens", b, flat)
		})
	}
}

// TestTowerInside: Ollama's files of Gemma 3 have all in one, with more tokens
// than the embedding has rows.
func TestTowerInside(t *testing.T) {
	folder := open(t, filepath.Join(goldens, "gemma3_mm"))
	m, err := convert.ToGGUF(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range folder.Tensors() {
		if strings.HasPrefix(x.Name, "vision_tower.") || strings.HasPrefix(x.Name, "multi_modal_projector.") {
			v := checkpointtest.Floats(x)
			x.Type, x.Data = checkpoint.F32, nil
			for _, f := range v {
				if strings.HasSuffix(x.Name, "soft_emb_norm.weight") {
					f++
				}
				x.Data = binary.LittleEndian.AppendUint32(x.Data, math.Float32bits(f))
			}
			m.Tensors = append(m.Tensors, x)
		}
	}
	want := readConfig(t, folder)
	s := want.SigLIP
	s.Vocab, s.Context = 0, 0
	for key, n := range map[string]int{"block_count": len(s.Layers), "embedding_length": s.Width, "feed_forward_length": s.Layers[0].Feed.Width,
		"attention.head_count": s.Layers[0].Attention.Heads, "image_size": s.Patch * s.Side, "patch_size": s.Patch, "projector.scale_factor": s.Side / s.Tokens} {
		m.Metadata["gemma3.vision."+key] = uint32(n)
	}
	m.Metadata["tokenizer.ggml.tokens"] = make([]string, want.Vocab+3)
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := checkpointtest.WriteGGUF(path, m.Metadata, m.Tensors); err != nil {
		t.Fatal(err)
	}
	file := open(t, path)
	got := readConfig(t, file)
	if fmt.Sprintf("%+v", got.SigLIP) != fmt.Sprintf("%+v", s) || got.Vocab != want.Vocab {
		t.Errorf("%d tokens, %+v\nwant %d, %+v", got.Vocab, got.SigLIP, want.Vocab, s)
	}
	a, err := load(t, folder, ref.New()).Pictures(t.Context(), []gemma.Picture{drawn(want)})
	if err != nil {
		t.Fatal(err)
	}
	b, err := load(t, file, ref.New()).Pictures(t.Context(), []gemma.Picture{drawn(want)})
	if err != nil {
		t.Fatal(err)
	}
	var flat []float64
	for _, v := range a[0] {
		flat = append(flat, float64(v))
	}
	near(t, "soft tokens", b, flat)
	delete(m.Metadata, "tokenizer.ggml.tokens") // which have no scores
	if err := checkpointtest.WriteGGUF(path+"2", m.Metadata, m.Tensors); err != nil {
		t.Fatal(err)
	}
	text := toFolder(t, open(t, path+"2"), checkpoint.F32)
	for _, x := range text.Tensors() {
		if strings.HasPrefix(x.Name, "vision_tower.") {
			t.Errorf("%s is in a folder for text", x.Name)
		}
	}
}

// drawn is a picture of the size that a tower takes.
func drawn(c gemma.Config) gemma.Picture {
	var p gemma.Picture
	var n int
	if s := c.SigLIP; s != nil {
		n = 3 * s.Side * s.Side * s.Patch * s.Patch
	} else {
		k := int32(2 * c.Patches.Pool)
		for line := range k {
			for column := range k {
				p.Places = append(p.Places, [2]int32{column, line})
			}
		}
		n = len(p.Places) * 3 * c.Patches.Patch * c.Patches.Patch
	}
	for i := range n {
		p.Pixels = append(p.Pixels, float32(i*7%29)/29)
	}
	return p
}

// TestTowersOfAnother: a file that does not fit is of another model, one that is
// damaged is named.
func TestTowersOfAnother(t *testing.T) {
	folder := open(t, filepath.Join(goldens, "gemma3_mm"))
	file := toGGUF(t, folder.Path(), "F32")
	beside := filepath.Join(filepath.Dir(file.Path()), "mmproj.gguf")
	for _, m := range []map[string]any{{"clip.vision.projection_dim": uint32(99)}, {"clip.projector_type": "llava"}} {
		all := map[string]any{"general.architecture": "clip", "clip.projector_type": "gemma3", "clip.vision.projection_dim": uint32(32)}
		for k, v := range m {
			all[k] = v
		}
		if err := checkpointtest.WriteGGUF(beside, all, nil); err != nil {
			t.Fatal(err)
		}
		if c := readConfig(t, file); c.SigLIP != nil {
			t.Errorf("%v is a tower", m)
		}
	}
	if err := checkpointtest.WriteGGUF(beside, map[string]any{"general.architecture": "clip", "clip.projector_type": "gemma3", "clip.vision.projection_dim": uint32(32)}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := gemma.ReadConfig(file); err == nil || !strings.Contains(err.Error(), "mmproj.gguf: metadata key clip.vision.") || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %v", err)
	}
}

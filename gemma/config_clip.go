package gemma

import (
	"errors"
	"fmt"
	"io/fs"

	"lapidary/checkpoint"
	"lapidary/engine"
)

// projector is the file of towers beside a GGUF model, which llama.cpp calls
// mmproj; nil where there is none that fits.
func projector(c *checkpoint.Checkpoint, width int) (*checkpoint.Checkpoint, error) {
	towers, err := c.Part("mmproj")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("the towers beside the model: %w", err)
	}
	if n, _ := towers.Metadata().Uint("clip.vision.projection_dim"); n != uint64(width) {
		return nil, nil // of another model
	}
	return towers, nil
}

// clip reads the picture tower in or beside a GGUF model.
func (c *Config) clip(from *checkpoint.Checkpoint) error {
	inside := &metaReader{m: from.Metadata(), from: from, prefix: "gemma3.vision."}
	if c.Family == "gemma3" && inside.has("block_count") {
		var err error
		c.SigLIP, err = inside.siglip(c.Width)
		c.Tokens = defaultTokens[c.Family]
		return err
	}
	towers, err := projector(from, c.Width)
	if towers == nil || err != nil {
		return err
	}
	r := &metaReader{m: towers.Metadata(), from: towers, prefix: "clip.vision."}
	kind, ok := r.m.String("clip.projector_type")
	if !ok {
		kind, _ = r.m.String("clip.vision.projector_type")
	}
	switch {
	case kind == "gemma3" && c.Family == "gemma3" && c.Head.Pooled == 0:
		c.SigLIP, err = r.siglip(c.Width)
	case kind == "gemma4v" && c.Family == "gemma4":
		c.Patches, err = r.patchTower(c.Width)
	default:
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", towers.Path(), err)
	}
	c.Tokens = defaultTokens[c.Family]
	return nil
}

// siglip: scale_factor is how many patches along an edge make a soft token.
func (r *metaReader) siglip(width int) (*SigLIP, error) {
	t := hfTower{Width: r.size("embedding_length"), Feed: r.size("feed_forward_length"), Layers: r.size("block_count"),
		Heads: r.size("attention.head_count"), Image: r.size("image_size"), Patch: r.size("patch_size")}
	scale := r.sizeOr("projector.scale_factor", 4) // of mm.tokens_per_image there are 256
	if r.err != nil {
		return nil, r.err
	}
	if err := within(bound{"tower layers", t.Layers, maxLayers}, bound{"tower width", t.Width, maxWidth}, bound{"tower feed-forward width", t.Feed, maxWidth},
		bound{"tower heads", t.Heads, t.Width}, bound{"picture size", t.Image, 1 << 16}, bound{"patch size", t.Patch, t.Image},
		bound{"patches of a soft token", scale, t.Image / t.Patch}); err != nil {
		return nil, err
	}
	eps := r.number("attention.layer_norm_epsilon", 1e-6)
	t.LayerEps = &eps
	stack, err := t.transformer()
	side := t.Image / t.Patch
	return &SigLIP{Stack: stack, Patch: t.Patch, Side: side, Tokens: side / scale, Projects: width}, err
}

// patchTower: what the keys leave out, tensors tell.
func (r *metaReader) patchTower(width int) (*PatchTower, error) {
	const layer = "vision_tower.encoder.layers.0."
	d, layers, heads := r.size("embedding_length"), r.size("block_count"), r.size("attention.head_count")
	feed, patch, pool := r.size("feed_forward_length"), r.size("patch_size"), r.sizeOr("projector.scale_factor", 3)
	norm, _ := r.from.Tensor(layer + "self_attn.q_norm.weight")
	size := max(norm.Cols(), 1) // 1 where there is none, which cannot turn
	kvHeads := r.rows(layer+"self_attn.k_proj.weight", 0) / size
	places := r.rows("vision_tower.patch_embedder.position_embedding_table", 0) / 2
	_, standard := r.from.Tensor("vision_tower.std_scale")
	_, clipped := r.from.Tensor(layer + "self_attn.q_proj.input_max")
	if r.err != nil {
		return nil, r.err
	}
	if err := within(bound{"tower layers", layers, maxLayers}, bound{"tower width", d, maxWidth}, bound{"tower feed-forward width", feed, maxWidth},
		bound{"tower heads", heads, maxWidth}, bound{"tower head size", size, maxWidth}, bound{"tower key-value heads", kvHeads, heads},
		bound{"patch size", patch, 1 << 12}, bound{"pooling", pool, 1 << 8}, bound{"places", places, maxVocab}); err != nil {
		return nil, err
	}
	if size%4 != 0 || heads%kvHeads != 0 {
		return nil, fmt.Errorf("config: vision heads of %d cannot turn along two axes, or %d share %d", size, heads, kvHeads)
	}
	tower := &PatchTower{Patch: patch, Pool: pool, Places: places, Standard: standard, Projects: width,
		Stack: Stack{Width: d, NormEps: float32(r.number("attention.layer_norm_epsilon", 1e-6)), Clipped: clipped}}
	for range layers {
		tower.Layers = append(tower.Layers, Layer{
			Attention: Attention{Heads: heads, KVHeads: kvHeads, HeadSize: size, Ahead: engine.All,
				Rope: engine.Rope{Base: 100, Scale: 1}, Axial: true, QKNorm: true, VNorm: true, Scale: 1},
			Feed: Feed{Width: feed}, PostNorms: true,
		})
	}
	return tower, nil
}

// beside binds what lies beside a GGUF model, until done, which hands an error
// on; of a folder that is all in one place.
func (b *binder) beside(c *Config) (other *binder, done func()) {
	if b.from.Metadata() == nil || b.err != nil || b.has("vision_tower.post_layernorm.weight") {
		return b, func() {}
	}
	towers, err := projector(b.from, c.Width)
	if towers == nil || err != nil {
		b.err = err
		return b, func() {}
	}
	other = &binder{from: towers, engine: b.engine, keep: b.keep}
	return other, func() { b.err = other.err }
}

// patchWeight is the layer that patches go through [D, p·p·3], of which GGUF has
// the colours in planes [D, 3, p, p].
func (b *binder) patchWeight(name string, d, patch int) engine.Weight {
	t, ok := b.from.Tensor(name)
	if !ok || len(t.Shape) != 4 {
		return b.weight(name, d, 3*patch*patch)
	}
	if _, ok = b.tensor(name, []int{d, 3, patch, patch}); !ok {
		return nil
	}
	planes := b.numbers(name)
	area := patch * patch
	v := make([]float32, 0, len(planes))
	for row := 0; row < len(planes); row += 3 * area {
		for at := range area {
			v = append(v, planes[row+at], planes[row+area+at], planes[row+2*area+at])
		}
	}
	return b.made(name, v, d, 3*area)
}

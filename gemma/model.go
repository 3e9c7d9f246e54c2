package gemma

import (
	"fmt"
	"slices"

	"lapidary/checkpoint"
	"lapidary/engine"
)

// Model is an architecture with its weights bound to an engine.
type Model struct {
	config Config
	engine engine.Engine
	cache  []engine.CacheLayer

	embed  engine.Weight // [V, D]
	head   engine.Weight // [V, D], the embedding itself where tied
	norm   engine.Weight // [D]
	blocks []block
}

// Load reads a checkpoint's configuration and binds its weights to e. The
// checkpoint has to stay open as long as the model is used.
func Load(c *checkpoint.Checkpoint, e engine.Engine) (*Model, error) {
	config, err := ReadConfig(c)
	if err != nil {
		return nil, err
	}
	b := binder{from: c, engine: e}
	m := &Model{config: config, engine: e}
	m.embed = b.weight("embed_tokens.weight", config.Vocab, config.Width)
	m.norm = b.weight("norm.weight", config.Width)
	m.head = m.embed
	if _, ok := c.Tensor("lm_head.weight"); ok {
		m.head = b.weight("lm_head.weight", config.Vocab, config.Width)
	}
	for i, layer := range config.Layers {
		m.blocks = append(m.blocks, b.block(i, layer, &config))
		a := layer.Attention
		m.cache = append(m.cache, engine.CacheLayer{KVHeads: a.KVHeads, HeadSize: a.HeadSize, Window: a.Window, Exact: b.exact(i)})
	}
	if b.err != nil {
		return nil, fmt.Errorf("%s: %w", c.Path(), b.err)
	}
	return m, nil
}

// Config is the model's architecture.
func (m *Model) Config() Config { return m.config }

// NewCache makes the empty memory of one sequence.
func (m *Model) NewCache() engine.Cache { return m.engine.NewCache(m.cache) }

// exact reports whether layer i was stored in float32: then its memory is too,
// since nothing coarser has touched its keys.
func (b *binder) exact(i int) bool {
	t, _ := b.from.Tensor(fmt.Sprintf("layers.%d.self_attn.k_proj.weight", i))
	return t.Type == checkpoint.F32
}

// binder binds tensors by name and keeps the first error.
type binder struct {
	from   *checkpoint.Checkpoint
	engine engine.Engine
	err    error
}

func (b *binder) weight(name string, shape ...int) engine.Weight {
	if b.err != nil {
		return nil
	}
	t, ok := b.from.Tensor(name)
	if !ok {
		b.err = fmt.Errorf("tensor %s is missing", name)
		return nil
	}
	if !slices.Equal(t.Shape, shape) {
		b.err = fmt.Errorf("tensor %s is %v, want %v", name, t.Shape, shape)
		return nil
	}
	w, err := b.engine.Load(t)
	if err != nil {
		b.err = err
	}
	return w
}

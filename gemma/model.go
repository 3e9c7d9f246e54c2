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

// Option changes how a model is loaded.
type Option func(*binder)

// WithCache keeps keys and values in that precision. Without it that is half
// precision, and float32 in layers whose weights are.
func WithCache(keep engine.Precision) Option {
	return func(b *binder) { b.keep = &keep }
}

// Load reads a checkpoint's configuration and binds its weights to e. The
// checkpoint has to stay open as long as the model is used.
func Load(c *checkpoint.Checkpoint, e engine.Engine, opts ...Option) (*Model, error) {
	config, err := ReadConfig(c)
	if err != nil {
		return nil, err
	}
	b := binder{from: c, engine: e}
	for _, opt := range opts {
		opt(&b)
	}
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
		m.cache = append(m.cache, engine.CacheLayer{KVHeads: a.KVHeads, HeadSize: a.HeadSize, Window: a.Window, Keep: b.precision(i)})
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

// precision is that of layer i's memory. Where the weights are float32 it is
// too, since nothing coarser has touched the keys.
func (b *binder) precision(i int) engine.Precision {
	if b.keep != nil {
		return *b.keep
	}
	if t, _ := b.from.Tensor(fmt.Sprintf("layers.%d.self_attn.k_proj.weight", i)); t.Type == checkpoint.F32 {
		return engine.Exact
	}
	return engine.Half
}

// binder binds tensors by name and keeps the first error.
type binder struct {
	from   *checkpoint.Checkpoint
	engine engine.Engine
	keep   *engine.Precision // nil for each layer's own
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

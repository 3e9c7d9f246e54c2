package gemma

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"lapidary/checkpoint"
	"lapidary/engine"
)

// Model is an architecture with its weights bound to an engine.
type Model struct {
	config Config
	engine engine.Engine
	from   *checkpoint.Checkpoint
	cache  []engine.CacheLayer
	layers []layerWeight // that adapters may change

	text    *stack        // what reads and writes text
	encoder *stack        // of an encoder–decoder
	head    engine.Weight // [V, D], the embedding itself where tied
	labels  *linear       // of a classifier
	dense   []engine.Weight

	eyes   eyes // nil without
	ears   ears // nil without
	pairs  *pairs
	draft  *drafterHeads
	canvas *canvas // of a diffusion model
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
	m := &Model{config: config, engine: e, from: c}
	m.bind(&b)
	if b.err != nil {
		return nil, fmt.Errorf("%s: %w", c.Path(), b.err)
	}
	m.layers = b.layers
	return m, nil
}

// bind binds the parts that the configuration has.
func (m *Model) bind(b *binder) {
	c := &m.config
	if len(c.Layers) > 0 && !b.towersOnly(c) {
		m.bindText(b)
	} else {
		c.Layers = nil
	}
	switch {
	case c.Pairs != nil:
		m.pairs = b.pairs(c)
	case c.SigLIP != nil:
		m.eyes = b.siglip(c)
	case c.Patches != nil:
		m.eyes = b.patchTower(c)
	case c.Pixels != nil:
		m.eyes = b.patchDense(c.Pixels)
	case c.MobileNet != nil && !b.has(mobileTower+"conv_stem.conv.weight"):
		c.MobileNet = nil // its text part alone was kept
	case c.MobileNet != nil:
		tower := b.mobileNet(c.MobileNet)
		m.eyes = tower
		m.owns(&tower.embed)
	}
	switch {
	case c.Sounds != nil:
		tower := b.conformer(c.Sounds)
		m.ears = tower
		m.owns(tower.old)
	case c.Frames != nil:
		m.ears = b.frameDense(c.Frames)
	}
	m.bindHeads(b)
}

// owns tells the text stack about tokens that a tower embeds.
func (m *Model) owns(e *embedder) {
	if e != nil && m.text != nil {
		m.text.own = append(m.text.own, e.own())
	}
}

// towersOnly says that the checkpoint is a tower cut out of a model.
func (b *binder) towersOnly(c *Config) bool {
	tower := c.SigLIP != nil || c.MobileNet != nil || c.Patches != nil || c.Pixels != nil || c.Sounds != nil || c.Frames != nil
	return tower && !b.has("embed_tokens.weight") && !b.has("encoder.embed_tokens.weight") && !b.has("decoder.embed_tokens.weight")
}

// bindText binds the stacks and what logits are made with.
func (m *Model) bindText(b *binder) {
	c := &m.config
	prefix, sourceWidth := "", 0
	switch {
	case c.Encoder != nil:
		sourceWidth = c.Encoder.Width
		prefix = "decoder."
	case b.has("decoder.embed_tokens.weight"): // a diffusion model
		prefix = "decoder."
	case b.has("encoder.embed_tokens.weight"):
		prefix = "encoder."
	}
	var embed engine.Weight
	if c.Encoder != nil {
		embed = b.weight("encoder.embed_tokens.weight", c.Encoder.Vocab, c.Encoder.Width)
		m.encoder = b.passing(c.Encoder, "encoder.")
		m.encoder.embed = embed
	}
	if name := prefix + "embed_tokens.weight"; c.Encoder == nil || b.has(name) {
		embed = b.weight(name, c.Vocab, c.Width)
	} // else T5Gemma 2, which has one for both
	m.text, m.cache = b.stack(&c.Stack, prefix, sourceWidth)
	m.text.embed = embed
	if name := "encoder.embed_tokens.eoi_embedding"; b.has(name) {
		vector := b.shaped(name, []int{c.Width}, 1, c.Width)
		m.encoder.own = []ownTokens{{c.Tokens.ImageEnd, 1, func(p engine.Pass, rows []int32) engine.Tensor { return p.Embed(vector, rows, 1) }}}
		m.text.own = m.encoder.own
	}
	m.head = m.text.embed
	for _, name := range []string{"lm_head.weight", "lm_head.o_proj.weight"} {
		if b.has(name) {
			m.head = b.weight(name, c.Vocab, c.Width)
		}
	}
}

// bindHeads binds what is made of the last hidden states.
func (m *Model) bindHeads(b *binder) {
	c := &m.config
	if n := c.Head.Labels; n > 0 {
		name := "score"
		if !b.has("score.weight") {
			name = "score.o_proj"
		}
		l := linear{w: b.weight(name+".weight", n, c.Width)}
		if b.has(name + ".bias") {
			l.bias = b.weight(name+".bias", n)
		}
		m.labels = &l
	}
	m.dense = b.dense(c)
	if c.Drafter != nil {
		m.draft = b.drafterHeads(c)
	}
	if c.Canvas > 0 {
		m.canvas = b.canvas(m.text)
	}
}

// Config is the model's architecture.
func (m *Model) Config() Config { return m.config }

// NewCache makes the empty memory of one sequence.
func (m *Model) NewCache() engine.Cache {
	c := m.engine.NewCache(m.cache)
	if m.encoder != nil {
		return &sourced{Cache: c}
	}
	return c
}

// precision is that of layer i's memory. Where the weights are float32 it is
// too, since nothing coarser has touched the keys.
func (b *stackBinder) precision(i int) engine.Precision {
	if b.keep != nil {
		return *b.keep
	}
	if t, _ := b.from.Tensor(b.layer(i) + ".self_attn.k_proj.weight"); t.Type == checkpoint.F32 {
		return engine.Exact
	}
	return engine.Half
}

// keepOr is the precision asked for, or the given one.
func (b *binder) keepOr(otherwise engine.Precision) engine.Precision {
	if b.keep != nil {
		return *b.keep
	}
	return otherwise
}

// binder binds tensors by name and keeps the first error.
type binder struct {
	from   *checkpoint.Checkpoint
	engine engine.Engine
	keep   *engine.Precision // nil for each layer's own
	layers []layerWeight     // linear layers of the text's stacks
	err    error
}

func (b *binder) has(name string) bool {
	_, ok := b.from.Tensor(name)
	return ok
}

func (b *binder) weight(name string, shape ...int) engine.Weight {
	w := b.shaped(name, shape, shape...)
	b.adaptable(name, w, shape)
	return w
}

// shaped binds a tensor stored in one shape as one of another.
func (b *binder) shaped(name string, stored []int, shape ...int) engine.Weight {
	t, ok := b.tensor(name, stored)
	if !ok {
		return nil
	}
	t.Shape = shape
	return b.load(t)
}

// tensor is a tensor of the stored shape.
func (b *binder) tensor(name string, stored []int) (checkpoint.Tensor, bool) {
	if b.err != nil {
		return checkpoint.Tensor{}, false
	}
	t, ok := b.from.Tensor(name)
	switch {
	case !ok:
		b.err = fmt.Errorf("tensor %s is missing", name)
	case !slices.Equal(t.Shape, stored):
		b.err = fmt.Errorf("tensor %s is %v, want %v", name, t.Shape, stored)
	}
	return t, b.err == nil
}

// slice binds rows [from, to) of a matrix.
func (b *binder) slice(name string, rows, cols, from, to int) engine.Weight {
	return b.cut(name, []int{rows, cols}, from, to)
}

// oneOf binds matrix i of count, which GGUF makes one tensor of.
func (b *binder) oneOf(name string, i, count, rows, cols int) engine.Weight {
	if all := name + ".weight"; b.has(all) {
		return b.cut(all, []int{count, rows, cols}, i*rows, (i+1)*rows)
	}
	return b.weight(fmt.Sprintf("%s.%d.weight", name, i), rows, cols)
}

// cut binds rows [from, to) of a tensor of the stored shape.
func (b *binder) cut(name string, stored []int, from, to int) engine.Weight {
	t, ok := b.tensor(name, stored)
	if !ok {
		return nil
	}
	n, cols := t.RowBytes(), t.Cols()
	if len(t.Data) < to*n {
		b.err = fmt.Errorf("tensor %s has %d bytes, want %d", name, len(t.Data), t.Rows()*n)
		return nil
	}
	t.Name, t.Shape, t.Data = fmt.Sprintf("%s[%d:%d]", name, from, to), []int{to - from, cols}, t.Data[from*n:to*n]
	return b.load(t)
}

func (b *binder) load(t checkpoint.Tensor) engine.Weight {
	w, err := b.engine.Load(t)
	if err != nil {
		b.err = err
	}
	return w
}

// numbers are the elements of a small tensor, whatever its shape.
func (b *binder) numbers(name string) []float32 {
	if b.err != nil {
		return nil
	}
	t, ok := b.from.Tensor(name)
	if !ok {
		b.err = fmt.Errorf("tensor %s is missing", name)
		return nil
	}
	v := make([]float32, t.Rows()*t.Cols())
	if err := checkpoint.Dequantize(t.Type, v, t.Data); err != nil {
		b.err = fmt.Errorf("tensor %s: %w", name, err)
	}
	return v
}

// number is the first of them.
func (b *binder) number(name string) float32 {
	if v := b.numbers(name); len(v) > 0 {
		return v[0]
	}
	return 0
}

// made binds numbers that no file holds in this order, row-major.
func (b *binder) made(name string, v []float32, shape ...int) engine.Weight {
	if b.err != nil {
		return nil
	}
	data := make([]byte, 4*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(x))
	}
	return b.load(checkpoint.Tensor{Name: name, Type: checkpoint.F32, Shape: shape, Data: data})
}

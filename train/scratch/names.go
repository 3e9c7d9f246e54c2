package scratch

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"

	"lapidary/gemma"
)

// tensor is one that is drawn.
type tensor struct {
	name  string
	shape []int
	law   law
}

// law is what its numbers are: all the same, or drawn with a deviation.
type law struct {
	value     float32
	deviation float64 // of a normal distribution around 0; 0 for none
	padding   int     // a row of an embedding that is 0; −1 for none
	decay     bool    // as a recurrence's decay is initialised
}

// normal is the law of a matrix.
func normal(deviation float64) law { return law{deviation: deviation, padding: -1} }

// spelling is how a family's files name what package gemma reads: canonical
// words (checkpoint.CanonicalName) and those of the file.
type spelling struct {
	trunk string
	words *strings.Replacer
}

var (
	plain = spelling{"model.", strings.NewReplacer()}

	spellings = map[string]spelling{
		"gemma4_unified": {"model.language_model.", strings.NewReplacer()},
		"recurrent_gemma": {"model.", strings.NewReplacer("self_attn", "temporal_block", "mlp.", "mlp_block.",
			"input_layernorm", "temporal_pre_norm", "pre_feedforward_layernorm", "channel_pre_norm")},
		"t5gemma": {"model.", strings.NewReplacer("input_layernorm", "pre_self_attn_layernorm", "post_attention_layernorm", "post_self_attn_layernorm")},
	}
)

// settings are what config.json says of first numbers.
type settings struct {
	ModelType string   `json:"model_type"`
	Range     *float64 `json:"initializer_range"`
	Padding   *int     `json:"pad_token_id"`
	Tied      *bool    `json:"tie_word_embeddings"`
	Scale     *float64 `json:"w_init_variance_scale"`
	LastScale *float64 `json:"final_w_init_variance_scale"`
	Text      *struct {
		Padding *int `json:"pad_token_id"`
	} `json:"text_config"`
}

// builder collects the tensors of a model.
type builder struct {
	spelling
	config  gemma.Config
	said    settings
	usual   float64 // deviation of matrices
	tensors []tensor
}

// list is every tensor of a model.
func list(config gemma.Config, text []byte) ([]tensor, error) {
	b := &builder{config: config, spelling: plain}
	if err := json.Unmarshal(text, &b.said); err != nil {
		return nil, fmt.Errorf("config.json: %w", err)
	}
	if err := b.able(); err != nil {
		return nil, err
	}
	if s, ok := spellings[config.Family]; ok {
		b.spelling = s
	}
	if b.said.ModelType == "gemma4_unified_text" {
		b.spelling = plain
	}
	b.usual = or(b.said.Range, 0.02)
	if config.Recurs() {
		b.usual = math.Sqrt(or(b.said.Scale, 0.01) / float64(b.kernel()))
	}
	b.all()
	return b.tensors, nil
}

func or(v *float64, otherwise float64) float64 {
	if v == nil {
		return otherwise
	}
	return *v
}

// able refuses parts that are not drawn here.
func (b *builder) able() error {
	c := &b.config
	what := ""
	switch {
	case c.SigLIP != nil || c.MobileNet != nil || c.Patches != nil || c.Pairs != nil:
		what = "a vision tower"
	case c.Sounds != nil:
		what = "an audio tower"
	case c.PerLayer != nil || c.Streams != nil:
		what = "inputs of each layer or several streams"
	case c.Drafter != nil || c.Canvas > 0:
		what = "drafting or diffusion"
	case c.Head.Pooled > 0:
		what = "an encoder alone"
	case c.Encoder != nil && b.said.ModelType != "t5gemma":
		what = "an encoder that shares its attention"
	case c.Head.Labels > 0 && (c.Head.PerToken || c.Encoder != nil):
		what = "a classifier of tokens, or of an encoder–decoder"
	}
	for _, l := range c.Layers {
		if l.Feed.Experts.Count > 0 {
			what = "experts"
		}
	}
	if what != "" {
		return errors.New("from_scratch: " + what + " cannot be made of random numbers here; take gemma, gemma2, gemma3, gemma4_unified, recurrent_gemma or t5gemma, or begin with a model that exists")
	}
	return nil
}

func (b *builder) all() {
	c := &b.config
	if c.Encoder != nil {
		b.stack("encoder.", c.Encoder, 0)
		b.stack("decoder.", &c.Stack, c.Encoder.Width)
	} else {
		b.stack("", &c.Stack, 0)
	}
	if b.said.Tied != nil && !*b.said.Tied {
		name := "lm_head.weight"
		if c.Encoder != nil {
			name = "lm_head.out_proj.weight"
		}
		b.add(name, normal(b.usual), c.Vocab, c.Width)
	}
	if n := c.Head.Labels; n > 0 {
		b.add("score.weight", normal(b.usual), n, c.Width)
	}
	if p := c.Pixels; p != nil {
		b.pictures(p)
	}
	if f := c.Frames; f != nil {
		b.add("model.embed_audio.embedding_projection.weight", normal(b.usual), f.Projects, f.Samples)
	}
}

// kernel is the width of a recurrence's convolution.
func (b *builder) kernel() int {
	for _, l := range b.config.Layers {
		if l.Recurrent != nil {
			return l.Recurrent.Kernel
		}
	}
	return 1
}

func (b *builder) add(name string, l law, shape ...int) {
	b.tensors = append(b.tensors, tensor{name, shape, l})
}

// stackBuilder collects those of one stack.
type stackBuilder struct {
	*builder
	part  string // "encoder.", …
	stack *gemma.Stack
}

func (b *builder) stack(part string, s *gemma.Stack, source int) {
	sb := &stackBuilder{b, part, s}
	sb.embedding()
	for i, l := range s.Layers {
		sb.layer(fmt.Sprintf("layers.%d.", i), l, source)
	}
	last := "norm"
	if b.config.Recurs() {
		last = "final_norm"
	}
	sb.norm(last, s.Width)
}

func (b *stackBuilder) embedding() {
	padding := b.said.Padding
	if b.said.Text != nil {
		padding = b.said.Text.Padding
	}
	l := normal(b.usual)
	if padding != nil && *padding < b.stack.Vocab {
		l.padding = *padding
	}
	b.weight("embed_tokens.weight", l, b.stack.Vocab, b.stack.Width)
}

// weight adds one by its canonical name.
func (b *stackBuilder) weight(name string, l law, shape ...int) {
	b.add(b.trunk+b.part+b.words.Replace(name), l, shape...)
}

func (b *stackBuilder) norm(name string, width int) {
	b.weight(name+".weight", law{value: 1 - b.stack.NormOffset}, width)
}

func (b *stackBuilder) linear(name string, out, in int, deviation float64, biased bool) {
	b.weight(name+".weight", normal(deviation), out, in)
	if biased {
		b.weight(name+".bias", law{}, out)
	}
}

func (b *stackBuilder) layer(name string, l gemma.Layer, source int) {
	d := b.stack.Width
	b.norm(name+"input_layernorm", d)
	if l.Recurrent != nil {
		b.recurrence(name+"self_attn.", *l.Recurrent)
	} else {
		b.attention(name+"self_attn.", l.Attention)
	}
	if l.Source == gemma.SourceApart {
		b.cross(name, l.Attention, source)
	}
	for _, part := range []string{"gate_proj", "up_proj"} {
		b.linear(name+"mlp."+part, l.Feed.Width, d, b.usual, l.Feed.Biased)
	}
	b.linear(name+"mlp.down_proj", d, l.Feed.Width, b.usual, l.Feed.Biased)
	b.norms(name, l)
	if l.Scalar {
		b.weight(name+"layer_scalar", law{value: 1}, 1)
	}
}

// norms are those after the first: three, or one, which Gemma 1 names after the
// attention.
func (b *stackBuilder) norms(name string, l gemma.Layer) {
	d := b.stack.Width
	switch {
	case l.PostNorms:
		b.norm(name+"post_attention_layernorm", d)
		b.norm(name+"pre_feedforward_layernorm", d)
		b.norm(name+"post_feedforward_layernorm", d)
	case b.config.Family == "gemma":
		b.norm(name+"post_attention_layernorm", d)
	default:
		b.norm(name+"pre_feedforward_layernorm", d)
	}
}

func (b *stackBuilder) attention(name string, a gemma.Attention) {
	d, q, kv := b.stack.Width, a.Heads*a.HeadSize, a.KVHeads*a.HeadSize
	in, out := b.usual, b.usual
	if b.config.Recurs() {
		in, out = b.griffin(d)
	}
	b.linear(name+"q_proj", q, d, in, a.Biased)
	b.linear(name+"o_proj", d, q, out, a.Output)
	if a.QKNorm {
		b.norm(name+"q_norm", a.HeadSize)
	}
	if a.Reads > 0 {
		return
	}
	b.linear(name+"k_proj", kv, d, in, a.Biased)
	if !a.TiedKV {
		b.linear(name+"v_proj", kv, d, in, a.Biased)
	}
	if a.QKNorm {
		b.norm(name+"k_norm", a.HeadSize)
	}
}

func (b *stackBuilder) cross(layer string, a gemma.Attention, source int) {
	d, q, kv := b.stack.Width, a.Heads*a.HeadSize, a.KVHeads*a.HeadSize
	b.norm(layer+"pre_cross_attn_layernorm", d)
	b.linear(layer+"cross_attn.q_proj", q, d, b.usual, false)
	b.linear(layer+"cross_attn.k_proj", kv, source, b.usual, false)
	b.linear(layer+"cross_attn.v_proj", kv, source, b.usual, false)
	b.linear(layer+"cross_attn.o_proj", d, q, b.usual, false)
	b.norm(layer+"post_cross_attn_layernorm", d)
}

// griffin are the deviations of what goes into a block and of what comes out.
func (b *builder) griffin(width int) (in, out float64) {
	last := or(b.said.LastScale, 2/float64(len(b.config.Layers)))
	return math.Sqrt(1 / float64(width)), math.Sqrt(last / float64(width))
}

func (b *stackBuilder) recurrence(name string, r gemma.Recurrent) {
	d, w, size := b.stack.Width, r.Width, r.Width/r.Blocks
	in, _ := b.griffin(d)
	_, out := b.griffin(w)
	gate := normal(math.Sqrt(or(b.said.Scale, 0.01) / float64(size)))
	b.linear(name+"linear_x", w, d, in, true)
	b.linear(name+"linear_y", w, d, in, true)
	b.linear(name+"linear_out", d, w, out, true)
	b.weight(name+"conv_1d.weight", normal(b.usual), w, 1, r.Kernel)
	b.weight(name+"conv_1d.bias", law{}, w)
	for _, which := range []string{"input", "recurrent"} {
		b.weight(name+"rg_lru."+which+"_gate_weight", gate, r.Blocks, size, size)
		b.weight(name+"rg_lru."+which+"_gate_bias", law{}, r.Blocks, size)
	}
	b.weight(name+"rg_lru.recurrent_param", law{decay: true}, w)
}

// pictures are patches that go into the decoder as they are.
func (b *builder) pictures(p *gemma.PatchDense) {
	in := 3 * p.Patch * p.Patch
	matrix := normal(b.usual)
	const at = "model.vision_embedder."
	for _, n := range []struct {
		name  string
		width int
	}{{"patch_ln1", in}, {"patch_ln2", p.Width}, {"pos_norm", p.Width}} {
		b.add(at+n.name+".weight", law{value: 1}, n.width)
		b.add(at+n.name+".bias", law{}, n.width)
	}
	b.add(at+"patch_dense.weight", matrix, p.Width, in)
	b.add(at+"patch_dense.bias", law{}, p.Width)
	b.add(at+"pos_embedding", matrix, p.Places, 2, p.Width)
	b.add("model.embed_vision.embedding_projection.weight", matrix, p.Projects, p.Width)
}

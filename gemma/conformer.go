package gemma

import (
	"cmp"
	"context"
	"fmt"
	"math"

	"lapidary/engine"
)

// conformer is the tower for sounds of Gemma 3n and 4: two convolutions that
// thin time and frequency out by four, layers of two half feed-forwards around
// an attention to what is near and a convolution over time.
type conformer struct {
	config *Conformer
	convs  [2]engine.Conv2D
	norms  [2]soundNorm
	input  linear // [D, what the convolutions give]
	layers []conformerLayer
	output *linear // nil for none
	soft   projection
	old    *embedder // Gemma 3n's, whose projection it is; nil for none
}

// soundNorm is the norm after a convolution: over the channels of a place, or,
// in Gemma 3n, over all of a clip's past.
type soundNorm struct {
	each *engine.Norm
	past *engine.CumulativeNorm
}

type conformerLayer struct {
	first, second          halfFeed
	preAttend, afterAttend engine.Norm
	q, k, v, o             linear
	perDim                 engine.Weight // [D] of the queries
	relative               engine.Weight // [D, D]
	preConv, afterConv     engine.Norm
	gate, value, back      linear // [D, D] each
	conv                   engine.Conv1D
	last                   engine.Norm
}

// halfFeed is a feed-forward of which a part is added.
type halfFeed struct {
	pre, after engine.Norm
	up, down   linear // [4·D, D], [D, 4·D]
}

// soundNames are what the two generations call their parts.
type soundNames struct {
	layer, first, second, attention, attentionProjections, pre, after, relative, last string
	conv, convNorm                                                                    [2]string
}

var (
	newSoundNames = soundNames{"layers", "feed_forward1", "feed_forward2", "self_attn", "self_attn", "norm_pre_attn", "norm_post_attn",
		"self_attn.relative_k_proj", "norm_out", [2]string{"layer0.conv", "layer1.conv"}, [2]string{"layer0.norm", "layer1.norm"}}
	oldSoundNames = soundNames{"conformer", "ffw_layer_start", "ffw_layer_end", "attention", "attention.attn", "attention.pre_attn_norm", "attention.post_norm",
		"attention.attn.relative_position_embedding.pos_proj", "norm", [2]string{"conv_0.conv", "conv_1.conv"}, [2]string{"conv_0.norm", "conv_1.norm"}}
)

func (b *binder) conformer(c *Conformer) *conformer {
	const tower = "audio_tower."
	names := newSoundNames
	if c.Old {
		names = oldSoundNames
	}
	m := &conformer{config: c}
	places := m.convolutions(b, tower+"subsample_conv_projection.", names)
	m.input = linear{w: b.weight(tower+"subsample_conv_projection.input_proj_linear.weight", c.Width, places*c.Channels[1])}
	s := stackBinder{binder: b, config: &Stack{Width: c.Width, NormEps: c.Eps, Clipped: c.Clipped}}
	for i := range c.Layers {
		m.layers = append(m.layers, s.conformerLayer(fmt.Sprintf("%s%s.%d.", tower, names.layer, i), names, c))
	}
	width := c.Width
	if c.Output > 0 {
		width = c.Output
		m.output = &linear{w: b.weight(tower+"output_proj.weight", width, c.Width), bias: b.weight(tower+"output_proj.bias", width)}
	}
	if c.Old {
		old := b.embedder("embed_audio", width, c.Projects, c.Hard, c.First, c.Eps)
		m.soft, m.old = old.soft, &old
	} else {
		m.soft = b.projection("embed_audio", width, c.Projects, c.Eps)
	}
	return m
}

// convolutions binds those and returns how many places they leave.
func (m *conformer) convolutions(b *binder, name string, names soundNames) int {
	c := m.config
	in, places := 1, c.Mel
	for i := range m.convs {
		k := c.Kernels[i]
		conv := engine.Conv2D{In: in, Out: c.Channels[i], Size: k, Stride: c.Strides[i], Before: [2]int{1, 1}, After: [2]int{1, 1},
			Weight: b.shaped(name+names.conv[i]+".weight", []int{c.Channels[i], in, k[0], k[1]}, c.Channels[i], in*k[0]*k[1])}
		weight := b.weight(name+names.convNorm[i]+".weight", c.Channels[i])
		if c.Old { // a frame sees what follows it and nothing before
			conv.Before, conv.After = [2]int{0, 1}, [2]int{k[0] - 1, 1}
			m.norms[i].past = &engine.CumulativeNorm{Weight: weight, Eps: c.GroupEps}
		} else {
			m.norms[i].each = &engine.Norm{Weight: weight, Eps: c.Eps, Centred: true}
		}
		m.convs[i] = conv
		in, places = c.Channels[i], max(0, conv.Steps(1, places))
	}
	return places
}

func (b *stackBinder) conformerLayer(name string, names soundNames, c *Conformer) conformerLayer {
	d := c.Width
	lin := func(part string, out, in int) linear { return b.linear(name+part, out, in, false) }
	norm := func(part string) engine.Norm {
		return engine.Norm{Weight: b.weight(name+part+".weight", d), Eps: conformerEps}
	}
	attn := names.attentionProjections + "."
	post := names.attention + ".post"
	l := conformerLayer{
		first: b.halfFeed(name+names.first, d), second: b.halfFeed(name+names.second, d),
		preAttend: norm(names.pre), afterAttend: norm(names.after),
		q: lin(attn+"q_proj", d, d), k: lin(attn+"k_proj", d, d), v: lin(attn+"v_proj", d, d), o: lin(post, d, d),
		relative: b.weight(name+names.relative+".weight", d, d),
		preConv:  *b.norm(name+"lconv1d.pre_layer_norm", d), afterConv: *b.norm(name+"lconv1d.conv_norm", d),
		back: lin("lconv1d.linear_end", d, d),
		conv: engine.Conv1D{Weight: b.shaped(name+"lconv1d.depthwise_conv1d.weight", []int{d, 1, c.Kernel}, d, c.Kernel)},
		last: norm(names.last),
	}
	l.value, l.gate = b.halves(name+"lconv1d.linear_start", d)
	l.perDim = b.queryScale(name+attn+"per_dim_scale", c)
	return l
}

// halves binds a layer of 2·D outputs as two: a value and its gate.
func (b *stackBinder) halves(name string, d int) (value, gate linear) {
	whole := b.linear(name, 2*d, d, false)
	value, gate = whole, whole
	value.w, gate.w = b.slice(name+".weight", 2*d, d, 0, d), b.slice(name+".weight", 2*d, d, d, 2*d)
	return value, gate
}

// queryScale is what queries are multiplied by: 1/√C, a softplus of a learned
// number of each element over that of 0 and, in Gemma 4, what keys would be.
func (b *binder) queryScale(name string, c *Conformer) engine.Weight {
	learned := b.numbers(name)
	size := c.Width / c.Heads
	if b.err == nil && len(learned) != size {
		b.err = fmt.Errorf("tensor %s has %d elements, want %d", name, len(learned), size)
	}
	if b.err != nil {
		return nil
	}
	scale := make([]float32, c.Width)
	for i := range scale {
		v := softplus(float64(learned[i%size])) / math.Sqrt(float64(size)) / math.Ln2
		scale[i] = float32(v)
	}
	return b.made(name, scale, len(scale))
}

// conformerEps is that of all norms but the convolutions', whatever the file says.
const conformerEps = 1e-6

func softplus(x float64) float64 { return math.Log1p(math.Exp(x)) }

func (b *stackBinder) halfFeed(name string, d int) halfFeed {
	norm := func(part string) engine.Norm {
		return engine.Norm{Weight: b.weight(name+"."+part+".weight", d), Eps: conformerEps}
	}
	return halfFeed{
		pre: norm("pre_layer_norm"), after: norm("post_layer_norm"),
		up: b.linear(name+".ffw_layer_1", 4*d, d, false), down: b.linear(name+".ffw_layer_2", d, 4*d, false),
	}
}

// clamp bounds x, which it consumes, where the bound is within reach.
func (m *conformer) clamp(p engine.Pass, x engine.Tensor) engine.Tensor {
	return p.Clamp(x, -m.config.Clip, m.config.Clip)
}

func (m *conformer) half(p engine.Pass, h *halfFeed, x engine.Tensor) engine.Tensor {
	y := p.Norm(m.clamp(p, duplicate(p, x)), h.pre)
	y = p.Gate(multiply(p, y, h.up)[0], nil, engine.SiLU)
	y = p.Norm(m.clamp(p, multiply(p, y, h.down)[0]), h.after)
	return p.Add(p.Scale(y, m.config.Residual), x)
}

// forward is one layer over x [R, D]; relative are the embedded places.
func (m *conformer) forward(p engine.Pass, l *conformerLayer, x, places engine.Tensor) engine.Tensor {
	x = m.half(p, &l.first, x)
	x = p.Add(m.attend(p, l, x, places), x)
	y := p.Norm(x, l.preConv)
	h := multiply(p, y, l.value, l.gate)
	y = p.Conv1D(p.Gate(h[1], h[0], engine.Sigmoid), l.conv)
	y = p.Gate(p.Norm(m.clamp(p, y), l.afterConv), nil, engine.SiLU)
	x = p.Add(multiply(p, y, l.back)[0], x)
	x = m.half(p, &l.second, x)
	return p.Norm(m.clamp(p, x), l.last)
}

func (m *conformer) attend(p engine.Pass, l *conformerLayer, x, places engine.Tensor) engine.Tensor {
	c := m.config
	h := p.Norm(m.clamp(p, duplicate(p, x)), l.preAttend)
	qkv := multiply(p, h, l.q, l.k, l.v)
	q, k := p.Affine(qkv[0], l.perDim, nil), qkv[1]
	relative := p.Linear(places, l.relative)[0]
	a := engine.Attend{Heads: c.Heads, KVHeads: c.Heads, C: c.Width / c.Heads, Window: c.Back + 1, Ahead: c.Ahead,
		Scale: 1, SoftCap: c.Cap, Relative: relative, Far: c.far()}
	if !c.Old { // keys have a factor that their places have not
		k = p.Scale(k, float32(math.Log1p(math.E)/math.Ln2))
	}
	y := multiply(p, p.Attend(q, k, qkv[2], a), l.o)[0]
	return p.Norm(m.clamp(p, y), l.afterAttend)
}

// far is how many frames back the first of the relative places is.
func (c *Conformer) far() int {
	if c.Old {
		return c.Back
	}
	return c.Places - 1
}

// sines are the embedded places [places, D], from Far back on: sines, then
// cosines, of frequencies from 1 down to 1/10,000.
func (c *Conformer) sines() []float32 {
	half := c.Width / 2
	out := make([]float32, 0, c.Places*c.Width)
	step := math.Log(10000) / float64(max(half-1, 1))
	for i := range c.Places {
		row := make([]float32, c.Width)
		for j := range half {
			sin, cos := math.Sincos(float64(c.far()-i) * math.Exp(-step*float64(j)))
			row[j], row[half+j] = float32(sin), float32(cos)
		}
		out = append(out, row...)
	}
	return out
}

func (m *conformer) hear(ctx context.Context, e engine.Engine, sounds []Sound) (vision, error) {
	in, err := m.layout(sounds)
	if err != nil {
		return vision{}, err
	}
	p := e.Begin(ctx, in.spans)
	x := m.thin(p, p.Write(in.frames, m.config.Mel), in.lengths)
	places := p.Write(m.config.sines(), m.config.Width)
	for i := range m.layers {
		if ctx.Err() != nil {
			return vision{}, p.End()
		}
		x = m.forward(p, &m.layers[i], x, places)
		p.Keep(x, places)
	}
	x = p.Pick(x, in.kept)
	if m.output != nil {
		x = multiply(p, x, *m.output)[0]
	}
	out := vision{states: read(p, x, in.rows)}
	out.soft = read(p, m.soft.forward(p, x), in.rows)
	return out, p.End()
}

// soundRows are the frames of all clips and what becomes of them.
type soundRows struct {
	frames  []float32
	lengths []int         // frames of each clip
	spans   []engine.Span // of what the convolutions leave
	kept    []int         // rows that become soft tokens
	rows    []int         // how many of them each clip has
}

func (m *conformer) layout(sounds []Sound) (*soundRows, error) {
	c := m.config
	in := &soundRows{}
	row := 0
	for i, s := range sounds {
		if err := s.check(c.Mel); err != nil {
			return nil, fmt.Errorf("sound %d: %w", i, err)
		}
		n := s.Valid
		if c.Old {
			n = len(s.Frames) // padding is heard by the last frames before it
		}
		for _, f := range s.Frames[:n] {
			in.frames = append(in.frames, f...)
		}
		in.lengths = append(in.lengths, n)
		left, stride := n, 1
		for j, conv := range m.convs {
			left = conv.Steps(0, left)
			stride *= c.Strides[j][0]
		}
		if left < 1 {
			return nil, fmt.Errorf("sound %d: %d frames are too few", i, n)
		}
		in.spans = append(in.spans, engine.Span{Rows: left})
		kept := 0
		for t := 0; t < left; t += cmp.Or(c.Reduction, 1) {
			if min(t*stride, n-1) < s.Valid {
				in.kept = append(in.kept, row+t)
				kept++
			}
		}
		in.rows = append(in.rows, kept)
		row += left
	}
	return in, nil
}

// thin runs the convolutions and makes rows of the layers' width.
func (m *conformer) thin(p engine.Pass, x engine.Tensor, lengths []int) engine.Tensor {
	for i, conv := range m.convs {
		conv.Lengths = lengths
		x = p.Conv2D(x, conv)
		after := make([]int, len(lengths))
		for j, n := range lengths {
			after[j] = conv.Steps(0, n)
		}
		lengths = after
		if past := m.norms[i].past; past != nil {
			norm := *past
			norm.Lengths = lengths
			x = p.CumulativeNorm(x, norm)
		} else {
			x = p.Heads(x, engine.Heads{Size: conv.Out, Norm: m.norms[i].each})
		}
		x = p.Gate(x, nil, engine.ReLU)
	}
	return multiply(p, x, m.input)[0]
}

// HardSounds are the embeddings of ids that a sound tower has of its own, rows
// of Width numbers (Gemma 3n: what stands for a sound that has ended).
func (m *Model) HardSounds(ctx context.Context, ids []int32) ([]float32, error) {
	c, ok := m.ears.(*conformer)
	if !ok || c.old == nil {
		return nil, fmt.Errorf("a %s model has no tokens for sounds of its own", m.config.Family)
	}
	return m.hardTokens(ctx, c.old, "sounds", ids)
}

package gemma

import (
	"lapidary/engine"
)

// block is one layer with its weights.
type block struct {
	name  string // "layers.3"
	index int
	mixer mixer
	cross *crossAttention // nil for none

	feed    feed
	experts *experts // nil for none
	input   *layerInput
	scalar  float32 // 0 for none
	streams *streams

	preAttend, preFeed     *engine.Norm
	afterAttend, afterFeed *engine.Norm // nil where the family has two norms a block
}

// mixer lets rows of a sequence see each other.
type mixer interface {
	// mix is what rows h [R, D] of the flow give.
	mix(f *flow, h engine.Tensor) engine.Tensor
	// leave does what later rows need of h and gives no result.
	leave(f *flow, h engine.Tensor)
	// look is mix for the flow's rows after leave has seen all.
	look(f *flow, h engine.Tensor) engine.Tensor
	// stores says whether later rows need anything.
	stores() bool
}

// flow is what goes through the layers of a stack in a pass.
type flow struct {
	p      engine.Pass
	xs     []engine.Tensor // the streams, one but for AltUp, [R, D] each
	rows   []int           // of the pass that they hold; nil for all
	inputs engine.Tensor   // per-layer inputs [R, layers·P]; nil for none
	late   engine.Tensor   // what a recurrence has given for all rows, of which some are wanted
	watch  *watcher
	// throughout lets groups see themselves in every layer.
	throughout bool
}

// block binds layer i.
func (b *stackBinder) block(i int, l Layer) block {
	name := b.layer(i)
	d := b.config.Width
	out := block{
		name: name, index: i,
		feed:      b.feed(name+".mlp", l.Feed),
		preAttend: b.norm(name+".input_layernorm", d),
	}
	if l.Recurrent != nil {
		out.mixer = b.recurrence(name+".self_attn", *l.Recurrent)
	} else {
		out.mixer = b.attention(i, l)
	}
	if l.Source == SourceApart {
		out.cross = b.cross(name, l.Attention)
	}
	if l.Feed.Experts.Count > 0 {
		out.experts = b.experts(name, l.Feed)
	}
	if b.config.PerLayer != nil {
		out.input = b.layerInput(name, l.Feed.Activation)
	}
	if b.config.Streams != nil {
		out.streams = b.streams(name)
	}
	if l.Scalar && b.has(name+".layer_scalar") {
		out.scalar = b.number(name + ".layer_scalar")
	}
	b.norms(&out, l)
	return out
}

// norms binds those after the first. What Gemma 1 calls post_attention_layernorm
// is the norm before its feed-forward; from Gemma 2 on the name means what it
// says, and VaultGemma has kept only the norms before.
func (b *stackBinder) norms(out *block, l Layer) {
	d := b.config.Width
	preFeed := out.name + ".pre_feedforward_layernorm"
	if l.PostNorms {
		out.afterAttend = b.norm(out.name+".post_attention_layernorm", d)
		out.afterFeed = b.norm(out.name+".post_feedforward_layernorm", d)
	} else if !b.has(preFeed + ".weight") {
		preFeed = out.name + ".post_attention_layernorm"
	}
	out.preFeed = b.norm(preFeed, d)
}

// forward runs the layer. All rows leave behind what later ones need; if to is
// not nil, those alone go on.
func (b *block) forward(f *flow, to []int) {
	if b.streams != nil {
		b.streams.forward(b, f, to)
	} else if x := b.main(f, f.xs[0], to); x != nil {
		if b.input != nil {
			x = f.p.Add(x, b.input.forward(f, x, b.index))
		}
		if b.scalar != 0 {
			x = f.p.Scale(x, b.scalar)
		}
		f.xs = []engine.Tensor{f.watch.see(f.p, b.name, x)}
	} else {
		f.xs = nil
		return
	}
	f.keep()
}

// main is attention and feed-forward around the stream x [R, D], which it
// consumes. Nil if no rows go on.
func (b *block) main(f *flow, x engine.Tensor, to []int) engine.Tensor {
	p := f.p
	h := p.Norm(x, *b.preAttend)
	var around engine.Tensor // the low-rank way, where there is one
	var y engine.Tensor
	if to == nil {
		y = b.mixer.mix(f, h)
	} else {
		b.mixer.leave(f, h)
		if len(to) == 0 {
			return nil
		}
		f.narrow(to)
		x, h = p.Pick(x, to), p.Pick(h, to)
		y = b.mixer.look(f, h)
	}
	if b.streams != nil {
		around = b.streams.around(p, h)
	}
	if b.afterAttend != nil {
		y = p.Norm(y, *b.afterAttend)
	}
	x = p.Add(x, f.watch.see(p, b.name+".attention", y))
	if around != nil {
		x = p.Scale(p.Add(x, around), 0.70710678)
	}
	if b.cross != nil {
		x = p.Add(x, f.watch.see(p, b.name+".source", b.cross.forward(f, x)))
	}
	y = b.feed.forward(p, p.Norm(x, *b.preFeed))
	if b.experts != nil {
		y = b.experts.join(p, x, y)
	}
	if b.afterFeed != nil {
		y = p.Norm(y, *b.afterFeed)
	}
	return p.Add(x, f.watch.see(p, b.name+".feed", y))
}

// narrow leaves all but the given rows of the pass behind.
func (f *flow) narrow(to []int) {
	f.rows = to
	if p, ok := f.p.(*adapted); ok {
		p.narrow(to)
	}
	if f.inputs != nil {
		f.inputs = f.p.Pick(f.inputs, to)
	}
}

// keep releases all but what goes on.
func (f *flow) keep() {
	kept := f.xs
	if f.inputs != nil {
		kept = append(kept[:len(kept):len(kept)], f.inputs)
	}
	f.p.Keep(kept...)
}

// feed is a feed-forward, gated or plain.
type feed struct {
	gate, up, down linear // [F, D], [F, D], [D, F]
	activation     engine.Activation
	plain          bool
	cut            float32 // deviations beyond which the gate counts; 0 for all
}

func (b *stackBinder) feed(name string, c Feed) feed {
	d, f := b.config.Width, c.Width
	out := feed{activation: c.Activation, plain: c.Plain, cut: float32(deviations(c.Sparsity))}
	if !c.Plain {
		out.gate = b.linear(name+".gate_proj", f, d, c.Biased)
	}
	out.up, out.down = b.linear(name+".up_proj", f, d, c.Biased), b.linear(name+".down_proj", d, f, c.Biased)
	return out
}

// forward is x [R, D] → [R, D].
func (m *feed) forward(p engine.Pass, x engine.Tensor) engine.Tensor {
	if m.plain {
		h := multiply(p, x, m.up)[0]
		return multiply(p, p.Gate(h, nil, m.activation), m.down)[0]
	}
	h := multiply(p, x, m.gate, m.up) // [R, F] twice
	if m.cut != 0 {
		h[0] = p.Sparse(h[0], m.cut)
	}
	return multiply(p, p.Gate(h[0], h[1], m.activation), m.down)[0]
}

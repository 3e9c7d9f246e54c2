package gemma

import (
	"fmt"

	"lapidary/engine"
)

// block is one layer with its weights.
type block struct {
	name                   string // "layers.3"
	attend                 engine.Attend
	q, k, v, o             engine.Weight // [H·C, D], [K·C, D], [K·C, D], [D, H·C]
	queries, keys          engine.Heads
	gate, up, down         engine.Weight // [F, D], [F, D], [D, F]
	activation             engine.Activation
	preAttend, preFeed     *engine.Norm
	afterAttend, afterFeed *engine.Norm // nil where the family has two norms a block
}

// block binds layer i.
func (b *binder) block(i int, l Layer, c *Config) block {
	a, name := l.Attention, fmt.Sprintf("layers.%d", i)
	w := func(part string, shape ...int) engine.Weight { return b.weight(name+"."+part+".weight", shape...) }
	norm := func(part string, width int) *engine.Norm {
		return &engine.Norm{Weight: w(part, width), Eps: c.NormEps, Offset: c.NormOffset}
	}
	q, kv, d, f := a.Heads*a.HeadSize, a.KVHeads*a.HeadSize, c.Width, l.Feed.Width
	rope := a.Rope
	out := block{
		name: name,
		attend: engine.Attend{Layer: i, Heads: a.Heads, KVHeads: a.KVHeads, C: a.HeadSize,
			Window: a.Window, Scale: a.Scale, SoftCap: a.SoftCap},
		q: w("self_attn.q_proj", q, d), k: w("self_attn.k_proj", kv, d),
		v: w("self_attn.v_proj", kv, d), o: w("self_attn.o_proj", d, q),
		queries: engine.Heads{Size: a.HeadSize, Ropes: []engine.Rope{rope}}, keys: engine.Heads{Size: a.HeadSize, Ropes: []engine.Rope{rope}},
		gate: w("mlp.gate_proj", f, d), up: w("mlp.up_proj", f, d), down: w("mlp.down_proj", d, f),
		activation: l.Feed.Activation,
		preAttend:  norm("input_layernorm", d),
	}
	if a.QKNorm {
		out.queries.Norm = norm("self_attn.q_norm", a.HeadSize)
		out.keys.Norm = norm("self_attn.k_norm", a.HeadSize)
	}
	// What Gemma 1 calls post_attention_layernorm is the norm before its
	// feed-forward; from Gemma 2 on the name means what it says.
	if l.PostNorms {
		out.afterAttend = norm("post_attention_layernorm", d)
		out.preFeed = norm("pre_feedforward_layernorm", d)
		out.afterFeed = norm("post_feedforward_layernorm", d)
	} else {
		out.preFeed = norm("post_attention_layernorm", d)
	}
	return out
}

// forward is one layer over the rows of a pass: x [R, D] → [R, D].
func (b *block) forward(p engine.Pass, x engine.Tensor, watch *watcher) engine.Tensor {
	h := p.Norm(x, *b.preAttend)
	qkv := p.Linear(h, b.q, b.k, b.v) // [R, H·C], [R, K·C], [R, K·C]
	q, k := p.Heads(qkv[0], b.queries), p.Heads(qkv[1], b.keys)
	return b.finish(p, x, p.Attend(q, k, qkv[2], b.attend), watch)
}

// last is the last layer, of which only some rows are wanted: all of them
// leave keys and values, but those alone look at them and go on → [rows, D].
func (b *block) last(p engine.Pass, x engine.Tensor, rows []int, watch *watcher) engine.Tensor {
	h := p.Norm(x, *b.preAttend)
	kv := p.Linear(h, b.k, b.v)
	k := p.Heads(kv[0], b.keys)
	if len(rows) == 0 {
		p.Attend(nil, k, kv[1], b.attend)
		return nil
	}
	queries, attend := b.queries, b.attend
	queries.Rows, attend.Rows = rows, rows
	q := p.Heads(p.Linear(p.Pick(h, rows), b.q)[0], queries)
	return b.finish(p, p.Pick(x, rows), p.Attend(q, k, kv[1], attend), watch)
}

// finish is what follows attention: x [R, D] and y [R, H·C] → [R, D].
func (b *block) finish(p engine.Pass, x, y engine.Tensor, watch *watcher) engine.Tensor {
	h := p.Linear(y, b.o)[0]
	if b.afterAttend != nil {
		h = p.Norm(h, *b.afterAttend)
	}
	x = p.Add(x, watch.see(p, b.name+".attention", h))

	h = b.feed(p, p.Norm(x, *b.preFeed))
	if b.afterFeed != nil {
		h = p.Norm(h, *b.afterFeed)
	}
	x = watch.see(p, b.name, p.Add(x, watch.see(p, b.name+".feed", h)))
	p.Keep(x)
	return x
}

// feed is the gated feed-forward: x [R, D] → [R, D].
func (b *block) feed(p engine.Pass, x engine.Tensor) engine.Tensor {
	h := p.Linear(x, b.gate, b.up) // [R, F] twice
	return p.Linear(p.Gate(h[0], h[1], b.activation), b.down)[0]
}

package gemma

import (
	"math"

	"lapidary/engine"
)

// attention mixes by looking.
type attention struct {
	attend        engine.Attend
	q, k, v, o    linear // [H·C, D], [K·C, D], [K·C, D], [D, H·C]
	queries, keys engine.Heads
	values        *engine.Heads // nil for none
	tied          bool          // v is k before norm and rope
	reads         bool          // no keys and values of its own
	sourceKeys    engine.Heads  // of a merged source: no rope
}

func (b *stackBinder) attention(i int, l Layer) *attention {
	c, name := l.Attention, b.layer(i)+".self_attn"
	q, kv, d := c.Heads*c.HeadSize, c.KVHeads*c.HeadSize, b.config.Width
	out := &attention{
		attend: engine.Attend{Heads: c.Heads, KVHeads: c.KVHeads, C: c.HeadSize,
			Window: c.Window, Ahead: c.Ahead, Groups: c.Groups, Scale: c.Scale, SoftCap: c.SoftCap},
		q: b.linear(name+".q_proj", q, d, c.Biased), o: b.linear(name+".o_proj", d, q, c.Output),
		queries: engine.Heads{Size: c.HeadSize, Ropes: c.ropes()}, keys: engine.Heads{Size: c.HeadSize, Ropes: c.ropes()},
		tied: c.TiedKV, reads: c.Reads > 0 || c.Foreign,
	}
	if c.QKNorm {
		out.queries.Norm = b.norm(name+".q_norm", c.HeadSize)
	}
	if out.reads {
		if !c.Foreign {
			out.attend.Layer = b.memory[i-c.Reads]
		}
		return out
	}
	out.attend.Layer = b.remember(i, engine.CacheLayer{KVHeads: c.KVHeads, HeadSize: c.HeadSize, Window: c.Window, Keep: b.precision(i)})
	out.k = b.linear(name+".k_proj", kv, d, c.Biased)
	if !c.TiedKV {
		out.v = b.linear(name+".v_proj", kv, d, c.Biased)
	}
	if c.QKNorm {
		out.keys.Norm = b.norm(name+".k_norm", c.HeadSize)
	}
	if c.VNorm {
		out.values = &engine.Heads{Size: c.HeadSize, Norm: &engine.Norm{Eps: b.config.NormEps}}
	}
	if l.Source == SourceMerged {
		out.attend.Beside = 1 + b.remember(-1, engine.CacheLayer{KVHeads: c.KVHeads, HeadSize: c.HeadSize, Source: true, Keep: b.precision(i)})
		out.sourceKeys = engine.Heads{Size: c.HeadSize, Norm: out.keys.Norm}
	}
	return out
}

// ropes are those of a head's parts.
func (a Attention) ropes() []engine.Rope {
	switch {
	case a.Rope.Base == 0:
		return nil
	case a.Axial:
		column, line, half := a.Rope, a.Rope, a.HeadSize/2
		column.Size, column.Axis = half, engine.Column
		line.From, line.Size, line.Axis = half, half, engine.Line
		return []engine.Rope{column, line}
	}
	return []engine.Rope{a.Rope}
}

func (m *attention) stores() bool { return !m.reads }

func (m *attention) mix(f *flow, h engine.Tensor) engine.Tensor {
	if m.reads {
		return m.look(f, h)
	}
	p := f.p
	ws := []linear{m.q, m.k, m.v}
	if m.tied {
		ws = ws[:2]
	}
	qkv := multiply(p, h, ws...) // [R, H·C], [R, K·C], [R, K·C]
	k, v := m.keysValues(p, qkv[1:], m.keys)
	return multiply(p, p.Attend(p.Heads(qkv[0], m.queries), k, v, m.seen(f)), m.o)[0]
}

// seen is what rows see in this pass.
func (m *attention) seen(f *flow) engine.Attend {
	a := m.attend
	a.Groups = a.Groups || f.throughout
	return a
}

func (m *attention) leave(f *flow, h engine.Tensor) {
	if !m.reads {
		m.store(f.p, h, m.keys, m.attend)
	}
}

// store keeps the keys and values of h [R, D].
func (m *attention) store(p engine.Pass, h engine.Tensor, keys engine.Heads, a engine.Attend) {
	ws := []linear{m.k, m.v}
	if m.tied {
		ws = ws[:1]
	}
	k, v := m.keysValues(p, multiply(p, h, ws...), keys)
	p.Attend(nil, k, v, a)
}

func (m *attention) keysValues(p engine.Pass, kv []engine.Tensor, keys engine.Heads) (k, v engine.Tensor) {
	if m.tied {
		_, width := kv[0].Dims()
		v = p.Columns(kv[0], 0, width)
	} else {
		v = kv[1]
	}
	if m.values != nil {
		v = p.Heads(v, *m.values)
	}
	return p.Heads(kv[0], keys), v
}

func (m *attention) look(f *flow, h engine.Tensor) engine.Tensor {
	queries, a := m.queries, m.seen(f)
	queries.Rows, a.Rows = f.rows, f.rows
	q := f.p.Heads(multiply(f.p, h, m.q)[0], queries)
	return multiply(f.p, f.p.Attend(q, nil, nil, a), m.o)[0]
}

// source leaves the source h [S, D] where rows see it beside their own past.
func (m *attention) source(p engine.Pass, h engine.Tensor) {
	a := m.attend
	a.Layer = a.Beside - 1
	m.store(p, h, m.sourceKeys, a)
}

// crossAttention looks at an encoder's result (Vaswani et al. 2017,
// arXiv:1706.03762, section 3.2.3), with norms before and after.
type crossAttention struct {
	attend     engine.Attend
	q, k, v, o linear // k and v take the encoder's width
	pre, after *engine.Norm
}

func (b *stackBinder) cross(layer string, c Attention) *crossAttention {
	name, d, s := layer+".cross_attn", b.config.Width, b.sourceWidth
	q, kv := c.Heads*c.HeadSize, c.KVHeads*c.HeadSize
	memory := b.remember(-1, engine.CacheLayer{KVHeads: c.KVHeads, HeadSize: c.HeadSize, Source: true, Keep: b.keepOr(engine.Exact)})
	return &crossAttention{
		attend: engine.Attend{Layer: memory, Heads: c.Heads, KVHeads: c.KVHeads, C: c.HeadSize, Source: true, Scale: c.Scale, SoftCap: c.SoftCap},
		q:      b.linear(name+".q_proj", q, d, false), k: b.linear(name+".k_proj", kv, s, false),
		v: b.linear(name+".v_proj", kv, s, false), o: b.linear(name+".o_proj", d, q, false),
		pre: b.norm(layer+".pre_cross_attn_layernorm", d), after: b.norm(layer+".post_cross_attn_layernorm", d),
	}
}

// forward is what x [R, D] sees of the source → [R, D].
func (m *crossAttention) forward(f *flow, x engine.Tensor) engine.Tensor {
	a := m.attend
	a.Rows = f.rows
	y := f.p.Attend(multiply(f.p, f.p.Norm(x, *m.pre), m.q)[0], nil, nil, a)
	return f.p.Norm(multiply(f.p, y, m.o)[0], *m.after)
}

// source leaves the source h [S, width of the encoder].
func (m *crossAttention) source(p engine.Pass, h engine.Tensor) {
	kv := multiply(p, h, m.k, m.v)
	p.Attend(nil, kv[0], kv[1], m.attend)
}

// deviations is how many standard deviations above its mean a normal variable
// lies with the given probability below: the cut of a sparse feed-forward.
func deviations(below float64) float64 {
	if below == 0 {
		return 0
	}
	return math.Sqrt2 * math.Erfinv(2*below-1)
}

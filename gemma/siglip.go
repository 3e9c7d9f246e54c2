package gemma

import (
	"context"
	"fmt"
	"math"

	"lapidary/engine"
)

// siglipTower is the vision transformer of Gemma 3 and PaliGemma.
type siglipTower struct {
	config    *SigLIP
	patch     linear        // [D, 3·p·p]
	places    engine.Weight // [side², D]
	stack     *stack
	norm      engine.Norm
	pool      *attentionPool // nil for none
	before    *engine.Norm   // of the projection; nil for none
	transfers engine.Weight  // [D, projects]: inputs first
	projects  linear         // where it has a bias
}

func (b *binder) siglip(c *Config) *siglipTower {
	b, done := b.beside(c)
	defer done()
	v := c.SigLIP
	d, n := v.Width, v.Side*v.Side
	const tower = "vision_tower."
	s := b.passing(&v.Stack, tower+"encoder.")
	out := &siglipTower{
		config: v, stack: s,
		patch: linear{
			w:    b.shaped(tower+"embeddings.patch_embedding.weight", []int{d, 3, v.Patch, v.Patch}, d, 3*v.Patch*v.Patch),
			bias: b.weight(tower+"embeddings.patch_embedding.bias", d),
		},
		places: b.weight(tower+"embeddings.position_embedding.weight", n, d),
		norm:   b.layerNorm(tower+"post_layernorm", d, v.NormEps),
	}
	switch {
	case v.Pooling && v.Projects == 0:
		out.pool = b.attentionPool(tower+"head", v)
	case v.Linear:
		out.projects = linear{w: b.weight("multi_modal_projector.weight", v.Projects, d), bias: b.weight("multi_modal_projector.bias", v.Projects)}
	case v.Projects > 0:
		out.before = &engine.Norm{Weight: b.weight("multi_modal_projector.mm_soft_emb_norm.weight", d), Eps: v.NormEps, Offset: 1}
		if b.from.Metadata() != nil { // which has it added
			out.before.Offset = 0
		}
		out.transfers = b.weight("multi_modal_projector.mm_input_projection_weight", d, v.Projects)
	}
	return out
}

func (b *binder) layerNorm(name string, width int, eps float32) engine.Norm {
	return engine.Norm{Weight: b.weight(name+".weight", width), Bias: b.weight(name+".bias", width), Eps: eps, Centred: true}
}

func (m *siglipTower) see(ctx context.Context, e engine.Engine, pictures []Picture) (vision, error) {
	n := m.config.Side * m.config.Side
	x, p, rows, err := m.states(ctx, e, pictures)
	if err != nil {
		return vision{}, err
	}
	out := vision{states: read(p, x, rows)}
	switch {
	case m.pool != nil:
		out.soft = read(p, m.pool.forward(p, x, n), ones(len(pictures)))
	case m.projects.w != nil:
		out.soft = read(p, multiply(p, x, m.projects)[0], rows)
	case m.transfers != nil:
		if m.config.Tokens > 0 {
			x = p.Mean(x, m.squares(len(pictures)))
			rows = times(m.config.Tokens*m.config.Tokens, len(pictures))
		}
		out.soft = read(p, p.BlockLinear(p.Norm(x, *m.before), m.transfers, 1), rows)
	}
	return out, p.End()
}

// states begins a pass and runs the transformer → [pictures·side², D].
func (m *siglipTower) states(ctx context.Context, e engine.Engine, pictures []Picture) (engine.Tensor, engine.Pass, []int, error) {
	c, n := m.config, m.config.Side*m.config.Side
	var pixels []float32
	var spans []engine.Span
	var ids []int32
	for i, pic := range pictures {
		side := c.Side * c.Patch
		if len(pic.Pixels) != 3*side*side {
			return nil, nil, nil, fmt.Errorf("picture %d has %d numbers, want 3 planes of %d × %d", i, len(pic.Pixels), side, side)
		}
		pixels = append(pixels, cut(pic.Pixels, c.Side, c.Patch)...)
		spans = append(spans, engine.Span{Rows: n})
		for j := range n {
			ids = append(ids, int32(j))
		}
	}
	p := e.Begin(ctx, spans)
	x := multiply(p, p.Write(pixels, 3*c.Patch*c.Patch), m.patch)[0]
	x = p.Add(x, p.Embed(m.places, ids, 1))
	x = m.stack.run(ctx, p, x, &input{wanted: sequence(0, len(ids))}, nil)
	if x == nil {
		return nil, nil, nil, p.End()
	}
	return p.Norm(x, m.norm), p, times(n, len(pictures)), nil
}

// squares are the patches whose mean is a soft token, of all pictures.
func (m *siglipTower) squares(pictures int) [][]int {
	side, k := m.config.Side, m.config.Side/m.config.Tokens
	var groups [][]int
	for i := range pictures {
		for line := range m.config.Tokens {
			for column := range m.config.Tokens {
				var g []int
				for y := line * k; y < (line+1)*k; y++ {
					g = append(g, sequence(i*side*side+y*side+column*k, k)...)
				}
				groups = append(groups, g)
			}
		}
	}
	return groups
}

// cut takes three planes apart into patches, each of its three planes.
func cut(planes []float32, side, patch int) []float32 {
	edge := side * patch
	out := make([]float32, 0, len(planes))
	for line := range side {
		for column := range side {
			for plane := range 3 {
				for y := range patch {
					from := (plane*edge+line*patch+y)*edge + column*patch
					out = append(out, planes[from:from+patch]...)
				}
			}
		}
	}
	return out
}

func times(n, count int) []int {
	s := make([]int, count)
	for i := range s {
		s[i] = n
	}
	return s
}

func ones(n int) []int { return times(1, n) }

// attentionPool makes one vector of a picture: a learned query looks at all
// patches.
type attentionPool struct {
	probe      engine.Weight // [1, D]
	q, k, v, o linear
	attend     engine.Attend
	norm       engine.Norm
	feed       feed
}

func (b *binder) attentionPool(name string, c *SigLIP) *attentionPool {
	d, a := c.Width, c.Layers[0].Attention
	part := func(i int) linear {
		return linear{w: b.slice(name+".attention.in_proj_weight", 3*d, d, i*d, (i+1)*d), bias: b.part(name+".attention.in_proj_bias", 3*d, i*d, (i+1)*d)}
	}
	s := stackBinder{binder: b, config: &c.Stack}
	return &attentionPool{
		probe: b.shaped(name+".probe", []int{1, 1, d}, 1, d),
		q:     part(0), k: part(1), v: part(2),
		o:      linear{w: b.weight(name+".attention.o_proj.weight", d, d), bias: b.weight(name+".attention.o_proj.bias", d)},
		attend: engine.Attend{Heads: a.Heads, KVHeads: a.KVHeads, C: a.HeadSize, Ahead: engine.All, Scale: a.Scale},
		norm:   b.layerNorm(name+".layernorm", d, c.NormEps),
		feed:   s.feed(name+".mlp", c.Layers[0].Feed),
	}
}

// part binds elements [from, to) of a vector.
func (b *binder) part(name string, n, from, to int) engine.Weight {
	t, ok := b.tensor(name, []int{n})
	if !ok {
		return nil
	}
	size := len(t.Data) / n
	t.Name, t.Shape, t.Data = fmt.Sprintf("%s[%d:%d]", name, from, to), []int{to - from}, t.Data[from*size:to*size]
	return b.load(t)
}

// forward is x [pictures·n, D] → [pictures, D].
func (m *attentionPool) forward(p engine.Pass, x engine.Tensor, n int) engine.Tensor {
	rows, _ := x.Dims()
	kv := multiply(p, x, m.k, m.v)
	a := m.attend
	for at := 0; at < rows; at += n { // the query stands at each picture's first patch
		a.Rows = append(a.Rows, at)
	}
	probe := p.Embed(m.probe, make([]int32, len(a.Rows)), 1)
	y := multiply(p, p.Attend(multiply(p, probe, m.q)[0], kv[0], kv[1], a), m.o)[0]
	return p.Add(y, m.feed.forward(p, p.Norm(y, m.norm)))
}

// pairs is SigLIP alone: pictures and texts in one space.
type pairs struct {
	vision      *siglipTower
	text        *stack
	places      engine.Weight // [context, D]
	norm        engine.Norm
	head        linear
	scale, bias float32
}

func (b *binder) pairs(c *Config) *pairs {
	t := c.Pairs
	const tower = "text_model."
	s := b.passing(&t.Stack, tower+"encoder.")
	s.embed = b.weight(tower+"embeddings.token_embedding.weight", t.Vocab, t.Width)
	return &pairs{
		vision: b.siglip(c), text: s,
		places: b.weight(tower+"embeddings.position_embedding.weight", t.Context, t.Width),
		norm:   b.layerNorm(tower+"final_layer_norm", t.Width, t.NormEps),
		head:   linear{w: b.weight(tower+"head.weight", t.Projects, t.Width), bias: b.weight(tower+"head.bias", t.Projects)},
		scale:  float32(math.Exp(float64(b.number("logit_scale")))), bias: b.number("logit_bias"),
	}
}

// Pairs is how well pictures and texts fit (SigLIP alone): a vector of length 1
// for each of them and the logits [picture][text], whose sigmoids are
// probabilities. Texts are padded as the model was trained with them.
func (m *Model) Pairs(ctx context.Context, pictures []Picture, texts [][]int32) (seen, read, logits [][]float32, err error) {
	if m.pairs == nil {
		return nil, nil, nil, fmt.Errorf("a %s model does not pair pictures with texts", m.config.Family)
	}
	v, err := m.pairs.vision.see(ctx, m.engine, pictures)
	if err != nil {
		return nil, nil, nil, err
	}
	if read, err = m.pairs.texts(ctx, m.engine, texts); err != nil {
		return nil, nil, nil, err
	}
	seen = v.soft
	for _, s := range seen {
		Normalize(s)
		row := make([]float32, len(read))
		for j, t := range read {
			var dot float64
			for i, x := range s {
				dot += float64(x) * float64(t[i])
			}
			row[j] = float32(dot)*m.pairs.scale + m.pairs.bias
		}
		logits = append(logits, row)
	}
	return seen, read, logits, nil
}

// texts are vectors of length 1, made of each text's last token.
func (m *pairs) texts(ctx context.Context, e engine.Engine, texts [][]int32) ([][]float32, error) {
	var steps []Step
	for _, ids := range texts {
		steps = append(steps, Step{Tokens: ids, Logits: AllRows})
	}
	in, err := m.text.flatten(steps)
	if err != nil || len(in.ids) == 0 {
		return nil, err
	}
	p := e.Begin(ctx, in.spans)
	var places []int32
	var last []int
	for _, rows := range spansRows(in.spans) {
		for i := range rows {
			places = append(places, int32(i))
		}
		last = append(last, rows[len(rows)-1])
	}
	x := p.Add(m.text.embedded(p, in), p.Embed(m.places, places, 1))
	if x = m.text.run(ctx, p, x, in, nil); x == nil {
		return nil, p.End()
	}
	x = multiply(p, p.Pick(p.Norm(x, m.norm), last), m.head)[0]
	out := read(p, x, ones(len(texts)))
	for _, v := range out {
		Normalize(v)
	}
	return out, p.End()
}

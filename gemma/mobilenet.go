package gemma

import (
	"context"
	"fmt"
	"math"

	"lapidary/engine"
)

// mobileNet is the tower for pictures of Gemma 3n. Its tensors are
// [places, channels], line by line.
type mobileNet struct {
	config *MobileNet
	stem   mobileConv
	stages [][]mobileBlock
	fusion fusion
	embed  embedder
}

// mobileBlock is a block over a square of so many places along an edge; it
// returns the edge of its result.
type mobileBlock interface {
	forward(p engine.Pass, x engine.Tensor, side int) (engine.Tensor, int)
}

// mobileEps is that of all norms of the tower, which no file states.
const mobileEps = 1e-6

const mobileTower = "vision_tower.timm_model."

func (b *binder) mobileNet(c *MobileNet) *mobileNet {
	m := &mobileNet{config: c, stem: b.mobileConv(mobileTower+"conv_stem", 3, c.Stem, 3, 2, false)}
	m.stem.bias, m.stem.act = b.weight(mobileTower+"conv_stem.conv.bias", c.Stem), true
	for i, stage := range c.Stages {
		var blocks []mobileBlock
		for j, block := range stage {
			blocks = append(blocks, b.mobileBlock(fmt.Sprintf("%sblocks.%d.%d.", mobileTower, i, j), block))
		}
		m.stages = append(m.stages, blocks)
	}
	n := len(c.Stages)
	m.fusion = b.fusion(last(c.Stages[n-2]).Out, last(c.Stages[n-1]).Out, c)
	m.embed = b.embedder("embed_vision", c.Width, c.Projects, c.Hard, c.First, c.Eps)
	return m
}

func last[T any](s []T) T { return s[len(s)-1] }

// mobileConv is a convolution with a norm, and with what else it has.
type mobileConv struct {
	conv engine.Conv2D // of more than one place
	w    engine.Weight // [out, in] of one
	bias engine.Weight // nil for none
	norm engine.Norm
	act  bool // a GELU at the end
}

// mobileConv binds the usual pair of a convolution and its norm.
func (b *binder) mobileConv(name string, in, out, kernel, stride int, alone bool) mobileConv {
	return b.normedConv(name+".conv.weight", name+".bn.weight", in, out, kernel, stride, alone)
}

// normedConv binds a convolution of all channels, or of each alone.
func (b *binder) normedConv(weight, norm string, in, out, kernel, stride int, alone bool) mobileConv {
	seen, groups := in, 1
	if alone {
		seen, groups = 1, in
	}
	c := mobileConv{norm: engine.Norm{Weight: b.weight(norm, out), Eps: mobileEps}}
	w := b.shaped(weight, []int{out, seen, kernel, kernel}, out, seen*kernel*kernel)
	if kernel == 1 && stride == 1 && !alone {
		c.w = w
		return c
	}
	c.conv = engine.Conv2D{Weight: w, In: in, Out: out, Groups: groups, Size: [2]int{kernel, kernel}, Stride: [2]int{stride, stride}}
	return c
}

func (m *mobileConv) forward(p engine.Pass, x engine.Tensor, side int) (engine.Tensor, int) {
	if m.w != nil {
		x = p.Linear(x, m.w)[0]
	} else {
		x, side = slide(p, x, m.conv, side)
	}
	if m.bias != nil {
		x = p.Affine(x, nil, m.bias)
	}
	x = p.Norm(x, m.norm)
	if m.act {
		x = p.Gate(x, nil, engine.GELUTanh)
	}
	return x, side
}

// slide is a convolution whose result has as many places as strides fit: what is
// missing for that are zeros around, an odd one after.
func slide(p engine.Pass, x engine.Tensor, c engine.Conv2D, side int) (engine.Tensor, int) {
	stride := c.Stride[0]
	out := (side + stride - 1) / stride
	zeros := max(0, (out-1)*stride+c.Size[0]-side)
	c.Before, c.After = [2]int{zeros / 2, zeros / 2}, [2]int{zeros - zeros/2, zeros - zeros/2}
	c.Lengths, c.Places = []int{side}, side
	return p.Conv2D(x, c), out
}

// mobileBlock binds a block.
func (b *binder) mobileBlock(name string, c MobileBlock) mobileBlock {
	inside, skip := c.In*c.Expand, c.In == c.Out && c.Stride == 1
	switch c.Kind {
	case EdgeResidual:
		expand := b.normedConv(name+"conv_exp.weight", name+"bn1.weight", c.In, inside, c.Kernel, c.Stride, false)
		expand.act = true
		back := b.normedConv(name+"conv_pwl.weight", name+"bn2.weight", inside, c.Out, 1, 1, false)
		return &mobileChain{convs: []mobileConv{expand, back}, skip: skip}
	case MultiQuery:
		return b.mobileAttention(name, c)
	}
	out := &mobileChain{skip: skip}
	stride := func(wanted bool) int { // one of them has it
		if wanted {
			return c.Stride
		}
		return 1
	}
	add := func(part string, in, to, kernel, stride int, alone, act bool) {
		conv := b.mobileConv(name+part, in, to, kernel, stride, alone)
		conv.act = act
		out.convs = append(out.convs, conv)
	}
	if c.Start > 0 {
		add("dw_start", c.In, c.In, c.Start, stride(c.Mid == 0), true, false)
	}
	add("pw_exp", c.In, inside, 1, 1, false, true)
	if c.Mid > 0 {
		add("dw_mid", inside, inside, c.Mid, stride(true), true, true)
	}
	add("pw_proj", inside, c.Out, 1, 1, false, false)
	if c.End > 0 {
		add("dw_end", c.Out, c.Out, c.End, stride(c.Start+c.Mid == 0), true, false)
	}
	out.scale = b.weight(name+"layer_scale.gamma", c.Out)
	return out
}

// mobileChain is one convolution after the other.
type mobileChain struct {
	convs []mobileConv
	scale engine.Weight // [Out]; nil for none
	skip  bool
}

func (m *mobileChain) forward(p engine.Pass, x engine.Tensor, side int) (engine.Tensor, int) {
	y := x
	for i := range m.convs {
		y, side = m.convs[i].forward(p, y, side)
	}
	if m.scale != nil {
		y = p.Affine(y, m.scale, nil)
	}
	if m.skip {
		y = p.Add(y, x)
	}
	return y, side
}

// mobileAttention lets every place ask one key and value head of all places, or
// of all that are left of them.
type mobileAttention struct {
	norm       engine.Norm
	q, k, v, o engine.Weight
	thin       [2]mobileConv // for keys and for values
	stride     int           // of those
	attend     engine.Attend
	scale      engine.Weight
}

func (b *binder) mobileAttention(name string, c MobileBlock) *mobileAttention {
	d, all := c.Out, c.Heads*c.HeadSize
	lin := func(part string, out, in int) engine.Weight {
		return b.shaped(name+"attn."+part+".proj.weight", []int{out, in, 1, 1}, out, in)
	}
	m := &mobileAttention{
		norm: engine.Norm{Weight: b.weight(name+"norm.weight", d), Eps: mobileEps},
		q:    lin("query", all, d), k: lin("key", c.HeadSize, d), v: lin("value", c.HeadSize, d), o: lin("output", d, all),
		stride: c.KeyStride,
		attend: engine.Attend{Heads: c.Heads, KVHeads: 1, C: c.HeadSize, Ahead: engine.All, Scale: float32(1 / math.Sqrt(float64(c.HeadSize)))},
		scale:  b.weight(name+"layer_scale.gamma", d),
	}
	if m.stride > 1 {
		for i, part := range []string{"attn.key.", "attn.value."} {
			m.thin[i] = b.normedConv(name+part+"down_conv.weight", name+part+"norm.weight", d, d, c.Kernel, c.KeyStride, true)
		}
	}
	return m
}

func (m *mobileAttention) forward(p engine.Pass, x engine.Tensor, side int) (engine.Tensor, int) {
	h := p.Norm(x, m.norm)
	q, fork, forv := p.Linear(h, m.q)[0], h, h
	if m.stride > 1 {
		fork, _ = m.thin[0].forward(p, h, side)
		forv, _ = m.thin[1].forward(p, h, side)
	}
	y := m.look(p, q, p.Linear(fork, m.k)[0], p.Linear(forv, m.v)[0])
	return p.Add(p.Affine(p.Linear(y, m.o)[0], m.scale, nil), x), side
}

// look is the attention itself. Queries that are more than the keys, which have
// the rows of the pass, take turns: no query sees where it is.
func (m *mobileAttention) look(p engine.Pass, q, k, v engine.Tensor) engine.Tensor {
	rows, _ := q.Dims()
	n, _ := k.Dims()
	if rows == n {
		return p.Attend(q, k, v, m.attend)
	}
	var turns []engine.Tensor
	for at := 0; at < rows; at += n {
		turns = append(turns, p.Attend(p.Pick(q, sequence(at, n)), k, v, m.attend))
		k, v = nil, nil // the first has stored them
	}
	for i, y := range turns {
		q = p.Put(q, sequence(i*n, n), y)
	}
	return q
}

// fusion joins the last two stages: the coarse one is laid over the fine one,
// both go through a feed-forward, squares of places are averaged.
type fusion struct {
	fine, coarse engine.Weight // [inside, channels] each
	norm         engine.Norm
	back         mobileConv
	last         engine.Norm
	tokens       int
}

func (b *binder) fusion(fine, coarse int, c *MobileNet) fusion {
	const name = mobileTower + "msfa."
	in, inside := fine+coarse, 2*(fine+coarse)
	const expand = name + "ffn.pw_exp.conv.weight"
	return fusion{
		fine: b.columns(expand, inside, in, 0, fine), coarse: b.columns(expand, inside, in, fine, in),
		norm:   engine.Norm{Weight: b.weight(name+"ffn.pw_exp.bn.weight", inside), Eps: mobileEps},
		back:   b.mobileConv(name+"ffn.pw_proj", inside, c.Width, 1, 1, false),
		last:   engine.Norm{Weight: b.weight(name+"norm.weight", c.Width), Eps: mobileEps},
		tokens: c.Tokens,
	}
}

// columns binds columns [from, to) of a convolution of single places: the part
// of a product that belongs to some of its inputs.
func (b *binder) columns(name string, rows, cols, from, to int) engine.Weight {
	t, ok := b.tensor(name, []int{rows, cols, 1, 1})
	if !ok {
		return nil
	}
	t.Shape = []int{rows, cols}
	block, whole := t.Type.Block(), t.RowBytes()
	if from%block != 0 || to%block != 0 || len(t.Data) != rows*whole {
		b.err = fmt.Errorf("tensor %s: columns %d to %d cannot be cut out of %s", name, from, to, t.Type)
		return nil
	}
	size := whole / (cols / block)
	data := make([]byte, 0, rows*(to-from)/block*size)
	for r := range rows {
		data = append(data, t.Data[r*whole+from/block*size:r*whole+to/block*size]...)
	}
	t.Name, t.Shape, t.Data = fmt.Sprintf("%s[:, %d:%d]", name, from, to), []int{rows, to - from}, data
	return b.load(t)
}

// forward is fine [side², …] and coarse → [tokens², Width]. A product with both
// beside each other is the sum of two, of which that with the coarse one is the
// same for all the places that it covers.
func (m *fusion) forward(p engine.Pass, fine engine.Tensor, side int, coarse engine.Tensor, less int) engine.Tensor {
	x, over := p.Linear(fine, m.fine)[0], p.Linear(coarse, m.coarse)[0]
	k := side / less
	for i := range k * k {
		var rows []int
		for y := range less {
			for z := range less {
				rows = append(rows, (y*k+i/k)*side+z*k+i%k)
			}
		}
		x = p.Put(x, rows, p.Add(p.Pick(x, rows), over))
	}
	x = p.Gate(p.Norm(x, m.norm), nil, engine.GELUTanh)
	x, _ = m.back.forward(p, x, side)
	if side > m.tokens {
		x = p.Mean(x, squares(side, m.tokens))
	}
	return p.Norm(x, m.last)
}

// squares are the places of each of n² equal squares.
func squares(side, n int) [][]int {
	k := side / n
	groups := make([][]int, 0, n*n)
	for i := range n * n {
		var g []int
		for y := i / n * k; y < (i/n+1)*k; y++ {
			g = append(g, sequence(y*side+i%n*k, k)...)
		}
		groups = append(groups, g)
	}
	return groups
}

// see looks at one picture after the other: the first stages of one take
// hundreds of megabytes.
func (m *mobileNet) see(ctx context.Context, e engine.Engine, pictures []Picture) (vision, error) {
	var out vision
	for i, pic := range pictures {
		side := int(math.Sqrt(float64(len(pic.Pixels) / 3)))
		if len(pic.Pixels) != 3*side*side || pic.Places != nil {
			return vision{}, fmt.Errorf("picture %d has %d numbers, want 3 planes of a square", i, len(pic.Pixels))
		}
		states, soft, err := m.seeOne(ctx, e, pic.Pixels, side)
		if err != nil {
			return vision{}, fmt.Errorf("picture %d: %w", i, err)
		}
		out.states, out.soft = append(out.states, states), append(out.soft, soft)
	}
	return out, nil
}

func (m *mobileNet) seeOne(ctx context.Context, e engine.Engine, planes []float32, side int) (states, soft []float32, err error) {
	keys, err := m.config.rows(side)
	if err != nil {
		return nil, nil, err
	}
	p := e.Begin(ctx, []engine.Span{{Rows: keys}})
	x, side := m.stem.forward(p, p.Write(interleave(planes), 3), side)
	var fine engine.Tensor
	less := side
	for i, stage := range m.stages {
		for _, block := range stage {
			if ctx.Err() != nil {
				return nil, nil, p.End()
			}
			if x, less = block.forward(p, x, less); fine == nil {
				p.Keep(x)
			} else {
				p.Keep(x, fine)
			}
		}
		if i == len(m.stages)-2 {
			fine, side = x, less
		}
	}
	x = m.fusion.forward(p, fine, side, x, less)
	n := m.config.Tokens * m.config.Tokens
	states = read(p, x, []int{n})[0]
	x = m.embed.soft.forward(p, p.Scale(x, float32(math.Sqrt(float64(m.config.Width)))))
	return states, read(p, x, []int{n})[0], p.End()
}

// interleave makes of three planes pixels of three numbers.
func interleave(planes []float32) []float32 {
	n := len(planes) / 3
	out := make([]float32, 0, len(planes))
	for i := range n {
		out = append(out, planes[i], planes[n+i], planes[2*n+i])
	}
	return out
}

// HardPictures are the embeddings of ids that a picture tower has of its own,
// rows of Width numbers (Gemma 3n: what stands after a picture, among others).
func (m *Model) HardPictures(ctx context.Context, ids []int32) ([]float32, error) {
	t, ok := m.eyes.(*mobileNet)
	if !ok {
		return nil, fmt.Errorf("a %s model has no tokens for pictures of its own", m.config.Family)
	}
	return m.hardTokens(ctx, &t.embed, "pictures", ids)
}

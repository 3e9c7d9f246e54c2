package gemma

import (
	"context"
	"fmt"

	"lapidary/engine"
)

// Picture is one as a tower takes it: either the three planes of a square one,
// [3, side, side], or patches [n, 3·p·p] with their places, column and line.
type Picture struct {
	Pixels []float32
	Places [][2]int32 // nil for a square one
}

// Sound is a clip as a tower takes it: frames of mel bins, or of samples. Frames
// from Valid on are padding.
type Sound struct {
	Frames [][]float32
	Valid  int
}

// eyes turn pictures into soft tokens.
type eyes interface {
	see(ctx context.Context, e engine.Engine, pictures []Picture) (vision, error)
}

// vision is what a tower gives: its own last states and the soft tokens, a slice
// for each picture, row-major.
type vision struct{ states, soft [][]float32 }

// ears turn sounds into soft tokens.
type ears interface {
	hear(ctx context.Context, e engine.Engine, sounds []Sound) (vision, error)
}

// Pictures are the soft tokens of each of the pictures, rows of Width numbers.
// The frames of a video are pictures.
func (m *Model) Pictures(ctx context.Context, pictures []Picture) ([][]float32, error) {
	v, err := m.see(ctx, pictures)
	return v.soft, err
}

// PictureStates are the last states of the tower itself, before they become
// soft tokens.
func (m *Model) PictureStates(ctx context.Context, pictures []Picture) ([][]float32, error) {
	v, err := m.see(ctx, pictures)
	return v.states, err
}

func (m *Model) see(ctx context.Context, pictures []Picture) (vision, error) {
	if m.eyes == nil {
		return vision{}, fmt.Errorf("this %s model takes no pictures", m.config.Family)
	}
	return m.eyes.see(ctx, m.engine, pictures)
}

// Sounds are the soft tokens of each of the sounds, rows of Width numbers.
func (m *Model) Sounds(ctx context.Context, sounds []Sound) ([][]float32, error) {
	v, err := m.hear(ctx, sounds)
	return v.soft, err
}

// SoundStates are the last states of the tower itself.
func (m *Model) SoundStates(ctx context.Context, sounds []Sound) ([][]float32, error) {
	v, err := m.hear(ctx, sounds)
	return v.states, err
}

func (m *Model) hear(ctx context.Context, sounds []Sound) (vision, error) {
	if m.ears == nil {
		return vision{}, fmt.Errorf("this %s model takes no sound", m.config.Family)
	}
	return m.ears.hear(ctx, m.engine, sounds)
}

// read cuts x [R, width] into the rows of each of the groups.
func read(p engine.Pass, x engine.Tensor, rows []int) [][]float32 {
	all, width := x.Dims()
	flat := make([]float32, all*width)
	p.Read(x, flat)
	out := make([][]float32, len(rows))
	at := 0
	for i, n := range rows {
		out[i] = flat[at*width : (at+n)*width : (at+n)*width]
		at += n
	}
	return out
}

// projection makes soft tokens of a tower's states: a norm and a linear layer,
// in Gemma 3n another norm.
type projection struct {
	before *engine.Norm
	linear linear
	after  *engine.Norm
}

func (m *projection) forward(p engine.Pass, x engine.Tensor) engine.Tensor {
	if m.before != nil {
		x = p.Norm(x, *m.before)
	}
	x = multiply(p, x, m.linear)[0]
	if m.after != nil {
		x = p.Norm(x, *m.after)
	}
	return x
}

// embedder is what Gemma 3n has after its towers: a projection of their states,
// which also serves tokens of their own.
type embedder struct {
	soft         projection
	hard         engine.Weight // [count, what the tower gives]
	norm         engine.Norm
	first, count int // ids of the tokens
}

func (b *binder) embedder(name string, in, out, count, first int, eps float32) embedder {
	soft := b.projection(name, in, out, eps)
	soft.before.Weight = b.weight(name+".soft_embedding_norm.weight", in)
	soft.after = &engine.Norm{Eps: eps}
	return embedder{
		soft: soft, hard: b.weight(name+".embedding.weight", count, in), first: first, count: count,
		norm: engine.Norm{Weight: b.weight(name+".hard_embedding_norm.weight", in), Eps: eps},
	}
}

// embed is the tokens in the given rows of the table.
func (m *embedder) embed(p engine.Pass, rows []int32) engine.Tensor {
	x := p.Norm(p.Embed(m.hard, rows, 1), m.norm)
	return p.Norm(multiply(p, x, m.soft.linear)[0], *m.soft.after)
}

// own are its tokens as a stack takes them.
func (m *embedder) own() ownTokens { return ownTokens{int32(m.first), int32(m.count), m.embed} }

// hardTokens are the embeddings of ids that a tower for the named media has of
// its own.
func (m *Model) hardTokens(ctx context.Context, from *embedder, media string, ids []int32) ([]float32, error) {
	rows := make([]int32, len(ids))
	for i, id := range ids {
		if rows[i] = id - int32(from.first); rows[i] < 0 || int(rows[i]) >= from.count {
			return nil, fmt.Errorf("token %d is none of the %d for %s from %d on", id, from.count, media, from.first)
		}
	}
	p := m.engine.Begin(ctx, []engine.Span{{Rows: len(ids)}})
	return read(p, from.embed(p, rows), []int{len(ids)})[0], p.End()
}

// projection binds what Gemma 4 has after its towers.
func (b *binder) projection(name string, in, out int, eps float32) projection {
	return projection{before: &engine.Norm{Eps: eps}, linear: linear{w: b.weight(name+".embedding_projection.weight", out, in)}}
}

// patchDense is Gemma 4 unified's way with patches: norms, a dense layer and the
// places' embeddings.
type patchDense struct {
	config        *PatchDense
	ln1, ln2, ln3 engine.Norm
	dense         linear
	places        engine.Weight // [places·2, width]: of each a column's row and a line's
	soft          projection
}

func (b *binder) patchDense(c *PatchDense) *patchDense {
	in := 3 * c.Patch * c.Patch
	norm := func(name string, width int) engine.Norm {
		const eps = 1e-5 // torch's for a layer norm that states none
		name = "vision_embedder." + name
		return engine.Norm{Weight: b.weight(name+".weight", width), Bias: b.weight(name+".bias", width), Eps: eps, Centred: true}
	}
	return &patchDense{
		config: c, ln1: norm("patch_ln1", in), ln2: norm("patch_ln2", c.Width), ln3: norm("pos_norm", c.Width),
		dense:  linear{w: b.weight("vision_embedder.patch_dense.weight", c.Width, in), bias: b.weight("vision_embedder.patch_dense.bias", c.Width)},
		places: b.shaped("vision_embedder.pos_embedding", []int{c.Places, 2, c.Width}, c.Places*2, c.Width),
		soft:   b.projection("embed_vision", c.Width, c.Projects, c.Eps),
	}
}

func (m *patchDense) see(ctx context.Context, e engine.Engine, pictures []Picture) (vision, error) {
	in, err := patches(pictures, 3*m.config.Patch*m.config.Patch, m.config.Places)
	if err != nil {
		return vision{}, err
	}
	p := e.Begin(ctx, in.spans)
	x := p.Norm(p.Write(in.pixels, 3*m.config.Patch*m.config.Patch), m.ln1)
	x = p.Norm(multiply(p, x, m.dense)[0], m.ln2)
	columns, lines := in.ids(func(at [2]int32) (int32, int32) { return 2 * at[0], 2*at[1] + 1 })
	x = p.Add(x, p.Embed(m.places, columns, 1))
	x = p.Norm(p.Add(x, p.Embed(m.places, lines, 1)), m.ln3)
	out := vision{states: read(p, x, in.rows)}
	out.soft = read(p, m.soft.forward(p, x), in.rows)
	return out, p.End()
}

// patchRows are the patches of all pictures, one after the other.
type patchRows struct {
	pixels []float32
	spans  []engine.Span
	rows   []int // of each picture
}

// patches lays pictures of patches out.
func patches(pictures []Picture, width, places int) (*patchRows, error) {
	in := &patchRows{}
	for i, pic := range pictures {
		if len(pic.Places) == 0 || len(pic.Pixels) != width*len(pic.Places) {
			return nil, fmt.Errorf("picture %d has %d numbers for %d patches of %d", i, len(pic.Pixels), len(pic.Places), width)
		}
		for _, at := range pic.Places {
			if at[0] < 0 || at[1] < 0 || int(max(at[0], at[1])) >= places {
				return nil, fmt.Errorf("picture %d has a patch at %d, %d of a table of %d", i, at[0], at[1], places)
			}
		}
		in.pixels = append(in.pixels, pic.Pixels...)
		in.spans = append(in.spans, engine.Span{Rows: len(pic.Places), Grid: pic.Places})
		in.rows = append(in.rows, len(pic.Places))
	}
	return in, nil
}

// ids are two ids for each patch.
func (in *patchRows) ids(of func(at [2]int32) (int32, int32)) (a, b []int32) {
	for _, s := range in.spans {
		for _, at := range s.Grid {
			x, y := of(at)
			a, b = append(a, x), append(b, y)
		}
	}
	return a, b
}

// frameDense is Gemma 4 unified's way with sound: its samples, projected.
type frameDense struct {
	config *FrameDense
	soft   projection
}

func (b *binder) frameDense(c *FrameDense) *frameDense {
	return &frameDense{c, b.projection("embed_audio", c.Samples, c.Projects, c.Eps)}
}

func (m *frameDense) hear(ctx context.Context, e engine.Engine, sounds []Sound) (vision, error) {
	var flat []float32
	var rows []int
	var spans []engine.Span
	for i, s := range sounds {
		if err := s.check(m.config.Samples); err != nil {
			return vision{}, fmt.Errorf("sound %d: %w", i, err)
		}
		for _, f := range s.Frames[:s.Valid] {
			flat = append(flat, f...)
		}
		rows, spans = append(rows, s.Valid), append(spans, engine.Span{Rows: s.Valid})
	}
	p := e.Begin(ctx, spans)
	soft := read(p, m.soft.forward(p, p.Write(flat, m.config.Samples)), rows)
	return vision{soft, soft}, p.End()
}

// check looks at a sound's shape.
func (s Sound) check(width int) error {
	if s.Valid < 1 || s.Valid > len(s.Frames) {
		return fmt.Errorf("%d of %d frames are sound", s.Valid, len(s.Frames))
	}
	for _, f := range s.Frames {
		if len(f) != width {
			return fmt.Errorf("a frame has %d numbers, want %d", len(f), width)
		}
	}
	return nil
}

package gemma

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"lapidary/adapter"
	"lapidary/checkpoint"
	"lapidary/engine"
)

// BoundAdapter is an adapter, or a sum of several, bound to a model: what
// [Step.Adapter] runs beside the weights, whatever format they are in. It may be
// used by many passes at once.
type BoundAdapter struct {
	model  *Model
	layers map[engine.Weight]*lowRank
	names  map[string]engine.Weight
	groups sync.Map // [most]engine.Weight → *ways
}

// lowRank is what is added beside a linear layer, y = by · W·x + B·A·x, or while
// it is trained y = (W·x + B·(scale · A·x)) · magnitude · inverse.
type lowRank struct {
	a, b               engine.Weight  // [r, in], [out, r]
	scale              float32        // 0 for one
	by                 engine.Weight  // [out]; nil for ones
	magnitude, inverse engine.Weight  // [out]; nil for ones
	folded             adapter.Folded // what a and b are, without a scale
}

// layerWeight is a linear layer of a text stack.
type layerWeight struct {
	name   string // canonical, without ".weight"
	weight engine.Weight
}

// adaptable notes a linear layer of the layers of a text stack.
func (b *binder) adaptable(name string, w engine.Weight, shape []int) {
	layer, ok := strings.CutSuffix(name, ".weight")
	if !ok || w == nil || len(shape) != 2 {
		return
	}
	for _, stack := range []string{"layers.", "encoder.layers.", "decoder.layers."} {
		if strings.HasPrefix(layer, stack) {
			b.layers = append(b.layers, layerWeight{layer, w})
		}
	}
}

// Linears are the linear layers that an adapter may change.
func (m *Model) Linears() []adapter.Linear {
	out := make([]adapter.Linear, len(m.layers))
	for i, l := range m.layers {
		rows, cols := l.weight.Dims()
		out[i] = adapter.Linear{Name: l.name, Path: m.config.modulePath(l.name), Out: rows, In: cols}
	}
	return out
}

// modulePath is where transformers 5 has a module of that canonical name.
func (c *Config) modulePath(name string) string {
	trunk := "model."
	switch {
	case c.Family == "t5gemma2":
		if inner, ok := strings.CutPrefix(name, "encoder."); ok {
			return "model.encoder.text_model." + inner
		}
	case c.Encoder != nil || strings.HasPrefix(name, "encoder."):
	case c.Family == "embedding_gemma2":
		trunk = "language_model."
	case c.Head.Pooled > 0:
		trunk = "" // an encoder is a model by itself
	case c.Head.Yes != c.Head.No: // ShieldGemma 2 holds a whole Gemma 3
		trunk = "model.model.language_model."
	case c.SigLIP != nil || c.Patches != nil || c.Pixels != nil || c.MobileNet != nil || c.Sounds != nil || c.Frames != nil:
		trunk = "model.language_model."
	}
	switch c.Family {
	case "recurrent_gemma":
		name = strings.NewReplacer(".self_attn.", ".temporal_block.", ".mlp.", ".mlp_block.").Replace(name)
	case "embedding_gemma2":
		name = strings.Replace(name, ".per_layer_", ".ple_block.per_layer_", 1)
	}
	return trunk + name
}

// Weight is the stored weight of a linear layer with a canonical name.
func (m *Model) Weight(name string) (checkpoint.Tensor, bool) {
	return m.from.Tensor(name + ".weight")
}

// BindAdapter binds a sum of adapters, for inference: scales and the factors of
// DoRA are computed now, and the low-rank ways of one layer become one. An
// adapter that was made for another model is refused with an error that wraps
// [adapter.ErrMismatch].
func (m *Model) BindAdapter(sum ...adapter.Weighted) (*BoundAdapter, error) {
	b, at, err := m.newBound(sum...)
	if err != nil {
		return nil, err
	}
	for _, l := range m.layers {
		var shares []adapter.Share
		for _, part := range sum {
			if module, ok := part.Module(l.name); ok && part.By != 0 {
				shares = append(shares, adapter.Share{Module: module, By: part.By})
			}
		}
		if len(shares) == 0 {
			continue
		}
		w, _ := m.Weight(l.name)
		f, err := adapter.Fold(l.name, w, shares...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.from.Path(), err)
		}
		low := &lowRank{a: at.load(f.A), b: at.load(f.B), folded: f}
		if f.Gain != nil {
			low.by = at.load(adapter.Floats(l.name+".gain", f.Gain, len(f.Gain)))
		}
		b.layers[l.weight] = low
	}
	return b, at.err
}

// InverseLengths ends the name of the weight that holds 1 / ‖W + s·B·A‖ of each
// row of a DoRA module, see [Model.TrainAdapter].
const InverseLengths = ".inverse_lengths"

// TrainAdapter binds one adapter for training: A, B and the magnitudes of DoRA
// are weights of their own, which go by the names of [adapter.Adapter.Tensors]
// ([BoundAdapter.Weights]). What DoRA divides by does not follow them by itself
// and has no gradient, as in PEFT and section 4.3 of arXiv:2402.09353: a trainer
// puts 1 / [adapter.Module.Lengths] into the weight that is called
// base_model.model.PATH.inverse_lengths after each step.
func (m *Model) TrainAdapter(a *adapter.Adapter) (*BoundAdapter, error) {
	b, at, err := m.newBound(adapter.Weighted{Adapter: a, By: 1})
	if err != nil {
		return nil, err
	}
	for _, l := range m.layers {
		module, ok := a.Module(l.name)
		if !ok {
			continue
		}
		if module.Scale == 0 {
			return nil, fmt.Errorf("adapter %s: with lora_alpha 0 nothing of %s would be learnt", a.Path, l.name)
		}
		low := &lowRank{a: at.named(b, module.A), b: at.named(b, module.B), scale: float32(module.Scale)}
		if module.DoRA() {
			w, _ := m.Weight(l.name)
			lengths, err := module.Lengths(w)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.from.Path(), err)
			}
			for i, n := range lengths {
				lengths[i] = 1 / n
			}
			name := strings.TrimSuffix(module.A.Name, ".lora_A.weight") + InverseLengths
			low.magnitude = at.named(b, module.Magnitude)
			low.inverse = at.named(b, adapter.Floats(name, lengths, len(lengths)))
		}
		b.layers[l.weight] = low
	}
	return b, at.err
}

// newBound refuses adapters that do not fit the model.
func (m *Model) newBound(sum ...adapter.Weighted) (*BoundAdapter, *binder, error) {
	if m.text == nil || m.canvas != nil {
		return nil, nil, fmt.Errorf("a %s model takes no adapters: only models that read texts row by row do", m.config.Family)
	}
	layers := m.Linears()
	for _, part := range sum {
		if err := part.Check(layers); err != nil {
			return nil, nil, err
		}
	}
	return &BoundAdapter{model: m, layers: map[engine.Weight]*lowRank{}, names: map[string]engine.Weight{}}, &binder{engine: m.engine}, nil
}

// named binds a tensor that a trainer finds by its name.
func (b *binder) named(bound *BoundAdapter, t checkpoint.Tensor) engine.Weight {
	w := b.load(t)
	bound.names[t.Name] = w
	return w
}

// Weights are those that [Model.TrainAdapter] has bound, by name.
func (b *BoundAdapter) Weights() map[string]engine.Weight { return b.names }

// adaptedRows are rows of a pass that take an adapter.
type adaptedRows struct {
	by    *BoundAdapter
	rows  []int // ascending, among those a tensor holds
	whole bool  // all of them
}

// ErrOtherModel is returned by a step with an adapter that is bound to another
// model.
var ErrOtherModel = errors.New("the adapter is bound to another model")

// adapts notes which adapter the n rows from first on take.
func (in *input) adapts(s *stack, by *BoundAdapter, first, n int) error {
	if by == nil {
		return nil
	}
	if s != by.model.text && s != by.model.encoder {
		return ErrOtherModel
	}
	for i := range in.adapted {
		if in.adapted[i].by == by {
			in.adapted[i].rows = append(in.adapted[i].rows, sequence(first, n)...)
			return nil
		}
	}
	in.adapted = append(in.adapted, adaptedRows{by: by, rows: sequence(first, n)})
	return nil
}

// adapt is p with the adapters of n rows beside its linear layers.
func adapt(p engine.Pass, rows []adaptedRows, n int) engine.Pass {
	if len(rows) == 0 {
		return p
	}
	for i := range rows {
		rows[i].whole = len(rows[i].rows) == n
	}
	return &adapted{p, rows}
}

// adapted is a pass whose linear layers have low-rank ways beside them. Every
// tensor that it multiplies has the rows of the pass, or those that narrow has
// left.
type adapted struct {
	engine.Pass
	runs []adaptedRows
}

// narrow leaves all but the given rows behind.
func (p *adapted) narrow(to []int) {
	var left []adaptedRows
	for _, run := range p.runs {
		var rows []int
		next := 0
		for i, row := range to {
			for next < len(run.rows) && run.rows[next] < row {
				next++
			}
			if next < len(run.rows) && run.rows[next] == row {
				rows = append(rows, i)
			}
		}
		if len(rows) > 0 {
			left = append(left, adaptedRows{run.by, rows, len(rows) == len(to)})
		}
	}
	p.runs = left
}

// Linear adds what the adapters give. Where all rows take one, A stands beside
// the weights, so that an engine prepares x once and the products share a region.
func (p *adapted) Linear(x engine.Tensor, ws ...engine.Weight) []engine.Tensor {
	if len(p.runs) == 1 && p.runs[0].whole {
		g := p.runs[0].by.beside(ws)
		if g == nil {
			return p.Pass.Linear(x, ws...)
		}
		all := p.Pass.Linear(x, append(ws[:len(ws):len(ws)], g.downs...)...)
		ys := all[:len(ws)]
		g.join(p.Pass, ys, all[len(ws):])
		return ys
	}
	ys := p.Pass.Linear(x, ws...)
	for _, run := range p.runs {
		g := run.by.beside(ws)
		if g == nil {
			continue
		}
		some := make([]engine.Tensor, len(ws))
		for _, at := range g.at {
			some[at] = p.Pick(ys[at], run.rows)
		}
		g.join(p.Pass, some, p.Pass.Linear(p.Pick(x, run.rows), g.downs...))
		for _, at := range g.at {
			ys[at] = p.Put(ys[at], run.rows, some[at])
		}
	}
	return ys
}

// ways are those beside weights that multiply one x.
type ways struct {
	of         []*lowRank
	at         []int           // beside which of the weights
	downs, ups []engine.Weight // As, or one of all; Bs
}

// most is how many weights multiply one x at the most.
const most = 4

// beside are the ways beside the weights, nil for none.
func (b *BoundAdapter) beside(ws []engine.Weight) *ways {
	if len(ws) > most {
		return b.ways(ws)
	}
	var key [most]engine.Weight
	copy(key[:], ws)
	if found, ok := b.groups.Load(key); ok {
		return found.(*ways)
	}
	g := b.ways(ws)
	b.groups.Store(key, g)
	return g
}

func (b *BoundAdapter) ways(ws []engine.Weight) *ways {
	g := &ways{}
	for i, w := range ws {
		if way := b.layers[w]; way != nil {
			g.of, g.at = append(g.of, way), append(g.at, i)
			g.downs, g.ups = append(g.downs, way.a), append(g.ups, way.b)
		}
	}
	if len(g.of) == 0 {
		return nil
	}
	b.stack(g)
	return g
}

// stackedRank bounds the columns of stacked Bs, most of which are zeros.
const stackedRank = 64

// stack makes one A of several and widens the Bs by zeros, so that there is one
// product with them and not one for each: of Gemma 3 270M in four bits, all of
// whose layers have rank 8 beside them, a token takes two threads 11.2 ms and not
// 12.1; 8.3 without.
func (b *BoundAdapter) stack(g *ways) {
	if len(g.of) == 1 || g.of[0].scale != 0 {
		return
	}
	rank, in := 0, g.of[0].folded.A.Cols()
	for _, way := range g.of {
		rank += way.folded.A.Rows()
	}
	if rank > stackedRank {
		return
	}
	bind := &binder{engine: b.model.engine}
	var ups []engine.Weight
	var a []byte
	for _, way := range g.of {
		n, out, before := 4*way.folded.A.Rows(), way.folded.B.Rows(), len(a)/(4*in)*4
		wide := make([]byte, out*4*rank)
		for i := range out {
			copy(wide[i*4*rank+before:], way.folded.B.Data[i*n:(i+1)*n])
		}
		a = append(a, way.folded.A.Data...)
		ups = append(ups, bind.load(checkpoint.Tensor{Name: way.folded.B.Name, Type: checkpoint.F32, Shape: []int{out, rank}, Data: wide}))
	}
	down := bind.load(checkpoint.Tensor{Name: g.of[0].folded.A.Name, Type: checkpoint.F32, Shape: []int{rank, in}, Data: a})
	if bind.err == nil {
		g.downs, g.ups = []engine.Weight{down}, ups
	}
}

// join adds to ys = W·x [R, out] what the hs = A·x [R, r] give.
func (g *ways) join(p engine.Pass, ys, hs []engine.Tensor) {
	var ds []engine.Tensor
	if len(g.downs) == 1 {
		ds = p.Linear(g.of[0].scaled(p, hs[0]), g.ups...)
	} else {
		for i, way := range g.of {
			ds = append(ds, p.Linear(way.scaled(p, hs[i]), g.ups[i])...)
		}
	}
	for i, way := range g.of {
		ys[g.at[i]] = way.join(p, ys[g.at[i]], ds[i])
	}
}

// scaled is h, which it consumes, times the scale.
func (l *lowRank) scaled(p engine.Pass, h engine.Tensor) engine.Tensor {
	if l.scale == 0 {
		return h
	}
	return p.Scale(h, l.scale)
}

// join is what becomes of y = W·x [R, out] with d = B·A·x.
func (l *lowRank) join(p engine.Pass, y, d engine.Tensor) engine.Tensor {
	if l.by != nil {
		y = p.Affine(y, l.by, nil)
	}
	y = p.Add(y, d)
	if l.magnitude != nil {
		y = p.Affine(p.Affine(y, l.magnitude, nil), l.inverse, nil)
	}
	return y
}

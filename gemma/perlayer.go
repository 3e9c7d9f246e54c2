package gemma

import (
	"math"

	"lapidary/engine"
)

// perLayer makes the inputs that each layer gets besides the stream.
type perLayer struct {
	width      int           // P
	projection engine.Weight // [layers·P, D]
	norm       engine.Norm   // over P
	table      engine.Weight // [vocabulary, layers·P]; nil for none
	vocab      int32
	scale      float32 // of the projection
}

func (b *stackBinder) perLayer() *perLayer {
	c, n := b.config.PerLayer, len(b.config.Layers)
	if c == nil {
		return nil
	}
	out := &perLayer{
		width: c.Width, vocab: int32(c.Vocab), scale: float32(1 / math.Sqrt(float64(b.config.Width))),
		projection: b.weight(b.prefix+"per_layer_model_projection.weight", n*c.Width, b.config.Width),
		norm:       *b.norm(b.prefix+"per_layer_projection_norm", c.Width),
	}
	if c.Vocab > 0 {
		out.table = b.weight(b.prefix+"embed_tokens_per_layer.weight", c.Vocab, n*c.Width)
	}
	return out
}

// inputs are those of all layers, of the embedded tokens x [R, D] → [R, layers·P].
func (m *perLayer) inputs(p engine.Pass, x engine.Tensor, ids []int32) engine.Tensor {
	y := p.Scale(p.Linear(x, m.projection)[0], m.scale)
	y = p.Heads(y, engine.Heads{Size: m.width, Norm: &m.norm})
	if m.table == nil {
		return y
	}
	known := make([]int32, len(ids)) // what lies beyond the table counts as padding
	for i, id := range ids {
		if id < m.vocab {
			known[i] = id
		}
	}
	y = p.Add(y, p.Embed(m.table, known, float32(math.Sqrt(float64(m.width)))))
	return p.Scale(y, 0.70710678)
}

// layerInput is what a layer makes of its input.
type layerInput struct {
	gate, projection engine.Weight // [P, D], [D, P]
	norm             *engine.Norm
	activation       engine.Activation
	width            int
}

func (b *stackBinder) layerInput(layer string, act engine.Activation) *layerInput {
	d, n := b.config.Width, b.config.PerLayer.Width
	return &layerInput{
		gate:       b.weight(layer+".per_layer_input_gate.weight", n, d),
		projection: b.weight(layer+".per_layer_projection.weight", d, n),
		norm:       b.norm(layer+".post_per_layer_input_norm", d),
		activation: act, width: n,
	}
}

// forward is what the input of layer i adds to x [R, D] → [R, D].
func (m *layerInput) forward(f *flow, x engine.Tensor, i int) engine.Tensor {
	p := f.p
	h := p.Gate(p.Linear(x, m.gate)[0], p.Columns(f.inputs, i*m.width, m.width), m.activation)
	return p.Norm(p.Linear(h, m.projection)[0], *m.norm)
}

package gemma

import (
	"fmt"
	"math"

	"lapidary/checkpoint"
	"lapidary/engine"
)

// experts is the sparse feed-forward of Gemma 4 26B-A4B, beside the dense one:
// a router takes the best for each row.
type experts struct {
	router                    engine.Norm
	scale                     float32
	scores                    engine.Weight // [E, D]
	each                      engine.Experts
	afterDense, pre, afterAll *engine.Norm
}

func (b *stackBinder) experts(layer string, c Feed) *experts {
	d, e := b.config.Width, c.Experts
	return &experts{
		router: engine.Norm{Weight: b.weight(layer+".router.scale", d), Eps: b.config.NormEps},
		scale:  float32(1 / math.Sqrt(float64(d))),
		scores: b.weight(layer+".router.proj.weight", e.Count, d),
		each: engine.Experts{
			GateUp: b.gateUp(layer+".experts.", e, d),
			Down:   b.shaped(layer+".experts.down_proj", []int{e.Count, d, e.Width}, e.Count*d, e.Width),
			Scale:  b.weight(layer+".router.per_expert_scale", e.Count),
			Count:  e.Count, Top: e.Top, Activation: c.Activation,
		},
		afterDense: b.norm(layer+".post_feedforward_layernorm_1", d),
		pre:        b.norm(layer+".pre_feedforward_layernorm_2", d),
		afterAll:   b.norm(layer+".post_feedforward_layernorm_2", d),
	}
}

// gateUp binds both halves of the experts' first layers [E·2F, D], which some
// GGUF files store apart: then they are copied, each expert's one after the other.
func (b *stackBinder) gateUp(name string, e Experts, d int) engine.Weight {
	if !b.has(name + "gate_proj") {
		return b.shaped(name+"gate_up_proj", []int{e.Count, 2 * e.Width, d}, e.Count*2*e.Width, d)
	}
	gate, _ := b.tensor(name+"gate_proj", []int{e.Count, e.Width, d})
	up, ok := b.tensor(name+"up_proj", []int{e.Count, e.Width, d})
	if !ok {
		return nil
	}
	if gate.Type != up.Type || len(gate.Data) != len(up.Data) {
		b.err = fmt.Errorf("tensors %s and %s are %s and %s, want one format", gate.Name, up.Name, gate.Type, up.Type)
		return nil
	}
	data := make([]byte, 0, 2*len(gate.Data))
	n := e.Width * gate.RowBytes()
	for i := range e.Count {
		data = append(data, gate.Data[i*n:(i+1)*n]...)
		data = append(data, up.Data[i*n:(i+1)*n]...)
	}
	return b.load(checkpoint.Tensor{Name: name + "gate_up_proj", Type: gate.Type, Shape: []int{e.Count * 2 * e.Width, d}, Data: data})
}

// join is what the dense feed-forward gave, dense [R, D], and what the experts
// give for the stream x [R, D].
func (m *experts) join(p engine.Pass, x, dense engine.Tensor) engine.Tensor {
	scores := p.Linear(p.Scale(p.Norm(x, m.router), m.scale), m.scores)[0] // [R, E]
	sparse := p.Experts(p.Norm(x, *m.pre), scores, m.each)
	return p.Add(p.Norm(dense, *m.afterDense), p.Norm(sparse, *m.afterAll))
}

package gemma

import (
	"context"
	"fmt"

	"lapidary/engine"
)

// On is the model with its passes on another engine that takes the weights of its
// own: one that watches them, or writes them down to differentiate them.
func (m *Model) On(e engine.Engine) *Model {
	other := *m
	other.engine = e
	return &other
}

// LastStates is what [Model.Forward] makes logits of: the states after the last
// norm of the rows that want logits, [rows, Width] row-major.
func (m *Model) LastStates(ctx context.Context, steps []Step) ([]float32, error) {
	if m.text == nil {
		return nil, fmt.Errorf("a %s model gives no logits", m.config.Family)
	}
	in, err := m.text.flatten(steps)
	if err == nil && m.encoder != nil {
		err = in.sources()
	}
	if err != nil || len(in.wanted) == 0 {
		return nil, err
	}
	p := m.engine.Begin(ctx, in.spans)
	var out []float32
	if x := m.text.run(ctx, p, m.text.embedded(p, in), in, nil); x != nil {
		out = make([]float32, len(in.wanted)*m.config.Width)
		p.Read(x, out)
	}
	return out, p.End()
}

// Head is what makes logits of the last states: a matrix [Vocab, Width] and the
// limit of the soft cap behind it, 0 for none.
func (m *Model) Head() (w engine.Weight, softCap float32) { return m.head, m.config.FinalCap }

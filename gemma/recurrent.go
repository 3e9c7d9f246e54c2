package gemma

import "lapidary/engine"

// recurrence is the recurrent block of Griffin and RecurrentGemma (De et al.
// 2024, arXiv:2402.19427): a gated branch beside a short convolution that feeds
// an RG-LRU.
type recurrence struct {
	gate, in, out       linear // [W, D], [W, D], [D, W]
	conv                engine.Conv1D
	unit                engine.Recurrence
	input, forget       engine.Weight // [W, W/blocks], of each block its inputs' rows
	inputAdd, forgetAdd engine.Weight // [W]
	blocks              int
}

func (b *stackBinder) recurrence(name string, c Recurrent) *recurrence {
	d, w, size := b.config.Width, c.Width, c.Width/c.Blocks
	lru := name + ".rg_lru."
	return &recurrence{
		gate: b.linear(name+".linear_y", w, d, true), in: b.linear(name+".linear_x", w, d, true), out: b.linear(name+".linear_out", d, w, true),
		conv: engine.Conv1D{
			Layer:  b.remember(-1, engine.CacheLayer{State: (c.Kernel - 1) * w}),
			Weight: b.shaped(name+".conv_1d.weight", []int{w, 1, c.Kernel}, w, c.Kernel),
			Bias:   b.weight(name+".conv_1d.bias", w),
		},
		unit: engine.Recurrence{
			Layer: b.remember(-1, engine.CacheLayer{State: w}),
			Decay: b.weight(lru+"recurrent_param", w),
		},
		input:    b.shaped(lru+"input_gate_weight", []int{c.Blocks, size, size}, w, size),
		forget:   b.shaped(lru+"recurrent_gate_weight", []int{c.Blocks, size, size}, w, size),
		inputAdd: b.shaped(lru+"input_gate_bias", []int{c.Blocks, size}, w), forgetAdd: b.shaped(lru+"recurrent_gate_bias", []int{c.Blocks, size}, w),
		blocks: c.Blocks,
	}
}

func (m *recurrence) stores() bool { return true }

func (m *recurrence) mix(f *flow, h engine.Tensor) engine.Tensor {
	p := f.p
	in := multiply(p, h, m.gate, m.in) // [R, W] twice
	x := p.Conv1D(in[1], m.conv)
	input := p.Affine(p.BlockLinear(x, m.input, m.blocks), nil, m.inputAdd)
	forget := p.Affine(p.BlockLinear(x, m.forget, m.blocks), nil, m.forgetAdd)
	y := p.Recur(x, input, forget, m.unit)
	return multiply(p, p.Gate(in[0], y, engine.GELUTanh), m.out)[0]
}

// leave and look share the work of mix: a recurrence has to run over all rows
// to have any.
func (m *recurrence) leave(f *flow, h engine.Tensor) { f.late = m.mix(f, h) }

func (m *recurrence) look(f *flow, _ engine.Tensor) engine.Tensor {
	return f.p.Pick(f.late, f.rows)
}

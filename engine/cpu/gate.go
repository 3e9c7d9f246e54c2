package cpu

import (
	"math"
	"sync"

	"lapidary/engine"
	"lapidary/engine/cpu/kernel"
)

// Gate is act(gate)·up, into gate.
func (p *pass) Gate(gate, up engine.Tensor, act engine.Activation) engine.Tensor {
	g := p.change(gate)
	var u *tensor
	ones := p.ones(g.width)
	if up != nil {
		u = p.read(up)
	}
	compute := func(row int) {
		if u == nil {
			p.gate(g.row(row), ones, act)
		} else {
			p.gate(g.row(row), u.row(row), act)
		}
	}
	switch {
	case u != nil:
		later(g, compute, u)
	case g.rows == 1:
		compute(0)
	default:
		g.pending = compute
	}
	return g
}

// gate is act(x)·up, into x.
func (p *pass) gate(x, up []float32, act engine.Activation) {
	if act == engine.GELUTanh {
		p.loops(len(x)).GELUMul(&x[0], &x[0], &up[0], len(x))
		return
	}
	factors := chunks.Get().(*[chunk]float32)
	defer chunks.Put(factors)
	for at := 0; at < len(x); at += chunk {
		n := min(chunk, len(x)-at)
		p.activate(x[at:at+n], factors[:n], act)
		p.loops(n).ScaleMul(&x[at], &x[at], 1, &up[at], n)
	}
}

// chunk is how many elements the functions take that need room beside them.
const chunk = 256

var chunks = sync.Pool{New: func() any { return new([chunk]float32) }}

// activate is the activations that have no loop of their own. It may use room
// of x's size.
func (p *pass) activate(x, room []float32, act engine.Activation) {
	set, n := p.loops(len(x)), len(x)
	switch act {
	case engine.GELU:
		for i, v := range x {
			x[i] = float32(0.5 * float64(v) * (1 + math.Erf(float64(v)/math.Sqrt2)))
		}
	case engine.ReLU:
		for i, v := range x {
			x[i] = positive(v)
		}
	case engine.Tanh:
		set.SoftCap(&x[0], 1, n)
	case engine.Sigmoid:
		sigmoids(set, room, x)
		copy(x, room)
	default:
		sigmoids(set, room, x)
		set.ScaleMul(&x[0], &x[0], 1, &room[0], n)
	}
}

// signBit is that of a float32.
const signBit = 1 << 31

// sigmoids is y = 1/(1 + exp(−x)), from exponentials that are 1 at the most.
func sigmoids(set *kernel.Set, y, x []float32) {
	for i, v := range x {
		y[i] = math.Float32frombits(math.Float32bits(v) | signBit)
	}
	set.Exp(&y[0], len(y), 0)
	const one = 0x3f800000
	for i, v := range x {
		negative := uint32(int32(math.Float32bits(v)) >> 31) // all bits, without a branch
		above := math.Float32frombits(one&^negative | math.Float32bits(y[i])&negative)
		y[i] = above / (1 + y[i])
	}
}

// positive is max(0, v), without a branch.
func positive(v float32) float32 {
	bits := math.Float32bits(v)
	return math.Float32frombits(bits &^ uint32(int32(bits)>>31))
}

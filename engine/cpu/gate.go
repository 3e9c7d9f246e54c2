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
		gelus(set, x, room)
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

// gelus is x = x·(1 + erf(x/√2))/2, with the error function's rest 1 − erf(z) as
// a polynomial of 1/(1 + 0.3275911·z) times exp(−z²), which is off by 1.5e-7 at the
// most (Abramowitz and Stegun 1964, 7.1.26).
func gelus(set *kernel.Set, x, room []float32) {
	for i, v := range x {
		room[i] = -v * v / 2
	}
	set.Exp(&room[0], len(x), 0)
	for i, v := range x {
		bits := math.Float32bits(v)
		t := 1 / (1 + float32(0.3275911/math.Sqrt2)*math.Float32frombits(bits&^signBit))
		series := ((((1.061405429*t-1.453152027)*t+1.421413741)*t-0.284496736)*t + 0.254829592) * t
		rest := series * room[i] / 2
		negative := uint32(int32(bits) >> 31) // all bits, without a branch
		x[i] = v * math.Float32frombits(math.Float32bits(1-rest)&^negative|math.Float32bits(rest)&negative)
	}
}

// positive is max(0, v), without a branch that takes turns.
func positive(v float32) float32 {
	const lowest = 0xff800000 // −Inf; what is greater in its bits is not a number
	bits := math.Float32bits(v)
	if bits > lowest {
		return v
	}
	return math.Float32frombits(bits &^ uint32(int32(bits)>>31))
}

package cpu

import (
	"math"

	"lapidary/engine"
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
		x, y := g.row(row), ones
		if u != nil {
			y = u.row(row)
		}
		if act == engine.GELUTanh {
			p.loops(len(x)).GELUMul(&x[0], &x[0], &y[0], len(x))
			return
		}
		for i, v := range x {
			x[i] = activate(v, act) * y[i]
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

// activate is the rarer activations.
func activate(x float32, act engine.Activation) float32 {
	v := float64(x)
	switch act {
	case engine.GELUTanh:
		return float32(v / (1 + math.Exp(-2*math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v))))
	case engine.GELU:
		return float32(0.5 * v * (1 + math.Erf(v/math.Sqrt2)))
	case engine.ReLU:
		return max(0, x)
	case engine.Tanh:
		return float32(math.Tanh(v))
	case engine.Sigmoid:
		return float32(1 / (1 + math.Exp(-v)))
	default:
		return float32(v / (1 + math.Exp(-v)))
	}
}

package cpu

import (
	"math"

	"lapidary/engine"
	"lapidary/engine/cpu/kernel"
)

// normalizer is a norm with its weights as vectors.
type normalizer struct {
	by, bias []float32 // bias nil for none
	eps      float32
	centred  bool
}

func (p *pass) normalizer(n engine.Norm, width int) normalizer {
	f := normalizer{by: p.ones(width), eps: n.Eps, centred: n.Centred}
	if n.Weight != nil {
		f.by = n.Weight.(*weight).norm(n.Offset)
	}
	if n.Bias != nil {
		f.bias = n.Bias.(*weight).norm(0)
	}
	return f
}

// Norm normalises rows as they are read.
func (p *pass) Norm(x engine.Tensor, n engine.Norm) engine.Tensor {
	in := p.read(x)
	y := p.tensor(in.rows, in.width)
	f := p.normalizer(n, in.width)
	later(y, func(row int) { f.norm(p.loops(in.width), y.row(row), in.row(row)) }, in)
	return y
}

func (f normalizer) norm(set *kernel.Set, y, x []float32) {
	n := len(x)
	if f.centred {
		mean := float32(sum(x) / float64(n))
		for i, v := range x {
			y[i] = v - mean
		}
		x = y
	}
	mean := float64(set.Dot(&x[0], &x[0], n)) / float64(n)
	set.ScaleMul(&y[0], &x[0], float32(1/math.Sqrt(mean+float64(f.eps))), &f.by[0], n)
	if f.bias != nil {
		set.Add(&y[0], &f.bias[0], n)
	}
}

func sum(x []float32) float64 {
	var s float64
	for _, v := range x {
		s += float64(v)
	}
	return s
}

// CumulativeNorm goes through each clip in the order of time.
func (p *pass) CumulativeNorm(x engine.Tensor, n engine.CumulativeNorm) engine.Tensor {
	in := p.read(x)
	y := p.tensor(in.rows, in.width)
	by := n.Weight.(*weight).norm(0)
	firsts := make([]int, len(n.Lengths))
	for i := range firsts[1:] {
		firsts[i+1] = firsts[i] + n.Lengths[i]
	}
	p.parallel(len(firsts), len(in.data), func(clip int, _ *scratch) {
		var total, squares float64
		for t := range n.Lengths[clip] {
			x, y := in.row(firsts[clip]+t), y.row(firsts[clip]+t)
			total += sum(x)
			count := float64((t + 1) * len(x))
			mean := total / count
			for _, v := range x {
				squares += (float64(v) - mean) * (float64(v) - mean)
			}
			scale := 1 / math.Sqrt(squares/count+float64(n.Eps))
			for at := 0; at < len(x); at += len(by) {
				for i, w := range by {
					y[at+i] = float32((float64(x[at+i]) - mean) * scale * float64(w))
				}
			}
		}
	})
	return y
}

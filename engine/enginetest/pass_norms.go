package enginetest

import (
	"math"

	"lapidary/engine"
)

func (p *twinPass) Norm(x engine.Tensor, n engine.Norm) engine.Tensor {
	in := x.(*twinTensor)
	tested, plain := splitNorm(n)
	_, width := in.Dims()
	y := p.settle("Norm", p.tested.Norm(in.tested, tested), p.plain.Norm(in.plain, plain), normLimit(read(p.plain, in.plain), width, n))
	p.intact("Norm", in)
	return y
}

// splitNorm gives each engine its own weights.
func splitNorm(n engine.Norm) (tested, plain engine.Norm) {
	tested, plain = n, n
	tested.Weight, plain.Weight = split(n.Weight)
	tested.Bias, plain.Bias = split(n.Bias)
	return tested, plain
}

// normLimit is a part of the result, and of what may cancel out in it: of the
// bias, and of the mean, which errs by a part of the elements it is of.
func normLimit(x []float32, width int, n engine.Norm) func(want []float32) func(i int) float64 {
	if n.Bias == nil && !n.Centred {
		return part(relative)
	}
	w, b := floats(n.Weight), floats(n.Bias)
	taken := make([]float64, len(x)) // elements with their mean, if that was not taken from them
	if n.Centred {
		for r := 0; r < len(x); r += width {
			mean, deviation := moments(x[r : r+width])
			scale := 1 / math.Sqrt(deviation*deviation+float64(n.Eps))
			for i := r; i < r+width; i++ {
				taken[i] = (math.Abs(float64(x[i])) + math.Abs(mean)) * scale
			}
		}
	}
	return func(want []float32) func(i int) float64 {
		return func(i int) float64 {
			limit, c := math.Abs(float64(want[i])), i%width
			if w != nil {
				limit += taken[i] * math.Abs(float64(w[c])+float64(n.Offset))
			} else {
				limit += taken[i]
			}
			if b != nil {
				limit += 2 * math.Abs(float64(b[c]))
			}
			return relative * limit
		}
	}
}

// moments are the mean and the standard deviation.
func moments(x []float32) (mean, deviation float64) {
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(len(x))
	for _, v := range x {
		deviation += (float64(v) - mean) * (float64(v) - mean)
	}
	return mean, math.Sqrt(deviation / float64(len(x)))
}

// CumulativeNorm may differ by a part of what each element would be if no mean
// were taken from it, whose size is known from the result: the mean of a clip's
// elements is no greater than the greatest of them.
func (p *twinPass) CumulativeNorm(x engine.Tensor, n engine.CumulativeNorm) engine.Tensor {
	in := x.(*twinTensor)
	tested, plain := n, n
	tested.Weight, plain.Weight = split(n.Weight)
	_, width := in.Dims()
	sizes, w := cumulativeSizes(read(p.plain, in.plain), width, n), floats(n.Weight)
	y := p.settle("CumulativeNorm", p.tested.CumulativeNorm(in.tested, tested), p.plain.CumulativeNorm(in.plain, plain),
		by(func(i int) float64 { return relative * sizes[i/width] * math.Abs(float64(w[i%width%len(w)])) }))
	p.intact("CumulativeNorm", in)
	return y
}

// cumulativeSizes are, for each row, twice the greatest element so far over the
// deviation.
func cumulativeSizes(x []float32, width int, n engine.CumulativeNorm) []float64 {
	var sizes []float64
	for _, length := range n.Lengths {
		var top, total, squares, count float64
		for range length {
			row := x[len(sizes)*width : (len(sizes)+1)*width]
			mean, deviation := moments(row)
			total, count = total+mean*float64(width), count+float64(width)
			off := mean - total/count
			squares += float64(width) * (deviation*deviation + off*off)
			top = max(top, greatest(row))
			sizes = append(sizes, 2*top/math.Sqrt(squares/count+float64(n.Eps)))
		}
	}
	return sizes
}

func (p *twinPass) Heads(x engine.Tensor, h engine.Heads) engine.Tensor {
	in := x.(*twinTensor)
	tested, plain := h, h
	if h.Norm != nil {
		a, b := splitNorm(*h.Norm)
		tested.Norm, plain.Norm = &a, &b
	}
	return p.settle("Heads", p.tested.Heads(in.tested, tested), p.plain.Heads(in.plain, plain),
		func(want []float32) func(i int) float64 {
			top := make([]float64, len(want)/h.Size) // a head's elements are mixed with one another
			for i := range top {
				top[i] = greatest(want[i*h.Size : (i+1)*h.Size])
			}
			return func(i int) float64 { return relative * top[i/h.Size] }
		})
}

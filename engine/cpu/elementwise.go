package cpu

import (
	"math"

	"lapidary/engine"
)

// inPlace runs f over the rows of x, which it changes.
func (p *pass) inPlace(x engine.Tensor, f func(r int, row []float32)) engine.Tensor {
	t := p.change(x)
	p.eachRows(t, func(from, to int) {
		for r := from; r < to; r++ {
			f(r, t.row(r))
		}
	})
	return t
}

// Affine is x·by + plus, in place.
func (p *pass) Affine(x engine.Tensor, by, plus engine.Weight) engine.Tensor {
	var factors, terms []float32
	if by != nil {
		factors = by.(*weight).norm(0)
	}
	if plus != nil {
		terms = plus.(*weight).norm(0)
	}
	return p.inPlace(x, func(_ int, row []float32) {
		set, n := p.loops(len(row)), len(row)
		if factors != nil {
			set.ScaleMul(&row[0], &row[0], 1, &factors[0], n)
		}
		if terms != nil {
			set.Add(&row[0], &terms[0], n)
		}
	})
}

// Scale is x·by, in place.
func (p *pass) Scale(x engine.Tensor, by float32) engine.Tensor {
	ones := p.ones(widthOf(x))
	return p.inPlace(x, func(_ int, row []float32) {
		p.loops(len(row)).ScaleMul(&row[0], &row[0], by, &ones[0], len(row))
	})
}

func widthOf(x engine.Tensor) int {
	_, width := x.Dims()
	return width
}

// Clamp is max(least, min(x, most)), in place.
func (p *pass) Clamp(x engine.Tensor, least, most float32) engine.Tensor {
	return p.inPlace(x, func(_ int, row []float32) {
		for i, v := range row {
			row[i] = max(least, min(v, most))
		}
	})
}

// Sparse is max(0, x − mean − deviations·deviation), in place.
func (p *pass) Sparse(x engine.Tensor, deviations float32) engine.Tensor {
	return p.inPlace(x, func(_ int, row []float32) {
		n := float64(len(row))
		mean := sum(row) / n
		var squares float64
		for _, v := range row {
			squares += (float64(v) - mean) * (float64(v) - mean)
		}
		cut := mean + math.Sqrt(squares/n)*float64(deviations)
		for i, v := range row {
			row[i] = float32(max(0, float64(v)-cut))
		}
	})
}

// SoftCap is limit·tanh(x/limit), in place. A vocabulary may have any size:
// the kernel's last step of 8 runs into the rest of the arena's buffer.
func (p *pass) SoftCap(x engine.Tensor, limit float32) engine.Tensor {
	t := p.change(x)
	const run = 8 << 10
	p.parallel((len(t.data)+run-1)/run, len(t.data), func(piece int, _ *scratch) {
		part := t.data[piece*run : min((piece+1)*run, len(t.data))]
		p.set.SoftCap(&part[0], limit, up8(len(part)))
	})
	return t
}

// Match scales rows to the root mean square of like's, in place.
func (p *pass) Match(x, like engine.Tensor) engine.Tensor {
	model := p.read(like)
	ones := p.ones(widthOf(x))
	return p.inPlace(x, func(r int, row []float32) {
		set, n, want := p.loops(len(row)), len(row), model.row(r)
		have := max(float64(set.Dot(&row[0], &row[0], n))/float64(n), 1e-5)
		wanted := float64(p.loops(len(want)).Dot(&want[0], &want[0], len(want))) / float64(len(want))
		set.ScaleMul(&row[0], &row[0], float32(math.Sqrt(wanted/have)), &ones[0], n)
	})
}

// Mix is sums of xs with factors of each row.
func (p *pass) Mix(xs []engine.Tensor, by engine.Tensor) []engine.Tensor {
	factors, in := p.read(by), make([]*tensor, len(xs))
	for i, x := range xs {
		in[i] = p.read(x)
	}
	n := len(xs)
	ys := make([]engine.Tensor, factors.width/n)
	for j := range ys {
		y := p.tensor(in[0].rows, in[0].width)
		ys[j] = y
		p.eachRows(y, func(from, to int) {
			term := make([]float32, y.width)
			for r := from; r < to; r++ {
				p.scale(y.row(r), in[0].row(r), factors.row(r)[j*n])
				for i := 1; i < n; i++ {
					p.scale(term, in[i].row(r), factors.row(r)[j*n+i])
					p.loops(y.width).Add(&y.row(r)[0], &term[0], y.width)
				}
			}
		})
	}
	return ys
}

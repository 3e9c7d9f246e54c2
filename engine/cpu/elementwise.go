package cpu

import (
	"math"
	"sync"

	"lapidary/engine"
	"lapidary/engine/cpu/kernel"
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
		if p.set.Extent == nil || min(-least, most) <= 0 {
			clamp(row, least, most)
			return
		}
		tops := chunks.Get().(*[chunk]float32)
		defer chunks.Put(tops)
		for len(row) >= 32 {
			blocks := min(len(row)/32, chunk)
			p.set.Extent(&row[0], blocks, &tops[0])
			for i, top := range tops[:blocks] {
				if !(top <= min(-least, most)) { // what is in bounds, as most is, stays
					clamp(row[32*i:][:32], least, most)
				}
			}
			row = row[32*blocks:]
		}
		clamp(row, least, most)
	})
}

func clamp(x []float32, least, most float32) {
	for i, v := range x {
		x[i] = max(least, min(v, most))
	}
}

// Sparse is max(0, x − mean − deviations·deviation), in place.
func (p *pass) Sparse(x engine.Tensor, deviations float32) engine.Tensor {
	ones := p.ones(widthOf(x))
	return p.inPlace(x, func(_ int, row []float32) {
		mean, variance := moments(p.loops(len(row)), row, ones)
		cut := float32(mean + math.Sqrt(variance)*float64(deviations))
		for i, v := range row {
			row[i] = positive(v - cut)
		}
	})
}

// moments are the mean and the variance of a row.
func moments(set *kernel.Set, row, ones []float32) (mean, variance float64) {
	n := float64(len(row))
	mean = float64(set.Dot(&row[0], &ones[0], len(row))) / n
	square := float64(set.Dot(&row[0], &row[0], len(row))) / n
	if variance = square - mean*mean; variance > square/4 {
		return mean, variance
	}
	// A difference of near numbers: once more, with the mean taken off.
	mean, variance = sum(row)/n, 0
	for _, v := range row {
		variance += (float64(v) - mean) * (float64(v) - mean)
	}
	return mean, variance / n
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

// Mix is sums of xs with factors of each row: for a row, a product of [m, n]
// and [n, width].
func (p *pass) Mix(xs []engine.Tensor, by engine.Tensor) []engine.Tensor {
	factors, in := p.read(by), make([]*tensor, len(xs))
	for i, x := range xs {
		in[i] = p.read(x)
	}
	ys, out := make([]engine.Tensor, factors.width/len(xs)), make([]*tensor, factors.width/len(xs))
	for j := range ys {
		out[j] = p.tensor(in[0].rows, in[0].width)
		ys[j] = out[j]
	}
	const run = 16
	p.parallel((in[0].rows+run-1)/run, len(in[0].data)*len(xs), func(piece int, s *scratch) {
		if s == nil {
			s = mixers.Get().(*scratch)
			defer mixers.Put(s)
		}
		for r := piece * run; r < min((piece+1)*run, in[0].rows); r++ {
			p.mixRow(out, in, factors.row(r), r, s)
		}
	})
	return ys
}

// mixers is room for mixtures of few rows.
var mixers = sync.Pool{New: func() any { return new(scratch) }}

// mixRow multiplies row r of the xs, copied beside each other.
func (p *pass) mixRow(out, in []*tensor, factors []float32, r int, s *scratch) {
	set, n, width := p.set, len(in), in[0].width
	wide := (width + set.NR - 1) / set.NR * set.NR
	x, y := grown(&s.floats, n*wide), grown(&s.more, len(out)*wide)
	for i, t := range in {
		copy(x[i*wide:], t.row(r))
		clear(x[i*wide+width : (i+1)*wide])
	}
	clear(y)
	for at := 0; at < len(out); {
		m := tallest(set, len(out)-at)
		for c := 0; c < wide; c += set.NR {
			set.MulF32(m, &factors[at*n], n, &x[c], wide, &y[at*wide+c], wide, n)
		}
		at += m
	}
	for j, t := range out {
		copy(t.row(r), y[j*wide:])
	}
}

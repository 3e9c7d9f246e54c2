package cpu

import "lapidary/engine"

// Pick copies the rows.
func (p *pass) Pick(x engine.Tensor, rows []int) engine.Tensor {
	in := p.read(x)
	y := p.tensor(len(rows), in.width)
	for i, r := range rows {
		copy(y.row(i), in.row(r))
	}
	return y
}

// Put replaces rows in place.
func (p *pass) Put(x engine.Tensor, rows []int, y engine.Tensor) engine.Tensor {
	from := p.read(y)
	t := p.change(x)
	for i, r := range rows {
		copy(t.row(r), from.row(i))
	}
	return t
}

// Columns copies columns.
func (p *pass) Columns(x engine.Tensor, from, n int) engine.Tensor {
	in := p.read(x)
	y := p.tensor(in.rows, n)
	p.eachRows(y, func(first, end int) {
		for r := first; r < end; r++ {
			copy(y.row(r), in.row(r)[from:from+n])
		}
	})
	return y
}

// Mean is the mean of each group of rows.
func (p *pass) Mean(x engine.Tensor, groups [][]int) engine.Tensor {
	in := p.read(x)
	y := p.tensor(len(groups), in.width)
	p.eachRows(y, func(from, to int) {
		sums := make([]float64, y.width)
		for g := from; g < to; g++ {
			clear(sums)
			for _, r := range groups[g] {
				for c, v := range in.row(r) {
					sums[c] += float64(v)
				}
			}
			for c, s := range sums {
				y.row(g)[c] = float32(s / float64(len(groups[g])))
			}
		}
	})
	return y
}

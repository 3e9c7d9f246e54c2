package cpu

import "lapidary/engine/cpu/kernel"

// tensor is [rows, width] float32, and the same as digits once something has
// multiplied it.
type tensor struct {
	rows, width int
	data        []float32
	digits      *activations
}

func (t *tensor) Dims() (rows, width int) { return t.rows, t.width }

func (t *tensor) row(i int) []float32 { return t.data[i*t.width : (i+1)*t.width] }

// activations are quantised rows: one row as it lies, or tiles of MR rows.
type activations struct {
	digits            []int8
	scale, sum, sum16 []float32
}

// activations quantises the rows of t, once.
func (p *pass) activations(t *tensor) *activations {
	if t.digits != nil {
		return t.digits
	}
	rows, k := t.rows, t.width
	if rows > 1 {
		rows = (rows + p.set.MR - 1) / p.set.MR * p.set.MR
	}
	// Float buffers hold the digits too: two bytes an element.
	n := rows * k
	buffer := p.alloc(n/2 + n/32*2 + n/16)
	a := &activations{digits: bytesOf(buffer[:n/2])}
	buffer = buffer[n/2:]
	a.scale, a.sum, a.sum16 = buffer[:n/32], buffer[n/32:n/16], buffer[n/16:]
	t.digits = a
	if rows == 1 {
		p.set.Quantize(&t.data[0], k/32, &a.digits[0], k, 4, &a.scale[0], &a.sum[0], &a.sum16[0], 4)
		return a
	}
	p.parallel(rows/p.set.MR, n, func(tile int, _ *scratch) { a.tile(p.set, t, tile) })
	return a
}

// tile quantises MR rows side by side; rows past the end are zero.
func (a *activations) tile(set *kernel.Set, t *tensor, tile int) {
	mr, k := set.MR, t.width
	digits := a.digits[2*tile*mr*k : 2*(tile+1)*mr*k]
	scale, sum := a.scale[tile*mr*k/32:][:mr*k/32], a.sum[tile*mr*k/32:][:mr*k/32]
	sum16 := a.sum16[tile*mr*k/16:][:mr*k/16]
	if (tile+1)*mr > t.rows {
		clear(digits)
		clear(scale)
		clear(sum)
		clear(sum16)
	}
	for r := range min(mr, t.rows-tile*mr) {
		x := t.row(tile*mr + r)
		set.Quantize(&x[0], k/32, &digits[8*r], 4, 8*mr, &scale[r], &sum[r], &sum16[r], 4*mr)
	}
}

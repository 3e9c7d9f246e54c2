package cpu

import "lapidary/engine/cpu/kernel"

// tensor is [rows, width] float32, and the same as digits once something has
// multiplied it.
type tensor struct {
	rows, width int
	data        []float32
	digits      digits
}

// digits are a tensor's quantised rows in the layouts that have been asked for.
type digits struct {
	row   *activations // one row as it lies
	tiles *activations // tiles of MR rows, the last one filled up with zeros
}

func (t *tensor) Dims() (rows, width int) { return t.rows, t.width }

func (t *tensor) row(i int) []float32 { return t.data[i*t.width : (i+1)*t.width] }

// activations are quantised rows.
type activations struct {
	digits            []int8
	scale, sum, sum16 []float32
}

// quantiseRow quantises the only row of t, once.
func (p *pass) quantiseRow(t *tensor) {
	if t.digits.row != nil {
		return
	}
	a, k := p.newActivations(t.width), t.width
	p.set.Quantize(&t.data[0], k/32, &a.digits[0], k, 4, &a.scale[0], &a.sum[0], &a.sum16[0], 4)
	t.digits.row = a
}

// quantiseTiles quantises the rows of t, once.
func (p *pass) quantiseTiles(t *tensor) {
	if t.digits.tiles != nil {
		return
	}
	tiles := (t.rows + p.set.MR - 1) / p.set.MR
	n := tiles * p.set.MR * t.width
	a := p.newActivations(n)
	p.parallel(tiles, n, func(tile int, _ *scratch) { a.tile(p.set, t, tile) })
	t.digits.tiles = a
}

// newActivations has room for n elements. Float buffers hold the digits too:
// two bytes an element.
func (p *pass) newActivations(n int) *activations {
	buffer := p.alloc(n/2 + n/32*2 + n/16)
	a := &activations{digits: bytesOf(buffer[:n/2])}
	buffer = buffer[n/2:]
	a.scale, a.sum, a.sum16 = buffer[:n/32], buffer[n/32:n/16], buffer[n/16:]
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

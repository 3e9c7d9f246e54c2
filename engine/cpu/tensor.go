package cpu

import (
	"math"
	"unsafe"

	"lapidary/checkpoint"
	"lapidary/engine"
	"lapidary/engine/cpu/kernel"
)

// tensor is [rows, width] float32, and the same as digits once something has
// multiplied it.
//
// A norm or a gate is computed where it is read, a tile of rows at a time: its
// rows then are in the first-level cache when they are quantised.
type tensor struct {
	rows, width int
	data        []float32
	digits      digits
	pending     func(row int) // computes a row that nobody has read; nil once all are there
	waiting     []*tensor     // pending ones that will read this one
}

// digits are a tensor's quantised rows in the layouts that have been asked for.
type digits struct {
	rows  []activations           // a few rows, each as it lies
	few   map[packing][][]float32 // the same, side by side
	tiles *tiles                  // the last one filled up with zeros
}

func (t *tensor) Dims() (rows, width int) { return t.rows, t.width }

func (t *tensor) row(i int) []float32 { return t.data[i*t.width : (i+1)*t.width] }

// later makes y a tensor whose rows are computed when they are read, from the
// rows of another as they are now. A single row is not worth waiting for.
func later(y *tensor, compute func(row int), from *tensor) {
	if y.rows == 1 {
		compute(0)
		return
	}
	y.pending = compute
	from.waiting = append(from.waiting, y)
}

// read is x with every row computed.
func (p *pass) read(x engine.Tensor) *tensor {
	t := x.(*tensor)
	if f := t.pending; f != nil {
		t.pending = nil
		p.eachRows(t, func(from, to int) {
			for r := from; r < to; r++ {
				f(r)
			}
		})
	}
	return t
}

// change is x about to be changed in place: what would read it later does now.
func (p *pass) change(x engine.Tensor) *tensor {
	t := p.read(x)
	for _, w := range t.waiting {
		p.read(w)
	}
	t.waiting, t.digits = nil, digits{}
	return t
}

// activations are a quantised row.
type activations struct {
	digits            []int8
	scale, sum, sum16 []float32
}

// row is a as kernels take it, with the sums of a format's groups.
func (a *activations) row(group int) kernel.Row {
	k := len(a.digits) / 2
	r := kernel.Row{High: a.digits[:k], Low: a.digits[k:], Scale: a.scale, Sum: a.sum}
	if group == 16 {
		r.Sum = a.sum16
	}
	return r
}

// quantiseRows quantises the few rows of t, once.
func (p *pass) quantiseRows(t *tensor) {
	if t.digits.rows != nil {
		return
	}
	p.read(t)
	k := t.width
	size := k/2 + k/32*2 + k/16 // two bytes an element for the digits
	buffer := p.alloc(t.rows * size)
	t.digits.rows = make([]activations, t.rows)
	for r := range t.rows {
		a := &t.digits.rows[r]
		a.digits = bytesOf(buffer[:k/2])
		a.scale, a.sum, a.sum16 = buffer[k/2:][:k/32], buffer[k/2+k/32:][:k/32], buffer[k/2+k/16:][:k/16]
		p.set.Quantize(&t.row(r)[0], k/32, &a.digits[0], &a.digits[k], &a.scale[0], &a.sum[0], &a.sum16[0])
		buffer = buffer[size:]
	}
}

// packing tells apart how formats have rows beside one another.
type packing struct{ block, group, index int }

// packRows lays the few rows of t out for products with a format, once for all
// formats of its kind: in chunks of as many as one product takes, whose index
// it returns. Rows that are missing in the last are copies of t's last.
func (p *pass) packRows(t *tensor, typ checkpoint.Type) (chunks [][]float32, index int) {
	p.quantiseRows(t)
	few := p.set.GemvFew[typ]
	for index+1 < len(few) && 2<<index < t.rows && few[index+1] != nil {
		index++
	}
	group := kernel.Formats[typ].Group
	key := packing{typ.Block(), group, index}
	if t.digits.few[key] == nil {
		for at := 0; at < t.rows; at += 2 << index {
			chunks = append(chunks, p.packChunk(t, typ, at, 2<<index))
		}
		if t.digits.few == nil {
			t.digits.few = map[packing][][]float32{}
		}
		t.digits.few[key] = chunks
	}
	return t.digits.few[key], index
}

func (p *pass) packChunk(t *tensor, typ checkpoint.Type, from, n int) []float32 {
	rows := make([]kernel.Row, n)
	for i := range rows {
		rows[i] = t.digits.rows[min(from+i, t.rows-1)].row(kernel.Formats[typ].Group)
	}
	packed := p.alloc(kernel.PackedFloats(typ, t.width, n))
	kernel.PackRows(typ, packed, rows)
	return packed
}

// tiles are quantised rows, MR side by side.
type tiles struct {
	digits            []int8
	two               []int8 // [tiles][K/32]
	scale, sum, sum16 []float32
	sums              bool // sum and sum16 are filled in
}

// at is tile number i of rows of k.
func (a *tiles) at(set *kernel.Set, group, k, i int) kernel.Tile {
	mr := set.MR
	t := kernel.Tile{Digits: (*uint8)(unsafe.Pointer(&a.digits[2*i*mr*k])), Two: (*uint8)(unsafe.Pointer(&a.two[i*k/32])),
		Scale: &a.scale[i*mr*k/32], Sum: &a.sum[i*mr*k/32]}
	if group == 16 {
		t.Sum = &a.sum16[i*mr*k/16]
	}
	return t
}

// quantiseTiles quantises the rows of t, once; again if sums are wanted and
// were not.
func (p *pass) quantiseTiles(t *tensor, sums bool) {
	if a := t.digits.tiles; a != nil && (a.sums || !sums) {
		return
	}
	n := (t.rows + p.set.MR - 1) / p.set.MR
	total := n * p.set.MR * t.width
	flags := (n*t.width/32 + 3) / 4
	buffer := p.alloc(total/2 + total/32*2 + total/16 + flags)
	a := &tiles{digits: bytesOf(buffer[:total/2]), two: bytesOf(buffer[total/2:][:flags]), sums: sums}
	buffer = buffer[total/2+flags:]
	a.scale, a.sum, a.sum16 = buffer[:total/32], buffer[total/32:total/16], buffer[total/16:]
	p.parallel(n, parallelAlways, func(i int, s *scratch) { p.tile(a, t, i, s) })
	t.digits.tiles, t.pending = a, nil
}

// tile quantises MR rows side by side. What lies past the last row counts for
// nothing, whatever its digits are.
func (p *pass) tile(a *tiles, t *tensor, i int, s *scratch) {
	set, mr, k := p.set, p.set.MR, t.width
	blocks := k / 32
	tile := a.at(set, 32, k, i)
	sum, sum16 := a.sum[i*mr*blocks:][:mr*blocks], a.sum16[i*mr*k/16:][:mr*k/16]
	rows := min(mr, t.rows-i*mr)
	if t.pending != nil {
		for r := range rows {
			t.pending(i*mr + r)
		}
	}
	if rows < mr {
		clear(a.scale[i*mr*blocks:][:mr*blocks])
		clear(sum)
		clear(sum16)
	}
	top, modes := grown(&s.floats, mr*blocks), grown(&s.modes, mr*blocks)
	p.modes(t, i*mr, rows, top, modes, a.two[i*blocks:][:blocks])
	for r := range rows {
		var at, at16 *float32
		if a.sums {
			at, at16 = &sum[r], &sum16[r]
		}
		set.QuantizeTile(&t.row(i*mr + r)[0], blocks, &modes[r*blocks], &top[r*blocks], tile.Digits, r, &a.scale[i*mr*blocks+r], at, at16)
	}
}

// modes decides which blocks of some rows have a second digit: those where
// one digit would round by more than the engine allows. A row's own choice
// depends on itself alone, so that what stands beside it cannot change its
// products.
func (p *pass) modes(t *tensor, from, rows int, top []float32, modes []kernel.Mode, two []int8) {
	if p.set.Extent == nil {
		for b := range two {
			two[b] = 1
		}
		return
	}
	clear(two)
	blocks := len(two)
	for r := range rows {
		top, modes := top[r*blocks:][:blocks], modes[r*blocks:][:blocks]
		squares := p.set.Extent(&t.row(from + r)[0], blocks, &top[0])
		if squares-squares != 0 { // infinite, or not a number: neither is the product
			fill(top, squares-squares)
		}
		most := float32(0)
		if t.rows > fewRows {
			most = p.engine.rounding * 127 * float32(math.Sqrt(float64(squares)/float64(t.width)))
		}
		for b, v := range top {
			modes[b] = kernel.One
			if v > most {
				modes[b], two[b] = kernel.Two, 1
			}
		}
	}
	for r := range rows {
		for b, m := range modes[r*blocks:][:blocks] {
			if two[b] != 0 && m == kernel.One {
				modes[r*blocks+b] = kernel.OneOfTwo
			}
		}
	}
}

func fill(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}

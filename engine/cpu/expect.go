package cpu

import (
	"math"

	"lapidary/checkpoint"
	"lapidary/engine"
)

// Of a table, expectRows rows are expanded at a time, and of as many as
// expectChunk the probabilities are held: those of a whole vocabulary would be
// as large as all logits.
const (
	expectRows  = 64
	expectChunk = 4096
)

// expectation is Σ exp(x − top)·table on its way through the table.
type expectation struct {
	pass    *pass
	x       *tensor
	table   *weight
	tops    []float32
	totals  []float64
	chances *tensor // [R, expectChunk]
	sums    *tensor // [R, width of the table, rounded up to NR]
	stripe  int     // columns of a piece
}

// Expect is softmax(x) times the table, whose columns are taken in stripes: each
// is expanded once for all rows of x.
func (p *pass) Expect(x engine.Tensor, table engine.Weight, scale float32) engine.Tensor {
	in, w, nr := p.read(x), table.(*weight), p.set.NR
	e := &expectation{pass: p, x: in, table: w, tops: make([]float32, in.rows), totals: make([]float64, in.rows), stripe: max(128, w.Type.Block())}
	e.chances, e.sums = p.tensor(in.rows, expectChunk), p.tensor(in.rows, (w.cols+nr-1)/nr*nr)
	clear(e.sums.data)
	p.parallel(in.rows, len(in.data), func(r int, _ *scratch) { e.tops[r] = p.greatest(in.row(r)) })
	for from := 0; from < w.rows; from += expectChunk {
		e.chunk(from, min(expectChunk, w.rows-from))
	}
	y := p.tensor(in.rows, w.cols)
	p.eachRows(y, func(from, to int) {
		for r := from; r < to; r++ {
			p.scale(y.row(r), e.sums.row(r)[:w.cols], float32(float64(scale)/e.totals[r]))
		}
	})
	return y
}

// greatest is that of a row of any length.
func (p *pass) greatest(x []float32) float32 {
	n := len(x) &^ 7
	top := float32(math.Inf(-1))
	if n > 0 {
		top = p.set.Max(&x[0], n)
	}
	for _, v := range x[n:] {
		top = max(top, v)
	}
	return top
}

// chunk takes in n rows of the table.
func (e *expectation) chunk(from, n int) {
	p := e.pass
	p.parallel(e.x.rows, e.x.rows*n, func(r int, _ *scratch) {
		row := e.chances.row(r)[:up8(n)]
		copy(row, e.x.row(r)[from:from+n])
		fill(row[n:], float32(math.Inf(-1)))
		e.totals[r] += float64(p.set.Exp(&row[0], len(row), e.tops[r]))
	})
	p.parallel((e.table.cols+e.stripe-1)/e.stripe, parallelAlways, func(piece int, s *scratch) {
		for i := 0; i < n; i += expectRows {
			e.add(piece*e.stripe, from, i, min(expectRows, n-i), s)
		}
	})
}

// add takes in n rows of the table, of which at of the chunk is the first, for a
// stripe of columns.
func (e *expectation) add(column, chunk, at, n int, s *scratch) {
	set, end := e.pass.set, min(column+e.stripe, e.table.cols)
	wide := (end - column + set.NR - 1) / set.NR * set.NR
	rows := grown(&s.more, expectRows*wide)
	for i := range n {
		row := rows[i*wide : (i+1)*wide]
		e.table.part(chunk+at+i, column, row[:end-column])
		clear(row[end-column:])
	}
	for r := 0; r < e.x.rows; {
		m := tallest(set, e.x.rows-r)
		for c := 0; c < wide; c += set.NR {
			set.MulF32(m, &e.chances.row(r)[at], expectChunk, &rows[c], wide, &e.sums.row(r)[column+c], e.sums.width, n)
		}
		r += m
	}
}

// part expands the columns of row i that begin with one at the start of a
// stored block.
func (w *weight) part(i, from int, dst []float32) {
	block, size := w.Type.Block(), w.Type.BlockBytes()
	row := w.Row(i)[from/block*size : (from+len(dst))/block*size]
	if err := checkpoint.Dequantize(w.Type, dst, row); err != nil {
		panic(err) //nolint:forbidigo // Load has checked type and size
	}
}

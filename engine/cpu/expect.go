package cpu

import (
	"math"

	"lapidary/checkpoint"
	"lapidary/engine"
)

// expectRows is how many rows of a table are expanded at a time.
const expectRows = 64

// Expect is softmax(x) times the table, whose columns are taken in stripes: each
// is expanded once for all rows of x.
func (p *pass) Expect(x engine.Tensor, table engine.Weight, scale float32) engine.Tensor {
	in, w, set := p.read(x), table.(*weight), p.set
	y := p.tensor(in.rows, w.cols)
	chances, by := p.chances(in, scale)
	stripe := max(256, w.Type.Block())
	p.parallel((w.cols+stripe-1)/stripe, parallelAlways, func(piece int, s *scratch) {
		from, to := piece*stripe, min((piece+1)*stripe, w.cols)
		wide := (to - from + set.NR - 1) / set.NR * set.NR
		rows, sums := grown(&s.more, expectRows*wide), grown(&s.out, in.rows*wide)
		clear(rows)
		clear(sums)
		for id := 0; id < w.rows; id += expectRows {
			n := min(expectRows, w.rows-id)
			for i := range n {
				w.part(id+i, from, rows[i*wide:][:to-from])
			}
			for at := 0; at < in.rows; {
				m := tallest(set, in.rows-at)
				for c := 0; c < wide; c += set.NR {
					set.MulF32(m, &chances.row(at)[id], chances.width, &rows[c], wide, &sums[at*wide+c], wide, n)
				}
				at += m
			}
		}
		for r := range in.rows {
			for c, v := range sums[r*wide:][:to-from] {
				y.row(r)[from+c] = v * by[r]
			}
		}
	})
	return y
}

// chances are exp(x − top) and what they are to be multiplied by.
func (p *pass) chances(x *tensor, scale float32) (*tensor, []float32) {
	width := up8(x.width)
	y, by := p.tensor(x.rows, width), make([]float32, x.rows)
	p.parallel(x.rows, x.rows*x.width, func(r int, _ *scratch) {
		row := y.row(r)
		copy(row, x.row(r))
		fill(row[x.width:], float32(math.Inf(-1)))
		top := p.set.Max(&row[0], width)
		var total float64
		for at := 0; at < width; at += 4096 {
			total += float64(p.set.Exp(&row[at], min(4096, width-at), top))
		}
		by[r] = float32(float64(scale) / total)
	})
	return y, by
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

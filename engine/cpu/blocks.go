package cpu

import "lapidary/engine"

// BlockLinear multiplies parts of rows by blocks, each of which is expanded
// once.
func (p *pass) BlockLinear(x engine.Tensor, w engine.Weight, n int) engine.Tensor {
	in, m, set := p.read(x), w.(*weight), p.set
	size, out := in.width/n, m.cols
	y := p.tensor(in.rows, n*out)
	wide := (out + set.NR - 1) / set.NR * set.NR
	p.parallel(n, parallelAlways, func(block int, s *scratch) {
		b, tile := grown(&s.more, size*wide), grown(&s.out, set.Rows[0]*wide)
		for i := range size {
			m.floats(block*size+i, b[i*wide:][:out])
			clear(b[i*wide+out:][:wide-out])
		}
		for at := 0; at < in.rows; {
			rows := tallest(set, in.rows-at)
			clear(tile)
			for c := 0; c < wide; c += set.NR {
				set.MulF32(rows, &in.row(at)[block*size], in.width, &b[c], wide, &tile[c], wide, size)
			}
			for r := range rows {
				copy(y.row(at + r)[block*out:][:out], tile[r*wide:])
			}
			at += rows
		}
	})
	return y
}

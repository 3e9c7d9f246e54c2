package cpu

import "lapidary/engine"

// patchRows is how many patches are multiplied at a time.
const patchRows = 64

// Conv2D lays out what each output sees as a row, [In][Size[0]][Size[1]], and
// multiplies the rows by the weights.
func (p *pass) Conv2D(x engine.Tensor, c engine.Conv2D) engine.Tensor {
	in, w, nr := p.read(x), c.Weight.(*weight), p.set.NR
	places := c.Steps(1, in.width/c.In)
	times := patchTimes(c)
	y := p.tensor(len(times), places*c.Out)
	size := nr * up8(w.cols)
	panels := p.alloc((c.Out + nr - 1) / nr * size)
	p.parallel((c.Out+nr-1)/nr, parallelAlways, func(i int, s *scratch) {
		w.floatPanel(p.set, panels[i*size:][:size], i*nr, min((i+1)*nr, c.Out), s)
	})
	all := len(times) * places
	p.parallel((all+patchRows-1)/patchRows, parallelAlways, func(piece int, s *scratch) {
		from, to := piece*patchRows, min((piece+1)*patchRows, all)
		patches := grown(&s.floats, patchRows*w.cols)
		for i := from; i < to; i++ {
			times[i/places].patch(patches[(i-from)*w.cols:][:w.cols], in, c, i%places*c.Stride[1]-c.Before[1])
		}
		p.convolve(y.data[from*c.Out:to*c.Out], patches, panels, w.cols, c.Out, s)
	})
	return y
}

// convolve is patches [n, k] times panels of weights: y [n, out].
func (p *pass) convolve(y, patches, panels []float32, k, out int, s *scratch) {
	set, nr := p.set, p.set.NR
	tile := grown(&s.out, set.Rows[0]*nr)
	for from := 0; from < out; from += nr {
		panel, n := panels[from*up8(k):], min(nr, out-from)
		for at := 0; at < len(y)/out; {
			m := tallest(set, len(y)/out-at)
			clear(tile)
			set.MulF32(m, &patches[at*k], k, &panel[0], nr, &tile[0], nr, k)
			for r := range m {
				copy(y[(at+r)*out+from:][:n], tile[r*nr:])
			}
			at += m
		}
	}
}

// patchTimes are those of all outputs.
func patchTimes(c engine.Conv2D) (times []patchTime) {
	first := 0
	for _, n := range c.Lengths {
		for t := range c.Steps(0, n) {
			times = append(times, patchTime{first, n, t*c.Stride[0] - c.Before[0]})
		}
		first += n
	}
	return times
}

// patchTime is where a patch begins: a time of a clip, which has so many from
// first on.
type patchTime struct{ first, n, at int }

// patch writes what lies from the given place on; zeros beyond the edges.
func (t patchTime) patch(dst []float32, in *tensor, c engine.Conv2D, place int) {
	clear(dst)
	places := in.width / c.In
	for i := range c.Size[0] {
		at := t.at + i
		if at < 0 || at >= t.n {
			continue
		}
		row := in.row(t.first + at)
		for j := range c.Size[1] {
			if f := place + j; f >= 0 && f < places {
				for channel, v := range row[f*c.In : (f+1)*c.In] {
					dst[(channel*c.Size[0]+i)*c.Size[1]+j] = v
				}
			}
		}
	}
}

package cpu

import "lapidary/engine"

// patchRows is how many patches are multiplied at a time.
const patchRows = 512

// Conv2D lays out what each output sees as a row, [In][Size[0]][Size[1]], and
// multiplies the rows by the weights.
func (p *pass) Conv2D(x engine.Tensor, c engine.Conv2D) engine.Tensor {
	in, w := p.read(x), c.Weight.(*weight)
	out := c.Steps(1, in.width/c.In)
	var times []patchTime
	first := 0
	for _, n := range c.Lengths {
		for t := range c.Steps(0, n) {
			times = append(times, patchTime{first, n, t*c.Stride[0] - c.Before[0]})
		}
		first += n
	}
	y := p.tensor(len(times), out*c.Out)
	for at := 0; at < len(times)*out; at += patchRows {
		n := min(patchRows, len(times)*out-at)
		patches := p.tensor(n, w.cols)
		p.eachRows(patches, func(from, to int) {
			for r := from; r < to; r++ {
				times[(at+r)/out].patch(patches.row(r), in, c, (at+r)%out*c.Stride[1]-c.Before[1])
			}
		})
		products := []product{p.plan(patches, w, w.sums)}
		p.multiply(products)
		copy(y.data[at*c.Out:], products[0].y.data)
	}
	return y
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

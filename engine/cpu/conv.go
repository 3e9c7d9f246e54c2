package cpu

import "lapidary/engine"

// patchRows is how many patches are multiplied at a time.
const patchRows = 64

// convolution is a Conv2D with its shapes. Both x and y are, whatever their
// rows are, [times][places][channels].
type convolution struct {
	engine.Conv2D
	pass                *pass
	x                   *tensor
	times               []patchTime
	places, out         int // of a time of x, of y
	groups, seen, given int // inputs an output sees, outputs of a group
	taps                int // places an output sees
}

// Conv2D lays out what each output sees as a row, [Size[0]][Size[1]][In], and
// multiplies the rows by the weights; channels that are alone go without.
func (p *pass) Conv2D(x engine.Tensor, c engine.Conv2D) engine.Tensor {
	in, groups := p.read(x), max(1, c.Groups)
	places, times, out := c.Shape(in.width)
	y := p.tensor(times, out*c.Out)
	if c.Places > 0 {
		y.rows, y.width = times*out, c.Out
	}
	v := &convolution{Conv2D: c, pass: p, x: in, times: patchTimes(c), places: places, out: out,
		groups: groups, seen: c.In / groups, given: c.Out / groups, taps: c.Size[0] * c.Size[1]}
	w := c.Weight.(*weight)
	if v.seen == 1 && v.given == 1 {
		v.alone(y, w)
		return y
	}
	panels := v.panels(w)
	all := times * out
	p.parallel((all+patchRows-1)/patchRows, parallelAlways, func(piece int, s *scratch) {
		from, to := piece*patchRows, min((piece+1)*patchRows, all)
		patches := grown(&s.floats, patchRows*w.cols)
		for g := range v.groups {
			for i := from; i < to; i++ {
				v.patch(patches[(i-from)*w.cols:][:w.cols], i, g*v.seen)
			}
			v.multiply(y.data[from*c.Out:to*c.Out], patches, panels[g*v.panelsOf():], g, w.cols, s)
		}
	})
	return y
}

// panelsOf is how many panels the outputs of a group make.
func (v *convolution) panelsOf() int { return (v.given + v.pass.set.NR - 1) / v.pass.set.NR }

// panels are the weights of each group NR outputs side by side, in the order of
// patches.
func (v *convolution) panels(w *weight) [][]float32 {
	p, nr, n := v.pass, v.pass.set.NR, v.panelsOf()
	panels := make([][]float32, v.groups*n)
	for i := range panels {
		panels[i] = p.alloc(nr * w.cols)
	}
	p.parallel(len(panels), parallelAlways, func(i int, s *scratch) {
		from := i/n*v.given + i%n*nr
		stored := grown(&s.more, nr*up8(w.cols))
		w.floatPanel(p.set, stored, from, min(from+nr, (i/n+1)*v.given), s)
		for channel := range v.seen {
			for tap := range v.taps {
				copy(panels[i][(tap*v.seen+channel)*nr:][:nr], stored[(channel*v.taps+tap)*nr:])
			}
		}
	})
	return panels
}

// multiply is patches [n, k] times the panels of a group, into its outputs of
// y [n, Out].
func (v *convolution) multiply(y, patches []float32, panels [][]float32, group, k int, s *scratch) {
	set, nr, rows := v.pass.set, v.pass.set.NR, len(y)/v.Out
	tile := grown(&s.out, set.Rows[0]*nr)
	for from := 0; from < v.given; from += nr {
		n := min(nr, v.given-from)
		for at := 0; at < rows; {
			m := tallest(set, rows-at)
			clear(tile)
			set.MulF32(m, &patches[at*k], k, &panels[from/nr][0], nr, &tile[0], nr, k)
			for r := range m {
				copy(y[(at+r)*v.Out+group*v.given+from:][:n], tile[r*nr:])
			}
			at += m
		}
	}
}

// patchTime is where a patch begins: a time of a clip, which has so many from
// first on.
type patchTime struct{ first, n, at int }

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

// each calls f with the taps of output place i that lie within the clip: where
// they are in x, as a place of all.
func (v *convolution) each(i int, f func(tap, place int)) {
	t, first := v.times[i/v.out], i%v.out*v.Stride[1]-v.Before[1]
	for k := max(0, -t.at); k < min(v.Size[0], t.n-t.at); k++ {
		line := (t.first + t.at + k) * v.places
		for j := max(0, -first); j < min(v.Size[1], v.places-first); j++ {
			f(k*v.Size[1]+j, line+first+j)
		}
	}
}

// patch writes what output place i sees of the channels from one on; zeros
// beyond the edges.
func (v *convolution) patch(dst []float32, i, channel int) {
	clear(dst)
	v.each(i, func(tap, place int) { copy(dst[tap*v.seen:][:v.seen], v.x.data[place*v.In+channel:]) })
}

// alone convolves each channel by itself, all of them at once.
func (v *convolution) alone(y *tensor, w *weight) {
	p, n := v.pass, v.Out
	stored, kernels := w.norm(0), p.alloc(v.taps*n)
	for tap := range v.taps {
		for channel := range n {
			kernels[tap*n+channel] = stored[channel*v.taps+tap]
		}
	}
	set, all := p.loops(n), len(v.times)*v.out
	p.parallel((all+patchRows-1)/patchRows, parallelAlways, func(piece int, s *scratch) {
		term := grown(&s.floats, n)
		for i := piece * patchRows; i < min((piece+1)*patchRows, all); i++ {
			sum := y.data[i*n : (i+1)*n]
			clear(sum)
			v.each(i, func(tap, place int) {
				set.ScaleMul(&term[0], &v.x.data[place*n], 1, &kernels[tap*n], n)
				set.Add(&sum[0], &term[0], n)
			})
		}
	})
}

package enginetest

import (
	"fmt"

	"lapidary/checkpoint"
	"lapidary/engine"
)

// conv2Ds are windows over clips of several lengths: those that towers have and
// others that leave rows and places over.
func conv2Ds(l *lab) {
	three, two, one := [2]int{3, 3}, [2]int{2, 2}, [2]int{1, 1}
	for _, c := range []struct {
		conv   engine.Conv2D
		places int
	}{
		{engine.Conv2D{In: 1, Out: 12, Size: three, Stride: two, Before: one, After: one}, 20},
		{engine.Conv2D{In: 12, Out: 6, Size: three, Stride: two, Before: [2]int{0, 1}, After: [2]int{2, 1}}, 10},
		{engine.Conv2D{In: 32, Out: 64, Size: three, Stride: one, Before: one, After: one}, 3},
		{engine.Conv2D{In: 3, Out: 20, Size: two, Stride: two, After: one}, 6},
		{engine.Conv2D{In: 2, Out: 3, Size: [2]int{1, 5}, Stride: [2]int{1, 3}, Before: [2]int{0, 4}, After: [2]int{0, 1}}, 7},
		{engine.Conv2D{In: 1, Out: 1, Size: [2]int{4, 1}, Stride: [2]int{3, 1}, Before: [2]int{3, 0}}, 1},
		{engine.Conv2D{In: 20, Out: 33, Size: one, Stride: one}, 4},
		{engine.Conv2D{In: 40, Out: 40, Groups: 40, Size: three, Stride: one, Before: one, After: one}, 7},
		{engine.Conv2D{In: 32, Out: 32, Groups: 32, Size: [2]int{5, 5}, Stride: two, Before: one, After: two}, 8},
		{engine.Conv2D{In: 13, Out: 13, Groups: 13, Size: [2]int{2, 3}, Stride: [2]int{3, 1}, After: one}, 4},
		{engine.Conv2D{In: 12, Out: 6, Groups: 3, Size: three, Stride: two, Before: [2]int{0, 1}, After: [2]int{2, 1}}, 9},
		{engine.Conv2D{In: 4, Out: 8, Groups: 4, Size: three, Stride: one, Before: one, After: one}, 5},
	} {
		l.Run(fmt.Sprintf("%d to %d channels, %d groups, %v by %v", c.conv.In, c.conv.Out, c.conv.Groups, c.conv.Size, c.conv.Stride), func(l *lab) {
			for _, typ := range []checkpoint.Type{checkpoint.F32, checkpoint.F16, checkpoint.BF16, checkpoint.Q8_0} {
				inputs := c.conv.In / max(1, c.conv.Groups) * c.conv.Size[0] * c.conv.Size[1]
				if inputs%typ.Block() != 0 {
					continue
				}
				c.conv.Weight = l.weight(typ, c.conv.Out, inputs)
				for _, lengths := range [][]int{{1}, {20, 7, 1, 2}, {41}} {
					l.convolve(c.conv, c.places, lengths)
				}
			}
		})
	}
}

func (l *lab) convolve(c engine.Conv2D, places int, lengths []int) {
	rows, want := 0, 0
	for _, n := range lengths {
		rows, want = rows+n, want+c.Steps(0, n)
	}
	c.Lengths = lengths
	next := l.weight(checkpoint.F32, 5, c.Steps(1, places)*c.Out)
	l.pass(rows, func(p engine.Pass) {
		x := l.random(p, rows, places*c.In)
		y := p.Conv2D(x, c)
		if n, width := y.Dims(); n != want || width != c.Steps(1, places)*c.Out {
			l.Errorf("clips of %v times are [%d, %d], want [%d, %d]", lengths, n, width, want, c.Steps(1, places)*c.Out)
		}
		p.Conv2D(x, c)
		placewise := c
		placewise.Places = places
		z := p.Conv2D(l.random(p, rows*places, c.In), placewise)
		if n, width := z.Dims(); n != want*c.Steps(1, places) || width != c.Out {
			l.Errorf("a place a row: [%d, %d], want [%d, %d]", n, width, want*c.Steps(1, places), c.Out)
		}
		p.Norm(z, engine.Norm{Eps: 1e-6})
		y = p.Heads(y, engine.Heads{Size: c.Out, Norm: &engine.Norm{Eps: 1e-6, Centred: true}})
		p.Linear(p.Gate(y, nil, engine.ReLU), next) // other rows than the pass has
	})
}

func cumulativeNorms(l *lab) {
	for _, shape := range [][2]int{{1, 8}, {3, 4}, {20, 3}, {6, 12}, {10, 32}} { // places, channels
		for _, lengths := range [][]int{{1}, {2, 30, 1}, {60}} {
			rows := 0
			for _, n := range lengths {
				rows += n
			}
			n := engine.CumulativeNorm{Weight: l.vector(shape[1]), Eps: 1e-3, Lengths: lengths}
			l.pass(rows, func(p engine.Pass) {
				x := l.normals(rows * shape[0] * shape[1])
				p.CumulativeNorm(p.Write(x, shape[0]*shape[1]), n)
				for i := range x {
					x[i] = 30 + 5*x[i] // far off a mean of 0, and of one another
				}
				p.CumulativeNorm(p.Write(x, shape[0]*shape[1]), n)
			})
		}
	}
}

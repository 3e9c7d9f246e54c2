package enginetest

import (
	"fmt"

	"lapidary/checkpoint"
	"lapidary/engine"
)

// experts are mixtures of formats and sizes, of few rows and of many, which
// meet in some experts and leave others out.
func experts(l *lab) {
	for _, c := range []struct {
		gateUp, down checkpoint.Type
		d, f         int
		count, top   int
		act          engine.Activation
	}{
		{checkpoint.F32, checkpoint.F32, 12, 20, 5, 2, engine.GELUTanh},
		{checkpoint.F32, checkpoint.F32, 20, 12, 16, 4, engine.GELUTanh},
		{checkpoint.F32, checkpoint.F32, 3, 6, 4, 4, engine.SiLU},
		{checkpoint.BF16, checkpoint.BF16, 20, 12, 4, 1, engine.GELUTanh},
		{checkpoint.Q8_0, checkpoint.Q8_0, 64, 32, 6, 2, engine.GELUTanh},
		{checkpoint.Q4_K, checkpoint.Q4_K, 256, 256, 3, 2, engine.GELUTanh},
		{checkpoint.Q4_K, checkpoint.Q8_0, 256, 96, 8, 3, engine.GELU},
	} {
		name := fmt.Sprintf("%d of %d, %s and %s", c.top, c.count, c.gateUp, c.down)
		l.Run(name, func(l *lab) {
			e := engine.Experts{GateUp: l.weight(c.gateUp, c.count*2*c.f, c.d), Down: l.weight(c.down, c.count*c.d, c.f),
				Count: c.count, Top: c.top, Activation: c.act}
			many := 40
			if c.d*c.f > 1<<13 {
				many = 20
			}
			for _, rows := range []int{1, 2, many} {
				l.mixture(e, rows, c.d)
				e.Scale = l.vector(c.count)
			}
		})
	}
}

// mixture takes scores that are even, that leave no doubt, and that tie: of
// equals the first is taken.
func (l *lab) mixture(e engine.Experts, rows, d int) {
	even := l.normals(rows * e.Count)
	certain, ties := make([]float32, len(even)), make([]float32, len(even))
	for i, v := range even {
		certain[i] = v * 60
		ties[i] = float32(l.rng.IntN(3)) / 2
	}
	kinds := [][]float32{even, certain, ties, make([]float32, len(even))}
	if rows > 2 {
		kinds = kinds[l.rng.IntN(3):][:1]
	}
	l.pass(rows, func(p engine.Pass) {
		x := l.random(p, rows, d)
		for _, scores := range kinds {
			if r, w := p.Experts(x, p.Write(scores, e.Count), e).Dims(); r != rows || w != d {
				l.Errorf("the sum of %d rows' experts is [%d, %d]", rows, r, w)
			}
		}
	})
}

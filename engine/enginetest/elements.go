package enginetest

import (
	"lapidary/checkpoint"
	"lapidary/engine"
)

// shapes of elementwise operations: widths that no vector divides, one that
// vectors like, and one that threads share.
var shapes = [][2]int{{1, 1}, {1, 3}, {3, 6}, {5, 12}, {2, 20}, {3, 48}, {7, 131}, {big, wide}}

func affines(l *lab) {
	for _, s := range shapes {
		by, plus := l.vector(s[1]), l.vector(s[1])
		l.pass(s[0], func(p engine.Pass) {
			p.Affine(l.random(p, s[0], s[1]), by, plus)
			p.Affine(l.random(p, s[0], s[1]), by, nil)
			x := p.Affine(l.random(p, s[0], s[1]), nil, plus)
			p.Affine(p.Scale(x, -2.5), nil, nil)
			p.Scale(l.random(p, s[0], s[1]), 0)
		})
	}
	for _, typ := range []checkpoint.Type{checkpoint.F16, checkpoint.BF16} {
		by, plus := l.weight(typ, 1, 20), l.weight(typ, 1, 20)
		l.pass(3, func(p engine.Pass) { p.Affine(l.random(p, 3, 20), by, plus) })
	}
}

func clamps(l *lab) {
	for _, s := range shapes {
		l.pass(s[0], func(p engine.Pass) {
			p.Clamp(l.random(p, s[0], s[1]), -0.5, 1)
			p.Clamp(l.random(p, s[0], s[1]), 0, 0)
			p.Clamp(l.random(p, s[0], s[1]), -1e30, 0.25)
		})
	}
}

// sparses: rows about a mean of 0, far off it, and all the same.
func sparses(l *lab) {
	for _, s := range shapes {
		for _, deviations := range []float32{1.6448536, 0, -0.5, 3} {
			l.pass(s[0], func(p engine.Pass) {
				x := l.normals(s[0] * s[1])
				p.Sparse(p.Write(x, s[1]), deviations)
				for i := range x {
					x[i] = 50 - 3*x[i]
				}
				p.Sparse(p.Write(x, s[1]), deviations)
				p.Sparse(p.Write(make([]float32, len(x)), s[1]), deviations)
			})
		}
	}
}

func mixes(l *lab) {
	for _, s := range shapes {
		for _, c := range [][2]int{{4, 4}, {1, 3}, {4, 1}, {2, 5}} { // xs, results
			l.pass(s[0], func(p engine.Pass) {
				var xs []engine.Tensor
				for range c[0] {
					xs = append(xs, l.random(p, s[0], s[1]))
				}
				ys := p.Mix(xs, l.random(p, s[0], c[0]*c[1]))
				if len(ys) != c[1] {
					l.Fatalf("%d sums of %d tensors, want %d", len(ys), c[0], c[1])
				}
				if last := c[1] - 1; last > 0 {
					p.Add(ys[0], ys[last]) // each is a tensor of its own
				}
				p.Mix(xs[:1], l.random(p, s[0], 1))
			})
		}
	}
}

// matches: rows of usual sizes, of nothing, and of less than counts.
func matches(l *lab) {
	for _, s := range shapes {
		l.pass(s[0], func(p engine.Pass) {
			like := l.random(p, s[0], s[1])
			for _, size := range []float32{1, 40, 1e-4, 0} {
				p.Match(p.Scale(l.random(p, s[0], s[1]), size), like)
			}
			p.Match(l.random(p, s[0], s[1]), p.Write(make([]float32, s[0]*s[1]), s[1]))
		})
	}
}

func means(l *lab) {
	for _, s := range shapes {
		l.pass(s[0], func(p engine.Pass) {
			x := l.random(p, s[0], s[1])
			all, last := make([]int, s[0]), []int{s[0] - 1}
			for i := range all {
				all[i] = i
			}
			for _, groups := range [][][]int{{all}, {last, all, {0}}, {{0, s[0] / 2, s[0] - 1}}} {
				if n, width := p.Mean(x, groups).Dims(); n != len(groups) || width != s[1] {
					l.Errorf("the means of %d groups are [%d, %d]", len(groups), n, width)
				}
			}
		})
	}
}

func puts(l *lab) {
	l.pass(9, func(p engine.Pass) {
		for _, width := range []int{3, 6, 20, 64} {
			for _, rows := range [][]int{{}, {0}, {8}, {2, 3, 7}, {0, 1, 2, 3, 4, 5, 6, 7, 8}} {
				p.Put(l.random(p, 9, width), rows, l.random(p, len(rows), width))
			}
		}
		x := l.random(p, 9, 12)
		p.Put(p.Put(x, []int{4}, l.random(p, 1, 12)), []int{4, 5}, l.random(p, 2, 12))
	})
}

func columns(l *lab) {
	for _, s := range shapes {
		l.pass(s[0], func(p engine.Pass) {
			x := l.random(p, s[0], s[1])
			for _, c := range [][2]int{{0, s[1]}, {0, 1}, {s[1] - 1, 1}, {s[1] / 3, s[1] / 2}} {
				if c[1] > 0 {
					p.Scale(p.Columns(x, c[0], c[1]), 2) // a copy: x stays
				}
			}
			p.Scale(x, 1)
		})
	}
}

// expects: tables of formats, logits that are even and that are certain.
func expects(l *lab) {
	for _, typ := range []checkpoint.Type{checkpoint.F32, checkpoint.BF16, checkpoint.Q8_0, checkpoint.Q4_K} {
		cols := 3 * typ.Block()
		if typ == checkpoint.F32 {
			cols = 20
		}
		table := l.weight(typ, 203, cols)
		for _, rows := range []int{1, 3, 12} {
			l.pass(rows, func(p engine.Pass) {
				x := l.normals(rows * 203)
				p.Expect(p.Write(x, 203), table, 1)
				for i := range x {
					x[i] = 100 + 30*x[i]
				}
				p.Expect(p.Write(x, 203), table, 25.298221)
			})
		}
	}
}

func blockLinears(l *lab) {
	for _, c := range []struct {
		typ         checkpoint.Type
		n, in, outs int
	}{
		{checkpoint.F32, 4, 3, 6}, {checkpoint.F32, 1, 20, 12}, {checkpoint.F32, 10, 16, 16}, {checkpoint.F16, 2, 20, 3},
		{checkpoint.BF16, 3, 64, 64}, {checkpoint.Q8_0, 2, 12, 32}, {checkpoint.Q8_0, 4, 64, 64},
	} {
		w := l.weight(c.typ, c.n*c.in, c.outs)
		for _, rows := range []int{1, 3, 17} {
			l.pass(rows, func(p engine.Pass) {
				if r, width := p.BlockLinear(l.random(p, rows, c.n*c.in), w, c.n).Dims(); r != rows || width != c.n*c.outs {
					l.Errorf("%d blocks of %d outputs are [%d, %d]", c.n, c.outs, r, width)
				}
			})
		}
	}
}

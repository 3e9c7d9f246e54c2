package enginetest

import (
	"fmt"
	"math"
	"slices"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/engine"
)

// big is enough rows of wide for an engine to share an elementwise operation
// among threads, and a number that nothing divides.
const (
	big  = 67
	wide = 512
)

func embeds(l *lab) {
	for _, typ := range types {
		const vocab = 40
		cols := 96
		if typ.Block() > 32 {
			cols = 2 * typ.Block()
		}
		table := l.weight(typ, vocab, cols)
		l.pass(5, func(p engine.Pass) {
			p.Embed(table, []int32{0, vocab - 1, 7, 7, 20}, 1)
			p.Embed(table, []int32{3}, 25.298221)
		})
	}
	table, ids := l.weight(checkpoint.Q8_0, 300, wide), make([]int32, big)
	for i := range ids {
		ids[i] = l.rng.Int32N(300)
	}
	l.pass(big, func(p engine.Pass) { p.Embed(table, ids, 22.627417) })
}

func norms(l *lab) {
	for _, width := range []int{3, 8, 12, 16, 40, 256, wide, 1152} {
		for _, rows := range []int{1, 3, 17, big} {
			// An engine may prepare a norm's weight for one offset.
			stored, whole, bias := l.vector(width), l.vector(width), l.vector(width)
			l.pass(rows, func(p engine.Pass) {
				x := l.random(p, rows, width)
				p.Norm(x, engine.Norm{Weight: stored, Eps: 1e-6, Offset: 1})
				p.Norm(x, engine.Norm{Weight: whole, Eps: 1e-6})
				p.Norm(x, engine.Norm{Eps: 1e-6})
				p.Norm(x, engine.Norm{Eps: 0.5, Offset: 1})
				p.Norm(x, engine.Norm{Weight: whole, Bias: bias, Eps: 1e-6})
				p.Norm(x, engine.Norm{Weight: stored, Bias: bias, Eps: 1e-6, Offset: 1, Centred: true})
				p.Norm(x, engine.Norm{Eps: 1e-6, Centred: true})
				p.Norm(x, engine.Norm{Bias: bias, Eps: 0.5, Centred: true})
			})
		}
	}
	l.pass(3, func(p engine.Pass) { // nothing, next to nothing, and the sizes a deep model's stream reaches
		x := slices.Concat(make([]float32, 64), slices.Repeat([]float32{1e-12}, 64), l.normals(64))
		for i := range x[128:] {
			x[128+i] *= 3e4
		}
		p.Norm(p.Write(x, 64), engine.Norm{Weight: l.vector(64), Eps: 1e-6, Offset: 1})
		for i := range x {
			x[i] += 1000 // which is all mean
		}
		p.Norm(p.Write(x, 64), engine.Norm{Weight: l.vector(64), Bias: l.vector(64), Eps: 1e-6, Centred: true})
	})
	// Models keep norms in half precision too.
	for _, typ := range []checkpoint.Type{checkpoint.F16, checkpoint.BF16} {
		w := l.weight(typ, 1, 64)
		l.pass(2, func(p engine.Pass) { p.Norm(l.random(p, 2, 64), engine.Norm{Weight: w, Eps: 1e-6, Offset: 1}) })
	}
}

func linears(l *lab) {
	for _, typ := range types {
		l.Run(typ.String(), func(l *lab) { linearsOf(l, typ) })
	}
	l.Run("several", severalLinears)
	l.Run("extremes", linearExtremes)
	l.Run("any address", anyAddress)
}

// linearsOf takes output sizes around and between the 8, 16 and 32 rows that
// engines put together, and row counts around 2, 4 and 8.
func linearsOf(l *lab, typ checkpoint.Type) {
	inputs := []int{8, 40, wide}
	if typ.Quantised() {
		inputs = []int{typ.Block(), 3 * typ.Block(), 768}
	}
	for _, in := range slices.Compact(inputs) {
		var ws []engine.Weight
		for _, out := range []int{1, 7, 16, 33} {
			ws = append(ws, l.weight(typ, out, in))
		}
		for _, rows := range []int{1, 2, 3, 5, 12} {
			l.pass(rows, func(p engine.Pass) {
				x := l.random(p, rows, in)
				for _, w := range ws {
					p.Linear(x, w)
				}
			})
		}
	}
	long, tall := l.weight(typ, 1031, 256), l.weight(typ, 35, 256)
	l.pass(1, func(p engine.Pass) { p.Linear(l.random(p, 1, 256), long) })
	l.pass(131, func(p engine.Pass) { p.Linear(l.random(p, 131, 256), tall) })
}

// severalLinears multiplies by weights of many formats and sizes in one call,
// as a file with mixed formats has them.
func severalLinears(l *lab) {
	var ws []engine.Weight
	for i, typ := range types {
		ws = append(ws, l.weight(typ, 9+8*i, 256))
	}
	for _, rows := range []int{1, 6, 11} {
		l.pass(rows, func(p engine.Pass) {
			x := l.random(p, rows, 256)
			for i, y := range p.Linear(x, ws...) {
				if r, w := y.Dims(); r != rows || w != 9+8*i {
					l.Errorf("result %d is [%d, %d]", i, r, w)
				}
			}
			p.Linear(x, ws[3], ws[0]) // again, when x has been prepared
		})
	}
}

// anyAddress: nothing in a file says that tensors lie at even addresses.
func anyAddress(l *lab) {
	for _, typ := range types {
		t := checkpointtest.RandomTensor(l.rng, typ, 37, 256)
		t.Data = append([]byte{0}, t.Data...)[1:]
		w := l.load(t)
		for _, rows := range []int{1, 5} {
			l.pass(rows, func(p engine.Pass) {
				p.Linear(p.Embed(w, make([]int32, rows), 1), w)
			})
		}
	}
}

// linearExtremes multiplies rows of zeros, of one outlier, of one sign, and of
// sizes far from 1.
func linearExtremes(l *lab) {
	const in = 256
	zeros, outlier, ones := make([]float32, in), l.normals(in), slices.Repeat([]float32{1}, in)
	outlier[77] = 3000
	small, large := l.normals(in), l.normals(in)
	for i := range small {
		small[i] *= 1e-8
		large[i] *= 1e4
	}
	rows := [][]float32{zeros, outlier, ones, small, large}
	for _, typ := range types {
		w := l.weight(typ, 21, in)
		l.pass(len(rows), func(p engine.Pass) { p.Linear(p.Write(slices.Concat(rows...), in), w) })
		for _, row := range rows {
			l.pass(1, func(p engine.Pass) { p.Linear(p.Write(row, in), w) })
		}
	}
}

func heads(l *lab) {
	near := engine.Rope{Base: 10000, Scale: 1}
	far := engine.Rope{Base: 1e6, Scale: 0.125}
	for _, size := range []int{6, 16, 32, 128, 256} { // 6: no published size
		n := &engine.Norm{Weight: l.vector(size), Eps: 1e-6, Offset: 1}
		for _, h := range []engine.Heads{
			{Size: size, Norm: n}, {Size: size, Ropes: []engine.Rope{near}}, {Size: size, Norm: n, Ropes: []engine.Rope{far}},
			{Size: size, Norm: &engine.Norm{Eps: 1e-6}, Ropes: []engine.Rope{near}}, {Size: size},
		} {
			for _, rows := range []int{1, 5, big} {
				l.pass(rows, func(p engine.Pass) {
					p.Heads(l.random(p, rows, 4*size), h)
					p.Heads(l.random(p, rows, size), h)
				})
			}
		}
	}
	l.Run("positions", headPositions)
	l.Run("parts", headParts)
}

// headParts turns parts of heads, by several ropes, by some of the angles, and
// by where rows lie in a picture; of all rows and of some.
func headParts(l *lab) {
	grid := func(n int) (all [][2]int32) {
		for range n {
			all = append(all, [2]int32{l.rng.Int32N(60), l.rng.Int32N(60)})
		}
		return all
	}
	c := l.at(1000)
	spans := []engine.Span{{Rows: 7, Grid: grid(7)}, {Cache: c, Rows: 4}, {Cache: c, Rows: 3, Behind: 9}, {Cache: c, Rows: 5, Source: true, Grid: grid(5)}}
	p := l.Begin(l.Context(), spans[:3])
	l.parts(p, 14)
	l.end(p)
	p = l.Begin(l.Context(), []engine.Span{spans[3], spans[0]})
	l.parts(p, 12)
	l.end(p)
}

func (l *lab) parts(p engine.Pass, rows int) {
	n := &engine.Norm{Eps: 1e-6}
	for _, size := range []int{12, 20, 64} {
		half := size / 4 * 2
		for _, ropes := range [][]engine.Rope{
			{{Base: 100, Scale: 1, Size: half, Axis: engine.Column}, {Base: 100, Scale: 1, From: half, Size: size - half, Axis: engine.Line}},
			{{Base: 1e6, Scale: 1, Turn: size / 4}},
			{{Base: 1e6, Scale: 0.125, Turn: 1, Axis: engine.Line}},
			{{Base: 100, Scale: 1, Size: half, Axis: engine.Column, Shift: 1}, {Base: 1e4, Scale: 1, From: half, Size: size - half, Shift: 7}},
			{{Base: 10000, Scale: 1, Size: half}},
			{{Base: 10000, Scale: 1, From: 2, Size: 6, Turn: 2}, {Base: 50, Scale: 0.5, From: 8, Size: 4, Axis: engine.Column}},
		} {
			p.Heads(l.random(p, rows, 3*size), engine.Heads{Size: size, Ropes: ropes})
			p.Heads(l.random(p, 4, size), engine.Heads{Size: size, Norm: n, Ropes: ropes, Rows: []int{0, 5, 8, rows - 1}})
		}
	}
}

// headPositions rotates rows of sequences that stand at different places, far
// out among them: float32 angles are wrong there in the third digit.
func headPositions(l *lab) {
	var spans []engine.Span
	for _, at := range []int{0, 1, 4096, 30000, 130000} {
		spans = append(spans, engine.Span{Cache: l.at(at), Rows: 3})
	}
	spans = append(spans, engine.Span{Rows: 4})
	p := l.Begin(l.Context(), spans)
	for _, rope := range []engine.Rope{{Base: 10000, Scale: 1}, {Base: 1e6, Scale: 1}, {Base: 1e6, Scale: 0.125}} {
		for _, size := range []int{16, 256, 64} {
			p.Heads(l.random(p, 19, 2*size), engine.Heads{Size: size, Ropes: []engine.Rope{rope}})
		}
	}
	l.end(p)
}

// at is a cache of no layers that stands at position n.
func (l *lab) at(n int) engine.Cache {
	c := l.NewCache(nil)
	l.end(l.Begin(l.Context(), []engine.Span{{Cache: c, Rows: n}}))
	return c
}

func gates(l *lab) {
	for _, act := range []engine.Activation{engine.GELUTanh, engine.GELU, engine.SiLU, engine.ReLU, engine.Tanh, engine.Sigmoid} {
		for _, shape := range [][2]int{{1, 3}, {2, 6}, {1, 8}, {5, 20}, {3, 48}, {big, wide}} {
			l.pass(shape[0], func(p engine.Pass) {
				p.Gate(l.random(p, shape[0], shape[1]), nil, act)
				p.Gate(l.random(p, shape[0], shape[1]), l.random(p, shape[0], shape[1]), act)
			})
		}
		l.pass(1, func(p engine.Pass) { // to where the exponentials end
			x := make([]float32, 256)
			for i := range x {
				x[i] = float32(i-128) / 4
			}
			x[0], x[1], x[2], x[3] = -1e4, 1e4, -200, 200
			p.Gate(p.Write(x, 256), nil, act)
			p.Gate(p.Write(x, 256), l.random(p, 1, 256), act)
		})
	}
}

func adds(l *lab) {
	for _, shape := range [][2]int{{1, 8}, {3, 48}, {big, wide}} {
		l.pass(shape[0], func(p engine.Pass) {
			p.Add(l.random(p, shape[0], shape[1]), l.random(p, shape[0], shape[1]))
		})
	}
	l.pass(2, func(p engine.Pass) {
		x := l.random(p, 2, 16)
		p.Add(l.random(p, 2, 16), x)
		p.Add(x, l.random(p, 2, 16))
	})
}

func picks(l *lab) {
	l.pass(9, func(p engine.Pass) {
		x := l.random(p, 9, 24)
		for _, rows := range [][]int{{0}, {8}, {0, 4, 8}, {0, 1, 2, 3, 4, 5, 6, 7, 8}} {
			if n, width := p.Pick(x, rows).Dims(); n != len(rows) || width != 24 {
				l.Errorf("Pick of %v is [%d, %d]", rows, n, width)
			}
		}
		w := l.weight(checkpoint.Q8_0, 12, 64) // fewer rows than the pass has are fit for anything
		p.Linear(p.Pick(l.random(p, 9, 64), []int{2, 5, 6}), w)
	})
}

// softCaps takes widths that nothing divides: a vocabulary may have any size.
func softCaps(l *lab) {
	for _, limit := range []float32{1, 30, 50} {
		for _, shape := range [][2]int{{1, 1}, {1, 5}, {2, 13}, {3, 160}, {1, 70001}, {big, wide + 1}} {
			l.pass(shape[0], func(p engine.Pass) {
				x := l.normals(shape[0] * shape[1])
				for i := range x {
					x[i] *= limit * 2
				}
				x[0] = 1e6
				p.SoftCap(p.Write(x, shape[1]), limit)
			})
		}
	}
}

func readsAndWrites(l *lab) {
	l.pass(1, func(p engine.Pass) {
		odd := []float32{0, float32(math.Copysign(0, -1)), 1e-45, -math.MaxFloat32, 65504.03, 1.0000001, 3, -1e-20}
		x := p.Write(odd, 8)
		odd[0] = 7 // the tensor is a copy
		for range 2 {
			got := make([]float32, 8)
			p.Read(x, got)
			odd[0] = 0
			if !slices.Equal(got, odd) || !math.Signbit(float64(got[1])) {
				l.Errorf("wrote %v, read %v", odd, got)
			}
			got[3] = 5 // what was read is a copy, too
		}
		if rows, width := p.Write(l.normals(42), 6).Dims(); rows != 7 || width != 6 {
			l.Errorf("42 values of width 6 are [%d, %d]", rows, width)
		}
	})
}

// keeps: what is kept stays as it is while the storage of the rest is used
// again, and the block after it gives what it would have given.
func keeps(l *lab) {
	const rows, width = 9, 64
	w := l.weight(checkpoint.Q4_0, width, width)
	l.pass(rows, func(p engine.Pass) {
		x := l.random(p, rows, width)
		for range 12 {
			y := p.Add(p.Linear(p.Norm(x, engine.Norm{Eps: 1e-6}), w)[0], x)
			kept := read(p, y)
			z := p.Scale(l.random(p, rows, 20), 3)
			beside := read(p, z)
			p.Keep(y, z)
			for range 6 {
				l.random(p, rows, width)
				l.random(p, rows, 20)
			}
			if !slices.Equal(read(p, y), kept) || !slices.Equal(read(p, z), beside) {
				l.Fatal("what was kept has changed")
			}
			x = y
		}
		p.Keep()
		l.random(p, rows, width)
	})
}

// reuses: operations that take over their argument's storage must not leave
// behind what was derived from it before.
func reuses(l *lab) {
	const width = 256
	rope := engine.Rope{Base: 10000, Scale: 1}
	for _, rows := range []int{1, 7} {
		for name, change := range map[string]func(p engine.Pass, x engine.Tensor) engine.Tensor{
			"Add": func(p engine.Pass, x engine.Tensor) engine.Tensor { return p.Add(x, l.random(p, rows, width)) },
			"Gate": func(p engine.Pass, x engine.Tensor) engine.Tensor {
				return p.Gate(x, l.random(p, rows, width), engine.GELUTanh)
			},
			"SiLU": func(p engine.Pass, x engine.Tensor) engine.Tensor {
				return p.Gate(x, l.random(p, rows, width), engine.SiLU)
			},
			"ReLU": func(p engine.Pass, x engine.Tensor) engine.Tensor { return p.Gate(x, nil, engine.ReLU) },
			"Affine": func(p engine.Pass, x engine.Tensor) engine.Tensor {
				return p.Affine(x, l.vector(width), l.vector(width))
			},
			"Scale":  func(p engine.Pass, x engine.Tensor) engine.Tensor { return p.Scale(x, -0.3) },
			"Clamp":  func(p engine.Pass, x engine.Tensor) engine.Tensor { return p.Clamp(x, -0.5, 0.2) },
			"Sparse": func(p engine.Pass, x engine.Tensor) engine.Tensor { return p.Sparse(x, 0.5) },
			"Match": func(p engine.Pass, x engine.Tensor) engine.Tensor {
				return p.Match(x, p.Scale(l.random(p, rows, width), 3))
			},
			"Put": func(p engine.Pass, x engine.Tensor) engine.Tensor {
				return p.Put(x, []int{rows - 1}, l.random(p, 1, width))
			},
			"SoftCap": func(p engine.Pass, x engine.Tensor) engine.Tensor { return p.SoftCap(x, 0.5) },
			"Heads": func(p engine.Pass, x engine.Tensor) engine.Tensor {
				return p.Heads(x, engine.Heads{Size: 64, Norm: &engine.Norm{Eps: 1e-6}, Ropes: []engine.Rope{rope}})
			},
			"Keep": func(p engine.Pass, x engine.Tensor) engine.Tensor { p.Keep(x); l.fill(p); return x },
		} {
			l.Run(fmt.Sprintf("%s of %d rows", name, rows), func(l *lab) {
				w, f := l.weight(checkpoint.Q8_0, 24, width), l.load(checkpointtest.FloatTensor("f", l.normals(24*width), 24, width))
				l.pass(rows, func(p engine.Pass) {
					x := l.random(p, rows, width)
					p.Linear(x, w, f)
					x = change(p, x)
					p.Linear(x, w, f)
				})
			})
		}
	}
}

// fill makes tensors of all sizes, so that storage given back is overwritten.
func (l *lab) fill(p engine.Pass) {
	for width := 32; width <= 1<<13; width *= 2 {
		l.random(p, 1, width)
		l.random(p, 1, width)
	}
}

package cpu_test

import (
	"fmt"
	"math"
	"testing"

	"lapidary/checkpoint"
	"lapidary/engine"
	"lapidary/engine/cpu"
	"lapidary/engine/cpu/kernel"
)

var floats = []checkpoint.Type{checkpoint.F32, checkpoint.F16, checkpoint.BF16}

// TestOddWidths: rows of float weights may have any length.
func TestOddWidths(t *testing.T) {
	for _, typ := range floats {
		for _, cols := range []int{1, 3, 6, 12, 20, 71, 1155} {
			t.Run(fmt.Sprintf("%s/%d", typ, cols), func(t *testing.T) {
				likeRef(t, 2e-6, func(b *bench) {
					w, table := b.weight(typ, 37, cols), b.weight(typ, 9, cols)
					norm, bias := b.vector(cols), b.vector(cols)
					for _, rows := range []int{1, 3, 8, 21} {
						b.pass([]engine.Span{{Rows: rows}}, func(p engine.Pass) {
							x := b.random(p, rows, cols)
							y := p.Linear(x, w)[0]
							b.read(p, y, p.Norm(x, engine.Norm{Weight: norm, Bias: bias, Eps: 1e-6, Centred: cols > 1}))
							b.read(p, p.Embed(table, make([]int32, rows), 3))
							b.read(p, p.Expect(b.random(p, rows, 9), table, 2))
							b.read(p, p.Affine(p.Clamp(p.Scale(x, 2), -1, 1.5), norm, bias))
						})
					}
				})
			})
		}
	}
}

// TestScalars: a number alone is a weight, whatever its shape.
func TestScalars(t *testing.T) {
	likeRef(t, 1e-6, func(b *bench) {
		for _, shape := range [][]int{{}, {1}, {1, 1}} {
			w := b.vector(shape...)
			b.pass([]engine.Span{{Rows: 3}}, func(p engine.Pass) {
				b.read(p, p.Affine(b.random(p, 3, 1), w, w))
				b.read(p, p.Linear(b.random(p, 3, 1), w)...)
			})
		}
	})
}

// TestEncoders: rows see what comes after them, all of it or so far.
func TestEncoders(t *testing.T) {
	for _, a := range []engine.Attend{
		{Heads: 4, KVHeads: 2, C: 16, Ahead: engine.All},
		{Heads: 3, KVHeads: 3, C: 18, Ahead: engine.All},
		{Heads: 4, KVHeads: 1, C: 72, Ahead: 40, Window: 33},
		{Heads: 2, KVHeads: 1, C: 32, Ahead: 5, Window: 200, SoftCap: 20},
		{Heads: 2, KVHeads: 2, C: 8, Groups: true, Window: 150},
		{Heads: 2, KVHeads: 2, C: 8, Groups: true},
	} {
		for _, rows := range []int{1, 7, 270} {
			t.Run(fmt.Sprintf("%+v/%d", a, rows), func(t *testing.T) {
				a.Scale = 0.3
				likeRef(t, 5e-6, func(b *bench) {
					groups := make([]int32, rows)
					for i := range groups {
						groups[i] = []int32{0, 1, 1, 2, 0, 3, 3}[i*7/rows]
					}
					c := b.NewCache([]engine.CacheLayer{{KVHeads: a.KVHeads, HeadSize: a.C, Keep: engine.Exact, Window: a.Window}})
					for range 2 {
						spans := []engine.Span{{Rows: rows, Groups: groups}, {Cache: c, Rows: rows, Groups: groups}}
						b.pass(spans, func(p engine.Pass) {
							kv := []engine.Tensor{b.random(p, 2*rows, a.KVHeads*a.C), b.random(p, 2*rows, a.KVHeads*a.C)}
							b.read(p, p.Attend(b.random(p, 2*rows, a.Heads*a.C), kv[0], kv[1], a))
							some := a // reads what was stored
							some.Rows = []int{0, rows / 2, rows/2 + 1, 2*rows - 1}
							if rows > 2 {
								b.read(p, p.Attend(b.random(p, 4, a.Heads*a.C), nil, nil, some))
							}
						})
					}
				})
			})
		}
	}
}

// TestRelative: keys are shifted by how far back they are.
func TestRelative(t *testing.T) {
	likeRef(t, 5e-6, func(b *bench) {
		for _, c := range []int{12, 32} {
			b.pass([]engine.Span{{Rows: 180}, {Rows: 30}}, func(p engine.Pass) {
				a := engine.Attend{Heads: 4, KVHeads: 4, C: c, Window: 12, Ahead: 3, Scale: 0.2, SoftCap: 50, Relative: b.random(p, 16, 4*c), Far: 12}
				q, k, v := b.random(p, 210, 4*c), b.random(p, 210, 4*c), b.random(p, 210, 4*c)
				b.read(p, p.Attend(q, k, v, a))
			})
		}
	})
}

// TestSources: what an encoder has made is seen alone and beside a sequence's
// own, once its pass has ended, until another takes its place.
func TestSources(t *testing.T) {
	for _, keep := range []engine.Precision{engine.Exact, engine.Half, engine.Int8} {
		part := map[engine.Precision]float64{engine.Exact: 5e-6, engine.Half: 1e-3, engine.Int8: 1e-2}[keep]
		t.Run(fmt.Sprint(keep), func(t *testing.T) {
			likeRef(t, part, func(b *bench) {
				const width = 2 * 32
				c := b.NewCache([]engine.CacheLayer{{KVHeads: 2, HeadSize: 32, Keep: keep}, {KVHeads: 2, HeadSize: 32, Source: true, Keep: keep}})
				look := func(rows int) {
					b.pass([]engine.Span{{Cache: c, Rows: rows}}, func(p engine.Pass) {
						q, k, v := b.random(p, rows, 2*width), b.random(p, rows, width), b.random(p, rows, width)
						b.read(p, p.Attend(q, k, v, engine.Attend{Heads: 4, KVHeads: 2, C: 32, Scale: 0.2, Beside: 2}))
						b.read(p, p.Attend(q, nil, nil, engine.Attend{Layer: 1, Heads: 4, KVHeads: 2, C: 32, Scale: 0.2, Source: true}))
					})
				}
				look(3) // there is none yet
				for _, rows := range []int{5, 300, 140} {
					store := func(p engine.Pass) {
						p.Attend(nil, b.random(p, rows, width), b.random(p, rows, width), engine.Attend{Layer: 1, Heads: 4, KVHeads: 2, C: 32})
					}
					p := b.Begin(b.Context(), []engine.Span{{Cache: c, Rows: rows, Source: true}})
					store(p)
					p.Discard()
					look(1)
					b.pass([]engine.Span{{Cache: c, Rows: rows, Source: true}}, store)
					for _, n := range []int{1, 6, 150} {
						look(n)
					}
				}
				if err := c.Truncate(2); err != nil {
					b.Fatal(err)
				}
				look(130)
			})
		})
	}
}

// TestBehind: rows before the end read and leave nothing, also in a window.
func TestBehind(t *testing.T) {
	likeRef(t, 5e-6, func(b *bench) {
		a := engine.Attend{Heads: 2, KVHeads: 1, C: 16, Scale: 0.3, Window: 100}
		c := b.NewCache([]engine.CacheLayer{{KVHeads: 1, HeadSize: 16, Keep: engine.Exact, Window: 100}, {State: 16}})
		w := b.vector(16)
		for range 40 {
			b.pass([]engine.Span{{Cache: c, Rows: 17}}, func(p engine.Pass) {
				b.read(p, p.Attend(b.random(p, 17, 32), b.random(p, 17, 16), b.random(p, 17, 16), a))
				b.read(p, p.Recur(b.random(p, 17, 16), b.random(p, 17, 16), b.random(p, 17, 16), engine.Recurrence{Layer: 1, Decay: w}))
			})
			for _, behind := range []int{1, 2, 16} {
				b.pass([]engine.Span{{Cache: c, Rows: 1, Behind: behind}}, func(p engine.Pass) {
					q := p.Heads(b.random(p, 1, 32), engine.Heads{Size: 16, Ropes: []engine.Rope{{Base: 100, Scale: 1}}})
					b.read(p, p.Attend(q, nil, nil, a))
				})
			}
		}
	})
}

// TestScans: recurrences and convolutions go on where the last pass ended, and
// a pass that is given up leaves them.
func TestScans(t *testing.T) {
	for _, width := range []int{5, 320} {
		likeRef(t, 2e-6, func(b *bench) {
			decay, kernels, bias := b.vector(width), b.vector(width, 4), b.vector(width)
			c := b.NewCache([]engine.CacheLayer{{State: width}, {State: 3 * width}})
			run := func(p engine.Pass, rows int) {
				x := b.random(p, rows, width)
				y := p.Conv1D(x, engine.Conv1D{Layer: 1, Weight: kernels, Bias: bias})
				b.read(p, y, p.Recur(y, b.random(p, rows, width), b.random(p, rows, width), engine.Recurrence{Decay: decay}))
			}
			for _, rows := range []int{1, 2, 30, 1} {
				b.pass([]engine.Span{{Rows: 3}, {Cache: c, Rows: rows}}, func(p engine.Pass) { run(p, 3+rows) })
				p := b.Begin(b.Context(), []engine.Span{{Cache: c, Rows: 4}})
				run(p, 4)
				p.Discard()
			}
			if c.Truncate(33) == nil || c.Truncate(c.Len()) != nil || c.Truncate(0) != nil {
				b.Error("a recurrence keeps no past, but can be emptied")
			}
			b.pass([]engine.Span{{Cache: c, Rows: 9}}, func(p engine.Pass) { run(p, 9) })
		})
	}
}

// TestTowers: operations of pictures and sound.
func TestTowers(t *testing.T) {
	likeRef(t, 3e-6, func(b *bench) {
		w := b.weight(checkpoint.F32, 24, 3*3*2)
		conv := engine.Conv2D{Weight: w, In: 2, Out: 24, Size: [2]int{3, 3}, Stride: [2]int{2, 1}, Before: [2]int{1, 2}, After: [2]int{0, 1}, Lengths: []int{9, 1, 40}}
		blocks, norm := b.weight(checkpoint.BF16, 3*20, 37), b.vector(10)
		grid := make([][2]int32, 50)
		for i := range grid {
			grid[i] = [2]int32{int32(i % 7), int32(i / 7)}
		}
		b.pass([]engine.Span{{Rows: 50, Grid: grid}}, func(p engine.Pass) {
			x := b.random(p, 50, 60)
			b.read(p, p.Conv2D(x, conv), p.BlockLinear(x, blocks, 3), p.Sparse(p.Columns(x, 1, 59), 0.5), p.Match(p.Scale(p.Columns(x, 0, 60), 3), x))
			b.read(p, p.CumulativeNorm(x, engine.CumulativeNorm{Weight: norm, Eps: 1e-3, Lengths: []int{9, 1, 40}}))
			b.read(p, p.Mix([]engine.Tensor{x, p.Columns(x, 0, 60)}, b.random(p, 50, 6))...)
			x = p.Put(x, []int{0, 7}, b.random(p, 2, 60))
			b.read(p, x, p.Mean(x, [][]int{{1, 2}, {0}, {3, 4, 49}}))
			ropes := []engine.Rope{{Base: 100, Scale: 1, Size: 10, Axis: engine.Column}, {Base: 100, Scale: 1, From: 10, Size: 10, Axis: engine.Line, Turn: 3}}
			b.read(p, p.Heads(x, engine.Heads{Size: 20, Ropes: ropes}))
			for act := engine.GELUTanh; act <= engine.Sigmoid; act++ {
				y := p.Gate(b.random(p, 50, 60), nil, act)
				b.read(p, y, p.Gate(b.random(p, 50, 60), y, act))
			}
		})
	})
}

// TestPictures: convolutions of rows that are places, of channels in groups and
// alone.
func TestPictures(t *testing.T) {
	for _, c := range []engine.Conv2D{
		{In: 6, Out: 40, Size: [2]int{3, 3}, Stride: [2]int{1, 1}, Before: [2]int{1, 1}, After: [2]int{1, 1}, Places: 9},
		{In: 8, Out: 12, Size: [2]int{2, 5}, Stride: [2]int{2, 3}, Before: [2]int{0, 2}, After: [2]int{1, 2}, Places: 11, Groups: 2},
		{In: 20, Out: 20, Size: [2]int{5, 5}, Stride: [2]int{2, 2}, Before: [2]int{2, 2}, After: [2]int{2, 2}, Places: 13, Groups: 20},
		{In: 32, Out: 32, Size: [2]int{3, 3}, Stride: [2]int{1, 1}, Before: [2]int{1, 1}, After: [2]int{1, 1}, Groups: 32},
		{In: 3, Out: 6, Size: [2]int{1, 1}, Stride: [2]int{1, 1}, Places: 5, Groups: 3},
	} {
		t.Run(fmt.Sprintf("%d to %d in %d", c.In, c.Out, c.Groups), func(t *testing.T) {
			likeRef(t, 3e-6, func(b *bench) {
				c.Lengths = []int{7, 1, 12}
				c.Weight = b.weight(checkpoint.F16, c.Out, c.In/max(1, c.Groups)*c.Size[0]*c.Size[1])
				rows, width := 20, 10*c.In
				if c.Places > 0 {
					rows, width = 20*c.Places, c.In
				}
				b.pass([]engine.Span{{Rows: rows}}, func(p engine.Pass) { b.read(p, p.Conv2D(b.random(p, rows, width), c)) })
			})
		})
	}
}

// TestNoNumber: what is not a number is not made one.
func TestNoNumber(t *testing.T) {
	for _, set := range kernel.All() {
		b := &bench{T: t, Engine: open(t, cpu.Options{Kernels: set.Name, Threads: 1})}
		nan := math.Float32frombits(0xffc00000) // as the processor makes it
		row := make([]float32, 64)
		row[5] = nan
		b.pass([]engine.Span{{Rows: 1}}, func(p engine.Pass) {
			for name, y := range map[string]engine.Tensor{
				"ReLU": p.Gate(p.Write(row, 64), nil, engine.ReLU), "SiLU": p.Gate(p.Write(row, 64), nil, engine.SiLU), "GELU": p.Gate(p.Write(row, 64), nil, engine.GELU),
				"Sparse": p.Sparse(p.Write(row, 64), 1), "Clamp": p.Clamp(p.Write(row, 64), -1, 1), "Scale": p.Scale(p.Write(row, 64), 2),
			} {
				got := make([]float32, 64)
				if p.Read(y, got); got[5] == got[5] {
					t.Errorf("%s: %s of what is not a number is %v", set.Name, name, got[5])
				}
			}
		})
	}
}

// TestExperts: rows go to their experts, few or many, in quantised weights too.
func TestExperts(t *testing.T) {
	for _, typ := range []checkpoint.Type{checkpoint.F32, checkpoint.BF16, checkpoint.Q8_0, checkpoint.Q4_0} {
		likeRef(t, 1e-3, func(b *bench) {
			e := engine.Experts{GateUp: b.weight(typ, 12*2*64, 96), Down: b.weight(typ, 12*96, 64), Scale: b.vector(12), Count: 12, Top: 3}
			for _, rows := range []int{1, 2, 5, 60} {
				b.pass([]engine.Span{{Rows: rows}}, func(p engine.Pass) {
					b.read(p, p.Experts(b.random(p, rows, 96), b.random(p, rows, 12), e))
				})
			}
		})
	}
}

package cpu_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/engine"
	"lapidary/engine/cpu"
	"lapidary/engine/cpu/kernel"
)

// gflops reports multiply-adds, of which an iteration has so many.
func gflops(b *testing.B, macs int) {
	b.ReportMetric(float64(macs)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GMAC/s")
}

// BenchmarkProduct is the float product on what lies in the first-level cache:
// what the other figures are held against.
func BenchmarkProduct(b *testing.B) {
	for _, set := range kernel.All() {
		b.Run(set.Name, func(b *testing.B) {
			const k = 128
			x, w, y := make([]float32, 8*k), make([]float32, k*set.NR), make([]float32, 8*set.NR)
			m := set.Rows[0]
			for b.Loop() {
				for range 100 {
					set.MulF32(m, &x[0], k, &w[0], set.NR, &y[0], set.NR, k)
				}
			}
			gflops(b, 100*m*k*set.NR)
		})
	}
}

// BenchmarkTower is what a tower for pictures multiplies.
func BenchmarkTower(b *testing.B) {
	const rows, width, heads, c = 1024, 1152, 16, 72
	rng := rand.New(rand.NewPCG(1, 2))
	for _, set := range kernel.All()[:2] {
		e, err := cpu.New(cpu.Options{Kernels: set.Name, Threads: 1})
		if err != nil {
			b.Fatal(err)
		}
		x := make([]float32, rows*width)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		for _, typ := range []checkpoint.Type{checkpoint.F32, checkpoint.F16, checkpoint.BF16, checkpoint.Q8_0} {
			w, err := e.Load(checkpointtest.RandomTensor(rng, typ, 2048, width))
			if err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("%s/Linear/%s", set.Name, typ), func(b *testing.B) {
				for b.Loop() {
					p := e.Begin(b.Context(), []engine.Span{{Rows: rows}})
					p.Linear(p.Write(x, width), w)
					p.Discard()
				}
				gflops(b, rows*width*2048)
			})
		}
		for _, n := range []int{256, rows, 4096} {
			b.Run(fmt.Sprintf("%s/Attend/%d", set.Name, n), func(b *testing.B) {
				for b.Loop() {
					p := e.Begin(b.Context(), []engine.Span{{Rows: n}})
					q, _ := p.Write(x[:min(n, rows)*width], width), 0
					if n > rows {
						all := make([]float32, n*width)
						for i := range all {
							all[i] = x[i%len(x)]
						}
						q = p.Write(all, width)
					}
					p.Attend(q, q, q, engine.Attend{Heads: heads, KVHeads: heads, C: c, Scale: 0.1, Ahead: engine.All})
					p.Discard()
				}
				gflops(b, 2*n*n*width)
			})
		}
		e.Close()
	}
}

// BenchmarkRows are operations that only a few families have, in the sizes they
// have there.
func BenchmarkRows(b *testing.B) {
	const rows = 512
	rng := rand.New(rand.NewPCG(1, 2))
	e, err := cpu.New(cpu.Options{Threads: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	weight := func(typ checkpoint.Type, rows, cols int) engine.Weight {
		w, err := e.Load(checkpointtest.RandomTensor(rng, typ, rows, cols))
		if err != nil {
			b.Fatal(err)
		}
		return w
	}
	data := make([]float32, rows*16384)
	for i := range data {
		data[i] = float32(rng.NormFloat64())
	}
	// bench runs f on so many random tensors of rows of a width; the time of
	// making them is not counted.
	bench := func(name string, rows, width, n int, f func(p engine.Pass, xs []engine.Tensor)) {
		b.Run(fmt.Sprintf("%s/%dx%d", name, rows, width), func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				p := e.Begin(b.Context(), []engine.Span{{Rows: rows}})
				xs := make([]engine.Tensor, n)
				for i := range xs {
					xs[i] = p.Write(data[:rows*width], width)
				}
				b.StartTimer()
				f(p, xs)
				b.StopTimer()
				p.Discard()
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows*width), "ns/element")
		})
	}
	decay, kernels := weight(checkpoint.F32, 1, 2560), weight(checkpoint.F32, 2560, 4)
	blocks := weight(checkpoint.BF16, 2560, 256)
	for _, n := range []int{1, rows} {
		bench("Recur", n, 2560, 3, func(p engine.Pass, x []engine.Tensor) { p.Recur(x[0], x[1], x[2], engine.Recurrence{Decay: decay}) })
		bench("Conv1D", n, 2560, 1, func(p engine.Pass, x []engine.Tensor) { p.Conv1D(x[0], engine.Conv1D{Weight: kernels}) })
		bench("BlockLinear", n, 2560, 1, func(p engine.Pass, x []engine.Tensor) { p.BlockLinear(x[0], blocks, 10) })
		bench("Sparse", n, 16384, 1, func(p engine.Pass, x []engine.Tensor) { p.Sparse(x[0], 1.6) })
		bench("Mix", n, 2048, 4, func(p engine.Pass, x []engine.Tensor) { p.Mix(x, p.Write(data[:n*16], 16)) })
		bench("Clamp", n, 2048, 1, func(p engine.Pass, x []engine.Tensor) { p.Clamp(x[0], -8, 8) })
		bench("Add", n, 2048, 2, func(p engine.Pass, x []engine.Tensor) { p.Add(x[0], x[1]) })
		bench("Norm", n, 2048, 1, func(p engine.Pass, x []engine.Tensor) { p.Norm(p.Norm(x[0], engine.Norm{}), engine.Norm{}) })
		bench("Centred", n, 2048, 1, func(p engine.Pass, x []engine.Tensor) {
			p.Norm(p.Norm(x[0], engine.Norm{Centred: true}), engine.Norm{})
		})
		for act := engine.GELUTanh; act <= engine.Sigmoid; act++ {
			bench(fmt.Sprintf("Gate/%d", act), n, 2048, 1, func(p engine.Pass, x []engine.Tensor) { p.Norm(p.Gate(x[0], nil, act), engine.Norm{}) })
		}
	}
	bench("CumulativeNorm", rows, 8192, 1, func(p engine.Pass, x []engine.Tensor) {
		p.CumulativeNorm(x[0], engine.CumulativeNorm{Weight: weight(checkpoint.F32, 1, 128), Lengths: []int{rows}})
	})
	conv := weight(checkpoint.F32, 32, 1152)
	bench("Conv2D", rows, 8192, 1, func(p engine.Pass, x []engine.Tensor) {
		p.Conv2D(x[0], engine.Conv2D{Weight: conv, In: 128, Out: 32, Size: [2]int{3, 3}, Stride: [2]int{2, 2}, Before: [2]int{1, 1}, After: [2]int{1, 1}, Lengths: []int{rows}})
	})
	single, square := weight(checkpoint.F32, 512, 25), weight(checkpoint.F32, 128, 64*9)
	bench("Depthwise", 48*48, 512, 1, func(p engine.Pass, x []engine.Tensor) {
		p.Conv2D(x[0], engine.Conv2D{Weight: single, In: 512, Out: 512, Groups: 512, Places: 48, Size: [2]int{5, 5}, Stride: [2]int{1, 1}, Before: [2]int{2, 2}, After: [2]int{2, 2}, Lengths: []int{48}})
	})
	bench("Picture", 64*64, 64, 1, func(p engine.Pass, x []engine.Tensor) {
		p.Conv2D(x[0], engine.Conv2D{Weight: square, In: 64, Out: 128, Places: 64, Size: [2]int{3, 3}, Stride: [2]int{1, 1}, Before: [2]int{1, 1}, After: [2]int{1, 1}, Lengths: []int{64}})
	})
	moe := engine.Experts{GateUp: weight(checkpoint.Q4_0, 128*2*704, 2816), Down: weight(checkpoint.Q8_0, 128*2816, 704), Count: 128, Top: 8}
	for _, n := range []int{1, 8, 64, rows} {
		bench("Experts", n, 2816, 1, func(p engine.Pass, x []engine.Tensor) { p.Experts(x[0], p.Write(data[len(data)-n*128:], 128), moe) })
	}
	table := weight(checkpoint.Q8_0, 8192, 2048)
	for _, n := range []int{1, 256} {
		bench("Expect", n, 8192, 1, func(p engine.Pass, x []engine.Tensor) { p.Expect(x[0], table, 1) })
	}
}

// BenchmarkLayer is one layer of a tower for pictures, with all between its
// products.
func BenchmarkLayer(b *testing.B) {
	const rows, width, heads, c, feed = 1024, 1152, 16, 72, 4304
	rng := rand.New(rand.NewPCG(1, 2))
	for _, set := range kernel.All()[:2] {
		e, err := cpu.New(cpu.Options{Kernels: set.Name, Threads: 1})
		if err != nil {
			b.Fatal(err)
		}
		weight := func(rows, cols int) engine.Weight {
			w, err := e.Load(checkpointtest.RandomTensor(rng, checkpoint.BF16, rows, cols))
			if err != nil {
				b.Fatal(err)
			}
			return w
		}
		q, k, v, o := weight(width, width), weight(width, width), weight(width, width), weight(width, width)
		up, down, narrow, wide := weight(feed, width), weight(width, feed), weight(1, width), weight(1, feed)
		data := make([]float32, rows*width)
		for i := range data {
			data[i] = float32(rng.NormFloat64())
		}
		grid := make([][2]int32, rows)
		for i := range grid {
			grid[i] = [2]int32{int32(i % 32), int32(i / 32)}
		}
		norm := engine.Norm{Weight: narrow, Bias: narrow, Eps: 1e-6, Centred: true}
		turned := engine.Heads{Size: c, Ropes: []engine.Rope{{Base: 100, Scale: 1, Size: c / 2, Axis: engine.Column}, {Base: 100, Scale: 1, From: c / 2, Size: c / 2, Axis: engine.Line}}}
		b.Run(set.Name, func(b *testing.B) {
			for b.Loop() {
				p := e.Begin(b.Context(), []engine.Span{{Rows: rows, Grid: grid}})
				x := p.Write(data, width)
				qkv := p.Linear(p.Norm(x, norm), q, k, v)
				for i := range qkv {
					qkv[i] = p.Affine(p.Clamp(qkv[i], -100, 100), nil, narrow)
				}
				y := p.Attend(p.Heads(qkv[0], turned), p.Heads(qkv[1], turned), qkv[2], engine.Attend{Heads: heads, KVHeads: heads, C: c, Scale: 0.1, Ahead: engine.All})
				x = p.Add(x, p.Affine(p.Linear(y, o)[0], nil, narrow))
				h := p.Gate(p.Affine(p.Linear(p.Norm(x, norm), up)[0], nil, wide), nil, engine.GELUTanh)
				p.Add(x, p.Affine(p.Linear(h, down)[0], nil, narrow))
				p.Discard()
			}
			gflops(b, rows*(4*width*width+2*width*feed+2*rows*width))
		})
		e.Close()
	}
}

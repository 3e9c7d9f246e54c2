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

package cpu_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"lapidary/checkpoint"
	"lapidary/engine"
	"lapidary/engine/cpu"
	"lapidary/engine/cpu/kernel"
)

// TestFewRowsOfEverything: up to eight rows of a sequence in one pass give what
// a pass for each gives, to the bit, in the operations that are not part of
// every family as well.
func TestFewRowsOfEverything(t *testing.T) {
	const width = 64
	rows := 1100
	if raced {
		rows = 200 // ten times as slow, and not about bits
	}
	for _, set := range kernel.All() {
		b := &bench{T: t, Engine: open(t, cpu.Options{Kernels: set.Name, Threads: 2}), rng: rand.New(rand.NewPCG(5, 6))}
		run := everything(b, width)
		layers := []engine.CacheLayer{{KVHeads: 1, HeadSize: 32, Window: 500}, {State: width}, {State: 3 * width}, {KVHeads: 1, HeadSize: 32, Source: true}}
		together, alone := b.NewCache(layers), b.NewCache(layers)
		source := b.normals(300 * 32)
		for _, c := range []engine.Cache{together, alone} {
			b.pass([]engine.Span{{Cache: c, Rows: 300, Source: true}}, func(p engine.Pass) {
				p.Attend(nil, p.Write(source, 32), p.Write(source, 32), engine.Attend{Layer: 3, Heads: 2, KVHeads: 1, C: 32})
			})
		}
		for at := 0; at < rows; {
			n := []int{90, 8, 3, 8, 5, 2, 7, 4}[at%8]
			x := b.normals(n * width)
			want := run(together, x)
			if n > 8 { // in both the same way
				run(alone, x)
				at += n
				continue
			}
			for i := range n {
				got := run(alone, x[i*width:(i+1)*width])
				if !slices.Equal(got, want[i*len(got):(i+1)*len(got)]) {
					t.Fatalf("%s: row %d of %d from position %d differs from the same row alone", set.Name, i, n, at)
				}
			}
			at += n
		}
	}
}

// everything returns a pass over rows of x, in which each operation takes what
// the one before has left, and its result.
func everything(b *bench, width int) func(c engine.Cache, x []float32) []float32 {
	square, odd, even := b.weight(checkpoint.Q8_0, width, width), b.weight(checkpoint.F32, 12, width), b.weight(checkpoint.BF16, width, 12)
	blocks, kernels, vector := b.weight(checkpoint.F16, width, width/4), b.vector(width, 4), b.vector(width)
	router := b.weight(checkpoint.F32, 6, width)
	moe := engine.Experts{GateUp: b.weight(checkpoint.Q4_0, 6*2*32, width), Down: b.weight(checkpoint.Q8_0, 6*width, 32), Count: 6, Top: 2, Activation: engine.SiLU}
	norm := engine.Norm{Weight: vector, Bias: vector, Eps: 1e-5, Centred: true}
	attend := engine.Attend{Heads: 2, KVHeads: 1, C: 32, Window: 500, Scale: 0.2, Beside: 4}
	return func(c engine.Cache, x []float32) (out []float32) {
		rows := len(x) / width
		b.pass([]engine.Span{{Cache: c, Rows: rows}}, func(p engine.Pass) {
			x := p.Norm(p.Write(x, width), norm)
			q := p.Linear(x, square)[0]
			kv := p.Columns(q, 0, 32)
			x = p.Attend(q, kv, kv, attend)
			x = p.Conv1D(x, engine.Conv1D{Layer: 2, Weight: kernels, Bias: vector})
			gate := p.BlockLinear(x, blocks, 4)
			x = p.Recur(x, gate, p.Scale(p.Columns(gate, 0, width), 2), engine.Recurrence{Layer: 1, Decay: vector})
			x = p.Norm(x, norm)
			x = p.Experts(x, p.Linear(x, router)[0], moe)
			x = p.Norm(p.Linear(p.Linear(x, odd)[0], even)[0], norm)
			mixed := p.Mix([]engine.Tensor{x, p.Columns(x, 0, width)}, p.Columns(x, 3, 6))
			x = p.Match(p.Sparse(p.Clamp(mixed[2], -3, 3), 0.1), mixed[0])
			x = p.Affine(p.Gate(x, nil, engine.Tanh), vector, vector)
			out = make([]float32, rows*width)
			p.Read(x, out)
		})
		return out
	}
}

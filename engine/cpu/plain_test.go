package cpu_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/engine"
	"lapidary/engine/cpu"
	"lapidary/engine/cpu/kernel"
	"lapidary/engine/ref"
)

// bench is an engine with numbers that are the same for every engine.
type bench struct {
	*testing.T
	engine.Engine
	rng *rand.Rand
	out []float32
}

func (b *bench) normals(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(b.rng.NormFloat64())
	}
	return x
}

func (b *bench) random(p engine.Pass, rows, width int) engine.Tensor {
	return p.Write(b.normals(rows*width), width)
}

func (b *bench) weight(t checkpoint.Type, rows, cols int) engine.Weight {
	return b.load(checkpointtest.RandomTensor(b.rng, t, rows, cols))
}

func (b *bench) vector(shape ...int) engine.Weight {
	n := 1
	for _, s := range shape {
		n *= s
	}
	return b.load(checkpointtest.FloatTensor("vector", b.normals(n), shape...))
}

func (b *bench) load(t checkpoint.Tensor) engine.Weight {
	b.Helper()
	w, err := b.Load(t)
	if err != nil {
		b.Fatal(err)
	}
	return w
}

func (b *bench) read(p engine.Pass, xs ...engine.Tensor) {
	for _, x := range xs {
		rows, width := x.Dims()
		y := make([]float32, rows*width)
		p.Read(x, y)
		b.out = append(b.out, y...)
	}
}

// pass runs operations over rows of spans.
func (b *bench) pass(spans []engine.Span, run func(p engine.Pass)) {
	b.Helper()
	p := b.Begin(b.Context(), spans)
	run(p)
	if err := p.End(); err != nil {
		b.Fatal(err)
	}
}

// likeRef runs an experiment on the plain engine and on every set of kernels;
// what it reads may be off by a part of the greatest.
func likeRef(t *testing.T, part float64, run func(b *bench)) {
	t.Helper()
	results := func(t *testing.T, e engine.Engine) []float32 {
		b := &bench{T: t, Engine: e, rng: rand.New(rand.NewPCG(3, 4))}
		run(b)
		return b.out
	}
	want := results(t, ref.New())
	var top float64
	for _, v := range want {
		top = max(top, math.Abs(float64(v)))
	}
	for _, set := range kernel.All() {
		t.Run(set.Name, func(t *testing.T) {
			got := results(t, open(t, cpu.Options{Kernels: set.Name, Threads: 3}))
			if len(got) != len(want) || len(got) == 0 {
				t.Fatalf("%d numbers, want %d", len(got), len(want))
			}
			for i, v := range want {
				if diff := math.Abs(float64(got[i] - v)); !(diff <= part*top) {
					t.Fatalf("number %d of %d is %v, want %v", i, len(want), got[i], v)
				}
			}
		})
	}
}

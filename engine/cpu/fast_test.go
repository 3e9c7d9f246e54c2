package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/engine"
	"lapidary/engine/cpu/kernel"
)

// TestFastPrompts: without second digits many rows are off by no more than the
// rounding that is allowed, blocks with an outlier keep theirs, a row does not
// depend on its neighbours, and a few rows are what they always are.
func TestFastPrompts(t *testing.T) {
	const rows, cols, outputs = 30, 640, 96
	rng := rand.New(rand.NewPCG(1, 2))
	stored := checkpointtest.RandomTensor(rng, checkpoint.Q5_0, outputs, cols)
	x := make([]float32, rows*cols)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
		if i%cols == 77 {
			x[i] *= 1000
		}
	}
	for _, set := range kernel.All() {
		if set.Extent == nil {
			continue
		}
		multiply := func(fast bool, x []float32) []float32 {
			e, err := New(Options{Kernels: set.Name, FastPrompts: fast, Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			w, err := e.Load(stored)
			if err != nil {
				t.Fatal(err)
			}
			p := e.Begin(t.Context(), []engine.Span{{Rows: len(x) / cols}})
			y := make([]float32, len(x)/cols*outputs)
			p.Read(p.Linear(p.Write(x, cols), w)[0], y)
			p.Discard()
			return y
		}
		exact, fast := multiply(false, x), multiply(true, x)
		if slices.Equal(exact, fast) {
			t.Errorf("%s: nothing was left out", set.Name)
		}
		var off, size float64
		for i := range exact {
			off, size = off+math.Pow(float64(fast[i]-exact[i]), 2), size+math.Pow(float64(exact[i]), 2)
		}
		if r := math.Sqrt(off / size); r > 0.01 {
			t.Errorf("%s: off by %.4f of the size; an outlier of 1000 leaves no room for one digit in its block", set.Name, r)
		}
		if few := multiply(true, x[:8*cols]); !slices.Equal(few, multiply(false, x[:8*cols])) {
			t.Errorf("%s: eight rows are not exact", set.Name)
		}
		x2 := slices.Clone(x)
		for i := range x2 {
			if i/cols != 13 {
				x2[i] = float32(rng.NormFloat64() * 3)
			}
		}
		if other := multiply(true, x2); !slices.Equal(other[13*outputs:14*outputs], fast[13*outputs:14*outputs]) {
			t.Errorf("%s: a row depends on its neighbours", set.Name)
		}
	}
}

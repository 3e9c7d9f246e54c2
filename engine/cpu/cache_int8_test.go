package cpu

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"lapidary/engine/cpu/kernel"
)

// TestSpread: a rotation keeps every product, is undone, and leaves of a single
// great element a share in as many as it reaches.
func TestSpread(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, set := range kernel.All() {
		for _, c := range []struct{ size, reach int }{{6, 1}, {24, 1}, {16, 2}, {48, 2}, {80, 2}, {96, 4}, {128, 16}, {256, 32}, {512, 64}, {2048, 128}} {
			x, y := make([]float32, c.size), make([]float32, c.size)
			for i := range x {
				x[i], y[i] = float32(rng.NormFloat64()), float32(rng.NormFloat64())
			}
			before, want := slices.Clone(x), dotOf(x, y)
			spread(set, x)
			spread(set, y)
			if got := dotOf(x, y); math.Abs(got-want) > 1e-5*float64(c.size) {
				t.Errorf("%s: a product of heads of %d is %v, %v before they were turned", set.Name, c.size, got, want)
			}
			gather(set, x)
			for i := range x {
				if math.Abs(float64(x[i]-before[i])) > 1e-5 {
					t.Errorf("%s: element %d of %d comes back as %v, was %v", set.Name, i, c.size, x[i], before[i])
				}
			}
			single := make([]float32, c.size)
			single[c.size/2] = 1
			spread(set, single)
			reached := 0
			for _, v := range single {
				if math.Abs(float64(v)) > 1e-6 {
					reached++
				}
			}
			if reached != c.reach {
				t.Errorf("%s: one element of %d has a share in %d, want %d", set.Name, c.size, reached, c.reach)
			}
		}
	}
}

func dotOf(x, y []float32) (sum float64) {
	for i := range x {
		sum += float64(x[i]) * float64(y[i])
	}
	return sum
}

// TestCodes: the greatest has code 127, the others are at most half a scale
// off, and what codes can hold they hold.
func TestCodes(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	codes, scales := make([]int8, 64), make([]float32, 2)
	for _, size := range []float64{1e-35, 1e-20, 1, 1e20, 1e37} {
		x := make([]float32, 64)
		for i := range x {
			x[i] = float32(rng.NormFloat64() * size)
		}
		toCodes(codes, scales, x)
		for i, v := range x {
			scale := float64(scales[i/32])
			if off := math.Abs(float64(v) - scale*float64(codes[i])); off > 0.5001*scale {
				t.Errorf("%v has the code %d of %v: %v off", v, codes[i], scale, off)
			}
		}
		for _, part := range [][]int8{codes[:32], codes[32:]} {
			if greatest := max(slices.Max(part), -slices.Min(part)); greatest != greatestCode {
				t.Errorf("the greatest of codes %d is %d", part, greatest)
			}
		}
	}
	exact := make([]float32, 64)
	for i := range exact {
		exact[i] = float32(4*i-127) / 8
	}
	toCodes(codes, scales, exact)
	for i, v := range exact[:32] {
		if got := scales[0] * float32(codes[i]); got != v {
			t.Errorf("%v became %v", v, got)
		}
	}
}

// TestCodesOfNothing: zeros, what is too small, and what is no number.
func TestCodesOfNothing(t *testing.T) {
	codes, scales := make([]int8, 16), make([]float32, 1)
	for _, v := range []float64{0, 1e-44, -1e-38} {
		x := slices.Repeat([]float32{float32(v)}, 16)
		if toCodes(codes, scales, x); scales[0] != 0 || slices.Max(codes) != 0 || slices.Min(codes) != 0 {
			t.Errorf("%v: codes %d of %v, want nothing", v, codes, scales[0])
		}
	}
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		x := make([]float32, 16)
		x[3] = float32(v)
		if toCodes(codes, scales, x); !(scales[0] > math.MaxFloat32) && scales[0] == scales[0] {
			t.Errorf("%v: the scale is %v, want no number either", v, scales[0])
		}
	}
}

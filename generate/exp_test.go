package generate

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestExp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	worst := 0.0
	for range 1_000_000 {
		x := -60 * r.Float64()
		want := math.Exp(x)
		worst = max(worst, math.Abs(exp(x)-want)/want)
	}
	t.Logf("worst relative error %.2g", worst)
	if worst > 1e-10 {
		t.Errorf("exp is off by %g of its value", worst)
	}
	if exp(0) != 1 {
		t.Errorf("exp(0) = %v", exp(0))
	}
	for _, x := range []float64{math.Inf(-1), -61, math.NaN()} {
		if exp(x) != 0 {
			t.Errorf("exp(%v) = %v, want 0", x, exp(x))
		}
	}
}

func BenchmarkSumExp(b *testing.B) {
	logits := randomLogits(262144, 1)
	b.Run("own", func(b *testing.B) {
		for range b.N {
			sumExp(logits, 30, 1)
		}
	})
	b.Run("math", func(b *testing.B) {
		for range b.N {
			s := 0.0
			for _, x := range logits {
				s += math.Exp(float64(x - 30))
			}
			_ = s
		}
	})
}

// randomLogits resembles a language model's: most tokens far below a few.
func randomLogits(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 0))
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(5*r.NormFloat64() - 2)
	}
	return v
}

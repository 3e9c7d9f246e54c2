package ref_test

import (
	"math"
	"testing"

	"lapidary/engine"
)

func TestElementwise(t *testing.T) {
	pass(t, nil, 2, func(p engine.Pass) {
		x := func() engine.Tensor { return p.Write([]float32{1, -2, 3, 4}, 2) }
		by, plus := load(t, []float32{2, 10}, 2), load(t, []float32{0.5, -1}, 2)
		expect(t, "x·by + plus", p, p.Affine(x(), by, plus), 2, 2.5, -21, 6.5, 39)
		expect(t, "x·by", p, p.Affine(x(), by, nil), 2, 2, -20, 6, 40)
		expect(t, "x + plus", p, p.Affine(x(), nil, plus), 2, 1.5, -3, 3.5, 3)
		expect(t, "x·−½", p, p.Scale(x(), -0.5), 2, -0.5, 1, -1.5, -2)
		expect(t, "between −1 and 3.5", p, p.Clamp(x(), -1, 3.5), 2, 1, -1, 3, 3.5)
	})
}

// Mean 1 and deviation √3; then mean 2 and deviation 1.
func TestSparse(t *testing.T) {
	pass(t, nil, 2, func(p engine.Pass) {
		x := func() engine.Tensor { return p.Write([]float32{0, 0, 0, 4, 1, 3, 1, 3}, 4) }
		expect(t, "beyond one deviation", p, p.Sparse(x(), 1), 4, 0, 0, 0, 1.2679492, 0, 0, 0, 0)
		expect(t, "beyond the mean", p, p.Sparse(x(), 0), 4, 0, 0, 0, 3, 0, 1, 0, 1)
		expect(t, "beyond one below", p, p.Sparse(x(), -1), 4, 0.7320508, 0.7320508, 0.7320508, 4.7320508, 0, 2, 0, 2)
	})
}

func TestMix(t *testing.T) {
	pass(t, nil, 2, func(p engine.Pass) {
		a, b := p.Write([]float32{1, 2, 3, 4}, 2), p.Write([]float32{10, 20, 30, 40}, 2)
		ys := p.Mix([]engine.Tensor{a, b}, p.Write([]float32{1, 2, 3, 0, -1, 1, 0, 0, 1, 1, 0.5, 0.5}, 6))
		if len(ys) != 3 {
			t.Fatalf("%d sums, want 3", len(ys))
		}
		expect(t, "a + 2b and nothing", p, ys[0], 2, 21, 42, 0, 0)
		expect(t, "3a and a + b", p, ys[1], 2, 3, 6, 33, 44)
		expect(t, "b − a and the mean", p, ys[2], 2, 9, 18, 16.5, 22)
	})
}

// Mean squares of 12.5 to 25, of 0 to 25, and of 5e-7, which counts as 1e-5, to 1.
func TestMatch(t *testing.T) {
	pass(t, nil, 3, func(p engine.Pass) {
		like := p.Write([]float32{1, 7, 5, 5, 1, -1}, 2)
		expect(t, "sizes", p, p.Match(p.Write([]float32{3, 4, 0, 0, 1e-3, 0}, 2), like), 2,
			4.2426407, 5.6568542, 0, 0, 0.31622777, 0)
	})
}

func TestRowsAndColumns(t *testing.T) {
	pass(t, nil, 3, func(p engine.Pass) {
		x := func() engine.Tensor { return p.Write([]float32{1, 2, 3, 4, 5, 6, 7, 8, 9}, 3) }
		expect(t, "rows 0 and 2 put", p, p.Put(x(), []int{0, 2}, p.Write([]float32{-1, -2, -3, -4, -5, -6}, 3)), 3, -1, -2, -3, 4, 5, 6, -4, -5, -6)
		expect(t, "none put", p, p.Put(x(), nil, nil), 3, 1, 2, 3, 4, 5, 6, 7, 8, 9)
		expect(t, "columns 1 and 2", p, p.Columns(x(), 1, 2), 2, 2, 3, 5, 6, 8, 9)
		expect(t, "means", p, p.Mean(x(), [][]int{{0, 2}, {1}, {2, 1, 0, 0}}), 3, 4, 5, 6, 4, 5, 6, 3.25, 4.25, 5.25)
	})
}

// Logits of 0 and ln 3 are probabilities of ¼ and ¾.
func TestExpect(t *testing.T) {
	pass(t, nil, 2, func(p engine.Pass) {
		table := load(t, []float32{4, 8, -4, 12}, 2, 2)
		x := p.Write([]float32{0, float32(math.Log(3)), 0, 200}, 2)
		expect(t, "ten times a mean", p, p.Expect(x, table, 10), 2, -20, 110, -40, 120)
	})
}

// Two blocks of two inputs and three outputs, the inputs' rows below each other.
func TestBlockLinear(t *testing.T) {
	w := load(t, []float32{1, 2, 3, 10, 20, 30, -1, 0, 1, 5, 5, 5}, 4, 3)
	pass(t, nil, 2, func(p engine.Pass) {
		x := p.Write([]float32{1, 2, 3, 4, 0, 1, 1, 0}, 4)
		expect(t, "each part by its own", p, p.BlockLinear(x, w, 2), 6, 21, 42, 63, 17, 20, 23, 10, 20, 30, -1, 0, 1)
	})
}

// Scores with probabilities of 0.1, 0.3 and 0.6; of two the third counts ⅔ and
// the second ⅓. For the row (1, 2) the second has max(0, 1)·2 of (10, 20), the
// third max(0, 3)·(−1) of (1, 2), the first max(0, −1)·… of (100, 100).
func TestExperts(t *testing.T) {
	log := func(x float64) float32 { return float32(math.Log(x)) }
	e := engine.Experts{
		GateUp: load(t, []float32{-1, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, -1}, 6, 2), Down: load(t, []float32{100, 100, 10, 20, 1, 2}, 6, 1),
		Count: 3, Top: 2, Activation: engine.ReLU,
	}
	pass(t, nil, 2, func(p engine.Pass) {
		x, scores := p.Write([]float32{1, 2, 1, 2}, 2), p.Write([]float32{log(1), log(3), log(6), 8, 2, 1}, 3)
		expect(t, "two of three", p, p.Experts(p.Pick(x, []int{0}), p.Pick(scores, []int{0}), e), 2, 14./3, 28./3)
		e.Scale = load(t, []float32{7, 3, 0.5}, 3)
		expect(t, "scaled", p, p.Experts(p.Pick(x, []int{0}), p.Pick(scores, []int{0}), e), 2, 19, 38)
		e.Scale, e.Top = nil, 1
		expect(t, "one of three", p, p.Experts(x, scores, e), 2, -3, -6, 0, 0)
		equal := p.Write([]float32{0, 5, 5, 5, 5, 0}, 3)
		expect(t, "of equals the first", p, p.Experts(x, equal, e), 2, 20, 40, 0, 0)
	})
	// Gate rows 1 and 2, then 3 and 4: 1·3 and 2·4 of 1 and 10.
	two := engine.Experts{GateUp: load(t, []float32{1, 2, 3, 4}, 4, 1), Down: load(t, []float32{1, 10}, 1, 2), Count: 1, Top: 1, Activation: engine.ReLU}
	pass(t, nil, 1, func(p engine.Pass) {
		expect(t, "the gate's rows come first", p, p.Experts(p.Write([]float32{1}, 1), p.Write([]float32{-9}, 1), two), 1, 83)
	})
}

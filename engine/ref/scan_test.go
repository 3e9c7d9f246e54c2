package ref_test

import (
	"testing"

	"lapidary/engine"
	"lapidary/engine/ref"
)

// A decay d with softplus(d) = ln(2)/4 makes a ½ where forget is 0 and 1/√2
// where it is −ln 3, whose sigmoid is ¼. So column 0 halves what it has and adds
// √¾·½·x, column 1 adds 1/√2·¾·x to 1/√2 of what it has; the first row adds ½·x
// and ¾·x.
const (
	decay = -1.6649131 // python3 -c 'import math; print(math.log(2**.25 - 1))'
	log3  = 1.0986123
)

func TestRecur(t *testing.T) {
	r := engine.Recurrence{Decay: load(t, []float32{decay, decay}, 2)}
	run := func(p engine.Pass, x ...float32) engine.Tensor {
		var in, forget []float32
		for range len(x) / 2 {
			in, forget = append(in, 0, log3), append(forget, 0, -log3)
		}
		return p.Recur(p.Write(x, 2), p.Write(in, 2), p.Write(forget, 2), r)
	}
	pass(t, nil, 3, func(p engine.Pass) {
		expect(t, "three rows", p, run(p, 2, 4, 4, 0, 8, 8), 2, 1, 3, 2.2320508, 2.1213203, 4.580127, 5.7426407)
	})
	p := ref.New().Begin(t.Context(), []engine.Span{{Rows: 1}, {Rows: 2}})
	expect(t, "two sequences", p, run(p, 2, 4, 2, 4, 4, 0), 2, 1, 3, 1, 3, 2.2320508, 2.1213203)
	end(t, p)

	c := ref.New().NewCache([]engine.CacheLayer{{State: 2}})
	pass(t, c, 1, func(p engine.Pass) { expect(t, "the first row", p, run(p, 2, 4), 2, 1, 3) })
	p = ref.New().Begin(t.Context(), []engine.Span{{Cache: c, Rows: 1}})
	run(p, 1000, 1000)
	p.Discard()
	pass(t, c, 2, func(p engine.Pass) {
		expect(t, "the others carry on", p, run(p, 4, 0, 8, 8), 2, 2.2320508, 2.1213203, 4.580127, 5.7426407)
	})
	if c.Truncate(2) == nil || c.Len() != 3 {
		t.Errorf("a recurrence went back to what it has forgotten, now %d positions", c.Len())
	}
	if err := c.Truncate(3); err != nil {
		t.Errorf("Truncate to all there is: %v", err)
	}
	if err := c.Truncate(0); err != nil {
		t.Fatal(err)
	}
	pass(t, c, 1, func(p engine.Pass) { expect(t, "emptied, it begins anew", p, run(p, 2, 4), 2, 1, 3) })
	p = ref.New().Begin(t.Context(), []engine.Span{{Cache: c, Rows: 1, Behind: 1}})
	run(p, 1000, 1000)
	end(t, p)
	pass(t, c, 1, func(p engine.Pass) { expect(t, "rows behind leave nothing", p, run(p, 4, 0), 2, 2.2320508, 2.1213203) })
}

// The weights are digits, so that a sum shows what met what.
func TestConv1D(t *testing.T) {
	conv := engine.Conv1D{Weight: load(t, []float32{1, 10, 100, 1, 2, 3}, 2, 3)}
	x, want := []float32{1, 1, 2, -1, 3, 2, 4, 0}, []float32{100, 3, 210, -1, 321, 5, 432, 3}
	pass(t, nil, 4, func(p engine.Pass) {
		expect(t, "no bias", p, p.Conv1D(p.Write(x, 2), conv), 2, want...)
	})
	conv.Bias = load(t, []float32{1000, 0.5}, 2)
	for i := range want {
		want[i] += []float32{1000, 0.5}[i%2]
	}
	c := ref.New().NewCache([]engine.CacheLayer{{State: 4}})
	for r := range 4 {
		p := ref.New().Begin(t.Context(), []engine.Span{{Cache: c, Rows: 1}})
		p.Conv1D(p.Write([]float32{99, 99}, 2), conv)
		p.Discard()
		pass(t, c, 1, func(p engine.Pass) {
			expect(t, "a row at a time", p, p.Conv1D(p.Write(x[2*r:2*r+2], 2), conv), 2, want[2*r:2*r+2]...)
		})
	}
	p := ref.New().Begin(t.Context(), []engine.Span{{Rows: 1}, {Rows: 1}})
	expect(t, "two sequences", p, p.Conv1D(p.Write([]float32{1, 1, 2, 2}, 2), conv), 2, 1100, 3.5, 1200, 6.5)
	p.Discard()
}

func TestConv2D(t *testing.T) {
	one := [2]int{1, 1}
	for _, c := range []struct {
		what    string
		conv    engine.Conv2D
		kernel  []float32
		x, want []float32
		places  int
		width   int
	}{
		// t0f0: 1 + 10·2 + 100·4 + 1000·5
		{"two by two over three by three", engine.Conv2D{In: 1, Out: 1, Size: [2]int{2, 2}, Stride: one, Lengths: []int{3}},
			[]float32{1, 10, 100, 1000}, []float32{1, 2, 3, 4, 5, 6, 7, 8, 9}, []float32{5421, 6532, 8754, 9865}, 3, 2},
		// The first clip ends before the second begins: 10·1 + 20·1; then times
		// −1 to 1: 10·2 + 20·0 + 100·3 + 200·1; times 1 to 3: 1·3 + 2·1 + 10·4 + 20·2.
		{"two clips of two channels, padded, by twos", engine.Conv2D{In: 2, Out: 1, Size: [2]int{3, 1}, Stride: [2]int{2, 1},
			Before: [2]int{1, 0}, After: [2]int{1, 0}, Lengths: []int{1, 3}},
			[]float32{1, 10, 100, 2, 20, 200}, []float32{1, 1, 2, 0, 3, 1, 4, 2}, []float32{30, 520, 85}, 1, 1},
		// places −1 to 1: 10·1 + 100·2 and 2; places 1 to 3: 2 + 10·3 + 100·4 and 4 − 2
		{"along the places, two channels out", engine.Conv2D{In: 1, Out: 2, Size: [2]int{1, 3}, Stride: [2]int{1, 2},
			Before: [2]int{0, 1}, Lengths: []int{1}},
			[]float32{1, 10, 100, -1, 0, 1}, []float32{1, 2, 3, 4}, []float32{210, 2, 432, 2}, 4, 4},
		// 1·1 + 10·2, then 1·2 + 10·0; the time after the only one counts 0 too
		{"zeros after both ends", engine.Conv2D{In: 1, Out: 1, Size: [2]int{2, 2}, Stride: one, After: one, Lengths: []int{1}},
			[]float32{1, 10, 100, 1000}, []float32{1, 2}, []float32{21, 2}, 2, 2},
		// the first channel: 1·1 + 10·3; the second: 100·2 + 1000·4
		{"each channel on its own", engine.Conv2D{In: 2, Out: 2, Groups: 2, Size: [2]int{2, 1}, Stride: one, Lengths: []int{2}},
			[]float32{1, 10, 100, 1000}, []float32{1, 2, 3, 4}, []float32{31, 4200}, 1, 2},
		// two outputs of the first two channels, two of the others
		{"two groups", engine.Conv2D{In: 4, Out: 4, Groups: 2, Size: one, Stride: one, Lengths: []int{1}},
			[]float32{1, 10, 2, 20, 3, 30, 4, 40}, []float32{1, 2, 3, 4}, []float32{21, 42, 129, 172}, 1, 4},
	} {
		pass(t, nil, len(c.x)/(c.places*c.conv.In), func(p engine.Pass) {
			c.conv.Weight = load(t, c.kernel, c.conv.Out, len(c.kernel)/c.conv.Out)
			expect(t, c.what, p, p.Conv2D(p.Write(c.x, c.places*c.conv.In), c.conv), c.width, c.want...)
			c.conv.Places = c.places
			expect(t, c.what+", a place a row", p, p.Conv2D(p.Write(c.x, c.conv.In), c.conv), c.conv.Out, c.want...)
		})
	}
}

// The mean of 1 and 3 is 2 and the mean square about it 1. With 6 and 2 the mean
// is 3; 6 and 2 are off by 3 and −1, which makes (2 + 10)/4 = 3 of the squares.
func TestCumulativeNorm(t *testing.T) {
	pass(t, nil, 3, func(p engine.Pass) {
		n := engine.CumulativeNorm{Weight: load(t, []float32{2}, 1), Lengths: []int{2, 1}}
		x := p.Write([]float32{1, 3, 6, 2, 1, 3}, 2)
		expect(t, "two clips", p, p.CumulativeNorm(x, n), 2, -2, 2, 3.4641016, -1.1547005, -2, 2)
		n.Lengths, n.Eps = []int{1, 1, 1}, 3
		expect(t, "three clips, epsilon 3", p, p.CumulativeNorm(x, n), 2, -1, 1, 1.5118579, -1.5118579, -1, 1)
		n = engine.CumulativeNorm{Weight: load(t, []float32{2, 10}, 2), Lengths: []int{1}}
		expect(t, "two places of two channels", p, p.CumulativeNorm(p.Write([]float32{1, 3, 3, 1}, 4), n), 4, -2, 10, 2, -10)
	})
}

package ref_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/engine"
	"lapidary/engine/ref"
)

// The numbers in this file were worked out by hand; the plain engine is what
// all others are held against, so nothing may hold it against itself.

func load(t *testing.T, values []float32, shape ...int) engine.Weight {
	t.Helper()
	w, err := ref.New().Load(checkpointtest.FloatTensor("w", values, shape...))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// pass runs operations over rows of one sequence.
func pass(t *testing.T, c engine.Cache, rows int, run func(p engine.Pass)) {
	t.Helper()
	p := ref.New().Begin(t.Context(), []engine.Span{{Cache: c, Rows: rows}})
	run(p)
	if err := p.End(); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, what string, p engine.Pass, x engine.Tensor, width int, want ...float32) {
	t.Helper()
	rows, w := x.Dims()
	if w != width || rows*w != len(want) {
		t.Fatalf("%s: [%d, %d], want %d values of width %d", what, rows, w, len(want), width)
	}
	got := make([]float32, len(want))
	p.Read(x, got)
	for i := range want {
		if !(math.Abs(float64(got[i]-want[i])) <= 2e-7*max(1, math.Abs(float64(want[i])))) {
			t.Errorf("%s: %v, want %v", what, got, want)
			return
		}
	}
}

func TestEmbed(t *testing.T) {
	pass(t, nil, 3, func(p engine.Pass) {
		table := load(t, []float32{1, 2, 3, 4, 5, 6}, 3, 2)
		expect(t, "rows 2, 0, 2 times 10", p, p.Embed(table, []int32{2, 0, 2}, 10), 2, 50, 60, 10, 20, 50, 60)
	})
}

func TestNorm(t *testing.T) {
	pass(t, nil, 2, func(p engine.Pass) {
		x := p.Write([]float32{3, 4, 1, -1}, 2) // mean squares 12.5 and 1
		w := load(t, []float32{1, 0.5}, 2)
		expect(t, "no weight", p, p.Norm(x, engine.Norm{}), 2, 0.84852814, 1.1313709, 1, -1)
		expect(t, "weight", p, p.Norm(x, engine.Norm{Weight: w}), 2, 0.84852814, 0.56568545, 1, -0.5)
		expect(t, "weight + 1", p, p.Norm(x, engine.Norm{Weight: w, Offset: 1}), 2, 1.6970563, 1.6970563, 2, -1.5)
		expect(t, "epsilon 3", p, p.Norm(x, engine.Norm{Eps: 3}), 2, 0.76200076, 1.016001, 0.5, -0.5)
	})
}

// Means 2, 0 and 3, mean squares 1, 4 and 3.5 about them.
func TestNormCentred(t *testing.T) {
	w, b := load(t, []float32{2, 0.5}, 2), load(t, []float32{10, 20}, 2)
	pass(t, nil, 2, func(p engine.Pass) {
		x := p.Write([]float32{1, 3, -2, 2}, 2)
		expect(t, "no weight", p, p.Norm(x, engine.Norm{Centred: true}), 2, -1, 1, -1, 1)
		expect(t, "weight and bias", p, p.Norm(x, engine.Norm{Centred: true, Weight: w, Bias: b}), 2, 8, 20.5, 8, 20.5)
		expect(t, "the offset is the weight's", p, p.Norm(x, engine.Norm{Centred: true, Weight: w, Bias: b, Offset: 1}), 2, 7, 21.5, 7, 21.5)
		expect(t, "bias alone", p, p.Norm(x, engine.Norm{Centred: true, Bias: b, Eps: 3}), 2, 9.5, 20.5, 9.2440711, 20.755929)
		expect(t, "not centred", p, p.Norm(p.Write([]float32{3, 4, 1, -1}, 2), engine.Norm{Weight: w, Bias: b}), 2, 11.697056, 20.565685, 12, 19.5)
		expect(t, "four elements, epsilon ½", p, p.Norm(p.Write([]float32{1, 2, 3, 6}, 4), engine.Norm{Centred: true, Eps: 0.5}), 4, -1, -0.5, 0, 1.5)
	})
}

func TestLinear(t *testing.T) {
	pass(t, nil, 2, func(p engine.Pass) {
		x := p.Write([]float32{5, 6, -1, 1}, 2)
		ys := p.Linear(x, load(t, []float32{1, 2, 3, 4}, 2, 2), load(t, []float32{10, 1}, 1, 2))
		expect(t, "two outputs", p, ys[0], 2, 17, 39, 1, 1)
		expect(t, "one output", p, ys[1], 1, 56, -9)
	})
}

// A block of Q8_0: half-precision 0.5, then the integers 0 to 31.
func TestLinearQuantised(t *testing.T) {
	data := []byte{0x00, 0x38}
	ones := make([]float32, 32)
	for i := range ones {
		data, ones[i] = append(data, byte(i)), 1
	}
	w, err := ref.New().Load(checkpoint.Tensor{Name: "w", Type: checkpoint.Q8_0, Shape: []int{1, 32}, Data: data})
	if err != nil {
		t.Fatal(err)
	}
	pass(t, nil, 1, func(p engine.Pass) {
		expect(t, "½·(0 + … + 31)", p, p.Linear(p.Write(ones, 32), w)[0], 1, 248)
	})
}

// Angles in a head of 4 with base 100 are the position and a tenth of it; the
// pairs are elements 0 with 2 and 1 with 3.
func TestRope(t *testing.T) {
	const cos1, sin1, cosTenth, sinTenth = 0.5403023, 0.84147098, 0.99500417, 0.099833417
	rope := engine.Rope{Base: 100, Scale: 1}
	pass(t, nil, 2, func(p engine.Pass) {
		x := p.Write([]float32{1, 1, 0, 0, 1, 1, 0, 0}, 4)
		expect(t, "positions 0 and 1", p, p.Heads(x, engine.Heads{Size: 4, Ropes: []engine.Rope{rope}}), 4,
			1, 1, 0, 0, cos1, cosTenth, sin1, sinTenth)
		x = p.Write([]float32{0, 0, 1, 2, 0, 0, 1, 2}, 4)
		expect(t, "the second halves", p, p.Heads(x, engine.Heads{Size: 4, Ropes: []engine.Rope{rope}}), 4,
			0, 0, 1, 2, -sin1, -2*sinTenth, cos1, 2*cosTenth)
		rope.Scale = 0.1
		expect(t, "two heads of 2, a tenth of the angle", p, p.Heads(p.Write([]float32{1, 0, 0, 1, 1, 0, 0, 1}, 4), engine.Heads{Size: 2, Ropes: []engine.Rope{rope}}), 4,
			1, 0, 0, 1, cosTenth, sinTenth, -sinTenth, cosTenth)
	})
	c := ref.New().NewCache(nil)
	pass(t, c, 1, func(engine.Pass) {})
	pass(t, c, 1, func(p engine.Pass) { // the cache says where the row stands
		rope := engine.Rope{Base: 1e6, Scale: 1}
		expect(t, "position 1", p, p.Heads(p.Write([]float32{2, 0}, 2), engine.Heads{Size: 2, Ropes: []engine.Rope{rope}}), 2, 2*cos1, 2*sin1)
	})
}

// With base 9 and four elements the second angle is a third of the first: 90°
// and 30° at place 1, 180° and 60° at place 2.
func TestRopesOfParts(t *testing.T) {
	column := engine.Rope{Base: 9, Scale: math.Pi / 2, Size: 4, Axis: engine.Column}
	line := engine.Rope{Base: 9, Scale: math.Pi / 2, From: 4, Size: 4, Axis: engine.Line}
	p := ref.New().Begin(t.Context(), []engine.Span{{Rows: 1}, {Rows: 2, Grid: [][2]int32{{0, 0}, {1, 2}}}})
	x := []float32{1, 2, 3, 4, 5, 6, 7, 8}
	h := engine.Heads{Size: 8, Ropes: []engine.Rope{column, line}, Rows: []int{0, 2}}
	expect(t, "no grid, and column 1 of line 2", p, p.Heads(p.Write(append(x, x...), 8), h), 8, 1, 2, 3, 4, 5, 6, 7, 8,
		-3, -0.26794919, 1, 4.4641016, -5, -3.9282032, -7, 9.1961524)
	p.Discard()

	// Of base 16 over eight elements the second angle is half the first, the
	// others stay 0.
	part := engine.Rope{Base: 16, Scale: math.Pi / 2, Turn: 2}
	middle := engine.Rope{Base: 16, Scale: math.Pi / 2, From: 2, Size: 2}
	pass(t, nil, 2, func(p engine.Pass) {
		h := engine.Heads{Size: 8, Ropes: []engine.Rope{part}, Rows: []int{1}}
		expect(t, "two angles of four", p, p.Heads(p.Write(x, 8), h), 8, -5, -2.8284271, 3, 4, 1, 5.6568542, 7, 8)
		h = engine.Heads{Size: 4, Ropes: []engine.Rope{middle}, Rows: []int{1}}
		expect(t, "the second half of two heads", p, p.Heads(p.Write(x, 8), h), 8, 1, 2, -4, 3, 5, 6, -8, 7)
		shifted := engine.Rope{Base: 10, Scale: math.Pi / 2, Shift: 1}
		h = engine.Heads{Size: 2, Ropes: []engine.Rope{shifted}}
		expect(t, "one quarter turn and two", p, p.Heads(p.Write([]float32{1, 0, 1, 0}, 2), h), 2, 0, 1, -1, 0)
	})
}

func TestHeadsNorm(t *testing.T) {
	n := engine.Norm{Weight: load(t, []float32{0, 1}, 2), Offset: 1}
	rope := engine.Rope{Base: 10, Scale: math.Pi / 2}
	pass(t, nil, 1, func(p engine.Pass) {
		x := p.Write([]float32{3, 4, 1, -1}, 2) // norms alone do not ask where rows lie
		expect(t, "other rows than the pass has", p, p.Heads(x, engine.Heads{Size: 2, Norm: &n}), 2, 0.84852814, 2.2627417, 1, -2)
	})
	pass(t, nil, 2, func(p engine.Pass) {
		x := []float32{3, 4, 1, -1, 3, 4, 1, -1}
		expect(t, "each head by itself", p, p.Heads(p.Write(x, 4), engine.Heads{Size: 2, Norm: &n}), 4,
			0.84852814, 2.2627417, 1, -2, 0.84852814, 2.2627417, 1, -2)
		expect(t, "then a quarter turn at position 1", p, p.Heads(p.Write(x, 4), engine.Heads{Size: 2, Norm: &n, Ropes: []engine.Rope{rope}}), 4,
			0.84852814, 2.2627417, 1, -2, -2.2627417, 0.84852814, 2, 1)
	})
}

// Scores of 0 and ln 3 give weights of ¼ and ¾.
func TestAttend(t *testing.T) {
	ln3 := float32(math.Log(3))
	q, k, v := []float32{0, 0, 1, 0}, []float32{0, 5, ln3, 5}, []float32{4, 0, 0, 4}
	for _, c := range []struct {
		what string
		a    engine.Attend
		want [4]float32
	}{
		{"both keys", engine.Attend{}, [4]float32{4, 0, 1, 3}},
		{"a window of 2", engine.Attend{Window: 2}, [4]float32{4, 0, 1, 3}},
		{"a window of 1", engine.Attend{Window: 1}, [4]float32{4, 0, 0, 4}},
		{"twice the scale", engine.Attend{Scale: 2}, [4]float32{4, 0, 0.4, 3.6}},
		// tanh(ln 3) = 0.8, exp(0.8) = 2.2255409
		{"a soft cap of 1", engine.Attend{SoftCap: 1}, [4]float32{4, 0, 1.240102, 2.759898}},
	} {
		c.a.Heads, c.a.KVHeads, c.a.C = 1, 1, 2
		if c.a.Scale == 0 {
			c.a.Scale = 1
		}
		pass(t, nil, 2, func(p engine.Pass) {
			expect(t, c.what, p, p.Attend(p.Write(q, 2), p.Write(k, 2), p.Write(v, 2), c.a), 2, c.want[:]...)
		})
		cache := ref.New().NewCache([]engine.CacheLayer{{KVHeads: 1, HeadSize: 2, Window: c.a.Window}})
		for r := range 2 { // a row at a time
			pass(t, cache, 1, func(p engine.Pass) {
				y := p.Attend(p.Write(q[2*r:2*r+2], 2), p.Write(k[2*r:2*r+2], 2), p.Write(v[2*r:2*r+2], 2), c.a)
				expect(t, c.what+" from the cache", p, y, 2, c.want[2*r:2*r+2]...)
			})
		}
	}
}

// Heads 0 and 1 read key-value head 0, heads 2 and 3 read head 1; a sequence
// sees nothing of its neighbour in the pass.
func TestAttendGroupsAndSequences(t *testing.T) {
	a := engine.Attend{Heads: 4, KVHeads: 2, C: 1, Scale: 1}
	p := ref.New().Begin(t.Context(), []engine.Span{{Rows: 1}, {Rows: 1}})
	q := p.Write([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 4)
	k, v := p.Write([]float32{1, 1, 9, 9}, 2), p.Write([]float32{10, 20, 30, 40}, 2)
	expect(t, "values by head", p, p.Attend(q, k, v, a), 4, 10, 10, 20, 20, 30, 30, 40, 40)
	if err := p.End(); err != nil {
		t.Fatal(err)
	}
}

// A layer that shares another's memory names it and brings no keys and values.
func TestSharedLayer(t *testing.T) {
	c := ref.New().NewCache([]engine.CacheLayer{{KVHeads: 1, HeadSize: 1}})
	a := engine.Attend{Heads: 1, KVHeads: 1, C: 1, Scale: 1}
	pass(t, c, 2, func(p engine.Pass) {
		q := p.Write([]float32{0, 0}, 1)
		p.Attend(q, p.Write([]float32{1, 2}, 1), p.Write([]float32{10, 30}, 1), a)
		expect(t, "the mean of what the layer keeps", p, p.Attend(q, nil, nil, a), 1, 10, 20)
	})
	pass(t, c, 1, func(p engine.Pass) {
		q := p.Write([]float32{0}, 1)
		p.Attend(q, p.Write([]float32{1}, 1), p.Write([]float32{80}, 1), a)
		expect(t, "and of the next position", p, p.Attend(q, nil, nil, a), 1, 40)
	})
	if got := c.Bytes(); got != 3*2*4 {
		t.Errorf("3 positions of one key and one value take %d bytes, want 24", got)
	}
}

func TestGate(t *testing.T) {
	for _, c := range []struct {
		what string
		act  engine.Activation
		want []float32 // of 0, 1, −1, 3
	}{
		{"GELU, tanh form", engine.GELUTanh, []float32{0, 0.841192, -0.158808, 2.9963627}},
		{"GELU", engine.GELU, []float32{0, 0.8413447, -0.15865526, 2.9959502}},
		{"SiLU", engine.SiLU, []float32{0, 0.7310586, -0.26894143, 2.857722}},
		{"ReLU", engine.ReLU, []float32{0, 1, 0, 3}},
		{"tanh", engine.Tanh, []float32{0, 0.76159416, -0.76159416, 0.99505475}},
		{"sigmoid", engine.Sigmoid, []float32{0.5, 0.7310586, 0.26894142, 0.95257413}},
	} {
		pass(t, nil, 1, func(p engine.Pass) {
			g, u := p.Write([]float32{0, 1, -1, 3}, 4), p.Write([]float32{5, 2, 2, -1}, 4)
			alone := p.Gate(p.Write([]float32{0, 1, -1, 3}, 4), nil, c.act)
			expect(t, c.what, p, p.Gate(g, u, c.act), 4, 5*c.want[0], 2*c.want[1], 2*c.want[2], -c.want[3])
			expect(t, c.what+" of ones", p, alone, 4, c.want...)
		})
	}
}

func TestAddPickSoftCap(t *testing.T) {
	pass(t, nil, 3, func(p engine.Pass) {
		x := p.Write([]float32{1, 2, 3, 4, 5, 6}, 2)
		expect(t, "x + x", p, p.Add(x, x), 2, 2, 4, 6, 8, 10, 12)
		expect(t, "rows 0 and 2", p, p.Pick(x, []int{0, 2}), 2, 1, 2, 5, 6)
		y := p.Write([]float32{30, -30, 0, 3e6}, 4)
		expect(t, "30·tanh(x/30)", p, p.SoftCap(y, 30), 4, 22.847825, -22.847825, 0, 30)
	})
}

// one is a pass of one row that appends a key of 0 and the given value, and
// sees the mean of all values.
func one(ctx context.Context, c engine.Cache, value float32) (mean float32, p engine.Pass) {
	p = ref.New().Begin(ctx, []engine.Span{{Cache: c, Rows: 1}})
	zero := p.Write([]float32{0}, 1)
	out := make([]float32, 1)
	p.Read(p.Attend(zero, zero, p.Write([]float32{value}, 1), engine.Attend{Heads: 1, KVHeads: 1, C: 1, Scale: 1}), out)
	return out[0], p
}

func TestCacheCommitsAtEnd(t *testing.T) {
	c := ref.New().NewCache([]engine.CacheLayer{{KVHeads: 1, HeadSize: 1}})
	step := func(value, want float32) {
		t.Helper()
		got, p := one(t.Context(), c, value)
		if got != want {
			t.Errorf("the mean with %v is %v, want %v", value, got, want)
		}
		if err := p.End(); err != nil {
			t.Error(err)
		}
	}
	step(6, 6)
	_, given := one(t.Context(), c, 1000)
	given.Discard()
	step(2, 4)
	ctx, cancel := context.WithCancel(t.Context())
	_, cancelled := one(ctx, c, 1000)
	cancel()
	if err := cancelled.End(); !errors.Is(err, context.Canceled) {
		t.Errorf("End of a cancelled pass: %v", err)
	}
	step(1, 3)
	if c.Len() != 3 {
		t.Errorf("the cache holds %d positions, want 3", c.Len())
	}
	if err := c.Truncate(1); err != nil {
		t.Fatal(err)
	}
	step(10, 8)
	for _, n := range []int{-1, 3} {
		if err := c.Truncate(n); err == nil {
			t.Errorf("a cache of 2 positions was truncated to %d", n)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct {
		tensor checkpoint.Tensor
		says   string
	}{
		{checkpoint.Tensor{Name: "a", Type: 4, Shape: []int{1, 32}}, "not a format"},
		{checkpoint.Tensor{Name: "b", Type: checkpoint.Q8_0, Shape: []int{1, 33}, Data: make([]byte, 34)}, "do not hold"},
		{checkpoint.Tensor{Name: "c", Type: checkpoint.F32, Shape: []int{2, 2}, Data: make([]byte, 15)}, "15 bytes"},
	} {
		_, err := ref.New().Load(c.tensor)
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "tensor "+c.tensor.Name) {
			t.Errorf("tensor %s: %v, want it to say %q", c.tensor.Name, err, c.says)
		}
	}
}

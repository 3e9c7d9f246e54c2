package ref_test

import (
	"math"
	"testing"

	"lapidary/engine"
	"lapidary/engine/ref"
)

// means attends rows whose queries and keys are 0, so that each gets the mean
// of the values it sees.
func means(p engine.Pass, values []float32, a engine.Attend) engine.Tensor {
	a.Heads, a.KVHeads, a.C, a.Scale = 1, 1, 1, 1
	zeros := p.Write(make([]float32, len(values)), 1)
	if a.Source {
		return p.Attend(zeros, nil, nil, a)
	}
	return p.Attend(zeros, zeros, p.Write(values, 1), a)
}

// Of the values 1, 10, 100 and 1000 every set has a mean of its own.
func TestAttendSees(t *testing.T) {
	for _, c := range []struct {
		what   string
		a      engine.Attend
		groups []int32
		want   [4]float32
	}{
		{"one ahead", engine.Attend{Ahead: 1}, nil, [4]float32{5.5, 37, 277.75, 277.75}},
		{"all ahead", engine.Attend{Ahead: engine.All}, nil, [4]float32{277.75, 277.75, 277.75, 277.75}},
		{"all ahead, a window of 2", engine.Attend{Ahead: engine.All, Window: 2}, nil, [4]float32{277.75, 277.75, 370, 550}},
		{"one ahead, a window of 2", engine.Attend{Ahead: 1, Window: 2}, nil, [4]float32{5.5, 37, 370, 550}},
		{"a group in the middle", engine.Attend{Groups: true}, []int32{0, 7, 7, 0}, [4]float32{1, 37, 37, 277.75}},
		{"a group with a gap", engine.Attend{Groups: true}, []int32{3, 0, 3, 9}, [4]float32{50.5, 5.5, 37, 277.75}},
		{"one group, a window of 2", engine.Attend{Groups: true, Window: 2}, []int32{5, 5, 5, 5}, [4]float32{277.75, 277.75, 370, 550}},
		{"a group and one ahead", engine.Attend{Groups: true, Ahead: 1}, []int32{4, 0, 0, 4}, [4]float32{337, 37, 277.75, 277.75}},
		{"groups not asked for", engine.Attend{}, []int32{1, 1, 1, 1}, [4]float32{1, 5.5, 37, 277.75}},
		{"no groups", engine.Attend{Groups: true}, nil, [4]float32{1, 5.5, 37, 277.75}},
	} {
		p := ref.New().Begin(t.Context(), []engine.Span{{Rows: 4, Groups: c.groups}})
		expect(t, c.what, p, means(p, []float32{1, 10, 100, 1000}, c.a), 1, c.want[:]...)
		p.Discard()
	}
}

// Rows see ahead, and their group, within their span, and what the cache holds
// before it.
func TestAttendSeesWithinTheSpan(t *testing.T) {
	c := ref.New().NewCache([]engine.CacheLayer{{KVHeads: 1, HeadSize: 1}})
	pass(t, c, 2, func(p engine.Pass) { means(p, []float32{6, 2}, engine.Attend{}) })
	for _, a := range []engine.Attend{{Ahead: engine.All}, {Groups: true}} {
		groups := []int32{1, 1}
		p := ref.New().Begin(t.Context(), []engine.Span{{Cache: c, Rows: 2, Groups: groups}, {Rows: 2, Groups: groups}})
		expect(t, "two sequences", p, means(p, []float32{4, 8, 10, 30}, a), 1, 5, 5, 20, 20)
		p.Discard()
		a.Window = 2
		p = ref.New().Begin(t.Context(), []engine.Span{{Cache: c, Rows: 2, Groups: groups}})
		expect(t, "with a window of 2", p, means(p, []float32{4, 8}, a), 1, 14./3, 6)
		p.Discard()
	}
}

// An anchored window is that of the span's first row: position 2 is seen by all.
func TestAttendAnchored(t *testing.T) {
	c := ref.New().NewCache([]engine.CacheLayer{{KVHeads: 1, HeadSize: 1, Window: 2}})
	pass(t, c, 3, func(p engine.Pass) { means(p, []float32{6, 2, 4}, engine.Attend{Window: 2}) })
	for _, k := range []struct {
		what  string
		ahead int
		want  [3]float32
	}{
		{"what came before", 0, [3]float32{6, 32. / 3, 18}},
		{"all of the span", engine.All, [3]float32{18, 18, 18}},
	} {
		p := ref.New().Begin(t.Context(), []engine.Span{{Cache: c, Rows: 3}, {Rows: 3}})
		a := engine.Attend{Window: 2, Anchored: true, Ahead: k.ahead}
		expect(t, k.what, p, p.Pick(means(p, []float32{8, 20, 40, 1, 1, 1}, a), []int{0, 1, 2}), 1, k.want[:]...)
		p.Discard()
	}
}

// sourced is the cache of a decoder layer and of what it sees of an encoder.
func sourced() engine.Cache {
	return ref.New().NewCache([]engine.CacheLayer{{KVHeads: 1, HeadSize: 1}, {KVHeads: 1, HeadSize: 1, Source: true}})
}

// encode begins a pass that leaves a source of keys and values in layer 1.
func encode(t *testing.T, c engine.Cache, keys, values []float32) engine.Pass {
	t.Helper()
	p := ref.New().Begin(t.Context(), []engine.Span{{Cache: c, Rows: len(keys), Source: true}})
	a := engine.Attend{Layer: 1, Heads: 1, KVHeads: 1, C: 1, Scale: 1}
	if y := p.Attend(nil, p.Write(keys, 1), p.Write(values, 1), a); y != nil {
		t.Errorf("no queries give %v", y)
	}
	return p
}

func end(t *testing.T, p engine.Pass) {
	t.Helper()
	if err := p.End(); err != nil {
		t.Fatal(err)
	}
}

func TestSource(t *testing.T) {
	c := sourced()
	source := engine.Attend{Layer: 1, Source: true}
	end(t, encode(t, c, []float32{0, 0}, []float32{10, 30}))
	if c.Len() != 0 {
		t.Errorf("a source of 2 rows made a cache of %d positions", c.Len())
	}
	pass(t, c, 2, func(p engine.Pass) {
		expect(t, "the source", p, means(p, []float32{0, 0}, source), 1, 20, 20)
		expect(t, "and what came before", p, means(p, []float32{50, 90}, engine.Attend{Beside: 2}), 1, 30, 45)
	})
	pass(t, nil, 2, func(p engine.Pass) {
		expect(t, "a sequence without a source", p, means(p, []float32{50, 90}, engine.Attend{Beside: 2}), 1, 50, 70)
	})
	encode(t, c, []float32{0}, []float32{1000}).Discard()
	pass(t, c, 1, func(p engine.Pass) {
		expect(t, "a source given up leaves the old one", p, means(p, []float32{0}, source), 1, 20)
		expect(t, "and the window is of the row's own", p, means(p, []float32{5}, engine.Attend{Beside: 2, Window: 1}), 1, 15)
	})
	end(t, encode(t, c, []float32{0}, []float32{7}))
	if err := c.Truncate(0); err != nil {
		t.Fatal(err)
	}
	pass(t, c, 1, func(p engine.Pass) {
		expect(t, "another source takes its place and outlives the positions", p, means(p, []float32{0}, source), 1, 7)
	})
}

// A key of 0 besides one of ln 3 counts ¼; both are in one softmax.
func TestBesideScores(t *testing.T) {
	c := sourced()
	end(t, encode(t, c, []float32{float32(math.Log(3))}, []float32{8}))
	pass(t, c, 1, func(p engine.Pass) {
		a := engine.Attend{Heads: 1, KVHeads: 1, C: 1, Scale: 1, Beside: 2}
		one, zero := p.Write([]float32{1}, 1), p.Write([]float32{0}, 1)
		expect(t, "4 and three times 8", p, p.Attend(one, zero, p.Write([]float32{4}, 1), a), 1, 7)
	})
}

// Rows behind stand at positions the cache holds, see what stood there and
// leave it.
func TestBehind(t *testing.T) {
	c := ref.New().NewCache([]engine.CacheLayer{{KVHeads: 1, HeadSize: 1}})
	pass(t, c, 3, func(p engine.Pass) { means(p, []float32{1, 10, 100}, engine.Attend{}) })
	a := engine.Attend{Heads: 1, KVHeads: 1, C: 1, Scale: 1}
	p := ref.New().Begin(t.Context(), []engine.Span{{Cache: c, Rows: 2, Behind: 2}})
	zeros := p.Write([]float32{0, 0}, 1)
	expect(t, "positions 1 and 2", p, p.Attend(zeros, nil, nil, a), 1, 5.5, 37)
	a.Window = 2
	expect(t, "with a window of 2", p, p.Attend(zeros, nil, nil, a), 1, 5.5, 55)
	ones := p.Write([]float32{1, 0, 1, 0}, 2)
	h := engine.Heads{Size: 2, Ropes: []engine.Rope{{Base: 10, Scale: math.Pi / 2}}}
	expect(t, "one quarter turn and two", p, p.Heads(ones, h), 2, 0, 1, -1, 0)
	p.Attend(nil, zeros, p.Write([]float32{1e6, 1e6}, 1), engine.Attend{Heads: 1, KVHeads: 1, C: 1, Scale: 1})
	end(t, p)
	if c.Len() != 3 || c.Bytes() != 3*2*4 {
		t.Errorf("rows behind left %d positions in %d bytes, want 3 in 24", c.Len(), c.Bytes())
	}
	pass(t, c, 1, func(p engine.Pass) {
		expect(t, "what was there", p, means(p, []float32{9}, engine.Attend{}), 1, 30)
	})
}

// With keys of 0 and queries of 1, ln 3 and ln 7 of a place make it count
// thrice and seven times. Two heads share the keys, not the places.
func TestRelative(t *testing.T) {
	ln3, ln7 := float32(math.Log(3)), float32(math.Log(7))
	for _, c := range []struct {
		what       string
		far, ahead int
		scale      float32
		want       [6]float32
	}{
		// row 0 of the places is for one back, row 1 for the row itself
		{"one back", 1, 0, 1, [6]float32{4, 4, 5, 7.5, 44. / 5, 124. / 9}},
		// row 0 for itself, row 1 for one ahead
		{"one ahead", 0, 1, 1, [6]float32{20. / 4, 60. / 8, 44. / 5, 124. / 9, 60. / 5, 28. / 3}},
		// √3 and √7 in place of 3 and 7: (4√3 + 8)/(√3 + 1) and so on
		{"half the scale", 1, 0, 0.5, [6]float32{4, 4, 5.4641016, 6.9028325, 9.0717968, 11.694991}},
		// row 0 for three back, row 1 for two
		{"far back", 3, 0, 1, [6]float32{4, 4, 6, 6, 28. / 3, 52. / 9}},
	} {
		pass(t, nil, 3, func(p engine.Pass) {
			a := engine.Attend{Heads: 2, KVHeads: 1, C: 1, Scale: c.scale, Ahead: c.ahead, Far: c.far}
			a.Relative = p.Write([]float32{ln3, 0, 0, ln7}, 2)
			ones, zeros := p.Write([]float32{1, 1, 1, 1, 1, 1}, 2), p.Write(make([]float32, 3), 1)
			expect(t, c.what, p, p.Attend(ones, zeros, p.Write([]float32{4, 8, 16}, 1), a), 2, c.want[:]...)
		})
	}
}

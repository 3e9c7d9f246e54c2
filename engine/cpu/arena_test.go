package cpu

import (
	"math/rand/v2"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/engine"
)

// buffers counts what an arena has to lend, in floats.
func (a *arena) buffers() (n, floats int) {
	for _, f := range a.free {
		for _, b := range f {
			n, floats = n+1, floats+cap(b)
		}
	}
	return n, floats
}

func TestArenaLendsAgain(t *testing.T) {
	var a arena
	x := a.take(100)
	if len(x) != 100 || cap(x) < 104 {
		t.Errorf("100 floats are %d with room for %d", len(x), cap(x))
	}
	x[0] = 7
	a.give(x)
	if y := a.take(120); len(y) != 120 || &y[0] != &x[0] {
		t.Error("120 floats are not in the buffer that had 100")
	}
	if z := a.take(120); &z[0] == &x[0] {
		t.Error("a buffer was lent twice")
	}
	for _, n := range []int{0, 1, 64, 65, 128, 1 << 16, 1<<16 + 1} {
		b := a.take(n)
		if len(b) != n || cap(b)&(cap(b)-1) != 0 {
			t.Errorf("%d floats are %d with room for %d", n, len(b), cap(b))
		}
		a.give(b)
	}
}

// TestPassesGiveBack: the buffers of an engine stay the same however many
// passes it runs, whether they end, fail, or keep tensors on the way.
func TestPassesGiveBack(t *testing.T) {
	e, err := New(Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	w := checkpointtest.RandomTensor(rand.New(rand.NewPCG(1, 2)), checkpoint.Q8_0, 64, 64)
	weight, err := e.Load(w)
	if err != nil {
		t.Fatal(err)
	}
	c := e.NewCache([]engine.CacheLayer{{KVHeads: 1, HeadSize: 16, Window: 50}})
	run := func(rows int, end func(p engine.Pass)) {
		p := e.Begin(t.Context(), []engine.Span{{Cache: c, Rows: rows}})
		x := p.Write(make([]float32, rows*64), 64)
		for range 4 {
			y := p.Linear(p.Norm(x, engine.Norm{Eps: 1e-6}), weight, weight)
			k := p.Write(make([]float32, rows*16), 16)
			x = p.Add(p.Attend(y[0], k, k, engine.Attend{Heads: 4, KVHeads: 1, C: 16, Scale: 1, Window: 50}), y[1])
			p.Keep(x)
		}
		end(p)
	}
	all := func() {
		for _, rows := range []int{40, 1, 7} {
			run(rows, engine.Pass.Discard)
			run(rows, func(p engine.Pass) {
				if err := p.End(); err != nil {
					t.Error(err)
				}
			})
		}
	}
	for range 12 { // past a place where attention is split
		all()
	}
	n, floats := e.spare.buffers()
	for range 50 {
		all()
	}
	if m, more := e.spare.buffers(); m != n || more != floats {
		t.Errorf("50 passes on, %d buffers of %d floats have become %d of %d", n, floats, m, more)
	}
	t.Logf("%d buffers of %d floats", n, floats)
}

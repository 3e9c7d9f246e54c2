package enginetest

import (
	"context"
	"errors"
	"sync"

	"lapidary/checkpoint"
	"lapidary/engine"
)

// caches: lengths, and memory that comes and goes.
func caches(l *lab) {
	a := attention(2, 1, 16, 0, 0)
	c, s := l.NewCache(layersOf(a)), l.sequence(a, 600)
	if c.Len() != 0 || c.Bytes() != 0 {
		l.Errorf("an empty cache holds %d positions in %d bytes", c.Len(), c.Bytes())
	}
	l.run(s, c, 1, 129)
	if c.Len() != 130 {
		l.Errorf("after 1 and 129 rows a cache holds %d positions", c.Len())
	}
	few := c.Bytes()
	if least := int64(130 * 2 * 16); few < least {
		l.Errorf("130 positions of 32 elements take %d bytes: less than a byte each", few)
	}
	l.run(s, c, 400)
	if many := c.Bytes(); many <= few {
		l.Errorf("530 positions take %d bytes, 130 took %d", many, few)
	}
	// Two caches of one engine know nothing of each other.
	other := l.NewCache(layersOf(a))
	l.run(l.sequence(a, 200), other, 200)
	l.run(s, c, 1, 20)
	c.Close()
	l.run(l.sequence(a, 300), other, 5)
	other.Close()
}

func truncates(l *lab) {
	global, local := attention(4, 2, 16, 0, 0), attention(4, 2, 16, 70, 0)
	l.Run("global", func(l *lab) {
		c := l.NewCache(layersOf(global))
		for _, n := range []int{-1, 1} {
			if c.Truncate(n) == nil {
				l.Errorf("an empty cache was truncated to %d positions", n)
			}
		}
		l.run(l.sequence(global, 400), c, 400)
		for _, n := range []int{400, 399, 257, 256, 127, 3, 0} {
			if err := c.Truncate(n); err != nil {
				l.Errorf("Truncate(%d): %v", n, err)
			}
			if c.Truncate(n+1) == nil {
				l.Errorf("a cache of %d positions was truncated to %d", n, n+1)
			}
			l.run(l.sequence(global, n+40), c, 1, 39) // other rows than were there
			if err := c.Truncate(n); err != nil {
				l.Errorf("Truncate(%d) back: %v", n, err)
			}
		}
	})
	// With a window, an engine says no or does it right.
	for _, back := range []int{1, 5, 127, 128, 200, 599} {
		c := l.NewCache(layersOf(local, global))
		l.run(l.sequence(local, 600), c, 600)
		n := c.Len() - back
		err := c.Truncate(n)
		l.Logf("%d positions back of %d with a window of %d: %v", back, 600, local.Window, err)
		if err != nil {
			n = 600
		}
		if c.Len() != n {
			l.Errorf("%d positions back leaves %d of 600", back, c.Len())
		}
		l.run(l.sequence(local, n+100), c, 1, 99)
	}
	l.Run("to nothing", func(l *lab) {
		c := l.NewCache(layersOf(local))
		l.run(l.sequence(local, 600), c, 300, 300)
		if err := c.Truncate(0); err != nil { // nothing is needed to see nothing
			l.Fatalf("Truncate(0): %v", err)
		}
		l.run(l.sequence(local, 200), c, 100, 1, 99)
	})
}

// windows: the memory of a local layer stays bounded, that of a global one
// grows with the sequence.
func windows(l *lab) {
	const n, piece = 4000, 500
	local, global := attention(1, 1, 16, 100, 0), attention(1, 1, 16, 0, 0)
	near, far := l.NewCache(layersOf(local)), l.NewCache(layersOf(global))
	s := l.sequence(local, n)
	most := int64(0)
	for at := 0; at < n; at += piece {
		l.run(s, near, piece)
		if at+piece == n/2 {
			most = near.Bytes()
		}
	}
	l.run(l.sequence(global, piece), far, piece)
	if got := near.Bytes(); got > most {
		l.Errorf("a window of 100 takes %d bytes after %d positions, %d after %d", got, n, most, n/2)
	}
	each := far.Bytes() / piece
	l.Logf("%d positions: %d bytes with a window of %d, about %d without", n, near.Bytes(), local.Window, each*n)
	if near.Bytes() > each*n/4 {
		l.Errorf("a window of 100 takes %d bytes after %d positions, as much as %d positions", near.Bytes(), n, near.Bytes()/each)
	}
}

// failures: a pass that is cancelled or given up leaves the caches as they were.
func failures(l *lab) {
	for _, window := range []int{0, 90} {
		a := attention(4, 1, 16, window, 0)
		s, c, fresh := l.sequence(a, 800), l.NewCache(layersOf(a)), l.NewCache(layersOf(a))
		for _, held := range []int{0, 100, 300} {
			l.run(s, c, held-c.Len()+1)
			l.run(s, fresh, held-fresh.Len()+1)
			for _, rows := range []int{1, 130} {
				l.fail(a, c, rows)
				if c.Len() != held+1 {
					l.Errorf("after a failed pass of %d rows a cache of %d positions holds %d", rows, held+1, c.Len())
				}
			}
		}
		l.run(s, c, 20, 1, 150)
		l.run(s, fresh, 20, 1, 150)
		if c.Len() != fresh.Len() {
			l.Errorf("failed passes have changed the length to %d, want %d", c.Len(), fresh.Len())
		}
	}
}

// fail begins passes of so many rows and finishes none.
func (l *lab) fail(a engine.Attend, c engine.Cache, rows int) {
	s := l.sequence(a, rows)
	ctx, cancel := context.WithCancel(l.Context())
	spans := []engine.Span{{Cache: c, Rows: rows}}
	p := l.Begin(ctx, spans)
	attend(p, a, s.q, s.k, s.v)
	p.Discard()

	p = l.Begin(ctx, spans)
	attend(p, a, s.q, s.k, s.v)
	cancel()
	if err := p.End(); !errors.Is(err, context.Canceled) {
		l.Errorf("End of a cancelled pass: %v", err)
	}
	p = l.Begin(ctx, spans) // cancelled before it began
	attend(p, a, s.q, s.k, s.v)
	if err := p.End(); !errors.Is(err, context.Canceled) {
		l.Errorf("End of a pass that began cancelled: %v", err)
	}
}

// lives runs random passes over a few sequences of a model with several
// layers: some are finished, some cancelled, some given up, some taken back.
func lives(l *lab) {
	for range 5 {
		var as []engine.Attend
		for i := range 1 + l.rng.IntN(3) {
			a := attentions[l.rng.IntN(len(attentions))]
			a.Layer = i
			as = append(as, a)
		}
		var cs []engine.Cache
		for range 3 {
			cs = append(cs, l.NewCache(layersOf(as...)))
		}
		for range 8 {
			l.randomPass(as, cs)
			if c := cs[l.rng.IntN(3)]; l.rng.IntN(4) == 0 && c.Len() > 0 {
				_ = c.Truncate(c.Len() - l.rng.IntN(min(c.Len(), 40))) // or not, where a window forbids it
			}
		}
	}
}

func (l *lab) randomPass(as []engine.Attend, cs []engine.Cache) {
	var spans []engine.Span
	rows := 0
	for _, c := range append(cs, nil) {
		if l.rng.IntN(3) > 0 {
			n := []int{1, 1, 2, 9, 33, 129}[l.rng.IntN(6)]
			spans, rows = append(spans, engine.Span{Cache: c, Rows: n}), rows+n
		}
	}
	ctx, cancel := context.WithCancel(l.Context())
	defer cancel()
	p := l.Begin(ctx, spans)
	for _, a := range as {
		s := l.sequence(a, rows)
		attend(p, a, s.q, s.k, s.v)
	}
	switch l.rng.IntN(4) {
	case 0:
		p.Discard()
	case 1:
		cancel()
		if p.End() == nil {
			l.Error("End of a cancelled pass gives no error")
		}
	default:
		l.end(p)
	}
}

// interleaved runs two passes of one engine by turns.
func interleaved(l *lab) {
	a := attention(4, 1, 16, 0, 0)
	w := l.weight(checkpoint.Q8_0, 64, 64)
	c, d := l.NewCache(layersOf(a)), l.NewCache(layersOf(a))
	for _, rows := range []int{20, 1, 3} {
		s := l.sequence(a, rows)
		p, q := l.Begin(l.Context(), []engine.Span{{Cache: c, Rows: rows}}), l.Begin(l.Context(), []engine.Span{{Cache: d, Rows: rows}})
		x, y := attend(p, a, s.q, s.k, s.v), attend(q, a, s.q, s.k, s.v)
		before := read(q, y)
		u := p.Linear(x, w)[0]
		p.Keep(u)
		l.random(p, rows, 64)
		l.end(p)
		for i, v := range read(q, y) {
			if v != before[i] {
				l.Fatal("the end of one pass has changed a tensor of another")
			}
		}
		q.Linear(y, w)
		l.end(q)
	}
}

// concurrent lets several goroutines run their sequences on one engine with
// the same weights. The race detector has most to say about it.
func concurrent(l *lab) {
	a := attention(4, 1, 32, 60, 0)
	const width = 128
	n := engine.Norm{Weight: l.vector(width), Eps: 1e-6, Offset: 1}
	qkv := []engine.Weight{l.weight(checkpoint.Q4_0, width, width), l.weight(checkpoint.Q8_0, 32, width), l.weight(checkpoint.F32, 32, width)}
	out, rope := l.weight(checkpoint.Q5_0, width, width), engine.Rope{Base: 10000, Scale: 1}
	inputs := l.normals(width * 80)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			c := l.NewCache(layersOf(a))
			for _, rows := range []int{40, 1, 1, 36, 1} {
				p := l.Begin(l.Context(), []engine.Span{{Cache: c, Rows: rows}})
				from := c.Len()
				x := p.Write(inputs[from*width:(from+rows)*width], width)
				h := p.Linear(p.Norm(x, n), qkv...)
				q, k := p.Heads(h[0], engine.Heads{Size: 32, Ropes: []engine.Rope{rope}}), p.Heads(h[1], engine.Heads{Size: 32, Ropes: []engine.Rope{rope}})
				y := p.Add(x, p.Linear(p.Attend(q, k, h[2], a), out)[0])
				p.Keep(y)
				l.end(p)
			}
			c.Close()
		})
	}
	all.Wait()
}

// concurrentKinds: the same of a decoder with a source, experts and a
// recurrence, and of a tower, whose weights an engine may prepare when they are
// first used.
func concurrentKinds(l *lab) {
	a, b := attention(2, 1, 12, 30, 0), l.recurrentBlock(24, 3, true)
	b.conv.Layer, b.recur.Layer = 2, 3
	layers := append(withSource(engine.Half, a), b.layers()[1:]...)
	e := engine.Experts{GateUp: l.weight(checkpoint.Q8_0, 4*2*32, 64), Down: l.weight(checkpoint.Q8_0, 4*64, 32), Count: 4, Top: 2}
	table, blocks := l.weight(checkpoint.Q8_0, 24, 64), l.weight(checkpoint.F16, 24, 12)
	conv := engine.Conv2D{Weight: l.weight(checkpoint.F16, 24, 3), In: 1, Out: 24, Size: [2]int{1, 3}, Stride: [2]int{1, 3}}
	data := l.normals(5 * 3)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			c := l.NewCache(layers)
			for range 4 {
				conv := conv
				conv.Lengths = []int{2, 3}
				p := l.Begin(l.Context(), []engine.Span{{Cache: c, Rows: 5, Source: true}})
				x := p.Conv2D(p.Write(data, 3), conv)
				k := p.Columns(x, 0, 12)
				source := a
				source.Layer = 1
				p.Attend(nil, k, k, source)
				l.end(p)

				p = l.Begin(l.Context(), []engine.Span{{Cache: c, Rows: 5}})
				x = p.Conv2D(p.Write(data, 3), conv)
				k = p.Columns(x, 0, 12)
				beside := a
				beside.Beside = 2
				y := p.Conv1D(p.Attend(x, k, k, beside), b.conv)
				y = p.Recur(y, p.BlockLinear(y, blocks, 2), p.BlockLinear(y, blocks, 2), b.recur)
				z := p.Expect(y, table, 1)
				p.Experts(z, p.Columns(z, 3, 4), e)
				l.end(p)
			}
			c.Close()
		})
	}
	all.Wait()
}

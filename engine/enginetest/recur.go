package enginetest

import (
	"context"
	"math"
	"slices"

	"lapidary/checkpoint/checkpointtest"
	"lapidary/engine"
)

// recurrentBlock is a block with state: a short convolution, a recurrence over what
// it gives, and a layer of attention.
type recurrentBlock struct {
	width, size int
	conv        engine.Conv1D
	recur       engine.Recurrence
	attend      engine.Attend
}

func (l *lab) recurrentBlock(width, size int, bias bool) recurrentBlock {
	b := recurrentBlock{width: width, size: size, attend: attention(2, 1, 12, 30, 0)}
	b.conv = engine.Conv1D{Layer: 1, Weight: l.load(checkpointtest.FloatTensor("conv", l.normals(width*size), width, size))}
	if bias {
		b.conv.Bias = l.vector(width)
	}
	b.recur = engine.Recurrence{Layer: 2, Decay: l.vector(width)}
	return b
}

func (b recurrentBlock) layers() []engine.CacheLayer {
	return append(layersOf(b.attend), engine.CacheLayer{State: (b.size - 1) * b.width}, engine.CacheLayer{State: b.width})
}

// inputs of n rows.
type inputs struct{ x, in, forget, q, k, v []float32 }

func (l *lab) inputs(b recurrentBlock, n int) inputs {
	a := b.attend
	return inputs{l.normals(n * b.width), l.normals(n * b.width), l.normals(n * b.width),
		l.normals(n * a.Heads * a.C), l.halfs(n * a.KVHeads * a.C), l.halfs(n * a.KVHeads * a.C)}
}

// run runs rows [from, to) of the inputs.
func (b recurrentBlock) run(p engine.Pass, x inputs, from, to int) engine.Tensor {
	part := func(x []float32, width int) []float32 { return x[from*width : to*width] }
	a := b.attend
	attend(p, a, part(x.q, a.Heads*a.C), part(x.k, a.KVHeads*a.C), part(x.v, a.KVHeads*a.C))
	y := p.Conv1D(p.Write(part(x.x, b.width), b.width), b.conv)
	return p.Recur(y, p.Write(part(x.in, b.width), b.width), p.Write(part(x.forget, b.width), b.width), b.recur)
}

func recurs(l *lab) {
	for i, width := range []int{3, 6, 12, 20, 64, 130, 520} {
		b := l.recurrentBlock(width, 2+i%3, i%2 == 0)
		c, d := l.NewCache(b.layers()), l.NewCache(b.layers())
		for _, rows := range [][3]int{{1, 40, 2}, {3, 1, 1}, {1, 1, 9}, {60, 5, 1}} {
			n := rows[0] + rows[1] + rows[2]
			p := l.Begin(l.Context(), []engine.Span{{Cache: c, Rows: rows[0]}, {Rows: rows[1]}, {Cache: d, Rows: rows[2]}})
			b.run(p, l.inputs(b, n), 0, n)
			l.end(p)
		}
		c.Close()
		d.Close()
	}
	l.Run("extremes", recurrenceExtremes)
	l.Run("pieces", recurrentPieces)
	l.Run("failures", recurrentFailures)
	l.Run("truncate", recurrentTruncate)
	l.Run("size", recurrentSize)
	l.Run("lives", recurrentLives)
}

// recurrenceExtremes: factors near 1 and near 0, for long; gates that are
// open or shut.
func recurrenceExtremes(l *lab) {
	decays := []float32{-20, -9, -4, 0, 1, 6, 20, -0.5}
	r := engine.Recurrence{Decay: l.load(checkpointtest.FloatTensor("decay", decays, 8))}
	const rows = 150
	for _, size := range []float32{0.1, 3, 20, 100} {
		in, forget := l.normals(rows*8), l.normals(rows*8)
		for i := range in {
			in[i] *= size
			forget[i] *= size
		}
		l.pass(rows, func(p engine.Pass) { p.Recur(l.random(p, rows, 8), p.Write(in, 8), p.Write(forget, 8), r) })
	}
}

// recurrentPieces: however a sequence is cut, its rows get the same.
func recurrentPieces(l *lab) {
	const n = 100
	b := l.recurrentBlock(20, 4, true)
	x := l.inputs(b, n)
	var whole []float32
	for _, sizes := range [][]int{{n}, {1, 2, 97}, {50, 50}, slices.Repeat([]int{1}, n)} {
		c, at := l.NewCache(b.layers()), 0
		var got []float32
		for _, rows := range sizes {
			p := l.Begin(l.Context(), []engine.Span{{Cache: c, Rows: rows}})
			got = append(got, read(p, b.run(p, x, at, at+rows))...)
			l.end(p)
			at += rows
		}
		if whole == nil {
			whole = got
		}
		// A result in these gates forgets within tens of rows.
		limit := 200 * recurrent * greatest(whole)
		for i, want := range whole {
			if diff := math.Abs(float64(got[i] - want)); diff > limit {
				l.Fatalf("in %d pieces, element %d is %v, want %v as in one", len(sizes), i, got[i], want)
			}
		}
		c.Close()
	}
}

// recurrentFailures: passes that fail leave states as they were, at the start
// of a sequence and later.
func recurrentFailures(l *lab) {
	b := l.recurrentBlock(12, 4, false)
	c := l.NewCache(b.layers())
	for range 3 {
		for _, rows := range []int{1, 7} {
			ctx, cancel := context.WithCancel(l.Context())
			p := l.Begin(ctx, []engine.Span{{Cache: c, Rows: rows}})
			b.run(p, l.inputs(b, rows), 0, rows)
			p.Discard()
			p = l.Begin(ctx, []engine.Span{{Cache: c, Rows: rows}})
			b.run(p, l.inputs(b, rows), 0, rows)
			cancel()
			if p.End() == nil {
				l.Error("End of a cancelled pass gives no error")
			}
		}
		p := l.Begin(l.Context(), []engine.Span{{Cache: c, Rows: 5}})
		b.run(p, l.inputs(b, 5), 0, 5)
		l.end(p)
	}
}

// recurrentTruncate: a recurrence keeps no past, so it can go back to its
// beginning and nowhere else.
func recurrentTruncate(l *lab) {
	b := l.recurrentBlock(6, 3, true)
	c := l.NewCache(b.layers())
	for _, n := range []int{9, 1, 20} {
		p := l.Begin(l.Context(), []engine.Span{{Cache: c, Rows: n}})
		b.run(p, l.inputs(b, n), 0, n)
		l.end(p)
		for back := 1; back < n; back++ {
			if c.Truncate(n-back) == nil || c.Len() != n {
				l.Errorf("a recurrence of %d positions went back to %d, now %d", n, n-back, c.Len())
			}
		}
		for _, to := range []int{n, 0} {
			if err := c.Truncate(to); err != nil {
				l.Errorf("Truncate(%d) of %d positions: %v", to, n, err)
			}
		}
	}
}

// recurrentSize: what a recurrence keeps does not grow.
func recurrentSize(l *lab) {
	b := l.recurrentBlock(64, 4, true)
	c := l.NewCache(b.layers()[1:])
	b.conv.Layer, b.recur.Layer = 0, 1
	var sizes []int64
	for _, rows := range []int{1, 100} {
		p := l.Begin(l.Context(), []engine.Span{{Cache: c, Rows: rows}})
		x := p.Conv1D(l.random(p, rows, 64), b.conv)
		p.Recur(x, l.random(p, rows, 64), l.random(p, rows, 64), b.recur)
		l.end(p)
		sizes = append(sizes, c.Bytes())
	}
	if least := int64(4 * 4 * 64); sizes[0] != sizes[1] || sizes[0] < least {
		l.Errorf("states of 256 numbers take %d bytes after a row and %d after 101, want the same and no less than %d", sizes[0], sizes[1], least)
	}
}

// recurrentLives are random passes, some of which fail.
func recurrentLives(l *lab) {
	b := l.recurrentBlock(20, 4, false)
	var cs []engine.Cache
	for range 3 {
		cs = append(cs, l.NewCache(b.layers()))
	}
	for range 25 {
		var spans []engine.Span
		rows := 0
		for _, c := range append(cs, nil) {
			if n := l.rng.IntN(9); n > 2 {
				spans, rows = append(spans, engine.Span{Cache: c, Rows: n}), rows+n
			}
		}
		p := l.Begin(l.Context(), spans)
		b.run(p, l.inputs(b, rows), 0, rows)
		if l.rng.IntN(3) == 0 {
			p.Discard()
		} else {
			l.end(p)
		}
		if l.rng.IntN(8) == 0 {
			l.empty(cs[l.rng.IntN(3)])
		}
	}
}

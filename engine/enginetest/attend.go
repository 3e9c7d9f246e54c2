package enginetest

import (
	"fmt"
	"math"
	"slices"

	"lapidary/engine"
)

// attention is one kind of layer.
func attention(heads, kvHeads, size, window int, softCap float32) engine.Attend {
	return engine.Attend{Heads: heads, KVHeads: kvHeads, C: size, Window: window, SoftCap: softCap,
		Scale: float32(1 / math.Sqrt(float64(size)))}
}

func name(a engine.Attend) string {
	return fmt.Sprintf("%d to %d heads of %d, window %d, cap %v", a.Heads, a.KVHeads, a.C, a.Window, a.SoftCap)
}

// attentions are the kinds that models have, and windows on both sides of what
// engines like to make a unit of (a power of two).
var attentions = []engine.Attend{
	attention(3, 3, 16, 0, 0),
	attention(3, 1, 6, 20, 0), // no published size; a file may still say so
	attention(4, 1, 32, 0, 0),
	attention(8, 2, 24, 0, 5),
	attention(2, 1, 256, 60, 0),
	attention(2, 2, 128, 64, 0),
	attention(4, 2, 16, 1, 0),
	attention(4, 2, 16, 7, 3),
	attention(4, 1, 16, 127, 0),
	attention(4, 1, 16, 128, 0),
	attention(4, 1, 16, 129, 0),
	attention(2, 1, 48, 300, 0),
}

// layersOf is the cache of a model with these layers.
func layersOf(as ...engine.Attend) []engine.CacheLayer {
	var layers []engine.CacheLayer
	for _, a := range as {
		layers = append(layers, engine.CacheLayer{KVHeads: a.KVHeads, HeadSize: a.C, Window: a.Window})
	}
	return layers
}

// sequence is queries, keys and values at positions 0, 1, …
type sequence struct {
	a       engine.Attend
	q, k, v []float32
}

// sequence makes n positions. Queries are of a size that reaches a soft cap.
func (l *lab) sequence(a engine.Attend, n int) *sequence {
	s := &sequence{a, l.normals(n * a.Heads * a.C), l.halfs(n * a.KVHeads * a.C), l.halfs(n * a.KVHeads * a.C)}
	if a.SoftCap != 0 {
		for i := range s.q {
			s.q[i] *= 2 * a.SoftCap
		}
	}
	return s
}

// rows of positions [from, to).
func (s *sequence) rows(from, to int) (q, k, v []float32) {
	n, m := s.a.Heads*s.a.C, s.a.KVHeads*s.a.C
	return s.q[from*n : to*n], s.k[from*m : to*m], s.v[from*m : to*m]
}

// attend attends rows given as floats.
func attend(p engine.Pass, a engine.Attend, q, k, v []float32) engine.Tensor {
	return p.Attend(p.Write(q, a.Heads*a.C), p.Write(k, a.KVHeads*a.C), p.Write(v, a.KVHeads*a.C), a)
}

// run attends the next positions of the sequence, one pass for each size, and
// returns what all rows got.
func (l *lab) run(s *sequence, c engine.Cache, sizes ...int) []float32 {
	l.Helper()
	var out []float32
	for _, n := range sizes {
		from := 0
		if c != nil {
			from = c.Len()
		}
		p := l.Begin(l.Context(), []engine.Span{{Cache: c, Rows: n}})
		q, k, v := s.rows(from, from+n)
		out = append(out, read(p, attend(p, s.a, q, k, v))...)
		l.end(p)
	}
	return out
}

func attends(l *lab) {
	for _, a := range attentions {
		l.Run(name(a), func(l *lab) {
			l.run(l.sequence(a, 1), nil, 1)
			l.run(l.sequence(a, 140), nil, 140)
			c := l.NewCache(layersOf(a))
			l.run(l.sequence(a, 200), c, 3, 130, 1, 1, 17, 48)
			c.Close()
		})
	}
}

// pieces: however a prompt is cut, its rows get the same.
func pieces(l *lab) {
	for _, a := range []engine.Attend{attention(4, 1, 32, 0, 0), attention(2, 2, 16, 50, 5), attention(4, 2, 16, 128, 0)} {
		l.Run(name(a), func(l *lab) {
			const n = 200
			s := l.sequence(a, n)
			whole, limit := l.run(s, nil, n), 2*attentionExact*greatest(s.v)
			for _, sizes := range [][]int{{n}, {1, 127, 2, 70}, {100, 100}, slices.Repeat([]int{1}, n)} {
				c := l.NewCache(layersOf(a))
				got := l.run(s, c, sizes...)
				for i, want := range whole {
					if diff := math.Abs(float64(got[i] - want)); diff > limit {
						l.Fatalf("in %d pieces, element %d is %v, want %v as in one", len(sizes), i, got[i], want)
					}
				}
				c.Close()
			}
		})
	}
}

// together runs one pass over sequences that stand at different places, among
// them some that are forgotten, and then each of them alone.
func together(l *lab) {
	for _, a := range []engine.Attend{attention(4, 1, 32, 0, 0), attention(8, 4, 16, 100, 0)} {
		var spans []engine.Span
		var all []*sequence
		for _, held := range []int{0, 1, 127, 128, 200} {
			s, c := l.sequence(a, 300), l.NewCache(layersOf(a))
			if held > 0 {
				l.run(s, c, held)
			}
			all, spans = append(all, s), append(spans, engine.Span{Cache: c})
		}
		for range 2 {
			all, spans = append(all, l.sequence(a, 60)), append(spans, engine.Span{})
		}
		for _, rows := range [][]int{{7, 3, 40, 1, 1, 50, 1}, {1, 1, 1, 1, 1, 1, 1}, {1, 1, 33, 2, 1, 1, 60}} {
			l.batch(a, spans, all, rows)
		}
	}
}

// batch attends so many rows of each sequence in one pass.
func (l *lab) batch(a engine.Attend, spans []engine.Span, all []*sequence, rows []int) {
	var q, k, v []float32
	for i, s := range all {
		spans[i].Rows = rows[i]
		from := 0
		if c := spans[i].Cache; c != nil {
			from = c.Len()
		}
		x, y, z := s.rows(from, from+rows[i])
		q, k, v = append(q, x...), append(k, y...), append(v, z...)
	}
	if a.Rows != nil {
		q = l.normals(len(a.Rows) * a.Heads * a.C)
	}
	p := l.Begin(l.Context(), spans)
	attend(p, a, q, k, v)
	l.end(p)
}

// longCaches lets single rows look far back, which engines split among threads.
func longCaches(l *lab) {
	for _, a := range []engine.Attend{attention(4, 1, 16, 0, 0), attention(2, 2, 16, 600, 0), attention(2, 1, 16, 0, 20)} {
		l.Run(name(a), func(l *lab) {
			s, c := l.sequence(a, 900), l.NewCache(layersOf(a))
			l.run(s, c, 500, 1, 11, 1, 1, 250, 1, 1, 1)
			other := l.sequence(a, 30)
			l.batch(a, []engine.Span{{}, {Cache: c}}, []*sequence{other, s}, []int{30, 2})
			c.Close()
		})
	}
}

// someRows: queries of some rows of a pass, of one, of all, of none, while all
// rows leave keys and values; and the rotation of such queries.
func someRows(l *lab) {
	a := attention(4, 2, 32, 50, 0)
	rope := engine.Rope{Base: 10_000, Scale: 1}
	c := l.NewCache(layersOf(a))
	for _, rows := range [][]int{{0, 1, 2, 5, 29, 30, 31, 99}, {99}, {}, nil, {30}, {28, 29, 98}} {
		p := l.Begin(l.Context(), []engine.Span{{Rows: 30}, {Cache: c, Rows: 70}})
		k, v := p.Write(l.halfs(100*64), 64), p.Write(l.halfs(100*64), 64)
		if len(rows) == 0 && rows != nil {
			if y := p.Attend(nil, k, v, a); y != nil {
				l.Errorf("a nil q gives %v", y)
			}
			l.end(p)
			continue
		}
		n := len(rows)
		if rows == nil {
			n = 100
		}
		a.Rows = rows
		p.Attend(p.Heads(l.random(p, n, 128), engine.Heads{Size: 32, Ropes: []engine.Rope{rope}, Rows: rows}), k, v, a)
		l.end(p)
	}
}

// sharedLayers: layers that read what another has stored, directly after it and
// later, whole and through a window.
func sharedLayers(l *lab) {
	local, global := attention(4, 2, 16, 40, 0), attention(4, 1, 32, 0, 0)
	global.Layer = 1
	c, own := l.NewCache(layersOf(local, global)), l.NewCache(layersOf(local, global))
	for _, rows := range []int{100, 1, 30, 129, 1, 1} {
		p := l.Begin(l.Context(), []engine.Span{{Cache: c, Rows: rows}})
		q := l.Begin(l.Context(), []engine.Span{{Cache: own, Rows: rows}})
		for i, a := range []engine.Attend{local, global, global, local, global} {
			x := l.normals(rows * a.Heads * a.C)
			if i > 1 {
				p.Attend(p.Write(x, a.Heads*a.C), nil, nil, a)
				continue
			}
			k, v := l.halfs(rows*a.KVHeads*a.C), l.halfs(rows*a.KVHeads*a.C)
			attend(p, a, x, k, v)
			attend(q, a, x, k, v)
		}
		l.end(p)
		l.end(q)
	}
	if got, want := c.Bytes(), own.Bytes(); got != want {
		l.Errorf("two layers that three more read take %d bytes, two layers alone %d", got, want)
	}
	// The same of a sequence that is forgotten.
	l.pass(50, func(p engine.Pass) {
		s := l.sequence(local, 50)
		attend(p, local, s.q, s.k, s.v)
		attend(p, global, l.normals(50*128), l.halfs(50*32), l.halfs(50*32))
		p.Attend(l.random(p, 50, 64), nil, nil, local)
		p.Attend(l.random(p, 50, 128), nil, nil, global)
	})
}

// precisions attends keys and values that half precision cannot hold, in
// memories that may round them and in memories that may not.
func precisions(l *lab) {
	for _, keep := range []engine.Precision{engine.Half, engine.Exact, engine.Int8} {
		l.Run(fmt.Sprint("precision ", keep), func(l *lab) {
			for _, a := range []engine.Attend{attention(4, 1, 64, 0, 0), attention(2, 2, 16, 30, 5), attention(3, 1, 6, 20, 0), attention(2, 1, 256, 60, 0)} {
				const n = 140
				s := l.sequence(a, n)
				s.k, s.v = l.normals(len(s.k)), l.normals(len(s.v))
				c := l.NewCache(keeping(keep, a))
				l.run(s, c, n-2, 1, 1)
				c.Close()
			}
		})
	}
}

// keeping is the cache of layers of that precision.
func keeping(keep engine.Precision, as ...engine.Attend) []engine.CacheLayer {
	layers := layersOf(as...)
	for i := range layers {
		layers[i].Keep = keep
	}
	return layers
}

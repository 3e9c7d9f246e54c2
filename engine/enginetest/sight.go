package enginetest

import (
	"fmt"
	"math"
	"slices"

	"lapidary/engine"
)

// sights are kinds of layers that see more than their past; heads of sizes that
// no vector divides among them.
var sights = []engine.Attend{
	attention(2, 1, 32, 0, 0),
	attention(3, 1, 3, 0, 0),
	attention(2, 2, 12, 7, 5),
	attention(4, 2, 20, 33, 0),
	attention(2, 2, 72, 0, 0),
	attention(2, 1, 64, 129, 0),
}

// aheads: rows that see ahead, a little and to the end of their span, and rows
// that see their groups, at the beginning of a sequence and later on.
func aheads(l *lab) {
	for _, a := range sights {
		for _, ahead := range []int{1, 9, engine.All} {
			a.Ahead = ahead
			l.Run(fmt.Sprintf("%s, %d ahead", name(a), ahead), func(l *lab) { l.seen(a) })
		}
	}
}

// anchors: windows that are those of a span's first row, for rows that see
// their past, all of their span, and their groups.
func anchors(l *lab) {
	for _, a := range sights {
		if a.Anchored = true; a.Window == 0 {
			continue
		}
		for _, ahead := range []int{0, engine.All} {
			a.Ahead, a.Groups = ahead, ahead == 0
			l.Run(fmt.Sprintf("%s, %d ahead", name(a), ahead), func(l *lab) { l.seen(a) })
		}
	}
}

func groups(l *lab) {
	for _, a := range sights {
		for _, ahead := range []int{0, 2} {
			a.Groups, a.Ahead = true, ahead
			l.Run(fmt.Sprintf("%s, %d ahead", name(a), ahead), func(l *lab) { l.seen(a) })
		}
	}
}

// seen attends a few sequences together that stand at different places, with
// their groups, all rows and some.
func (l *lab) seen(a engine.Attend) {
	var spans []engine.Span
	var all []*sequence
	for i, held := range []int{0, 1, 140} {
		s, c := l.sequence(a, 280), l.NewCache(keeping([]engine.Precision{engine.Exact, engine.Half, engine.Int8}[i], a))
		if held > 0 {
			l.run(s, c, held)
		}
		all, spans = append(all, s), append(spans, engine.Span{Cache: c})
	}
	all, spans = append(all, l.sequence(a, 70)), append(spans, engine.Span{})
	for _, rows := range [][]int{{5, 40, 33, 70}, {1, 1, 1, 1}, {30, 2, 3, 1}, {40, 17, 5, 9}} {
		total := 0
		for i, n := range rows {
			if spans[i].Groups = l.groups(n); n == 17 {
				spans[i].Groups = nil // not every sequence has some
			}
			total += n
		}
		if a.Rows = nil; total > 60 {
			a.Rows = []int{0, 3, 4, 6, total - 31, total - 2}
		}
		l.batch(a, spans, all, rows)
	}
}

// turns: layers of several shapes that store in one place, each for itself.
func turns(l *lab) {
	p := l.Begin(l.Context(), []engine.Span{{Rows: 40}, {Rows: 150}})
	for _, a := range slices.Concat(sights, sights) {
		a.Ahead = engine.All
		attend(p, a, l.normals(190*a.Heads*a.C), l.normals(190*a.KVHeads*a.C), l.normals(190*a.KVHeads*a.C))
	}
	l.end(p)
}

// groups numbers n rows: stretches of one number, some of them 0, and now and
// then a number that comes again.
func (l *lab) groups(n int) []int32 {
	all := make([]int32, 0, n)
	for len(all) < n {
		number := l.rng.Int32N(4) * l.rng.Int32N(3)
		for range min(n-len(all), 1+l.rng.IntN(20)) {
			all = append(all, number)
		}
	}
	return all
}

// relatives: keys that are moved by how far back they are, as far as there are
// places and no further, whole and through windows, in one pass and in several.
func relatives(l *lab) {
	for _, c := range []struct {
		a           engine.Attend
		far, places int
		ahead       int
		keep        engine.Precision
	}{
		{attention(4, 4, 16, 13, 50), 12, 13, 0, engine.Half},
		{attention(2, 1, 32, 0, 0), 5, 6, 0, engine.Int8},
		{attention(2, 2, 12, 7, 0), 10, 14, 3, engine.Exact}, // places beyond the window, and ahead
		{attention(3, 1, 3, 20, 5), 4, 9, engine.All, engine.Half},
		{attention(4, 2, 20, 0, 0), 300, 290, 0, engine.Int8}, // not for the nearest
		{attention(2, 1, 64, 129, 0), 2, 1, 0, engine.Half},
	} {
		a := c.a
		a.Far, a.Ahead = c.far, c.ahead
		l.Run(fmt.Sprintf("%s, %d places from %d back", name(a), c.places, c.far), func(l *lab) {
			s, cache, width := l.sequence(a, 200), l.NewCache(keeping(c.keep, a)), a.Heads*a.C
			for _, rows := range []int{1, 40, 1, 95, 30} {
				from := cache.Len()
				p := l.Begin(l.Context(), []engine.Span{{Cache: cache, Rows: rows}, {Rows: 5}})
				a.Relative = l.random(p, c.places, width)
				q, k, v := s.rows(from, from+rows)
				x, y, z := s.rows(50, 55) // of another sequence that is forgotten
				attend(p, a, slices.Concat(q, x), slices.Concat(k, y), slices.Concat(v, z))
				p.Attend(l.random(p, rows+5, width), nil, nil, a) // the places serve several layers
				l.end(p)
			}
		})
	}
	l.Run("pieces", relativePieces)
}

// relativePieces: however a sequence is cut, its rows get the same, also with
// places and a source beside.
func relativePieces(l *lab) {
	const n, places = 150, 40
	a := attention(4, 2, 20, 60, 0)
	a.Far, a.Beside = 30, 2
	s, width := l.sequence(a, n), a.Heads*a.C
	moves, keys, values := l.normals(places*width), l.halfs(50*2*20), l.halfs(50*2*20)
	var whole []float32
	for _, sizes := range [][]int{{n}, {1, 127, 2, 20}, slices.Repeat([]int{1}, n)} {
		c := l.NewCache(withSource(engine.Half, a))
		p := l.Begin(l.Context(), []engine.Span{{Cache: c, Rows: 50, Source: true}})
		source := attention(4, 2, 20, 0, 0)
		source.Layer = 1
		p.Attend(nil, p.Write(keys, 2*20), p.Write(values, 2*20), source)
		l.end(p)
		var got []float32
		for _, rows := range sizes {
			from := c.Len()
			p := l.Begin(l.Context(), []engine.Span{{Cache: c, Rows: rows}})
			a.Relative = p.Write(moves, width)
			q, k, v := s.rows(from, from+rows)
			got = append(got, read(p, attend(p, a, q, k, v))...)
			l.end(p)
		}
		if whole == nil {
			whole = got
		}
		limit := 2 * attentionExact * max(greatest(s.v), greatest(values))
		for i, want := range whole {
			if diff := math.Abs(float64(got[i] - want)); diff > limit {
				l.Fatalf("in %d pieces, element %d is %v, want %v as in one", len(sizes), i, got[i], want)
			}
		}
		c.Close()
	}
}

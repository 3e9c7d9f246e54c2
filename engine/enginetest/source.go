package enginetest

import (
	"context"
	"errors"
	"fmt"

	"lapidary/engine"
)

// sources: what an encoder leaves for a decoder, in layers of its own.
func sources(l *lab) {
	for _, a := range []engine.Attend{
		attention(4, 1, 32, 0, 0), attention(2, 2, 12, 20, 0), attention(3, 1, 3, 0, 5), attention(4, 2, 20, 130, 0), attention(2, 1, 256, 0, 0),
	} {
		for _, keep := range []engine.Precision{engine.Half, engine.Exact, engine.Int8} {
			l.Run(fmt.Sprintf("%s, precision %d", name(a), keep), func(l *lab) { l.decode(a, keep) })
		}
	}
	l.Run("mixed", sourceMixed)
	l.Run("failures", sourceFailures)
	l.Run("size", sourceSize)
}

// withSource is the cache of a decoder layer, and of layer 1 for its source.
func withSource(keep engine.Precision, a engine.Attend) []engine.CacheLayer {
	layers := keeping(keep, a, a)
	layers[1].Window, layers[1].Source = 0, true
	return layers
}

// encoding begins a pass over sources of so many rows, of elements that half
// precision does not hold.
func (l *lab) encoding(ctx context.Context, a engine.Attend, rows []int, cs ...engine.Cache) engine.Pass {
	var spans []engine.Span
	total := 0
	for i, c := range cs {
		spans = append(spans, engine.Span{Cache: c, Rows: rows[i], Source: true})
		total += rows[i]
	}
	p := l.Begin(ctx, spans)
	a.Layer = 1
	n := a.KVHeads * a.C
	if y := p.Attend(nil, l.random(p, total, n), l.random(p, total, n), a); y != nil {
		l.Errorf("a nil q gives %v", y)
	}
	return p
}

// decode lets two sequences see sources that come, stay and are replaced.
func (l *lab) decode(a engine.Attend, keep engine.Precision) {
	c, d := l.NewCache(withSource(keep, a)), l.NewCache(withSource(keep, a))
	l.decoding(a, 2, 3, c, d) // there is no source yet
	l.end(l.encoding(l.Context(), a, []int{40, 130}, c, d))
	l.sourceOnly(a, 1, 20, c, d)
	l.decoding(a, 20, 1, c, d)
	l.decoding(a, 1, 1, c, d)
	l.end(l.encoding(l.Context(), a, []int{7}, c)) // d keeps its own
	l.decoding(a, 1, 5, c, d)
	for _, cache := range []engine.Cache{c, d} {
		if err := cache.Truncate(0); err != nil {
			l.Fatal(err)
		}
	}
	l.decoding(a, 3, 1, c, d) // a source is no part of the sequence
	l.end(l.encoding(l.Context(), a, []int{200, 1}, c, d))
	l.sourceOnly(a, 1, 1, c, d)
	l.decoding(a, 2, 2, c, d)
	if c.Len() != 5 || d.Len() != 3 {
		l.Errorf("after 3 and 2, and 1 and 2 rows caches hold %d and %d positions", c.Len(), d.Len())
	}
	c.Close()
	d.Close()
}

// decoding is a pass over so many rows of each, which see their own past and
// the source beside it, and over a stranger that has none; then some of them see
// these again.
func (l *lab) decoding(a engine.Attend, n, m int, c, d engine.Cache) {
	rows, width := n+m+2, a.Heads*a.C
	p := l.Begin(l.Context(), []engine.Span{{Cache: c, Rows: n}, {Rows: 2}, {Cache: d, Rows: m}})
	a.Beside = 2
	p.Attend(l.random(p, rows, width), l.random(p, rows, a.KVHeads*a.C), l.random(p, rows, a.KVHeads*a.C), a)
	a.Rows = []int{0, rows - 1}
	p.Attend(l.random(p, 2, width), nil, nil, a)
	l.end(p)
}

// sourceOnly is a pass over rows that see the source and are not seen.
func (l *lab) sourceOnly(a engine.Attend, n, m int, c, d engine.Cache) {
	p := l.Begin(l.Context(), []engine.Span{{Cache: c, Rows: n}, {Cache: d, Rows: m}})
	a.Layer, a.Source, a.Window = 1, true, 0
	p.Attend(l.random(p, n+m, a.Heads*a.C), nil, nil, a)
	a.Rows = []int{n, n + m - 1}[:min(2, m)]
	p.Attend(l.random(p, len(a.Rows), a.Heads*a.C), nil, nil, a)
	p.Discard()
}

// sourceMixed: a layer and its source that keep different precisions.
func sourceMixed(l *lab) {
	a := attention(4, 2, 32, 20, 0)
	for _, keep := range [][2]engine.Precision{{engine.Int8, engine.Exact}, {engine.Half, engine.Int8}, {engine.Exact, engine.Half}} {
		layers := withSource(keep[0], a)
		layers[1].Keep = keep[1]
		c, d := l.NewCache(layers), l.NewCache(withSource(keep[1], a))
		l.end(l.encoding(l.Context(), a, []int{60, 9}, c, d))
		l.decoding(a, 30, 2, c, d)
		l.decoding(a, 1, 1, c, d)
		l.sourceOnly(a, 1, 3, c, d)
	}
}

// sourceFailures: passes that fail leave the source as it was, also where there
// was none.
func sourceFailures(l *lab) {
	a := attention(2, 1, 16, 0, 0)
	c, d := l.NewCache(withSource(engine.Half, a)), l.NewCache(withSource(engine.Half, a))
	l.end(l.encoding(l.Context(), a, []int{50}, d))
	for range 2 {
		l.encoding(l.Context(), a, []int{9, 150}, c, d).Discard()
		ctx, cancel := context.WithCancel(l.Context())
		p := l.encoding(ctx, a, []int{30, 3}, c, d)
		cancel()
		if err := p.End(); !errors.Is(err, context.Canceled) {
			l.Errorf("End of a cancelled pass: %v", err)
		}
		l.decoding(a, 2, 2, c, d)
	}
	if c.Len() != 4 {
		l.Errorf("after 4 rows a cache holds %d positions", c.Len())
	}
}

// sourceSize: sources that replace one another take no more memory than one.
func sourceSize(l *lab) {
	a := attention(2, 1, 16, 0, 0)
	c := l.NewCache(withSource(engine.Half, a))
	l.end(l.encoding(l.Context(), a, []int{300}, c))
	one := c.Bytes()
	if least := int64(300 * 2 * 16); one < least {
		l.Errorf("a source of 300 rows of 32 elements takes %d bytes: less than a byte each", one)
	}
	for range 5 {
		l.end(l.encoding(l.Context(), a, []int{300}, c))
	}
	if many := c.Bytes(); many > 2*one { // a spare one, perhaps
		l.Errorf("the sixth source takes %d bytes, the first took %d", many, one)
	}
}

// behinds: rows that stand at positions the cache holds read what their windows
// show them, also once these have moved on, and leave nothing.
func behinds(l *lab) {
	for _, keep := range []engine.Precision{engine.Half, engine.Exact, engine.Int8} {
		l.Run(fmt.Sprint("precision ", keep), func(l *lab) {
			local, global := attention(4, 2, 12, 70, 0), attention(2, 1, 32, 0, 0)
			global.Layer = 1
			c := l.NewCache(keeping(keep, local, global))
			l.next(c, 3, local, global)
			l.behind(c, 3, 3, local, global)
			for _, rows := range []int{190, 60, 1, 1, 140, 250} {
				l.next(c, rows, local, global)
				for _, back := range []int{1, 5, 40} {
					l.behind(c, back, min(back, 3), local, global)
				}
			}
			if err := c.Truncate(c.Len() - 3); err == nil {
				l.behind(c, 1, 1, local, global)
			}
			l.next(c, 2, local, global)
			c.Close()
		})
	}
}

// next is a pass over the cache's next rows.
func (l *lab) next(c engine.Cache, rows int, as ...engine.Attend) {
	p := l.Begin(l.Context(), []engine.Span{{Cache: c, Rows: rows}})
	for _, a := range as {
		s := l.sequence(a, rows)
		attend(p, a, s.q, s.k, s.v)
	}
	l.end(p)
}

// behind is a pass over rows behind the end of the cache, with a stranger; the
// rows have keys and values that nobody will see.
func (l *lab) behind(c engine.Cache, back, rows int, as ...engine.Attend) {
	held := c.Len()
	p := l.Begin(l.Context(), []engine.Span{{Cache: c, Rows: rows, Behind: back}, {Rows: 2}})
	for _, a := range as {
		s := l.sequence(a, rows+2)
		attend(p, a, s.q, s.k, s.v)
		a.Ahead = engine.All
		p.Attend(l.random(p, rows+2, a.Heads*a.C), nil, nil, a)
	}
	l.end(p)
	if c.Len() != held {
		l.Errorf("rows behind made a cache of %d positions one of %d", held, c.Len())
	}
}

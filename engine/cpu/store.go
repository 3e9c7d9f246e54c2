package cpu

import "lapidary/engine"

// layer is layer number i. A sequence without a cache of the caller's gets its
// layers as they come, with the shapes of what is stored in them.
func (c *cache) layer(i int) *layer {
	for len(c.layers) <= i {
		c.add(engine.CacheLayer{Keep: engine.Exact})
	}
	return &c.layers[i]
}

// store writes the keys and values of every span into its memory. A source's
// stay apart until the pass ends.
func (p *pass) store(k, v *tensor, a engine.Attend) {
	for i := range p.spans {
		s := &p.spans[i]
		l := s.cache.layer(a.Layer)
		switch {
		case s.behind:
			continue
		case s.source:
			l = p.newSource(s, a.Layer)
		case !s.kept:
			l.shape(a.KVHeads, a.C)
		}
		if s.rows > 0 {
			p.storeSpan(s, l, k, v)
		}
	}
}

// shape makes room for heads of another size.
func (l *layer) shape(heads, size int) {
	if l.KVHeads != heads || l.HeadSize != size {
		*l = layer{CacheLayer: engine.CacheLayer{KVHeads: heads, HeadSize: size, Keep: l.Keep}, nr: l.nr}
	}
}

// newSource is a layer to take the place of layer number i when the pass ends.
func (p *pass) newSource(s *span, i int) *layer {
	old := s.cache.layer(i)
	l := &layer{CacheLayer: old.CacheLayer, nr: old.nr, held: s.rows}
	c := s.cache
	p.atEnd = append(p.atEnd, func() {
		if i < len(c.layers) { // it may have been closed
			c.layers[i] = *l
		}
	})
	return l
}

// storeSpan writes the span's keys and values at its positions.
func (p *pass) storeSpan(s *span, l *layer, k, v *tensor) {
	l.page((s.start + s.rows - 1) / pageLen) // made before threads ask for it
	const run = 16
	p.parallel((s.rows+run-1)/run, 2*s.rows*k.width, func(piece int, _ *scratch) {
		put := p.placer(l, k.width)
		for r := piece * run; r < min((piece+1)*run, s.rows); r++ {
			put(l.page((s.start+r)/pageLen), (s.start+r)%pageLen, k.row(s.row+r), v.row(s.row+r))
		}
	})
}

// placer rounds keys and values of so many elements to what the layer keeps
// and writes them into a page.
func (p *pass) placer(l *layer, width int) func(pg *page, at int, keys, values []float32) {
	loops := p.loops(width)
	switch l.Keep {
	case engine.Exact:
		return func(pg *page, at int, keys, values []float32) { place(l, at, pg.exactK, pg.exactV, keys, values) }
	case engine.Int8:
		return func(pg *page, at int, keys, values []float32) { l.placeCodes(p.set, pg, at, keys, values) }
	default:
		halfs := make([]uint16, 2*width)
		return func(pg *page, at int, keys, values []float32) {
			loops.Half(&halfs[0], &keys[0], width)
			loops.Half(&halfs[width], &values[0], width)
			place(l, at, pg.k, pg.v, halfs[:width], halfs[width:])
		}
	}
}

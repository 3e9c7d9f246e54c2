package cpu

import (
	"fmt"
	"slices"

	"lapidary/engine"
	"lapidary/engine/cpu/kernel"
)

// pageLen is the number of positions a page holds. A layer with a window gives
// pages back whole, so a smaller page wastes less and costs more calls.
const pageLen = 128

// mostBehind is how far before the end rows may stand (engine.Span.Behind)
// that are to see the whole window.
const mostBehind = 16

// cache is the memory of one sequence: for each layer, pages of keys and
// values, in the precision the layer asks for.
type cache struct {
	n      int
	nr     int // of the kernels
	layers []layer
}

// layer holds the pages from page number first on.
type layer struct {
	engine.CacheLayer
	nr    int
	first int
	pages []*page
	spare []*page
	held  int       // positions, of a source's
	state []float32 // of a recurrence; nil at position 0
}

// page holds pageLen positions, in half precision, exact, or as codes:
//
//	k [K][pageLen/NR][C][NR]   so that NR scores come from one product
//	v [K][⌈C/NR⌉][pageLen][NR] so that a product reads on and on
//
// Codes have a scale for each head of a position, scaleK and scaleV [K][pageLen];
// they are of what spread has turned.
type page struct {
	k, v           []uint16
	exactK, exactV []float32
	codeK, codeV   []int8
	scaleK, scaleV []float32
}

func (p *page) bytes() int64 {
	return int64(len(p.codeK)+len(p.codeV)) + 2*int64(len(p.k)+len(p.v)) +
		4*int64(len(p.exactK)+len(p.exactV)+len(p.scaleK)+len(p.scaleV))
}

func newCache(layers []engine.CacheLayer, nr int) *cache {
	c := &cache{nr: nr}
	for _, l := range alike(layers) {
		c.add(l)
	}
	return c
}

// alike lets a source's keys be codes only where all are: those a row sees in
// one softmax must be turned alike.
func alike(layers []engine.CacheLayer) []engine.CacheLayer {
	var sources, others bool
	for _, l := range layers {
		sources = sources || l.Source
		others = others || l.State == 0 && l.Keep != engine.Int8
	}
	if !sources || !others {
		return layers
	}
	layers = slices.Clone(layers)
	for i := range layers {
		if layers[i].Keep == engine.Int8 {
			layers[i].Keep = engine.Half
		}
	}
	return layers
}

func (c *cache) add(l engine.CacheLayer) { c.layers = append(c.layers, layer{CacheLayer: l, nr: c.nr}) }

func (c *cache) Len() int { return c.n }

func (c *cache) Truncate(n int) error {
	if n < 0 || n > c.n {
		return fmt.Errorf("cannot truncate a cache of %d positions to %d", c.n, n)
	}
	for i := range c.layers {
		l := &c.layers[i]
		if l.State > 0 && n > 0 && n < c.n {
			return fmt.Errorf("cannot truncate a cache of %d positions to %d: a recurrence keeps no past", c.n, n)
		}
		if n > 0 && l.first*pageLen > max(0, n-l.Window-mostBehind+1) {
			return fmt.Errorf("cannot truncate to %d positions: a window of %d has dropped those before %d", n, l.Window, l.first*pageLen)
		}
	}
	c.n = n
	for i := range c.layers {
		c.layers[i].truncate(n)
	}
	return nil
}

// truncate keeps the pages that hold the first n positions.
func (l *layer) truncate(n int) {
	if l.Source {
		return
	}
	if n == 0 {
		l.first, l.state = 0, nil // whatever the window has dropped is wanted no more
	}
	keep := max(0, (n+pageLen-1)/pageLen-l.first)
	if keep < len(l.pages) {
		l.spare = append(l.spare, l.pages[keep:]...)
		l.pages = l.pages[:keep]
	}
}

func (c *cache) Bytes() int64 {
	var n int64
	for i := range c.layers {
		for _, pages := range [][]*page{c.layers[i].pages, c.layers[i].spare} {
			for _, p := range pages {
				n += p.bytes()
			}
		}
		n += 4 * int64(len(c.layers[i].state))
	}
	return n
}

func (c *cache) Close() { c.layers, c.n = nil, 0 }

// commit takes in the rows of a pass and gives back the pages that no row to
// come can see. One page more is kept, so that a few positions can be taken
// back, and mostBehind positions.
func (c *cache) commit(rows int) {
	c.n += rows
	for i := range c.layers {
		l := &c.layers[i]
		if l.Window == 0 || l.Source {
			continue
		}
		for len(l.pages) > 0 && (l.first+1)*pageLen <= c.n-l.Window-pageLen-mostBehind {
			if len(l.spare) < 2 {
				l.spare = append(l.spare, l.pages[0])
			}
			l.pages[0] = nil
			l.pages = l.pages[1:]
			l.first++
		}
	}
}

// page returns page number i, making the pages up to it.
func (l *layer) page(i int) *page {
	for i >= l.first+len(l.pages) {
		l.pages = append(l.pages, l.newPage())
	}
	return l.pages[i-l.first]
}

func (l *layer) newPage() *page {
	if n := len(l.spare); n > 0 {
		p := l.spare[n-1]
		l.spare = l.spare[:n-1]
		return p
	}
	n, m := l.KVHeads*l.HeadSize*pageLen, l.KVHeads*l.columns()*pageLen
	switch l.Keep {
	case engine.Exact:
		return &page{exactK: make([]float32, n), exactV: make([]float32, m)}
	case engine.Int8:
		scales := l.KVHeads * pageLen
		return &page{codeK: make([]int8, n), codeV: make([]int8, m), scaleK: make([]float32, scales), scaleV: make([]float32, scales)}
	default:
		return &page{k: make([]uint16, n), v: make([]uint16, m)}
	}
}

// columns is the size of a head in whole vectors of values.
func (l *layer) columns() int { return (l.HeadSize + l.nr - 1) / l.nr * l.nr }

// place writes the keys and values of one position, [K·C] each, into a page.
func place[T any](l *layer, at int, pageK, pageV, k, v []T) {
	c, nr := l.HeadSize, l.nr
	for g := range l.KVHeads {
		tile := pageK[(g*pageLen/nr+at/nr)*c*nr+at%nr:]
		for i, x := range k[g*c : (g+1)*c] {
			tile[i*nr] = x
		}
		for from := 0; from < c; from += nr {
			copy(pageV[(g*l.columns()+from)*pageLen+at*nr:], v[g*c+from:g*c+min(from+nr, c)])
		}
	}
}

// scores adds q [m, C] times tile number tile of head g's keys to out
// [m, pageLen].
func (p *page) scores(set *kernel.Set, l *layer, g, tile, m int, q, out *float32) {
	c, nr := l.HeadSize, l.nr
	at := (g*pageLen + tile*nr) * c
	switch l.Keep {
	case engine.Exact:
		set.MulF32(m, q, c, &p.exactK[at], nr, out, pageLen, c)
	case engine.Int8:
		set.MulI8(m, q, c, &p.codeK[at], nr, out, pageLen, c)
	default:
		set.MulF16(m, q, c, &p.k[at], nr, out, pageLen, c)
	}
}

// values adds weights [m, n] of the positions from on times the columns at
// column of head g's values to out [m, stride].
func (p *page) values(set *kernel.Set, l *layer, g, from, n, column, m int, weights, out *float32, stride int) {
	nr := l.nr
	at := (g*l.columns()+column)*pageLen + from*nr
	switch l.Keep {
	case engine.Exact:
		set.MulF32(m, weights, pageLen, &p.exactV[at], nr, out, stride, n)
	case engine.Int8:
		set.MulI8(m, weights, pageLen, &p.codeV[at], nr, out, stride, n)
	default:
		set.MulF16(m, weights, pageLen, &p.v[at], nr, out, stride, n)
	}
}

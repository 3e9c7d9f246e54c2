package cpu

import (
	"fmt"

	"lapidary/engine"
	"lapidary/engine/cpu/kernel"
)

// pageLen is the number of positions a page holds. A layer with a window gives
// pages back whole, so a smaller page wastes less and costs more calls.
const pageLen = 128

// cache is the memory of one sequence: for each layer, pages of keys and
// values in half precision.
type cache struct {
	nr     int // keys lie in tiles of nr positions
	n      int
	layers []layer
}

// layer holds the pages from page number first on.
type layer struct {
	engine.CacheLayer
	first int
	pages []*page
	spare []*page
}

// page holds pageLen positions:
//
//	k [K][pageLen/NR][C][NR]   so that NR scores come from one product
//	v [K][pageLen][C]
type page struct{ k, v []uint16 }

func newCache(set *kernel.Set, layers []engine.CacheLayer) *cache {
	c := &cache{nr: set.NR}
	for _, l := range layers {
		c.layers = append(c.layers, layer{CacheLayer: l})
	}
	return c
}

func (c *cache) Len() int { return c.n }

func (c *cache) Truncate(n int) error {
	if n < 0 || n > c.n {
		return fmt.Errorf("cannot truncate a cache of %d positions to %d", c.n, n)
	}
	for i := range c.layers {
		if l := &c.layers[i]; n > 0 && l.first*pageLen > max(0, n-l.Window+1) {
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
	if n == 0 {
		l.first = 0 // whatever the window has dropped is wanted no more
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
				n += 2 * int64(len(p.k)+len(p.v))
			}
		}
	}
	return n
}

func (c *cache) Close() { c.layers, c.n = nil, 0 }

// commit takes in the rows of a pass and gives back the pages that no row to
// come can see. One page more is kept, so that a few positions can be taken
// back.
func (c *cache) commit(rows int) {
	c.n += rows
	for i := range c.layers {
		l := &c.layers[i]
		if l.Window == 0 {
			continue
		}
		for len(l.pages) > 0 && (l.first+1)*pageLen <= c.n-l.Window-pageLen {
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
	n := l.KVHeads * l.HeadSize * pageLen
	// Products read whole vectors: up to 32 past the last value.
	return &page{make([]uint16, n), make([]uint16, n, n+32)}
}

// store writes the keys and values of one position, half-precision [K·C] each.
func (l *layer) store(nr, pos int, k, v []uint16) {
	p := l.page(pos / pageLen)
	at, c := pos%pageLen, l.HeadSize
	for g := range l.KVHeads {
		tile := p.k[(g*pageLen/nr+at/nr)*c*nr+at%nr:]
		for i, x := range k[g*c : (g+1)*c] {
			tile[i*nr] = x
		}
		copy(p.v[(g*pageLen+at)*c:], v[g*c:(g+1)*c])
	}
}

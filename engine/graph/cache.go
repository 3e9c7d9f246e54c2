package graph

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph" //nolint:revive,staticcheck // formulas of graph operations read like formulas

	"lapidary/engine"
)

func shapeOf(as dtype, dims ...int) shapes.Shape { return shapes.Make(as, dims...) }

// slack is how many positions more than its window a layer keeps, for rows that
// stand behind the end (engine.Span.Behind).
const slack = 16

// cache is the memory of one sequence, on the device.
type cache struct {
	engine *Engine
	n      int
	layers []memory
}

// memory is one layer's: position i lies at i modulo its size.
type memory struct {
	engine.CacheLayer
	size, width int
	k, v        held // [size, width]; empty at first
	least       int  // the first position that is held
	source      int  // of a source: rows held
	state       held // [State], float32; empty at position 0
}

// held is a buffer, or in a trace a value of its tape.
type held struct {
	buffer compute.Buffer
	tape   *tape
	id     int
}

func (h held) empty() bool { return h.buffer == nil && h.tape == nil }

// NewCache makes the empty memory of one sequence.
func (e *Engine) NewCache(layers []engine.CacheLayer) engine.Cache {
	c := &cache{engine: e, layers: make([]memory, len(layers))}
	for i, l := range layers {
		c.layers[i] = memory{CacheLayer: l, width: l.KVHeads * l.HeadSize}
	}
	return c
}

// capacity is how many places a layer needs for n positions.
func (m *memory) capacity(n int) int {
	size := roundUp(n)
	if m.Window > 0 {
		size = min(size, roundUp(m.Window+slack))
	}
	return size
}

// position is that of place j when n are held.
func (m *memory) position(j, n int) (int, bool) {
	if n == 0 {
		return 0, false
	}
	at := j + (n-1-j)/m.size*m.size
	if j > n-1 {
		at = j - m.size
	}
	return at, at >= m.least && at >= 0
}

func (c *cache) Len() int { return c.n }

func (c *cache) Truncate(n int) error {
	if n < 0 || n > c.n {
		return fmt.Errorf("cannot truncate a cache of %d positions to %d", c.n, n)
	}
	if n == c.n {
		return nil
	}
	for _, l := range c.layers {
		switch {
		case n == 0:
		case l.State > 0:
			return fmt.Errorf("cannot truncate a cache of %d positions to %d: a recurrence keeps no past", c.n, n)
		case l.k.empty() || l.Source:
		case l.least > max(0, n-l.Window+1):
			return fmt.Errorf("cannot truncate a cache of %d positions to %d: a window of %d has dropped what came before", c.n, n, l.Window)
		}
	}
	c.n = n
	for i := range c.layers {
		if l := &c.layers[i]; n == 0 && !l.Source {
			l.size, l.least, l.state, l.k, l.v = 0, 0, held{}, held{}, held{}
		}
	}
	return nil
}

func (c *cache) Bytes() int64 {
	var n int64
	for _, l := range c.layers {
		if !l.k.empty() {
			n += 2 * int64(l.size) * int64(l.width) * int64(c.engine.dtype.Size())
		}
		if !l.state.empty() {
			n += 4 * int64(l.State)
		}
	}
	return n
}

func (c *cache) Close() { *c = cache{engine: c.engine} }

// update is what a memory becomes when the pass ends.
type update struct {
	layer       int
	k, v, state int // values; −1 for none
	size, least int
	source      int
}

// held is what a memory holds as a value of the tape.
func (p *Pass) held(h held, dims ...int) tensor {
	t := tensor{id: len(p.values), rows: dims[0], width: dims[len(dims)-1]}
	switch h.tape {
	case p.tape:
		t.id = h.id
	case nil:
		p.values = append(p.values, value{dims: dims, buffer: h.buffer})
	default:
		p.err = errors.New("graph engine: a memory of a trace outlived it")
		p.values = append(p.values, value{dims: dims})
	}
	return t
}

// store writes down what the memories become with the rows of the pass.
func (p *Pass) store(a engine.Attend) {
	kv := p.stored[a.Layer]
	for i, s := range p.spans {
		c, ok := s.Cache.(*cache)
		switch {
		case !ok || s.Behind > 0 || s.Rows == 0:
		case s.Source:
			p.sources[c] = append(p.sources[c], p.storeSource(&c.layers[a.Layer], a.Layer, i, kv))
		default:
			p.updates[c] = append(p.updates[c], p.storeRows(c, a.Layer, i, kv))
		}
	}
}

// storeRows appends the rows of span i: each place of the new memory takes a row
// of the old one or of the pass.
func (p *Pass) storeRows(c *cache, layer, i int, kv keysValues) update {
	m, rows := &c.layers[layer], p.spans[i].Rows
	n := c.n + rows
	next := memory{CacheLayer: m.CacheLayer, size: max(m.size, m.capacity(n)), width: m.width}
	next.least = max(m.least, n-next.size)
	from := make([]int, next.size)
	for j := range from {
		at, ok := next.position(j, n)
		switch {
		case !ok:
		case at >= c.n:
			from[j] = m.size + at - c.n
		default:
			from[j] = at % m.size
		}
	}
	d := p.remember(fmt.Sprint("store", i, m.size, next.size, next.least), func() *datum { return numbers(from) })
	u := update{layer: layer, size: next.size, least: next.least, state: -1}
	u.k, u.v = p.moved(m.k, m, i, kv.k, next.size, d), p.moved(m.v, m, i, kv.v, next.size, d)
	return u
}

// moved is a memory of the given size made of an old one and span i's rows.
func (p *Pass) moved(old held, m *memory, i int, rows tensor, size int, from *datum) int {
	first, n := p.layout.first[i], p.spans[i].Rows
	o := op{key: fmt.Sprint("store", first, " ", n, !old.empty()), in: []int{rows.id}, data: []*datum{from}, lower: func(l *lowering) []*node {
		x := l.in[0]
		if x.Shape().Dim(0) > n {
			x = SliceAxis(x, 0, AxisRange(first, first+n))
		}
		if !old.empty() {
			x = Concatenate([]*node{l.in[1], x}, 0)
		}
		return []*node{rowsOf(x, l.data[0])}
	}}
	if !old.empty() {
		o.in = append(o.in, p.held(old, m.size, m.width).id)
	}
	made := p.record(o, shape{size, m.width})[0]
	p.values[made.id].kept = true
	return made.id
}

// storeSource keeps the rows of span i as they are, in a memory of some more.
func (p *Pass) storeSource(m *memory, layer, i int, kv keysValues) update {
	n := p.spans[i].Rows
	size := roundUp(n)
	from := make([]int, size)
	for j := range n {
		from[j] = j
	}
	d := p.remember(fmt.Sprint("source", i), func() *datum { return numbers(from) })
	u := update{layer: layer, size: size, source: n, state: -1}
	u.k, u.v = p.moved(held{}, m, i, kv.k, size, d), p.moved(held{}, m, i, kv.v, size, d)
	return u
}

func (p *Pass) pendingUpdates() bool { return len(p.updates)+len(p.sources) > 0 }

// made is a value as a memory holds it.
func (p *Pass) made(id int) held {
	if p.traced {
		return held{tape: p.tape, id: id}
	}
	return held{buffer: p.values[id].buffer}
}

// commit puts what the pass made into the memories.
func (p *Pass) commit() {
	for _, all := range []map[*cache][]update{p.sources, p.updates} {
		for c, updates := range all {
			for _, u := range updates {
				m := &c.layers[u.layer]
				if u.state >= 0 {
					m.state = p.made(u.state)
					continue
				}
				m.k, m.v = p.made(u.k), p.made(u.v)
				m.size, m.least, m.source = u.size, u.least, u.source
			}
		}
	}
	var grown []*cache
	for _, s := range p.spans {
		if c, ok := s.Cache.(*cache); ok && !s.Source && s.Behind == 0 && !slices.Contains(grown, c) {
			c.n += s.Rows
			grown = append(grown, c)
		}
	}
}

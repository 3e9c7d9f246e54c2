package cpu

import (
	"context"
	"math"
	"slices"
	"unsafe"

	"lapidary/engine"
	"lapidary/engine/cpu/kernel"
)

// pass computes eagerly. Its buffers come from the engine's arena.
type pass struct {
	engine   *Engine
	set      *kernel.Set
	ctx      context.Context
	spans    []span
	rows     int
	held     [][]float32 // buffers of live tensors
	turns    map[engine.Rope]*turn
	turnRoom []*turn
	atEnd    []func() // what a sound end does to the caches besides
}

// span is a run of rows of one sequence.
type span struct {
	cache     *cache
	kept      bool // the cache is the caller's and grows at End
	row, rows int  // first row of the pass, number of rows
	start     int  // position of the first row
	source    bool // the rows are the source's
	behind    bool // the rows leave nothing

	first, end int // positions that the rows of the whole span take
	groups     []int32
	reach      []int // of each row, the position after the last of its group
	grid       [][2]int32
}

// portable takes lengths that vectors do not divide: heads of odd sizes, which
// no published Gemma has.
var portable = kernel.Generic()

// loops are the elementwise loops for n elements.
func (p *pass) loops(n int) *kernel.Set {
	if n%8 != 0 {
		return portable
	}
	return p.set
}

// parallelAlways is a cost that no region is too small for.
const parallelAlways = math.MaxInt

// inlineCost is the number of elements below which a region is not worth
// handing out: about 5 µs of elementwise work.
const inlineCost = 16 << 10

// parallel runs pieces of a region that touches cost elements.
func (p *pass) parallel(pieces, cost int, f func(piece int, s *scratch)) {
	if cost < inlineCost {
		for i := range pieces {
			f(i, nil)
		}
		return
	}
	p.engine.pool.run(pieces, f)
}

// eachRows runs f over runs of rows of an elementwise operation.
func (p *pass) eachRows(t *tensor, f func(from, to int)) {
	const run = 16
	p.parallel((t.rows+run-1)/run, t.rows*t.width, func(piece int, _ *scratch) {
		f(piece*run, min((piece+1)*run, t.rows))
	})
}

func (p *pass) alloc(n int) []float32 {
	b := p.engine.spare.take(n)
	p.held = append(p.held, b)
	return b
}

func (p *pass) tensor(rows, width int) *tensor {
	return &tensor{rows: rows, width: width, data: p.alloc(rows * width)}
}

// Keep gives back every buffer but those of xs.
func (p *pass) Keep(xs ...engine.Tensor) {
	for _, x := range xs {
		p.change(x)
	}
	for _, b := range p.held {
		if !slices.ContainsFunc(xs, func(x engine.Tensor) bool { return unsafe.SliceData(x.(*tensor).data) == unsafe.SliceData(b) }) {
			p.engine.spare.give(b)
		}
	}
	p.held = p.held[:0]
	for _, x := range xs {
		p.held = append(p.held, x.(*tensor).data)
	}
}

// Embed expands the rows of the tokens.
func (p *pass) Embed(table engine.Weight, ids []int32, scale float32) engine.Tensor {
	w := table.(*weight)
	y := p.tensor(len(ids), w.cols)
	p.eachRows(y, func(from, to int) {
		for r := from; r < to; r++ {
			row := y.row(r)
			w.floats(int(ids[r]), row)
			for i := range row {
				row[i] *= scale
			}
		}
	})
	return y
}

// up8 is n or the next multiple of 8: a whole buffer of the arena can be taken
// for so long.
func up8(n int) int { return (n + 7) &^ 7 }

// ones are n ones.
func (p *pass) ones(n int) []float32 {
	if n <= len(oneRow) {
		return oneRow[:n]
	}
	ones := make([]float32, n)
	fill(ones, 1)
	return ones
}

var oneRow = func() (ones [32768]float32) {
	fill(ones[:], 1)
	return ones
}()

// Add is x + y, into x.
func (p *pass) Add(x, y engine.Tensor) engine.Tensor {
	a, b := p.change(x), y.(*tensor)
	pending := b.pending
	b.pending = nil
	p.eachRows(a, func(from, to int) {
		for r := from; r < to && pending != nil; r++ {
			pending(r)
		}
		p.set.Add(&a.data[from*a.width], &b.data[from*a.width], up8((to-from)*a.width))
	})
	return a
}

// Read copies x out.
func (p *pass) Read(x engine.Tensor, dst []float32) { copy(dst, p.read(x).data) }

// Write makes a tensor of given rows.
func (p *pass) Write(src []float32, width int) engine.Tensor {
	t := p.tensor(len(src)/width, width)
	copy(t.data, src)
	return t
}

// End commits the caches.
func (p *pass) End() error {
	p.Discard()
	if err := p.ctx.Err(); err != nil {
		return err
	}
	for _, s := range p.spans {
		if s.kept && !s.source && !s.behind {
			s.cache.commit(s.rows)
		}
	}
	for _, f := range p.atEnd {
		f()
	}
	return nil
}

// Discard gives every buffer back.
func (p *pass) Discard() {
	for _, b := range p.held {
		p.engine.spare.give(b)
	}
	p.held = nil
}

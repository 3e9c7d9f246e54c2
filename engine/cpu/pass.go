package cpu

import (
	"context"
	"math"

	"lapidary/engine"
	"lapidary/engine/cpu/kernel"
)

// pass computes eagerly. Its buffers come from the engine's arena.
type pass struct {
	engine *Engine
	set    *kernel.Set
	ctx    context.Context
	spans  []span
	rows   int
	held   [][]float32 // buffers of live tensors
	turns  map[engine.Rope]*turn
}

// span is a run of rows of one sequence.
type span struct {
	cache     *cache
	kept      bool // the cache is the caller's and grows at End
	row, rows int  // first row of the pass, number of rows
	start     int  // position of the first row
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

// Keep gives back every buffer but x's.
func (p *pass) Keep(x engine.Tensor) {
	t := p.change(x)
	for _, b := range p.held {
		if &b[0] != &t.data[0] {
			p.engine.spare.give(b)
		}
	}
	p.held = append(p.held[:0], t.data)
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

// Norm is RMSNorm.
func (p *pass) Norm(x engine.Tensor, n engine.Norm) engine.Tensor {
	in := p.read(x)
	y := p.tensor(in.rows, in.width)
	by := p.normWeight(n, in.width)
	later(y, func(row int) { p.norm(y.row(row), in.row(row), by, n.Eps) }, in)
	return y
}

func (p *pass) normWeight(n engine.Norm, width int) []float32 {
	if n.Weight != nil {
		return n.Weight.(*weight).norm(n.Offset)
	}
	return p.ones(width)
}

// ones are n ones.
func (p *pass) ones(n int) []float32 {
	if n <= len(oneRow) {
		return oneRow[:n]
	}
	ones := make([]float32, n)
	fill(ones, 1)
	return ones
}

var oneRow = func() (ones [4096]float32) {
	fill(ones[:], 1)
	return ones
}()

func (p *pass) norm(y, x, by []float32, eps float32) {
	set := p.loops(len(x))
	mean := float64(set.Dot(&x[0], &x[0], len(x))) / float64(len(x))
	set.ScaleMul(&y[0], &x[0], float32(1/math.Sqrt(mean+float64(eps))), &by[0], len(x))
}

// Heads norms and rotates in place.
func (p *pass) Heads(x engine.Tensor, h engine.Heads) engine.Tensor {
	t := p.change(x)
	var by []float32
	if h.Norm != nil {
		by = p.normWeight(*h.Norm, h.Size)
	}
	var turns *turn
	if h.Rope != nil {
		turns = p.turn(*h.Rope, h.Size)
	}
	p.eachRows(t, func(from, to int) {
		for r := from; r < to; r++ {
			row := t.row(r)
			for at := 0; at < t.width; at += h.Size {
				head := row[at : at+h.Size]
				if by != nil {
					p.norm(head, head, by, h.Norm.Eps)
				}
				if turns != nil {
					cos, sin := turns.at(placeOf(r, h.Rows))
					p.loops(h.Size/2).Rotate(&head[0], cos, sin, h.Size/2)
				}
			}
		}
	})
	return t
}

// placeOf is the row of the pass that row r of some is.
func placeOf(r int, rows []int) int {
	if rows == nil {
		return r
	}
	return rows[r]
}

// turn holds the cosines and sines of every row's angles, [R, C/2] each.
type turn struct {
	half     int
	cos, sin []float32
}

func (t *turn) at(row int) (cos, sin *float32) { return &t.cos[row*t.half], &t.sin[row*t.half] }

// turn is computed once a pass for each kind of layer.
func (p *pass) turn(rope engine.Rope, size int) *turn {
	if t := p.turns[rope]; t != nil && t.half == size/2 {
		return t
	}
	half := size / 2
	t := &turn{half, make([]float32, p.rows*half), make([]float32, p.rows*half)}
	for i := range p.spans {
		s := &p.spans[i]
		const run = 16
		p.parallel((s.rows+run-1)/run, s.rows*size, func(piece int, _ *scratch) {
			t.fill(rope, s, piece*run, min((piece+1)*run, s.rows))
		})
	}
	if p.turns == nil {
		p.turns = map[engine.Rope]*turn{}
	}
	p.turns[rope] = t
	return t
}

// fill computes the angles of rows [from, to) of a span in float64 (at
// position 30,000 float32 is off by 1e-3): the first row's by their formula,
// each further row's by turning those of the row before, for sixteen rows at
// the most, which costs a tenth.
func (t *turn) fill(rope engine.Rope, s *span, from, to int) {
	for i := range t.half {
		frequency := rope.Scale * math.Pow(rope.Base, -float64(i)/float64(t.half))
		sin, cos := math.Sincos(float64(s.start+from) * frequency)
		var sin1, cos1 float64
		if to-from > 1 {
			sin1, cos1 = math.Sincos(frequency)
		}
		for at := (s.row+from)*t.half + i; at < (s.row+to)*t.half; at += t.half {
			t.cos[at], t.sin[at] = float32(cos), float32(sin)
			cos, sin = cos*cos1-sin*sin1, sin*cos1+cos*sin1
		}
	}
}

// Gate is act(gate)·up, into gate.
func (p *pass) Gate(gate, up engine.Tensor, act engine.Activation) engine.Tensor {
	g, u := p.change(gate), p.read(up)
	later(g, func(row int) {
		x, y := g.row(row), u.row(row)
		if act == engine.GELUTanh {
			p.loops(len(x)).GELUMul(&x[0], &x[0], &y[0], len(x))
			return
		}
		for i, v := range x {
			x[i] = activate(v, act) * y[i]
		}
	}, u)
	return g
}

// activate is the rarer activations: Gemma uses GELUTanh.
func activate(x float32, act engine.Activation) float32 {
	v := float64(x)
	if act == engine.GELU {
		return float32(0.5 * v * (1 + math.Erf(v/math.Sqrt2)))
	}
	return float32(v / (1 + math.Exp(-v)))
}

// Add is x + y, into x.
func (p *pass) Add(x, y engine.Tensor) engine.Tensor {
	a, b := p.change(x), y.(*tensor)
	pending := b.pending
	b.pending = nil
	p.eachRows(a, func(from, to int) {
		for r := from; r < to && pending != nil; r++ {
			pending(r)
		}
		p.set.Add(&a.data[from*a.width], &b.data[from*a.width], (to-from)*a.width)
	})
	return a
}

// Pick copies the rows.
func (p *pass) Pick(x engine.Tensor, rows []int) engine.Tensor {
	in := p.read(x)
	y := p.tensor(len(rows), in.width)
	for i, r := range rows {
		copy(y.row(i), in.row(r))
	}
	return y
}

// SoftCap is limit·tanh(x/limit), in place. A vocabulary may have any size:
// the kernel's last step of 8 runs into the rest of the arena's buffer.
func (p *pass) SoftCap(x engine.Tensor, limit float32) engine.Tensor {
	t := p.change(x)
	const run = 8 << 10
	p.parallel((len(t.data)+run-1)/run, len(t.data), func(piece int, _ *scratch) {
		part := t.data[piece*run : min((piece+1)*run, len(t.data))]
		p.set.SoftCap(&part[0], limit, (len(part)+7)&^7)
	})
	return t
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
		if s.kept {
			s.cache.commit(s.rows)
		}
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

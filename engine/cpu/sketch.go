package cpu

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
	"sync/atomic"
	"unsafe"

	"lapidary/checkpoint"
	"lapidary/engine"
	"lapidary/engine/cpu/kernel"
)

// A sketch of the output layer reads half of what the layer does and leaves a
// few hundred rows of 262,144 that can still win; those are multiplied as
// always. What a row's first look is off by is a sum of terms s·r·x, with the
// rest r of a code between −7.5 and 7.5. Taken as uniform, such a sum is
// strictly sub-Gaussian with variance σ² = 21.25·Σ s²·x² (Arbel et al. 2019,
// arXiv:1901.09188), so a row is missed with a probability of at most
// 2·exp(−sure²/2): 7e-9 a step over all rows. Rows that turn out further off
// than doubtful·σ say that the rests are not spread like that, and end the
// sketch.
const (
	sure     = 8
	doubtful = 6.5
)

// restVariance is the variance of sixteen equally likely values.
const restVariance = (16*16 - 1) / 12.0

// sketchAfter is how many rows are ranked in full before a sketch is made: it
// costs as much as it saves in about fifteen.
const sketchAfter = 8

// tooMany is how many outputs, of 16, are more work than all: an even
// distribution, as over nonsense. As many requests as restAfter then go without.
const (
	tooMany   = 1
	restAfter = 16
)

// sketching is what a weight knows of its sketch.
type sketching struct {
	asked  atomic.Int64
	rest   atomic.Int64 // requests to do without
	sketch atomic.Pointer[sketch]
	never  atomic.Bool
}

type sketch struct {
	*kernel.Sketch
	data         []byte
	step, pieces int // rows of a piece, pieces
}

// Best finds the outputs that can be among the n greatest.
func (p *pass) Best(x engine.Tensor, ew engine.Weight, n int) []engine.Ranked {
	t, w := x.(*tensor), ew.(*weight)
	s := p.sketch(w, t.rows)
	if s == nil || w.sketching.rest.Add(-1) >= 0 || t.rows > fewRows || 2*n > s.pieces {
		return nil
	}
	p.quantiseRows(t)
	l := p.look(t, w, s)
	found := make([]engine.Ranked, t.rows)
	for r := range found {
		found[r] = l.rank(r, n)
	}
	switch {
	case l.doubt.Load():
		w.sketching.never.Store(true)
		w.sketching.sketch.Store(nil)
		return nil
	case l.many.Load():
		w.sketching.rest.Store(restAfter)
		return nil
	case slices.ContainsFunc(found, func(r engine.Ranked) bool { return r.Outputs == nil }):
		return nil // something is not a number: Linear shows it
	}
	return found
}

// sketch is the sketch of w, made when enough rows have been asked for.
func (p *pass) sketch(w *weight, rows int) *sketch {
	set := p.set.Sketch
	if set == nil || w.Type != checkpoint.Q8_0 || w.rows%set.Rows != 0 || w.sketching.never.Load() {
		return nil
	}
	if s := w.sketching.sketch.Load(); s != nil {
		return s
	}
	asked := w.sketching.asked.Add(int64(rows))
	if asked <= sketchAfter || asked-int64(rows) > sketchAfter {
		return nil // not yet, or another pass is making it
	}
	s := p.makeSketch(w, set)
	if s == nil {
		w.sketching.never.Store(true)
		return nil
	}
	w.sketching.sketch.Store(s)
	return s
}

func (p *pass) makeSketch(w *weight, set *kernel.Sketch) *sketch {
	size := set.Bytes(w.blocks)
	s := &sketch{Sketch: set, step: max(1, gemvBytes/size) * set.Rows}
	s.data = hugeBytes(s, w.rows/set.Rows*size)
	s.pieces = (w.rows + s.step - 1) / s.step
	var damaged atomic.Bool
	p.engine.pool.run(s.pieces, func(piece int, _ *scratch) {
		for i := piece * s.step; i < min((piece+1)*s.step, w.rows); i++ {
			top := set.Make(&w.Data[i*w.rowBytes], w.blocks, &s.data[i/set.Rows*size], i%set.Rows)
			if top-top != 0 || 16*top > 65504 {
				damaged.Store(true)
			}
		}
	})
	if damaged.Load() {
		return nil
	}
	return s
}

// look is a first look at all outputs of some rows.
type look struct {
	*sketch
	pass         *pass
	x            *tensor
	w            *weight
	rows, energy []float32 // [R], as the sketch takes them; [R][K/32]
	upper, best  []float32 // [R][V]: what an output is at most; [pieces][R]: the greatest of these
	doubt, many  atomic.Bool
}

func (p *pass) look(x *tensor, w *weight, s *sketch) *look {
	size := kernel.SketchedFloats * w.blocks
	l := &look{sketch: s, pass: p, x: x, w: w, rows: p.alloc(x.rows * size), energy: p.alloc(x.rows * w.blocks),
		upper: p.alloc(x.rows * w.rows), best: p.alloc(x.rows * s.pieces)}
	for r := range x.rows {
		energy := l.energyOf(r)
		for b := range energy {
			part := x.row(r)[32*b:][:32]
			energy[b] = sure * sure * restVariance * p.set.Dot(&part[0], &part[0], 32)
		}
		kernel.PackSketched(l.rows[r*size:], x.digits.rows[r].row(w.format.Group), energy)
	}
	p.engine.pool.run(s.pieces, func(piece int, _ *scratch) { l.piece(piece, 4*size) })
	return l
}

// piece looks at a piece of each row, four at a time where it can.
func (l *look) piece(piece, step int) {
	from, to := piece*l.step, min((piece+1)*l.step, l.w.rows)
	for r := 0; r < l.x.rows; {
		multiply, n := l.Gemv, 1
		if l.Gemv4 != nil && r+4 <= l.x.rows {
			multiply, n = l.Gemv4, 4
		}
		multiply(&l.data[from/l.Rows*l.Bytes(l.w.blocks)], (to-from)/l.Rows, l.w.blocks,
			(*byte)(unsafe.Pointer(&l.rows[r*step/4])), step, &l.upper[r*l.w.rows+from], 4*l.w.rows, &l.best[piece*l.x.rows+r])
		r += n
	}
}

func (l *look) energyOf(r int) []float32 { return l.energy[r*l.w.blocks:][:l.w.blocks] }

// bestOf are the greatest uppers of row r's pieces.
func (l *look) bestOf(r int) []float32 {
	best := make([]float32, l.pieces)
	for i := range best {
		best[i] = l.best[i*l.x.rows+r]
	}
	return best
}

// rank multiplies the outputs of row r that can be among the n greatest: first
// a few that promise most, of which the n-th is a bar for the others.
func (l *look) rank(r, n int) engine.Ranked {
	bar := nth(l.bestOf(r), n)
	first := l.between(r, bar, float32(math.Inf(1)))
	if len(first.Values) < n {
		return engine.Ranked{} // not a number among them
	}
	second := l.between(r, nth(slices.Clone(first.Values), n), bar)
	return merge(first, second)
}

// between multiplies the outputs of row r that can reach least and cannot
// reach most.
func (l *look) between(r int, least, most float32) (all engine.Ranked) {
	var live []int
	for i, v := range l.bestOf(r) {
		if v >= least {
			live = append(live, i)
		}
	}
	found := make([]engine.Ranked, len(live))
	var total atomic.Int64
	l.pass.engine.pool.run(len(live), func(i int, _ *scratch) {
		for at := live[i] * l.step; at < min((live[i]+1)*l.step, l.w.rows); at++ {
			if upper := l.upper[r*l.w.rows+at]; upper >= least && upper < most {
				found[i].Outputs = append(found[i].Outputs, int32(at))
			}
		}
		if n := len(found[i].Outputs); int(total.Add(int64(n))) > l.w.rows*tooMany/16 {
			l.many.Store(true)
			return
		}
		l.multiply(r, &found[i])
	})
	if l.many.Load() {
		return engine.Ranked{}
	}
	for _, f := range found {
		all.Outputs, all.Values = append(all.Outputs, f.Outputs...), append(all.Values, f.Values...)
	}
	return all
}

// merge joins two rankings in the order of places.
func merge(a, b engine.Ranked) (all engine.Ranked) {
	n := len(a.Outputs) + len(b.Outputs)
	all.Outputs, all.Values = make([]int32, 0, n), make([]float32, 0, n)
	for len(a.Outputs)+len(b.Outputs) > 0 {
		from := &a
		if len(a.Outputs) == 0 || len(b.Outputs) > 0 && b.Outputs[0] < a.Outputs[0] {
			from = &b
		}
		all.Outputs, all.Values = append(all.Outputs, from.Outputs[0]), append(all.Values, from.Values[0])
		from.Outputs, from.Values = from.Outputs[1:], from.Values[1:]
	}
	return all
}

// multiply computes the outputs found in row r. One that is further off than is
// likely is noted.
func (l *look) multiply(r int, found *engine.Ranked) {
	w, a := l.w, &l.x.digits.rows[r]
	energy := l.energyOf(r)
	found.Values = make([]float32, len(found.Outputs))
	for j, i := range found.Outputs {
		row := w.Data[int(i)*w.rowBytes:][:w.rowBytes]
		y, variance := &found.Values[j], float32(0)
		w.gemv(&row[0], 1, w.rowBytes, w.blocks, &a.digits[0], &a.digits[w.cols], &a.scale[0], &a.sum[0], y)
		for b, e := range energy {
			s := checkpoint.HalfToFloat(binary.LittleEndian.Uint16(row[34*b:]))
			variance += s * s * e
		}
		most := float32(math.Sqrt(float64(variance))) // sure·σ
		if off := *y - (l.upper[r*w.rows+int(i)] - most); max(off, -off) > doubtful/sure*most {
			l.doubt.Store(true)
		}
	}
}

// nth is the n-th greatest of x, which it puts in order.
func nth(x []float32, n int) float32 {
	if n == 1 {
		return slices.Max(x)
	}
	slices.SortFunc(x, func(a, b float32) int { return cmp.Compare(b, a) })
	return x[n-1]
}

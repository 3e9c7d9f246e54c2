package cpu

import (
	"math"

	"lapidary/engine"
)

// Heads norms and rotates in place.
func (p *pass) Heads(x engine.Tensor, h engine.Heads) engine.Tensor {
	t := p.change(x)
	f := p.headNorm(h)
	turns := p.turnRoom[:0]
	for _, rope := range h.Ropes {
		turns = append(turns, p.turn(rope, h.Size))
	}
	p.turnRoom = turns
	p.eachRows(t, func(from, to int) {
		for r := from; r < to; r++ {
			for at := 0; at < t.width; at += h.Size {
				head := t.row(r)[at : at+h.Size]
				if f.by != nil {
					f.norm(p.loops(h.Size), head, head)
				}
				for _, turn := range turns {
					cos, sin := turn.at(placeOf(r, h.Rows))
					p.loops(turn.half).Rotate(&head[turn.from], cos, sin, turn.half)
				}
			}
		}
	})
	return t
}

// headNorm is that of each head, empty for none.
func (p *pass) headNorm(h engine.Heads) normalizer {
	if h.Norm == nil {
		return normalizer{}
	}
	return p.normalizer(*h.Norm, h.Size)
}

// placeOf is the row of the pass that row r of some is.
func placeOf(r int, rows []int) int {
	if rows == nil {
		return r
	}
	return rows[r]
}

// turn holds the cosines and sines of every row's angles, [R, half] each, for
// the part of a head that begins at from.
type turn struct {
	from, half int
	angles     int // how many of the half are not 0
	cos, sin   []float32
}

func (t *turn) at(row int) (cos, sin *float32) { return &t.cos[row*t.half], &t.sin[row*t.half] }

// turn is computed once a pass for each kind of layer.
func (p *pass) turn(rope engine.Rope, size int) *turn {
	if rope.Size == 0 {
		rope.Size = size
	}
	if rope.Turn == 0 {
		rope.Turn = rope.Size / 2
	}
	if t := p.turns[rope]; t != nil {
		return t
	}
	half := rope.Size / 2
	t := &turn{rope.From, half, rope.Turn, make([]float32, p.rows*half), make([]float32, p.rows*half)}
	fill(t.cos, 1)
	for i := range p.spans {
		s := &p.spans[i]
		const run = 16
		p.parallel((s.rows+run-1)/run, s.rows*rope.Size, func(piece int, _ *scratch) {
			from, to := piece*run, min((piece+1)*run, s.rows)
			if rope.Axis == engine.Position {
				t.fill(rope, s, from, to)
			} else {
				t.fillGrid(rope, s, from, to)
			}
		})
	}
	if p.turns == nil {
		p.turns = map[engine.Rope]*turn{}
	}
	p.turns[rope] = t
	return t
}

// frequency is the angle by which element i turns from place to place.
func (t *turn) frequency(rope engine.Rope, i int) float64 {
	return rope.Scale * math.Pow(rope.Base, -float64(i)/float64(t.half))
}

// fill computes the angles of rows [from, to) of a span in float64 (at
// position 30,000 float32 is off by 1e-3): the first row's by their formula,
// each further row's by turning those of the row before, for sixteen rows at
// the most, which costs a tenth.
func (t *turn) fill(rope engine.Rope, s *span, from, to int) {
	for i := range t.angles {
		frequency := t.frequency(rope, i)
		sin, cos := math.Sincos(float64(s.start+from+rope.Shift) * frequency)
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

// fillGrid computes them for places in a picture, which are in no order.
func (t *turn) fillGrid(rope engine.Rope, s *span, from, to int) {
	axis := int(rope.Axis - engine.Column)
	for i := range t.angles {
		frequency := t.frequency(rope, i)
		for r := from; r < to; r++ {
			place := rope.Shift
			if s.grid != nil {
				place += int(s.grid[r][axis])
			}
			sin, cos := math.Sincos(float64(place) * frequency)
			at := (s.row+r)*t.half + i
			t.cos[at], t.sin[at] = float32(cos), float32(sin)
		}
	}
}

package graph

import (
	"fmt"
	"math"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph" //nolint:revive,staticcheck // formulas of graph operations read like formulas

	"lapidary/engine"
)

// tableKey names cosines and sines of a rope for the places from least on. The
// angles are computed in float64: float32 would lose a place of 100,000.
type tableKey struct {
	rope        engine.Rope
	least, size int
	turns       int
}

// table makes or finds it on the device: [places, 2·turns].
func (e *Engine) table(k tableKey) (compute.Buffer, error) {
	if b, ok := e.tables[k]; ok {
		return b, nil
	}
	b, err := e.upload(k.values(), float, k.size, 2*k.turns)
	if err == nil {
		e.tables[k] = b
	}
	return b, err
}

func (k tableKey) values() []float32 {
	values := make([]float32, k.size*2*k.turns)
	parts := 2 * k.turns
	if k.rope.Turn > 0 {
		parts = k.rope.Size
	}
	for i := range k.turns {
		step := k.rope.Scale * math.Pow(k.rope.Base, -2*float64(i)/float64(parts))
		for place := range k.size {
			sin, cos := math.Sincos(float64(k.least+place) * step)
			values[place*2*k.turns+i], values[place*2*k.turns+k.turns+i] = float32(cos), float32(sin)
		}
	}
	return values
}

// Heads norms and rotates each head of x.
func (p *Pass) Heads(x engine.Tensor, h engine.Heads) engine.Tensor {
	rows, width := x.Dims()
	key := fmt.Sprint("heads", h.Size)
	var ws []engine.Weight
	if h.Norm != nil {
		key, ws = key+normKey(*h.Norm), normWeights(*h.Norm)
	}
	var data []*datum
	ropes := make([]engine.Rope, len(h.Ropes))
	for i, r := range h.Ropes {
		if r.Size == 0 {
			r.Size = h.Size
		}
		if r.Turn == 0 {
			r.Turn = r.Size / 2
		}
		ropes[i] = r
		key += fmt.Sprintf("rope %d %d %d", r.From, r.Size, r.Turn)
		data = append(data, p.angles(r, h.Rows)...)
	}
	y := p.one(rows, width, key, []engine.Tensor{x}, ws, data, func(l *lowering) *node {
		v := wide(Reshape(l.in[0], rows, width/h.Size, h.Size))
		if h.Norm != nil {
			v = norm(v, *h.Norm, l.weights)
		}
		for i, r := range ropes {
			v = rotate(v, r, l.data[2*i], l.data[2*i+1])
		}
		return l.to(Reshape(v, rows, width))
	})
	p.consumed(x)
	return y
}

// angles are a rope's table and the rows' places in it.
func (p *Pass) angles(r engine.Rope, rows []int) []*datum {
	places := p.remember(fmt.Sprint("places", r.Axis, r.Shift, rows), func() *datum { return numbers(p.places(r, rows)) })
	least, most := 0, 0
	for _, at := range places.ints {
		least, most = min(least, int(at)), max(most, int(at))
	}
	table := tableKey{rope: r, least: -roundUp(-least), size: roundUp(most+1) + roundUp(-least), turns: r.Turn}
	table.rope.From, table.rope.Axis, table.rope.Shift = 0, 0, 0
	key := fmt.Sprint("table", table)
	indices := places
	if table.least < 0 {
		indices = p.remember(fmt.Sprint("indices", table.least, r.Axis, r.Shift, rows), func() *datum {
			d := &datum{ints: make([]int32, len(places.ints)), dims: places.dims}
			for i, at := range places.ints {
				d.ints[i] = at - int32(table.least)
			}
			return d
		})
	}
	return []*datum{p.remember(key, func() *datum { return &datum{table: &table, dims: []int{table.size, 2 * table.turns}} }), indices}
}

// roundUp is the power of two from n on, from 64 on; 0 for 0.
func roundUp(n int) int {
	if n <= 0 {
		return 0
	}
	size := 64
	for size < n {
		size *= 2
	}
	return size
}

func (p *Pass) places(r engine.Rope, rows []int) []int {
	n := len(p.layout.line)
	if rows != nil {
		n = len(rows)
	}
	places := make([]int, n)
	for i := range places {
		row := i
		if rows != nil {
			row = rows[i]
		}
		s := p.layout.span[row]
		in := row - p.layout.first[s]
		switch grid := p.spans[s].Grid; {
		case r.Axis == engine.Position:
			places[i] = p.position(row)
		case grid == nil:
		case r.Axis == engine.Column:
			places[i] = int(grid[in][0])
		default:
			places[i] = int(grid[in][1])
		}
		places[i] += r.Shift
	}
	return places
}

// rotate turns element i of a part of x's heads [R, heads, C] with the element
// half the part further.
func rotate(x *node, r engine.Rope, table, places *node) *node {
	angles := ExpandAxes(rowsOf(table, places), 1) // [R, 1, 2·turns]
	cos, sin := SliceAxis(angles, -1, AxisRange(0, r.Turn)), SliceAxis(angles, -1, AxisRange(r.Turn, 2*r.Turn))
	part := func(from, n int) *node { return SliceAxis(x, -1, AxisRange(from, from+n)) }
	half := r.Size / 2
	var parts []*node
	add := func(from, to int) {
		if to > from {
			parts = append(parts, part(from, to-from))
		}
	}
	a, b := part(r.From, r.Turn), part(r.From+half, r.Turn)
	add(0, r.From)
	parts = append(parts, Sub(Mul(a, cos), Mul(b, sin)))
	add(r.From+r.Turn, r.From+half)
	parts = append(parts, Add(Mul(b, cos), Mul(a, sin)))
	add(r.From+half+r.Turn, x.Shape().Dim(2))
	return Concatenate(parts, -1)
}

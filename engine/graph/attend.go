package graph

import (
	"fmt"
	"math"

	. "github.com/gomlx/gomlx/core/graph" //nolint:revive,staticcheck // formulas of graph operations read like formulas

	"lapidary/engine"
)

// keysValues are what an Attend of the pass has stored in a layer, for all rows.
type keysValues struct{ k, v tensor }

// Attend stores k and v and lets each row of q see what a says. Keys are what
// the memories hold and, after them, the rows of this pass; which of them a row
// sees is data.
func (p *Pass) Attend(q, k, v engine.Tensor, a engine.Attend) engine.Tensor {
	if k != nil {
		p.stored[a.Layer] = keysValues{k.(tensor), v.(tensor)}
		p.store(a)
	}
	if q == nil {
		return nil
	}
	look := p.look(a)
	rows, width := q.Dims()
	in := []engine.Tensor{q}
	for _, part := range look.parts {
		in = append(in, part.in...)
	}
	if a.Relative != nil {
		in = append(in, a.Relative)
	}
	lower, key := look.lower, look.key()
	if p.fuses(look) {
		lower, key = look.fused(p.engine), fmt.Sprint("fused ", key, a.Window)
	}
	return p.one(rows, width, key, in, nil, look.data, lower)
}

// look is one attention as it is written down.
type look struct {
	a       engine.Attend
	queries spread
	parts   []keys
	data    []*datum
	rows    int
	groups  bool
}

// keys are a part of what rows see: a memory's, or those of the pass.
type keys struct {
	in     []engine.Tensor
	length int // of each line
	spread spread
	memory bool
	sizes  []int // of a memory: what each line holds
}

func (p *Pass) look(a engine.Attend) *look {
	s := &look{a: a, queries: p.layout.spread(a.Rows), rows: len(p.layout.line)}
	if a.Rows != nil {
		s.rows = len(a.Rows)
	}
	var at [][]slot // of each line, the keys in order
	add := func(part keys, slots [][]slot) {
		s.parts = append(s.parts, part)
		if at == nil {
			at = make([][]slot, p.layout.lines)
		}
		for i := range at {
			at[i] = append(at[i], slots[i]...)
		}
	}
	if part, slots, ok := p.remembered(a.Layer, a.Source); ok {
		add(part, slots)
	}
	if kv, ok := p.stored[a.Layer]; ok && !a.Source {
		all := p.layout.spread(nil)
		add(keys{in: []engine.Tensor{kv.k, kv.v}, length: all.length, spread: all}, p.own(all))
	}
	if a.Beside > 0 {
		if part, slots, ok := p.remembered(a.Beside-1, true); ok {
			add(part, slots)
		}
	}
	for _, span := range p.spans {
		s.groups = s.groups || a.Groups && span.Groups != nil
	}
	s.data = p.sight(s, at)
	return s
}

// slot is a key: of which span it is and where in it. always are those that
// every row of the span sees.
type slot struct {
	span     int // −1 for none
	position int
	always   bool
}

// own are the keys of the rows of the pass.
func (p *Pass) own(s spread) [][]slot {
	slots := make([][]slot, s.lines)
	for place, row := range s.row {
		line := place / s.length
		if row < 0 || p.spans[p.layout.span[row]].Behind > 0 || p.spans[p.layout.span[row]].Source {
			slots[line] = append(slots[line], slot{span: -1})
			continue
		}
		slots[line] = append(slots[line], slot{span: p.layout.span[row], position: p.position(row)})
	}
	return slots
}

// remembered are what the caches hold in a layer.
func (p *Pass) remembered(layer int, source bool) (part keys, slots [][]slot, ok bool) {
	part = keys{memory: true}
	for i := range p.spans {
		c, held := p.spans[i].Cache.(*cache)
		if !held || layer >= len(c.layers) || c.layers[layer].k.empty() {
			part.sizes = append(part.sizes, 0)
			continue
		}
		m := &c.layers[layer]
		part.sizes = append(part.sizes, m.size)
		part.length = max(part.length, m.size)
		part.in = append(part.in, p.held(m.k, m.size, m.width), p.held(m.v, m.size, m.width))
	}
	if part.length == 0 {
		return part, nil, false
	}
	slots = make([][]slot, len(p.spans))
	for i := range p.spans {
		slots[i] = make([]slot, part.length)
		for j := range slots[i] {
			slots[i][j].span = -1
		}
		if part.sizes[i] == 0 {
			continue
		}
		c := p.spans[i].Cache.(*cache)
		m := &c.layers[layer]
		for j := range m.size {
			if source {
				if j < m.source {
					slots[i][j] = slot{span: i, always: true}
				}
			} else if at, ok := m.position(j, c.n); ok {
				slots[i][j] = slot{span: i, position: at}
			}
		}
	}
	return part, slots, true
}

// sight is who sees what, as data of the queries, [lines, queries, 4]: span,
// first and last position, group; and of the keys, [lines, keys, 3]: span,
// position, group.
func (p *Pass) sight(s *look, at [][]slot) []*datum {
	a := s.a
	key := fmt.Sprint("sight", a.Window, a.Ahead, a.Anchored, s.groups, a.Source, a.Rows != nil, s.queries.length, a.Relative != nil)
	for _, part := range s.parts {
		key += fmt.Sprint(" ", part.memory, part.length, part.sizes)
	}
	queries := p.remember("q"+key, func() *datum { return p.querySight(s) })
	keys := p.remember("k"+key+fmt.Sprint(a.Layer), func() *datum { return p.keySight(at) })
	data := []*datum{queries, keys}
	if !s.queries.full {
		rows := fmt.Sprint("rows", a.Rows != nil)
		data = append(data, p.remember("to"+rows, func() *datum { return numbers(s.queries.slot) }), p.remember("from"+rows, func() *datum { return numbers(s.queries.place) }))
	}
	for _, part := range s.parts {
		if !part.memory && !part.spread.full {
			data = append(data, p.remember("keys", func() *datum { return numbers(part.spread.slot) }))
		}
	}
	return data
}

const sightColumns = 5

func (p *Pass) querySight(s *look) *datum {
	a := s.a
	d := &datum{dims: []int{s.queries.lines, s.queries.length, sightColumns}}
	for _, row := range s.queries.row {
		if row < 0 {
			d.ints = append(d.ints, -2, 0, 0, 0, 0)
			continue
		}
		n := p.layout.span[row]
		span, first := p.spans[n], start(p.spans[n])
		in := row - p.layout.first[n]
		from, to := 0, first+span.Rows-1
		if a.Window > 0 {
			from = first + in - a.Window + 1
		}
		if a.Window > 0 && a.Anchored {
			from = first - a.Window + 1
		}
		if a.Ahead != engine.All {
			to = min(to, first+in+a.Ahead)
		}
		group := int32(0)
		if span.Groups != nil {
			group = span.Groups[in]
		}
		d.ints = append(d.ints, int32(n), int32(from), int32(to), group, int32(first+in))
	}
	return d
}

func (p *Pass) keySight(at [][]slot) *datum {
	d := &datum{}
	for _, line := range at {
		for _, k := range line {
			group, position := int32(0), int32(k.position)
			if k.span >= 0 {
				span := p.spans[k.span]
				if in := k.position - start(span); span.Groups != nil && in >= 0 && in < span.Rows {
					group = span.Groups[in]
				}
			}
			if k.always {
				position = math.MaxInt32
			}
			d.ints = append(d.ints, int32(k.span), position, group)
		}
		d.dims = []int{len(at), len(line), 3}
	}
	return d
}

func (s *look) key() string {
	a := s.a
	key := fmt.Sprint("attend", a.Heads, " ", a.KVHeads, " ", a.C, " ", a.Scale, a.SoftCap, s.groups, a.Beside > 0 || a.Source, a.Relative != nil, a.Far,
		" ", s.queries.lines, s.queries.length, s.queries.full)
	for _, part := range s.parts {
		key += fmt.Sprint(" ", part.memory, part.length, part.sizes, part.spread.full)
	}
	return key
}

// lower is softmax(cap(q·(k + relative)ᵀ·scale))·v over what each row sees.
func (s *look) lower(l *lowering) *node {
	a := s.a
	data := l.data[2:]
	q := l.in[0] // [rows, H·C]
	if !s.queries.full {
		q = rowsOf(q, data[0])
	}
	q = Reshape(q, s.queries.lines, s.queries.length, a.KVHeads, a.Heads/a.KVHeads, a.C)
	k, v := s.gather(l)
	// In half precision the product is rounded to it, as its derivative would
	// otherwise be of float32 factors: twice the time.
	scores := wide(Dot(q, k).EinsumAxes([][2]int{{4, 3}}, [][2]int{{0, 0}, {2, 2}})) // [L, K, Q, G, M]
	if a.Relative != nil {
		scores = Add(scores, s.relative(l, q))
	}
	scores = softCap(times(scores, float64(a.Scale)), float64(a.SoftCap))
	seen := s.seen(l.data[0], l.data[1])
	shape := scores.Shape()
	seen = BroadcastToDims(ExpandAxes(seen, 1, 3), shape.Dimensions...)
	scores = Where(seen, scores, BroadcastToShape(number(scores, -1e30), shape))
	y := Dot(l.to(softmax(scores, -1)), v).EinsumAxes([][2]int{{4, 1}}, [][2]int{{0, 0}, {1, 2}}) // [L, K, Q, G, C]
	y = Reshape(TransposeAllAxes(y, 0, 2, 1, 3, 4), s.queries.lines*s.queries.length, a.Heads*a.C)
	if !s.queries.full {
		y = rowsOf(y, data[1])
	}
	return y
}

// gather is all keys and values, [L, M, K, C].
func (s *look) gather(l *lowering) (k, v *node) {
	a, in := s.a, l.in[1:]
	var ks, vs []*node
	for _, part := range s.parts {
		var k, v *node
		if part.memory {
			k, v = part.stack(l, in, a, 0), part.stack(l, in, a, 1)
		} else {
			k, v = in[0], in[1]
			if !part.spread.full {
				at := l.data[len(l.data)-1]
				k, v = rowsOf(k, at), rowsOf(v, at)
			}
			k, v = Reshape(k, part.spread.lines, part.length, a.KVHeads, a.C), Reshape(v, part.spread.lines, part.length, a.KVHeads, a.C)
		}
		in = in[len(part.in):]
		ks, vs = append(ks, k), append(vs, v)
	}
	if len(ks) == 1 {
		return ks[0], vs[0]
	}
	return Concatenate(ks, 1), Concatenate(vs, 1)
}

// stack is what the memories hold, one after the other, zeros where they end.
func (part *keys) stack(l *lowering, in []*node, a engine.Attend, offset int) *node {
	width := a.KVHeads * a.C
	var lines []*node
	next := 0
	for _, size := range part.sizes {
		var held []*node
		if size > 0 {
			held = append(held, in[next+offset])
			next += 2
		}
		if size < part.length {
			held = append(held, Zeros(l.g, shapeOf(l.dtype, part.length-size, width)))
		}
		line := held[0]
		if len(held) > 1 {
			line = Concatenate(held, 0)
		}
		lines = append(lines, Reshape(line, 1, part.length, a.KVHeads, a.C))
	}
	if len(lines) == 1 {
		return lines[0]
	}
	return Concatenate(lines, 0)
}

// seen is which keys each query sees, [L, Q, M].
func (s *look) seen(queries, keys *node) *node {
	lines, n, m := queries.Shape().Dim(0), queries.Shape().Dim(1), keys.Shape().Dim(1)
	of := func(i int) *node { return BroadcastToDims(SliceAxis(queries, 2, AxisRange(i, i+1)), lines, n, m) }
	at := func(i int) *node {
		return BroadcastToDims(Transpose(SliceAxis(keys, 2, AxisRange(i, i+1)), 1, 2), lines, n, m)
	}
	near := LessOrEqual(at(1), of(2))
	if s.groups {
		grouped := LogicalAnd(Equal(at(2), of(3)), GreaterThan(of(3), number(of(3), 0)))
		near = LogicalOr(near, grouped)
	}
	near = LogicalAnd(near, GreaterOrEqual(at(1), of(1)))
	if s.a.Source || s.a.Beside > 0 {
		near = LogicalOr(near, Equal(at(1), number(at(1), math.MaxInt32)))
	}
	return LogicalAnd(near, Equal(at(0), of(0)))
}

// relative is q·relative by how far back a key is: [L, K, Q, G, M].
func (s *look) relative(l *lowering, q *node) *node {
	a := s.a
	table := l.in[len(l.in)-1] // [places, H·C]
	places := table.Shape().Dim(0)
	lines, n, m := s.queries.lines, s.queries.length, l.data[1].Shape().Dim(1)
	table = Reshape(table, places, a.KVHeads, a.Heads/a.KVHeads, a.C)
	each := Dot(q, table).WithOutputDType(float).EinsumAxes([][2]int{{4, 3}}, [][2]int{{2, 1}, {3, 2}}) // [K, G, L, Q, P]
	each = Reshape(TransposeAllAxes(each, 2, 3, 4, 0, 1), lines*n*places, a.Heads)
	position := BroadcastToDims(SliceAxis(l.data[0], 2, AxisRange(4, 5)), lines, n, m)
	of := BroadcastToDims(Transpose(SliceAxis(l.data[1], 2, AxisRange(1, 2)), 1, 2), lines, n, m)
	place := plus(Sub(of, position), float64(a.Far)) // Far − how far back
	inside := LogicalAnd(GreaterOrEqual(place, number(place, 0)), LessThan(place, number(place, float64(places))))
	place = Max(Min(place, number(place, float64(places-1))), number(place, 0))
	first := times(Reshape(Iota(l.g, intShape(lines*n), 0), lines, n, 1), float64(places))
	found := rowsOf(each, Reshape(Add(BroadcastToDims(first, lines, n, m), place), lines*n*m))
	found = Reshape(found, lines, n, m, a.KVHeads, a.Heads/a.KVHeads)
	found = Mul(found, BroadcastToShape(ExpandAxes(ConvertDType(inside, float), 3, 4), found.Shape()))
	return TransposeAllAxes(found, 0, 3, 1, 4, 2)
}

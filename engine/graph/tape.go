package graph

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/gomlx/core/graph"

	"lapidary/engine"
)

type (
	dtype = dtypes.DType
	node  = graph.Node
)

const (
	float = dtypes.Float32
	half  = dtypes.BFloat16
	index = dtypes.Int32
)

func toHalf(values []float32) []bfloat16.BFloat16 {
	out := make([]bfloat16.BFloat16, len(values))
	for i, v := range values {
		out[i] = bfloat16.FromFloat32(v)
	}
	return out
}

// tape is what passes are written on: one, or all of a trace.
type tape struct {
	engine *Engine
	ops    []op
	run    int // how many of the ops have been run
	values []value
	err    error
	// traced says that nothing is run; promises are what was read out.
	traced   bool
	promises []promise
}

// Pass is one pass on a tape.
type Pass struct {
	*tape
	ctx    context.Context
	spans  []engine.Span
	layout layout
	memo   map[string]*datum

	stored  map[int]keysValues // what Attends of the pass have stored in a layer
	updates map[*cache][]update
	sources map[*cache][]update
}

// value is a result on the tape.
type value struct {
	dims   []int
	live   bool           // may be used by what comes
	kept   bool           // is read when the pass ends
	buffer compute.Buffer // once it was computed
	float  bool           // float32 whatever the engine computes in
}

// tensor is a value of rows.
type tensor struct {
	id          int
	rows, width int
}

func (t tensor) Dims() (rows, width int) { return t.rows, t.width }

// datum is an input that differs from pass to pass of the same shape.
type datum struct {
	ints   []int32
	floats []float32
	table  *tableKey // or one that the engine keeps on the device
	dims   []int
}

func (d *datum) dtype() dtype {
	if d.ints != nil {
		return index
	}
	return float
}

// op is an operation on the tape: key is all that its lowering depends on but
// the shapes of its inputs.
type op struct {
	key     string
	block   bool // nothing: a block ends, and in is what goes on
	in      []int
	weights []*Weight
	data    []*datum
	out     []int
	lower   func(l *lowering) []*node
}

// lowering is what an operation is lowered with.
type lowering struct {
	g       *graph.Graph
	dtype   dtype // of activations
	in      []*node
	weights []*node // in the type of activations
	masters []*node // as they are kept
	data    []*node
}

// shape is what a result has.
type shape []int

// record writes an operation down and returns its results.
func (p *tape) record(o op, results ...shape) []tensor {
	made := make([]tensor, len(results))
	for i, dims := range results {
		o.out = append(o.out, len(p.values))
		made[i] = tensor{id: len(p.values), rows: dims[0], width: dims[len(dims)-1]}
		p.values = append(p.values, value{dims: dims, live: true})
	}
	p.ops = append(p.ops, o)
	return made
}

// one is record for a single result of rows.
func (p *tape) one(rows, width int, key string, in []engine.Tensor, weights []engine.Weight, data []*datum, lower func(l *lowering) *node) engine.Tensor {
	o := op{key: key, data: data, lower: func(l *lowering) []*node { return []*node{lower(l)} }}
	for _, x := range in {
		o.in = append(o.in, x.(tensor).id)
	}
	for _, w := range weights {
		o.weights = append(o.weights, w.(*Weight))
	}
	return p.record(o, shape{rows, width})[0]
}

// map1 is an operation on every element of x, which it may consume.
func (p *tape) map1(key string, x engine.Tensor, lower func(l *lowering) *node) engine.Tensor {
	rows, width := x.Dims()
	return p.one(rows, width, key, []engine.Tensor{x}, nil, nil, lower)
}

// consumed says that a tensor is not used again.
func (p *tape) consumed(x engine.Tensor) { p.values[x.(tensor).id].live = false }

// remember makes a datum once a pass.
func (p *Pass) remember(key string, build func() *datum) *datum {
	d, ok := p.memo[key]
	if !ok {
		d = build()
		p.memo[key] = d
	}
	return d
}

// numbers are rows of the pass as data.
func numbers(rows []int) *datum {
	d := &datum{ints: make([]int32, len(rows)), dims: []int{len(rows)}}
	for i, r := range rows {
		d.ints[i] = int32(r)
	}
	return d
}

// Keep releases every tensor made so far but the xs, where a block ends.
func (p *Pass) Keep(xs ...engine.Tensor) {
	for i := range p.values {
		p.values[i].live = false
	}
	o := op{key: "block", block: true, lower: func(l *lowering) []*node { return nil }}
	for _, x := range xs {
		p.values[x.(tensor).id].live = true
		o.in = append(o.in, x.(tensor).id)
	}
	p.ops = append(p.ops, o)
}

// Read copies x out: the tape runs up to here. In a trace dst is a promise,
// which holds no numbers.
func (p *Pass) Read(x engine.Tensor, dst []float32) {
	id := x.(tensor).id
	if p.traced {
		p.promise(id, dst)
		return
	}
	if p.err == nil && (p.values[id].buffer == nil || !p.values[id].float) {
		p.materialise(id)
	}
	if p.err == nil {
		p.err = p.values[id].buffer.ToFlatData(dst)
	}
}

// Write makes a tensor of given rows.
func (p *Pass) Write(src []float32, width int) engine.Tensor {
	rows := len(src) / width
	if x, ok := p.promised(src, width); ok {
		return x
	}
	d := &datum{floats: slices.Clone(src), dims: []int{rows, width}}
	return p.one(rows, width, "write", nil, nil, []*datum{d}, func(l *lowering) *node { return l.to(l.data[0]) })
}

// End runs what the memories need of the rest of the tape and commits them.
func (p *Pass) End() error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	if p.err == nil && p.pendingUpdates() && !p.traced {
		p.materialise()
	}
	if p.err != nil {
		return p.err
	}
	if err := p.ctx.Err(); err != nil {
		return err
	}
	p.commit()
	return nil
}

// Discard gives the pass up.
func (p *Pass) Discard() {}

// materialise runs the ops that were not run yet for what is wanted, as float32,
// and for what may be used later.
func (p *tape) materialise(wanted ...int) {
	ops := p.ops[p.run:]
	var outs []int
	if len(wanted) > 0 {
		outs = append(outs, wanted...)
	}
	for _, o := range ops {
		for _, id := range o.out {
			if v := p.values[id]; (v.live || v.kept) && !slices.Contains(wanted, id) {
				outs = append(outs, id)
			}
		}
	}
	r := p.recording(ops, outs, len(wanted))
	buffers, err := p.engine.execute(r)
	if err != nil {
		p.err = err
		return
	}
	for i, id := range outs {
		p.values[id].buffer, p.values[id].float = buffers[i], i < len(wanted) || p.engine.dtype == float
	}
	p.run = len(p.ops)
}

// Recording is a part of a tape that can be lowered into a graph.
type Recording struct {
	// Key is the same for recordings that lower to the same graph.
	Key     string
	Weights []*Weight

	engine   *Engine
	ops      []op
	data     []*datum
	external []external // values computed before
	outs     []int
	floats   int // so many of the outs are float32
}

// external is a value from before the recording.
type external struct {
	id     int
	dims   []int
	dtype  dtype
	buffer compute.Buffer
}

// recording describes ops: what they take from outside, and a key that names
// values by their place.
func (p *tape) recording(ops []op, outs []int, floats int) *Recording {
	r := &Recording{engine: p.engine, ops: ops, outs: outs, floats: floats}
	made, given := map[int]int{}, map[int]int{}
	weights, data := map[*Weight]int{}, map[*datum]int{}
	var key strings.Builder
	name := func(id int) {
		if n, ok := made[id]; ok {
			fmt.Fprintf(&key, "v%d ", n)
			return
		}
		v := p.values[id]
		if _, ok := given[id]; !ok {
			given[id] = len(r.external)
			r.external = append(r.external, external{id, v.dims, p.engine.typeOf(v), v.buffer})
		}
		fmt.Fprintf(&key, "x%d%v%v ", given[id], v.dims, v.float)
	}
	for _, o := range ops {
		fmt.Fprintf(&key, "%s(", o.key)
		for _, id := range o.in {
			name(id)
		}
		for _, w := range o.weights {
			if _, ok := weights[w]; !ok {
				weights[w] = len(r.Weights)
				r.Weights = append(r.Weights, w)
			}
			rows, cols := w.Dims()
			fmt.Fprintf(&key, "w%d:%dx%d ", weights[w], rows, cols)
		}
		for _, d := range o.data {
			if _, ok := data[d]; !ok {
				data[d] = len(r.data)
				r.data = append(r.data, d)
			}
			fmt.Fprintf(&key, "d%d%v%v ", data[d], d.dtype(), d.dims)
		}
		for _, id := range o.out {
			made[id] = len(made)
			fmt.Fprintf(&key, "→%v", p.values[id].dims)
		}
		key.WriteString(")")
	}
	fmt.Fprintf(&key, "→%d:", floats)
	for _, id := range outs {
		name(id)
	}
	r.Key = key.String()
	return r
}

func (e *Engine) typeOf(v value) dtype {
	if v.float {
		return float
	}
	return e.dtype
}

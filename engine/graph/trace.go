package graph

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"

	"lapidary/checkpoint"
	"lapidary/engine"
)

// Trace is an engine whose passes are written on one tape and not run: what a
// model makes of an input becomes a function of its weights. What is read out of
// a pass is a promise: numbers that are not there, which another pass may write
// in (an encoder's states, a picture's soft tokens) and a loss may be made of.
// Whoever looks at them sees NaN.
type Trace struct {
	tape *tape
	line int
}

// Trace begins one. Spans without a memory lie in lines of the given length, each
// line full, so that one graph serves every batch of as many lines wherever its
// sequences begin; 0 for a line a span.
func (e *Engine) Trace(line int) *Trace {
	t := e.newTape()
	t.traced = true
	return &Trace{tape: t, line: line}
}

// Name is the engine's.
func (t *Trace) Name() string { return t.tape.engine.Name() }

// Load is the engine's.
func (t *Trace) Load(w checkpoint.Tensor) (engine.Weight, error) { return t.tape.engine.Load(w) }

// NewCache makes a memory that dies with the trace.
func (t *Trace) NewCache(layers []engine.CacheLayer) engine.Cache {
	return t.tape.engine.NewCache(layers)
}

// Close ends the trace; the engine lives on.
func (t *Trace) Close() error { return nil }

// Begin starts a pass on the tape.
func (t *Trace) Begin(ctx context.Context, spans []engine.Span) engine.Pass {
	line := t.line
	if !fills(spans, line) {
		line = 0
	}
	return t.tape.begin(ctx, spans, line)
}

// fills says that the spans lie in full lines.
func fills(spans []engine.Span, line int) bool {
	at := 0
	for _, s := range spans {
		if at += s.Rows; s.Cache != nil || at > line {
			return false
		}
		at %= max(1, line)
	}
	return at == 0 && line > 0
}

// promise is what was read out: rows of a value.
type promise struct {
	numbers []float32
	id      int
}

func (t *tape) promise(id int, dst []float32) {
	for i := range dst {
		dst[i] = float32(math.NaN())
	}
	t.promises = append(t.promises, promise{dst, id})
}

// promised are the rows that some of the numbers of a promise stand for.
func (t *tape) promised(src []float32, width int) (engine.Tensor, bool) {
	if len(src) == 0 {
		return nil, false
	}
	at := reflect.ValueOf(src).Pointer() // a promise is known by where it lies
	for _, p := range t.promises {
		first := reflect.ValueOf(p.numbers).Pointer()
		v := t.values[p.id]
		if at < first || at+4*uintptr(len(src)) > first+4*uintptr(len(p.numbers)) || v.dims[1] != width {
			continue
		}
		from := int(at-first) / 4 / width
		if from == 0 && len(src) == len(p.numbers) {
			return tensor{p.id, v.dims[0], width}, true
		}
		rows := make([]int, len(src)/width)
		for i := range rows {
			rows[i] = from + i
		}
		return t.pick(tensor{p.id, v.dims[0], width}, rows), true
	}
	return nil, false
}

// Tensor is what a promise of rows of the given width stands for.
func (t *Trace) Tensor(read []float32, width int) (engine.Tensor, error) {
	x, ok := t.tape.promised(read, width)
	if !ok {
		return nil, errors.New("graph engine: these numbers were not read out of the trace")
	}
	return x, nil
}

// Lowering is what an operation of a caller's is lowered with.
type Lowering struct {
	Graph   *graph.Graph
	Type    dtypes.DType  // of activations
	In      []*graph.Node // as the operation says
	Weights []*graph.Node // in the type of activations
	Masters []*graph.Node // the same as they are kept: what is trained, in float32
	Data    []*graph.Node
}

// Operation is one that the vocabulary does not have, such as a loss.
type Operation struct {
	Key     string // all that Lower depends on but the shapes
	In      []engine.Tensor
	Weights []engine.Weight
	Ints    [][]int32
	Floats  [][]float32 // data, after Ints
	Rows    int
	Width   int
	Lower   func(l *Lowering) *graph.Node // → [Rows, Width]
}

// Apply writes an operation with one result down.
func (t *Trace) Apply(o Operation) engine.Tensor {
	return t.ApplyMany(o, [][2]int{{o.Rows, o.Width}}, func(l *Lowering) []*graph.Node { return []*graph.Node{o.Lower(l)} })[0]
}

// ApplyMany is Apply for several results, of the given rows and widths; the
// operation's own Rows, Width and Lower do not count.
func (t *Trace) ApplyMany(o Operation, results [][2]int, lower func(l *Lowering) []*graph.Node) []engine.Tensor {
	down := op{key: o.Key, lower: func(l *lowering) []*node {
		return lower(&Lowering{l.g, l.dtype, l.in, l.weights, l.masters, l.data})
	}}
	for _, x := range o.In {
		down.in = append(down.in, x.(tensor).id)
	}
	for _, w := range o.Weights {
		down.weights = append(down.weights, w.(*Weight))
	}
	for _, d := range o.Ints {
		down.data = append(down.data, &datum{ints: d, dims: []int{len(d)}})
	}
	for _, d := range o.Floats {
		down.data = append(down.data, &datum{floats: d, dims: []int{len(d)}})
	}
	dims := make([]shape, len(results))
	for i, r := range results {
		dims[i] = shape{r[0], r[1]}
	}
	made := make([]engine.Tensor, len(results))
	for i, x := range t.tape.record(down, dims...) {
		made[i] = x
	}
	return made
}

// Record is the whole tape with the given results.
func (t *Trace) Record(outs ...engine.Tensor) (*Recording, error) {
	if t.tape.err != nil {
		return nil, t.tape.err
	}
	ids := make([]int, len(outs))
	for i, x := range outs {
		ids[i] = x.(tensor).id
	}
	r := t.tape.recording(t.tape.ops, ids, 0)
	if len(r.external) > 0 {
		return nil, errors.New("graph engine: a trace cannot take in what another pass has computed")
	}
	return r, nil
}

// Lower adds the recording to a graph: its weights as they are kept, in any type,
// and its data, in the shapes of DataShapes → its results. With remat, a block
// keeps nothing but its input for the gradients, and computes the rest again.
func (r *Recording) Lower(g *graph.Graph, weights, data []*graph.Node, remat bool) []*graph.Node {
	return r.lower(g, r.engine.dtype, remat, weights, nil, data)
}

// DataShapes are those of what differs from recording to recording of a key.
func (r *Recording) DataShapes() []shapes.Shape {
	all := make([]shapes.Shape, len(r.data))
	for i, d := range r.data {
		all[i] = shapes.Make(d.dtype(), d.dims...)
	}
	return all
}

// Place puts the data on the device; release gives back what is not kept there.
func (r *Recording) Place() (buffers []compute.Buffer, release func(), err error) {
	r.engine.mutex.Lock()
	defer r.engine.mutex.Unlock()
	var owned []compute.Buffer
	release = func() { finalize(owned) }
	for _, d := range r.data {
		b, kept, err := r.engine.place(d)
		if err != nil {
			release()
			return nil, nil, fmt.Errorf("graph engine: %w", err)
		}
		if buffers = append(buffers, b); !kept {
			owned = append(owned, b)
		}
	}
	return buffers, release, nil
}

// Datum is a part of a recording's data, for whoever places it.
type Datum struct {
	Flat  any // []float32 or []int32
	Shape shapes.Shape
	Table any // where it is a table for every recording: what it is known by
}

// Data are what DataShapes describes.
func (r *Recording) Data() []Datum {
	all := make([]Datum, len(r.data))
	for i, d := range r.data {
		all[i] = Datum{Shape: shapes.Make(d.dtype(), d.dims...)}
		switch {
		case d.table != nil:
			all[i].Flat, all[i].Table = d.table.values(), *d.table
		case d.ints != nil:
			all[i].Flat = d.ints
		default:
			all[i].Flat = d.floats
		}
	}
	return all
}

// OnDevice is a weight that is not trained, in the type of activations.
func (w *Weight) OnDevice() (compute.Buffer, error) {
	w.engine.mutex.Lock()
	defer w.engine.mutex.Unlock()
	return w.onDevice()
}

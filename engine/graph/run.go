package graph

import (
	"fmt"
	"strconv"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/support/exceptions"
)

// program is the compiled form of recordings with one key.
type program struct{ graph *graph.Graph }

// execute runs a recording → its outs.
func (e *Engine) execute(r *Recording) ([]compute.Buffer, error) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	if len(r.outs) == 0 {
		return nil, nil
	}
	p, err := e.program(r.Key, func(p *program) { p.build(e, r) })
	if err != nil {
		return nil, err
	}
	return e.run(p, r)
}

// run gives a program what a recording takes. The engine is locked.
func (e *Engine) run(p *program, r *Recording) ([]compute.Buffer, error) {
	inputs, owned, err := e.inputs(r)
	defer func() { finalize(owned) }()
	if err != nil {
		return nil, err
	}
	outs, err := p.graph.Executable().Execute(inputs, make([]bool, len(inputs)), 0)
	if err != nil {
		return nil, fmt.Errorf("graph engine: %w", err)
	}
	return outs, nil
}

// program is the one of that key, built at its first use. The engine is locked.
func (e *Engine) program(key string, build func(p *program)) (*program, error) {
	if p, ok := e.programs[key]; ok {
		return p, nil
	}
	p := &program{graph: graph.NewGraph(e.backend, "pass"+strconv.Itoa(len(e.programs)))}
	if err := exceptions.TryCatch[error](func() { build(p) }); err != nil {
		return nil, fmt.Errorf("graph engine: compile: %w", err)
	}
	e.programs[key] = p
	return p, nil
}

// parameters are those of a recording's graph: weights, values from before and
// data, in that order.
func (p *program) parameters(e *Engine, r *Recording) (weights, external, data []*node) {
	g := p.graph
	for i, w := range r.Weights {
		rows, cols := w.Dims()
		weights = append(weights, graph.Parameter(g, "w"+strconv.Itoa(i), shapes.Make(e.dtype, rows, cols)))
	}
	for i, x := range r.external {
		external = append(external, graph.Parameter(g, "x"+strconv.Itoa(i), shapes.Make(x.dtype, x.dims...)))
	}
	for i, d := range r.data {
		data = append(data, graph.Parameter(g, "d"+strconv.Itoa(i), shapes.Make(d.dtype(), d.dims...)))
	}
	return weights, external, data
}

// build lowers and compiles.
func (p *program) build(e *Engine, r *Recording) {
	weights, external, data := p.parameters(e, r)
	outs := r.lower(p.graph, e.dtype, false, weights, external, data)
	for i := range r.floats {
		outs[i] = graph.ConvertDType(outs[i], float)
	}
	if err := p.graph.Compile(outs...); err != nil {
		panic(err) //nolint:forbidigo // as the rest of a graph's construction does; program catches it
	}
}

// lower adds the recording to a graph.
func (r *Recording) lower(g *graph.Graph, as dtype, remat bool, weights, external, data []*node) []*node {
	values := map[int]*node{}
	for i, x := range r.external {
		values[x.id] = external[i]
	}
	weightAt, dataAt := map[*Weight]*node{}, map[*datum]*node{}
	for i, w := range r.Weights {
		weightAt[w] = weights[i]
	}
	for i, d := range r.data {
		dataAt[d] = data[i]
	}
	converted := map[*Weight]*node{}
	last := r.lastBlock()
	for i, o := range r.ops {
		if o.block {
			if remat {
				rematerialise(values, o.in, i == last)
			}
			continue
		}
		l := &lowering{g: g, dtype: as}
		for _, id := range o.in {
			l.in = append(l.in, values[id])
		}
		for _, w := range o.weights {
			if converted[w] == nil {
				converted[w] = graph.ConvertDType(weightAt[w], as)
			}
			l.weights, l.masters = append(l.weights, converted[w]), append(l.masters, weightAt[w])
		}
		for _, d := range o.data {
			l.data = append(l.data, dataAt[d])
		}
		for i, n := range o.lower(l) {
			values[o.out[i]] = n
		}
	}
	outs := make([]*node, len(r.outs))
	for i, id := range r.outs {
		outs[i] = values[id]
	}
	return outs
}

// rematerialise makes what goes on from block to block all that is kept of the
// block before for the gradients, which compute the rest again.
func rematerialise(values map[int]*node, ids []int, last bool) {
	for _, id := range ids {
		if last {
			values[id] = values[id].StopCheckpoint()
		} else {
			values[id] = values[id].Checkpoint()
		}
	}
}

func (r *Recording) lastBlock() int {
	last := -1
	for i, o := range r.ops {
		if o.block {
			last = i
		}
	}
	return last
}

// inputs are the buffers of a recording, of which the caller gives the owned
// ones back.
func (e *Engine) inputs(r *Recording) (all, owned []compute.Buffer, err error) {
	for _, w := range r.Weights {
		b, err := w.onDevice()
		if err != nil {
			return nil, owned, err
		}
		all = append(all, b)
	}
	for _, x := range r.external {
		all = append(all, x.buffer)
	}
	for _, d := range r.data {
		b, kept, err := e.place(d)
		if err != nil {
			return nil, owned, err
		}
		if all = append(all, b); !kept {
			owned = append(owned, b)
		}
	}
	return all, owned, nil
}

// place puts a datum on the device, or finds what is kept there.
func (e *Engine) place(d *datum) (b compute.Buffer, kept bool, err error) {
	switch {
	case d.table != nil:
		b, err = e.table(*d.table)
		return b, true, err
	case d.ints != nil:
		b, err = e.backend.BufferFromFlatData(0, d.ints, shapes.Make(index, d.dims...))
	default:
		b, err = e.backend.BufferFromFlatData(0, d.floats, shapes.Make(float, d.dims...))
	}
	return b, false, err
}

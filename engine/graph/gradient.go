package graph

import (
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
)

// Gradients runs a recording with one result, a number → it and its derivatives
// by each of the Weights, row-major.
func (r *Recording) Gradients() (value float32, by [][]float32, err error) {
	e := r.engine
	e.mutex.Lock()
	defer e.mutex.Unlock()
	p, err := e.program("∇"+r.Key, func(p *program) { p.differentiate(e, r) })
	if err != nil {
		return 0, nil, err
	}
	outs, err := e.run(p, r)
	if err != nil {
		return 0, nil, err
	}
	defer finalize(outs)
	one := make([]float32, 1)
	if err := outs[0].ToFlatData(one); err != nil {
		return 0, nil, fmt.Errorf("graph engine: %w", err)
	}
	for i, w := range r.Weights {
		rows, cols := w.Dims()
		flat := make([]float32, rows*cols)
		if err := outs[i+1].ToFlatData(flat); err != nil {
			return 0, nil, fmt.Errorf("graph engine: %w", err)
		}
		by = append(by, flat)
	}
	return one[0], by, nil
}

func (p *program) differentiate(e *Engine, r *Recording) {
	weights, external, data := p.parameters(e, r)
	loss := graph.ReduceAllSum(graph.ConvertDType(r.lower(p.graph, e.dtype, false, weights, external, data)[0], float))
	outs := []*node{loss}
	for _, d := range graph.Gradient(loss, weights...) {
		outs = append(outs, graph.ConvertDType(d, float))
	}
	if err := p.graph.Compile(outs...); err != nil {
		panic(err) //nolint:forbidigo // as the rest of a graph's construction does; Gradients catches it
	}
}

func finalize(buffers []compute.Buffer) {
	for _, b := range buffers {
		_ = b.Finalize() // the device takes back what it can
	}
}

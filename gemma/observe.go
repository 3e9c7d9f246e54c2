package gemma

import "lapidary/engine"

// LastState is what an observer knows the stream after the last norm by.
const LastState = "norm"

// Observer sees every named activation of a pass, [R, width] row-major:
// "embed", then of each layer "layers.3.attention" and "layers.3.feed" (what
// is added to the stream) and "layers.3" (the stream after it), at last "norm".
// Of the last layer and "norm" there are only the rows that want logits. It may
// edit the rows in place and returns whether it did.
type Observer func(name string, rows [][]float32) (edited bool)

// watcher shows activations to an observer. A nil watcher costs a comparison.
type watcher struct{ observe Observer }

func (w *watcher) see(p engine.Pass, name string, x engine.Tensor) engine.Tensor {
	if w == nil {
		return x
	}
	rows, width := x.Dims()
	flat := make([]float32, rows*width)
	p.Read(x, flat)
	views := make([][]float32, rows)
	for i := range views {
		views[i] = flat[i*width : (i+1)*width : (i+1)*width]
	}
	if !w.observe(name, views) {
		return x
	}
	return p.Write(flat, width)
}

package graph

import (
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"

	"lapidary/checkpoint"
)

// Weight is a stored tensor, and its copy on the device from its first use on.
type Weight struct {
	engine *Engine
	stored checkpoint.Tensor
	buffer compute.Buffer // of the engine's type
}

// Dims is the shape.
func (w *Weight) Dims() (rows, cols int) { return w.stored.Rows(), w.stored.Cols() }

// Name is that of the tensor in its checkpoint.
func (w *Weight) Name() string { return w.stored.Name }

// Values are the stored elements, row-major.
func (w *Weight) Values() ([]float32, error) {
	values := make([]float32, w.stored.Rows()*w.stored.Cols())
	if err := checkpoint.Dequantize(w.stored.Type, values, w.stored.Data); err != nil {
		return nil, fmt.Errorf("tensor %s: %w", w.stored.Name, err)
	}
	return values, nil
}

// onDevice is the weight's buffer. The engine is locked.
func (w *Weight) onDevice() (compute.Buffer, error) {
	if w.buffer != nil {
		return w.buffer, nil
	}
	values, err := w.Values()
	if err != nil {
		return nil, err
	}
	rows, cols := w.Dims()
	w.buffer, err = w.engine.upload(values, w.engine.dtype, rows, cols)
	return w.buffer, err
}

// Flat are the elements in the type of activations, for whoever places them:
// []float32 or []bfloat16.BFloat16.
func (w *Weight) Flat() (any, error) {
	values, err := w.Values()
	if err != nil || w.engine.dtype != half {
		return values, err
	}
	return toHalf(values), nil
}

// upload makes a buffer of one of the types that an engine computes in.
func (e *Engine) upload(values []float32, as dtype, dims ...int) (compute.Buffer, error) {
	if as == half {
		return e.backend.BufferFromFlatData(0, toHalf(values), shapes.Make(as, dims...))
	}
	return e.backend.BufferFromFlatData(0, values, shapes.Make(as, dims...))
}

// Stored is the tensor that was loaded.
func (w *Weight) Stored() checkpoint.Tensor { return w.stored }

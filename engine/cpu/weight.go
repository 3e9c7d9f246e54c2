package cpu

import (
	"fmt"
	"sync"
	"unsafe"

	"lapidary/checkpoint"
	"lapidary/engine"
	"lapidary/engine/cpu/kernel"
)

// weight is a stored tensor and how it is multiplied.
type weight struct {
	checkpoint.Tensor
	rows, cols int
	rowBytes   int // of a stored row
	blocks     int // of a stored row
	quantised  bool
	format     kernel.Format
	short      kernel.Short
	sums       bool        // panels need the activations' sums
	gemv       kernel.Gemv // nil: through panels

	sketching sketching

	once   sync.Once
	vector []float32 // of a norm: weight + offset
}

func (w *weight) Dims() (rows, cols int) { return w.rows, w.cols }

// Load binds a stored tensor; it keeps referring to t.Data.
func (e *Engine) Load(t checkpoint.Tensor) (engine.Weight, error) {
	w := &weight{Tensor: t, rows: t.Rows(), cols: t.Cols()}
	switch {
	case !t.Type.Known():
		return nil, fmt.Errorf("tensor %s: %s is not a format this engine reads", t.Name, t.Type)
	case len(t.Shape) > 1 && w.cols%8 != 0:
		return nil, fmt.Errorf("tensor %s: rows of %d elements are not a multiple of 8; run this model with the engine ref", t.Name, w.cols)
	case w.cols%t.Type.Block() != 0 || len(t.Data) != w.rows*t.RowBytes():
		return nil, fmt.Errorf("tensor %s: %d bytes do not hold %v elements of %s", t.Name, len(t.Data), t.Shape, t.Type)
	}
	w.rowBytes, w.blocks, w.quantised = t.RowBytes(), w.cols/t.Type.Block(), t.Type.Quantised()
	w.format = kernel.Formats[t.Type]
	w.sums = w.quantised && (!w.format.Symmetric || e.set.Center == nil)
	if w.cols%8 == 0 {
		w.short = e.set.Short[t.Type]
	}
	w.gemv = e.set.Gemv[t.Type]
	return w, nil
}

// norm is the weight as a vector with offset added, made at the first use. A
// model gives a norm one offset.
func (w *weight) norm(offset float32) []float32 {
	w.once.Do(func() {
		w.vector = make([]float32, w.cols)
		w.floats(0, w.vector)
		for i := range w.vector {
			w.vector[i] += offset
		}
	})
	return w.vector
}

// floats expands row i into dst.
func (w *weight) floats(i int, dst []float32) {
	if w.short.Widen != nil {
		w.short.Widen(&dst[0], w.shorts(i), w.cols)
		return
	}
	if err := checkpoint.Dequantize(w.Type, dst, w.Row(i)); err != nil {
		panic(err) //nolint:forbidigo // Load has checked type and size
	}
}

// shorts is row i of 16-bit weights.
func (w *weight) shorts(i int) *uint16 { return (*uint16)(unsafe.Pointer(&w.Data[i*w.rowBytes])) }

// expand turns rows from on into codes with their scales and minimums.
func (w *weight) expand(set *kernel.Set, from, rows int, codes []uint8, scale, min []float32) {
	src := w.Data[from*w.rowBytes : (from+rows)*w.rowBytes]
	if f := set.Expand[w.Type]; f != nil {
		f(&src[0], rows*w.blocks, &codes[0], &scale[0], &min[0])
		return
	}
	groups := rows * w.cols / w.format.Group
	w.format.Expand(src, codes, scale[:groups], min[:groups])
}

// aligned reports whether stored F32 data can be used where it lies.
func (w *weight) aligned() bool {
	return w.Type == checkpoint.F32 && uintptr(unsafe.Pointer(&w.Data[0]))%4 == 0
}

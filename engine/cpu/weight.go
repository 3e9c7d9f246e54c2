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
	engine     *Engine
	rows, cols int
	rowBytes   int // of a stored row
	blocks     int // of a stored row
	quantised  bool
	format     kernel.Format
	short      kernel.Short
	sums       bool        // panels need the activations' sums
	gemv       kernel.Gemv // nil: through panels

	sketching sketching

	mutex   sync.Mutex
	vectors map[float32][]float32 // weight + offset, by offset
	slopes  []float32             // of a recurrence
	split   []*weight
}

func (w *weight) Dims() (rows, cols int) { return w.rows, w.cols }

// Load binds a stored tensor; it keeps referring to t.Data.
func (e *Engine) Load(t checkpoint.Tensor) (engine.Weight, error) {
	switch rows, cols := t.Rows(), t.Cols(); {
	case !t.Type.Known():
		return nil, fmt.Errorf("tensor %s: %s is not a format this engine reads", t.Name, t.Type)
	case cols%t.Type.Block() != 0 || len(t.Data) != rows*t.RowBytes():
		return nil, fmt.Errorf("tensor %s: %d bytes do not hold %v elements of %s", t.Name, len(t.Data), t.Shape, t.Type)
	}
	return e.bind(t), nil
}

// bind is a tensor whose type and size are known to be right.
func (e *Engine) bind(t checkpoint.Tensor) *weight {
	w := &weight{engine: e, Tensor: t, rows: t.Rows(), cols: t.Cols()}
	w.rowBytes, w.blocks, w.quantised = t.RowBytes(), w.cols/t.Type.Block(), t.Type.Quantised()
	w.format = kernel.Formats[t.Type]
	w.sums = w.quantised && (!w.format.Symmetric || e.set.Center == nil)
	if w.cols%8 == 0 {
		w.short = e.set.Short[t.Type]
	}
	w.gemv = e.set.Gemv[t.Type]
	return w
}

// norm is the weight as a vector, however it is shaped, with offset added, made
// at the first use.
func (w *weight) norm(offset float32) []float32 {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if v := w.vectors[offset]; v != nil {
		return v
	}
	v := make([]float32, w.rows*w.cols)
	for i := range w.rows {
		w.floats(i, v[i*w.cols:(i+1)*w.cols])
	}
	for i := range v {
		v[i] += offset
	}
	if w.vectors == nil {
		w.vectors = map[float32][]float32{}
	}
	w.vectors[offset] = v
	return v
}

// parts are n equal runs of rows as weights of their own.
func (w *weight) parts(n int) []*weight {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if len(w.split) == n {
		return w.split
	}
	w.split = make([]*weight, n)
	rows := w.rows / n
	for i := range w.split {
		w.split[i] = w.engine.bind(checkpoint.Tensor{Name: w.Name, Type: w.Type, Shape: []int{rows, w.cols},
			Data: w.Data[i*rows*w.rowBytes:][:rows*w.rowBytes]})
	}
	return w.split
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

// Package ref is the plain engine: float32 loops that read like the formulas.
// It is the oracle of every other engine, so nothing here is clever. Weights
// are expanded to float32 a row at a time, as they are used, and activations
// are never rounded below float32. Dot products accumulate in float64, so that
// its figures do not depend on the order of a sum.
//
// It is roughly thirty times slower than engine/cpu; caches keep every
// position, whatever the window.
package ref

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"lapidary/checkpoint"
	"lapidary/engine"
)

// New returns the plain engine.
func New() engine.Engine { return ref{} }

type ref struct{}

func (ref) Name() string { return "ref" }
func (ref) Close() error { return nil }

// weight is a stored tensor, expanded as it is used.
type weight struct{ checkpoint.Tensor }

func (w *weight) Dims() (rows, cols int) { return w.Rows(), w.Cols() }

// row expands row i into dst, which holds one row.
func (w *weight) row(i int, dst []float32) []float32 {
	if err := checkpoint.Dequantize(w.Type, dst, w.Row(i)); err != nil {
		panic(err) //nolint:forbidigo // Load has checked type and size
	}
	return dst
}

// vector expands a weight that is one row, such as a norm's.
func vector(w engine.Weight) []float32 {
	v := w.(*weight)
	return v.row(0, make([]float32, v.Cols()))
}

func (ref) Load(t checkpoint.Tensor) (engine.Weight, error) {
	if !t.Type.Known() {
		return nil, fmt.Errorf("tensor %s: %s is not a format this engine reads", t.Name, t.Type)
	}
	if t.Cols()%t.Type.Block() != 0 || len(t.Data) != t.Rows()*t.RowBytes() {
		return nil, fmt.Errorf("tensor %s: %d bytes do not hold %v elements of %s", t.Name, len(t.Data), t.Shape, t.Type)
	}
	return &weight{t}, nil
}

// matrix expands all rows of a weight.
func matrix(w *weight) []float32 {
	all := make([]float32, w.Rows()*w.Cols())
	for i := range w.Rows() {
		w.row(i, all[i*w.Cols():(i+1)*w.Cols()])
	}
	return all
}

// tensor is [rows, width] float32, row-major.
type tensor struct {
	rows, width int
	data        []float32
}

func (t *tensor) Dims() (rows, width int) { return t.rows, t.width }
func (t *tensor) row(i int) []float32     { return t.data[i*t.width : (i+1)*t.width] }

func newTensor(rows, width int) *tensor {
	return &tensor{rows, width, make([]float32, rows*width)}
}

// cache keeps the keys and values of every position of one sequence, and the
// states of its recurrences.
type cache struct {
	layers []engine.CacheLayer
	k, v   [][]float32 // a layer: [positions, K·C]
	state  [][]float32 // a layer: nil at position 0
	n      int
}

func (ref) NewCache(layers []engine.CacheLayer) engine.Cache {
	return newCache(layers)
}

func newCache(layers []engine.CacheLayer) *cache {
	n := len(layers)
	return &cache{layers: layers, k: make([][]float32, n), v: make([][]float32, n), state: make([][]float32, n)}
}

func (c *cache) Len() int { return c.n }

func (c *cache) Truncate(n int) error {
	if n < 0 || n > c.n {
		return fmt.Errorf("cannot truncate a cache of %d positions to %d", c.n, n)
	}
	for i, l := range c.layers {
		switch {
		case l.State == 0 || n == c.n:
		case n == 0:
			c.state[i] = nil
		default:
			return fmt.Errorf("cannot truncate a cache of %d positions to %d: a recurrence keeps no past", c.n, n)
		}
	}
	c.n = n
	return nil
}

func (c *cache) Bytes() int64 {
	var n int64
	for i := range c.k {
		n += 4 * int64(len(c.k[i])+len(c.v[i])+len(c.state[i]))
	}
	return n
}

func (c *cache) Close() { *c = cache{} }

// store places rows at the positions from the committed length on.
func (c *cache) store(layer int, k, v []float32) {
	kept := c.n * c.layers[layer].KVHeads * c.layers[layer].HeadSize
	c.k[layer] = append(c.k[layer][:kept], k...)
	c.v[layer] = append(c.v[layer][:kept], v...)
}

func (r ref) Begin(ctx context.Context, spans []engine.Span) engine.Pass {
	return &pass{ctx: ctx, spans: spans}
}

// parallel runs f over [0, n) in one piece per processor.
func parallel(n int, f func(from, to int)) {
	pieces := min(n, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for i := range pieces {
		wg.Go(func() { f(n*i/pieces, n*(i+1)/pieces) })
	}
	wg.Wait()
}

func dot(x, y []float32) float64 {
	var s float64
	for i, v := range x {
		s += float64(v) * float64(y[i])
	}
	return s
}

func sum(x []float32) float64 {
	var s float64
	for _, v := range x {
		s += float64(v)
	}
	return s
}

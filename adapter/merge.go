package adapter

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"

	"lapidary/checkpoint"
)

// values are a tensor's elements, row-major.
func values(t checkpoint.Tensor) ([]float32, error) {
	v := make([]float32, t.Rows()*t.Cols())
	if err := checkpoint.Dequantize(t.Type, v, t.Data); err != nil {
		return nil, fmt.Errorf("tensor %s: %w", t.Name, err)
	}
	return v, nil
}

// update makes the rows of s·B·A one at a time.
type update struct {
	a, b     []float32
	rank, in int
	scale    float64
}

func (m *Module) update() (*update, error) {
	a, err := values(m.A)
	if err != nil {
		return nil, err
	}
	b, err := values(m.B)
	return &update{a, b, m.Rank(), m.In(), m.Scale}, err
}

// row adds by times row i of s·B·A to dst [in].
func (u *update) row(i int, by float64, dst []float32) {
	for j := range u.rank {
		f := float32(by * u.scale * float64(u.b[i*u.rank+j]))
		a := u.a[j*u.in : (j+1)*u.in : (j+1)*u.in]
		for k := range dst {
			dst[k] += f * a[k]
		}
	}
}

func length(v []float32) float64 {
	var squares float64
	for _, x := range v {
		squares += float64(x) * float64(x)
	}
	return math.Sqrt(squares)
}

// Lengths are the Euclidean lengths of the rows of W + s·B·A [out], by which
// DoRA divides. W is the layer's weight [out, in], in whatever format.
func (m *Module) Lengths(w checkpoint.Tensor) ([]float32, error) {
	if err := m.fits(w); err != nil {
		return nil, err
	}
	u, err := m.update()
	if err != nil {
		return nil, err
	}
	out := make([]float32, m.Out())
	err = eachRows(m.Out(), func(from, to int) error {
		row := make([]float32, m.In())
		for i := from; i < to; i++ {
			if err := checkpoint.Dequantize(w.Type, row, w.Row(i)); err != nil {
				return fmt.Errorf("tensor %s: %w", w.Name, err)
			}
			u.row(i, 1, row)
			out[i] = float32(length(row))
		}
		return nil
	})
	return out, err
}

func scale(v []float32, by float32) {
	for i := range v {
		v[i] *= by
	}
}

// eachRows shares rows out among the processors.
func eachRows(rows int, f func(from, to int) error) error {
	workers := min(runtime.GOMAXPROCS(0), rows)
	errs := make([]error, workers)
	var group sync.WaitGroup
	for k := range workers {
		group.Go(func() { errs[k] = f(k*rows/workers, (k+1)*rows/workers) })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Factors are what DoRA multiplies the outputs of W + s·B·A by, m / ‖W + s·B·A‖
// [out]; nil for a LoRA.
func (m *Module) Factors(w checkpoint.Tensor) ([]float32, error) {
	if !m.DoRA() {
		return nil, nil
	}
	by, err := values(m.Magnitude)
	if err != nil {
		return nil, err
	}
	lengths, err := m.Lengths(w)
	if err != nil {
		return nil, err
	}
	for i, n := range lengths {
		if n == 0 {
			return nil, fmt.Errorf("%s: row %d of the weight is zero, which no magnitude can lengthen", m.Name, i)
		}
		by[i] /= n
	}
	return by, nil
}

func (m *Module) fits(w checkpoint.Tensor) error {
	if !slices.Equal(w.Shape, []int{m.Out(), m.In()}) || len(w.Data) != w.Rows()*w.RowBytes() {
		return fmt.Errorf("%s: a module for [%d %d] does not fit a weight of %v", m.Name, m.Out(), m.In(), w.Shape)
	}
	return nil
}

// Share is a module's part in a sum, as in [Weighted].
type Share struct {
	*Module
	By float64
}

// Merge is the weight [out, in], row-major, that the modules, all of one layer,
// make of its own: W + Σ by·(W' − W), where W' is W + s·B·A, and of DoRA that
// with each row as long as the magnitude says.
func Merge(w checkpoint.Tensor, shares ...Share) ([]float32, error) {
	sum, err := values(w)
	if err != nil || len(shares) == 0 {
		return sum, err
	}
	f, err := Fold("", w, shares...)
	if err != nil {
		return nil, err
	}
	a, err := values(f.A)
	if err != nil {
		return nil, err
	}
	b, err := values(f.B)
	if err != nil {
		return nil, err
	}
	u := update{a, b, f.A.Rows(), w.Cols(), 1}
	return sum, eachRows(w.Rows(), func(from, to int) error {
		for i := from; i < to; i++ {
			row := sum[i*u.in : (i+1)*u.in]
			if f.Gain != nil {
				scale(row, f.Gain[i])
			}
			u.row(i, 1, row)
		}
		return nil
	})
}

package adapter

import (
	"fmt"
	"math"
	"slices"

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
	out, row := make([]float32, m.Out()), make([]float32, m.In())
	for i := range out {
		if err := checkpoint.Dequantize(w.Type, row, w.Row(i)); err != nil {
			return nil, fmt.Errorf("tensor %s: %w", w.Name, err)
		}
		u.row(i, 1, row)
		out[i] = float32(length(row))
	}
	return out, nil
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
	for i, n := range lengths {
		if n == 0 {
			return nil, fmt.Errorf("%s: row %d of the weight is zero, which no magnitude can lengthen", m.Name, i)
		}
		by[i] /= n
	}
	return by, err
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
	if err != nil {
		return nil, err
	}
	cols := w.Cols()
	gain := make([]float64, w.Rows())
	for i := range gain {
		gain[i] = 1
	}
	for _, s := range shares {
		factors, err := s.Factors(w)
		if err != nil {
			return nil, err
		}
		for i, f := range factors {
			gain[i] += s.By * (float64(f) - 1)
		}
	}
	for i, g := range gain {
		if g != 1 {
			for k := range cols {
				sum[i*cols+k] *= float32(g)
			}
		}
	}
	for _, s := range shares {
		if err := s.addTo(sum, w); err != nil {
			return nil, err
		}
	}
	return sum, nil
}

// addTo adds by·s·B·A, a DoRA's times its factors.
func (s *Share) addTo(sum []float32, w checkpoint.Tensor) error {
	if err := s.fits(w); err != nil {
		return err
	}
	u, err := s.update()
	if err != nil {
		return err
	}
	factors, err := s.Factors(w)
	if err != nil {
		return err
	}
	for i := range s.Out() {
		by := s.By
		if factors != nil {
			by *= float64(factors[i])
		}
		u.row(i, by, sum[i*u.in:(i+1)*u.in])
	}
	return nil
}

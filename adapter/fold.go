package adapter

import (
	"encoding/binary"
	"math"

	"lapidary/checkpoint"
)

// Folded is what shares of one layer add up to: y = Gain · W·x + B·A·x, with the
// ranks of all of them beside each other and every scale in B.
type Folded struct {
	A, B checkpoint.Tensor // [r, in], [out, r]
	Gain []float32         // [out]; nil for ones
}

// Fold adds up the shares of the layer whose weight is w.
func Fold(name string, w checkpoint.Tensor, shares ...Share) (Folded, error) {
	rank := 0
	for _, s := range shares {
		if err := s.fits(w); err != nil {
			return Folded{}, err
		}
		rank += s.Rank()
	}
	out, in := shares[0].Out(), shares[0].In()
	a, b := make([]float32, 0, rank*in), make([]float32, out*rank)
	var gain []float32
	at := 0
	for _, s := range shares {
		u, err := s.update()
		if err != nil {
			return Folded{}, err
		}
		factors, err := s.Factors(w)
		if err != nil {
			return Folded{}, err
		}
		gain = widen(gain, factors, s.By)
		a = append(a, u.a...)
		for i := range out {
			by := s.By * u.scale
			if factors != nil {
				by *= float64(factors[i])
			}
			for j := range u.rank {
				b[i*rank+at+j] = float32(by * float64(u.b[i*u.rank+j]))
			}
		}
		at += u.rank
	}
	return Folded{Floats(name+suffixA, a, rank, in), Floats(name+suffixB, b, out, rank), gain}, nil
}

// widen adds a share's factors to the gain.
func widen(gain, factors []float32, by float64) []float32 {
	if factors != nil && gain == nil {
		gain = make([]float32, len(factors))
		for i := range gain {
			gain[i] = 1
		}
	}
	for i, f := range factors {
		gain[i] += float32(by * (float64(f) - 1))
	}
	return gain
}

// Floats is a float32 tensor of numbers, row-major.
func Floats(name string, v []float32, shape ...int) checkpoint.Tensor {
	data := make([]byte, 4*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(x))
	}
	return checkpoint.Tensor{Name: name, Type: checkpoint.F32, Shape: shape, Data: data}
}

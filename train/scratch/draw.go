package scratch

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math"
	"math/rand/v2"
	"os"

	"lapidary/checkpoint"
)

// writeWeights draws the tensors into a safetensors file.
func writeWeights(path string, tensors []tensor, seed uint64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	stored := make([]checkpoint.Tensor, len(tensors))
	laws := make(map[string]law, len(tensors))
	for i, t := range tensors {
		stored[i] = checkpoint.Tensor{Name: t.name, Type: checkpoint.F32, Shape: t.shape}
		laws[t.name] = t.law
	}
	err = checkpoint.StreamSafetensors(f, stored, func(w io.Writer, t checkpoint.Tensor) error {
		return laws[t.Name].write(w, t, seed)
	})
	if err2 := f.Close(); err == nil {
		err = err2
	}
	return err
}

// write draws one tensor.
func (l law) write(w io.Writer, t checkpoint.Tensor, seed uint64) error {
	next := l.numbers(generator(t.Name, seed))
	out := bufio.NewWriterSize(w, 1<<16)
	var number [4]byte
	cols := t.Cols()
	for row := range t.Rows() {
		for range cols {
			v := next()
			if l.deviation > 0 && row == l.padding {
				v = 0
			}
			binary.LittleEndian.PutUint32(number[:], math.Float32bits(v))
			if _, err := out.Write(number[:]); err != nil {
				return err
			}
		}
	}
	return out.Flush()
}

// generator is that of a tensor's numbers.
func generator(name string, seed uint64) *rand.Rand {
	key := sha256.Sum256(append(binary.LittleEndian.AppendUint64(nil, seed), name...))
	return rand.New(rand.NewChaCha8(key))
}

// numbers gives one after the other.
func (l law) numbers(r *rand.Rand) func() float32 {
	switch {
	case l.decay:
		return func() float32 { return decay(r.Float64()) }
	case l.deviation > 0:
		return func() float32 { return float32(l.deviation * r.NormFloat64()) }
	}
	return func() float32 { return l.value }
}

// decay is a recurrence's parameter Λ such that its decay's square is u's place
// between 0.9² and 0.999² (arXiv:2402.19427, section 2.4): a = exp(−softplus(Λ)).
func decay(u float64) float32 {
	const least, most = 0.9 * 0.9, 0.999 * 0.999
	square := least + u*(most-least)
	return float32(math.Log(math.Expm1(-math.Log(square) / 2)))
}

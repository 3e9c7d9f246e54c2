package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
)

// BenchmarkGemv streams stored rows from the second-level cache and from
// memory; B/s is what decoding is bound by.
func BenchmarkGemv(b *testing.B) {
	for _, s := range All() {
		for _, typ := range []checkpoint.Type{checkpoint.Q8_0, checkpoint.Q5_0, checkpoint.Q4_K, checkpoint.Q6_K} {
			for _, rows := range []int{256, 65536} {
				gemv := s.Gemv[typ]
				if gemv == nil {
					continue
				}
				cols := 640
				if typ.Block() == 256 {
					cols = 2048
					rows /= 4
				}
				rng := rand.New(rand.NewPCG(1, 2))
				w := checkpointtest.RandomTensor(rng, typ, rows, cols)
				d := digitsOf(s, normals(rng, cols))
				sum, out := &d.sum[0], make([]float32, rows)
				if Formats[typ].Group == 16 {
					sum = &d.sum16[0]
				}
				b.Run(fmt.Sprintf("%s/%v/%dKB", s.Name, typ, len(w.Data)>>10), func(b *testing.B) {
					b.SetBytes(int64(len(w.Data)))
					for b.Loop() {
						gemv(&w.Data[0], rows, w.RowBytes(), cols/typ.Block(), &d.high[0], &d.low[0], &d.scale[0], sum, &out[0])
					}
				})
			}
		}
	}
}

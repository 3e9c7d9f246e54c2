package kernel

import (
	"math/rand/v2"
	"testing"

	"lapidary/checkpoint/checkpointtest"
)

// TestGemvFew: a product of a row among others is that of the row alone, to
// the bit.
func TestGemvFew(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for typ, few := range s.GemvFew {
			const n, cols, gap = 9, 768, 3
			w := checkpointtest.RandomTensor(rng, typ, n, cols)
			for i, multiply := range few {
				if multiply == nil {
					continue
				}
				rows := make([]Row, 2<<i)
				for r := range rows {
					d := digitsOf(s, normals(rng, cols))
					rows[r] = Row{d.high, d.low, d.scale, d.sum}
					if Formats[typ].Group == 16 {
						rows[r].Sum = d.sum16
					}
				}
				packed := make([]float32, PackedFloats(typ, cols, len(rows)))
				PackRows(typ, packed, rows)
				out := make([]float32, len(rows)*(n+gap))
				multiply(&w.Data[0], n, w.RowBytes(), cols/typ.Block(), &packed[0], &out[0], 4*(n+gap))
				for r, row := range rows {
					want := make([]float32, n)
					s.Gemv[typ](&w.Data[0], n, w.RowBytes(), cols/typ.Block(), &row.High[0], &row.Low[0], &row.Scale[0], &row.Sum[0], &want[0])
					for j, v := range want {
						if got := out[r*(n+gap)+j]; got != v {
							t.Fatalf("%v, row %d of %d, output %d: %v, alone %v", typ, r, len(rows), j, got, v)
						}
					}
					for j := n; j < n+gap; j++ {
						if out[r*(n+gap)+j] != 0 {
							t.Fatalf("%v: wrote past the outputs", typ)
						}
					}
				}
			}
		}
	})
}

package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"lapidary/bench/probe"
	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
)

// bound is what one core can do: bytes read and 8-bit multiply-adds a second.
type bound struct {
	memory   float64
	products map[string]float64
}

var bounds = sync.OnceValue(func() bound {
	b := bound{probe.Memory(1, 128<<20, time.Second/5), map[string]float64{}}
	for _, s := range All() {
		if p, ok := probe.Products(s.Name, 1, time.Second/5); ok {
			b.products[s.Name] = p
		}
	}
	return b
})

// eachSet runs f for every set this machine runs.
func eachSet(b *testing.B, f func(b *testing.B, s *Set, rng *rand.Rand)) {
	for _, s := range All() {
		b.Run(s.Name, func(b *testing.B) { f(b, s, rand.New(rand.NewPCG(1, 2))) })
	}
}

// bytesEach runs a loop that goes through so many bytes a call.
func bytesEach(b *testing.B, name string, bytes int, f func()) {
	b.Run(name, func(b *testing.B) {
		b.SetBytes(int64(bytes))
		for b.Loop() {
			f()
		}
	})
}

// productsEach runs a loop that makes so many multiply-adds a call; a limit is
// how many there can be a second, if that is known.
func productsEach(b *testing.B, name string, products int, limit float64, f func()) {
	b.Run(name, func(b *testing.B) {
		for b.Loop() {
			f()
		}
		rate := float64(products) * float64(b.N) / b.Elapsed().Seconds()
		b.ReportMetric(rate/1e9, "GMAC/s")
		if limit > 0 {
			b.ReportMetric(rate/limit, "of-probe")
		}
	})
}

// bigger is a tensor of so many times the rows.
func bigger(w checkpoint.Tensor, times int) checkpoint.Tensor {
	w.Data, w.Shape = slices.Repeat(w.Data, times), []int{w.Rows() * times, w.Cols()}
	return w
}

// BenchmarkGemv streams stored rows from the second-level cache and from
// memory; B/s is what decoding is bound by, of-probe its part of what a core
// reads from memory.
func BenchmarkGemv(b *testing.B) {
	eachSet(b, func(b *testing.B, s *Set, rng *rand.Rand) {
		for _, typ := range types(s.Gemv) {
			small := checkpointtest.RandomTensor(rng, typ, 64, 2048)
			for _, w := range []checkpoint.Tensor{bigger(small, 4), bigger(small, 512)} {
				d, out := digitsOf(s, normals(rng, w.Cols())), make([]float32, w.Rows())
				sum := &d.sum[0]
				if Formats[typ].Group == 16 {
					sum = &d.sum16[0]
				}
				b.Run(fmt.Sprintf("%v/%dKB", typ, len(w.Data)>>10), func(b *testing.B) {
					b.SetBytes(int64(len(w.Data)))
					for b.Loop() {
						s.Gemv[typ](&w.Data[0], w.Rows(), w.RowBytes(), w.Cols()/typ.Block(), &d.high[0], &d.low[0], &d.scale[0], sum, &out[0])
					}
					if len(w.Data) > 8<<20 {
						b.ReportMetric(float64(len(w.Data))*float64(b.N)/b.Elapsed().Seconds()/bounds().memory, "of-probe")
					}
				})
			}
		}
	})
}

// types are the formats that a table has, in their own order.
func types[V any](table map[checkpoint.Type]V) []checkpoint.Type {
	var all []checkpoint.Type
	for typ := range table {
		all = append(all, typ)
	}
	slices.Sort(all)
	return all
}

// BenchmarkGemm multiplies a panel by a tile, as wide as Gemma 3 270M's
// feed-forward: products of weights and activations a second. A digit more
// doubles the 8-bit products for them.
func BenchmarkGemm(b *testing.B) {
	eachSet(b, func(b *testing.B, s *Set, rng *rand.Rand) {
		const cols = 2048
		for _, typ := range []checkpoint.Type{checkpoint.Q5_0, checkpoint.Q4_K, checkpoint.Q6_K, checkpoint.Q2_K, checkpoint.Q8_0} {
			f := Formats[typ]
			panel, out := panelOf(s, checkpointtest.RandomTensor(rng, typ, s.NR, cols)), make([]float32, s.MR*s.NR)
			for i, mode := range []Mode{One, Two} {
				if s.Extent == nil && mode == One {
					continue // all its blocks have two
				}
				tile, _ := tileOf(s, normals(rng, s.MR*cols), slices.Repeat([]Mode{mode}, s.MR*cols/32), f.Group)
				productsEach(b, fmt.Sprintf("%v/%d-digit", typ, i+1), s.MR*s.NR*cols, bounds().products[s.Name], func() {
					s.Gemm[f.Kind()](&panel, &tile, cols/32, &out[0], 4*s.NR)
				})
			}
		}
	})
}

// BenchmarkPanel makes a panel of NR rows of 2048: stored bytes a second of
// expanding, bytes of codes of what follows.
func BenchmarkPanel(b *testing.B) {
	eachSet(b, func(b *testing.B, s *Set, rng *rand.Rand) {
		const cols = 2048
		n := s.NR * cols
		codes, scale, min := make([]uint8, n), make([]float32, n/16), make([]float32, n/16)
		for _, typ := range types(Formats) {
			f, w := Formats[typ], checkpointtest.RandomTensor(rng, typ, s.NR, cols)
			bytesEach(b, "Expand/"+typ.String(), len(w.Data), func() {
				if e := s.Expand[typ]; e != nil {
					e(&w.Data[0], n/typ.Block(), &codes[0], &scale[0], &min[0])
				} else {
					f.Expand(w.Data, codes, scale[:n/f.Group], min[:n/f.Group])
				}
			})
		}
		panel, shift := make([]uint8, n), make([]int32, n/32)
		bytesEach(b, "Interleave", n, func() {
			for r := 0; r < s.NR; r += 8 {
				s.Interleave(&panel[4*r], 4*s.NR, &codes[r*cols], cols, cols/4)
			}
		})
		if s.Center != nil {
			bytesEach(b, "Center", n, func() { s.Center(&panel[0], cols/32, 8, 0, &shift[0]) })
		}
	})
}

// BenchmarkQuantize counts the bytes of the activations, float32.
func BenchmarkQuantize(b *testing.B) {
	eachSet(b, func(b *testing.B, s *Set, rng *rand.Rand) {
		const cols = 2048
		x := normals(rng, s.MR*cols)
		d := digitsOf(s, x[:cols])
		bytesEach(b, "row", 4*cols, func() { s.Quantize(&x[0], cols/32, &d.high[0], &d.low[0], &d.scale[0], &d.sum[0], &d.sum16[0]) })
		digits, top := make([]uint8, 2*len(x)), slices.Repeat([]float32{4}, cols/32)
		scale, sum, sum16 := make([]float32, len(x)/32), make([]float32, len(x)/32), make([]float32, len(x)/16)
		for i, mode := range []Mode{One, Two} {
			modes := slices.Repeat([]Mode{mode}, cols/32)
			bytesEach(b, fmt.Sprintf("tile/%d-digit", i+1), 4*len(x), func() {
				for r := range s.MR {
					s.QuantizeTile(&x[r*cols], cols/32, &modes[0], &top[0], &digits[0], r, &scale[r], &sum[r], &sum16[r])
				}
			})
		}
		if s.Extent != nil {
			bytesEach(b, "Extent", 4*cols, func() { s.Extent(&x[0], cols/32, &top[0]) })
		}
	})
}

// BenchmarkMul has the shapes of attention: scores of a tile of keys, and
// values of a page.
func BenchmarkMul(b *testing.B) {
	eachSet(b, func(b *testing.B, s *Set, rng *rand.Rand) {
		for _, k := range []int{128, 256} {
			m := s.Rows[0]
			x, y, out := normals(rng, m*k), normals(rng, k*s.NR), make([]float32, m*s.NR)
			halfs, codes := make([]uint16, len(y)), make([]int8, len(y))
			s.Half(&halfs[0], &y[0], len(y))
			productsEach(b, fmt.Sprintf("F32/k=%d", k), m*k*s.NR, 0, func() { s.MulF32(m, &x[0], k, &y[0], s.NR, &out[0], s.NR, k) })
			productsEach(b, fmt.Sprintf("F16/k=%d", k), m*k*s.NR, 0, func() { s.MulF16(m, &x[0], k, &halfs[0], s.NR, &out[0], s.NR, k) })
			productsEach(b, fmt.Sprintf("I8/k=%d", k), m*k*s.NR, 0, func() { s.MulI8(m, &x[0], k, &codes[0], s.NR, &out[0], s.NR, k) })
		}
	})
}

// BenchmarkElementwise counts the bytes read.
func BenchmarkElementwise(b *testing.B) {
	eachSet(b, func(b *testing.B, s *Set, rng *rand.Rand) {
		const n = 2048
		x, y, z, h := normals(rng, n), normals(rng, n), make([]float32, n), make([]uint16, n)
		bytesEach(b, "Dot", 8*n, func() { s.Dot(&x[0], &y[0], n) })
		bytesEach(b, "ScaleMul", 8*n, func() { s.ScaleMul(&z[0], &x[0], 0.5, &y[0], n) })
		bytesEach(b, "GELUMul", 8*n, func() { s.GELUMul(&z[0], &x[0], &y[0], n) })
		bytesEach(b, "Add", 8*n, func() { s.Add(&z[0], &y[0], n) })
		bytesEach(b, "Exp", 4*n, func() { s.Exp(&z[0], n, 0) })
		bytesEach(b, "SoftCap", 4*n, func() { s.SoftCap(&z[0], 30, n) })
		bytesEach(b, "Max", 4*n, func() { s.Max(&x[0], n) })
		bytesEach(b, "Half", 4*n, func() { s.Half(&h[0], &x[0], n) })
		bytesEach(b, "Rotate", 8*n, func() { s.Rotate(&x[0], &y[0], &y[n/2], n/2) })
	})
}

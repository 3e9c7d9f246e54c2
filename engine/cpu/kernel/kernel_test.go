package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
)

// each runs f for every set this machine runs.
func each(t *testing.T, f func(t *testing.T, s *Set, rng *rand.Rand)) {
	for _, s := range All() {
		t.Run(s.Name, func(t *testing.T) { f(t, s, rand.New(rand.NewPCG(1, 2))) })
	}
}

func normals(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// near fails unless got is want within tol of the larger of 1 and |want|.
func near(t *testing.T, what string, got, want, tol float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tol*max(1, math.Abs(want))) {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// digits is an activation row as the kernels see it.
type digits struct {
	high, low         []int8
	scale, sum, sum16 []float32
}

func digitsOf(s *Set, x []float32) digits {
	k := len(x)
	all := make([]int8, 2*k)
	d := digits{all[:k], all[k:], make([]float32, k/32), make([]float32, k/32), make([]float32, k/16)}
	s.Quantize(&x[0], k/32, &all[0], k, 4, &d.scale[0], &d.sum[0], &d.sum16[0], 4)
	return d
}

// value is the float that element i stands for.
func (d digits) value(bits uint, i int) float64 {
	return float64(d.scale[i/32]) * float64(int(d.high[i])<<bits+int(d.low[i]))
}

func TestQuantize(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		x := normals(rng, 640)
		clear(x[64:96])
		x[100] = 1e6 // an outlier
		d := digitsOf(s, x)
		sums := make([]float64, len(x)/16)
		for i, v := range x {
			// Half a step of the block's scale is all that rounding may cost.
			if diff := math.Abs(d.value(s.DigitBits, i) - float64(v)); diff > 0.501*float64(d.scale[i/32]) {
				t.Fatalf("element %d: %v became %v", i, v, d.value(s.DigitBits, i))
			}
			sums[i/16] += d.value(s.DigitBits, i)
		}
		for g := range sums {
			near(t, fmt.Sprint("sum of 16, group ", g), float64(d.sum16[g]), sums[g], 1e-5)
			near(t, fmt.Sprint("sum of 32, group ", g/2), float64(d.sum[g/2]), sums[g&^1]+sums[g|1], 1e-5)
		}
	})
}

// TestExpandMeansWhatTheFormatSays holds every format's codes, and every set's
// way of getting them, against checkpoint.Dequantize.
func TestExpandMeansWhatTheFormatSays(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for typ, f := range Formats {
			w := checkpointtest.RandomTensor(rng, typ, 3, 512)
			want := make([]float32, 3*512)
			if err := checkpoint.Dequantize(typ, want, w.Data); err != nil {
				t.Fatal(err)
			}
			codes, scale, min := expandWith(s, w)
			for i := range want {
				got := scale[i/f.Group]*float32(codes[i]) + min[i/f.Group]
				near(t, fmt.Sprintf("%v element %d", typ, i), float64(got), float64(want[i]), 1e-5)
				if !f.Wide && codes[i] > 63 {
					t.Fatalf("%v: code %d is wider than six bits", typ, codes[i])
				}
			}
		}
	})
}

func expandWith(s *Set, w checkpoint.Tensor) (codes []uint8, scale, min []float32) {
	f, n := Formats[w.Type], w.Rows()*w.Cols()
	codes, scale, min = make([]uint8, n), make([]float32, n/f.Group), make([]float32, n/f.Group)
	if e := s.Expand[w.Type]; e != nil {
		e(&w.Data[0], n/w.Type.Block(), &codes[0], &scale[0], &min[0])
	} else {
		f.Expand(w.Data, codes, scale, min)
	}
	return codes, scale, min
}

func TestGemv(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for typ, gemv := range s.Gemv {
			const rows, cols = 5, 768
			w := checkpointtest.RandomTensor(rng, typ, rows, cols)
			flat := make([]float32, rows*cols)
			if err := checkpoint.Dequantize(typ, flat, w.Data); err != nil {
				t.Fatal(err)
			}
			d := digitsOf(s, normals(rng, cols))
			sum := &d.sum[0]
			if Formats[typ].Group == 16 {
				sum = &d.sum16[0]
			}
			out := make([]float32, rows)
			gemv(&w.Data[0], rows, w.RowBytes(), cols/typ.Block(), &d.high[0], &d.low[0], &d.scale[0], sum, &out[0])
			for r := range rows {
				var want, size float64
				for i := range cols {
					p := float64(flat[r*cols+i]) * d.value(s.DigitBits, i)
					want, size = want+p, size+math.Abs(p)
				}
				near(t, fmt.Sprintf("%v row %d", typ, r), float64(out[r])/size, want/size, 2e-6)
			}
		}
	})
}

// TestGemm builds panels and tiles of every format by hand and compares the
// product with the plain one.
func TestGemm(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for typ, f := range Formats {
			const cols = 512
			w := checkpointtest.RandomTensor(rng, typ, s.NR, cols)
			flat := make([]float32, s.NR*cols)
			if err := checkpoint.Dequantize(typ, flat, w.Data); err != nil {
				t.Fatal(err)
			}
			codes, scale, min := expandWith(s, w)
			panel, pscale, pmin := make([]uint8, len(codes)), transposed(scale, s.NR), transposed(min, s.NR)
			for r := 0; r < s.NR; r += 8 {
				s.Interleave(&panel[4*r], 4*s.NR, &codes[r*cols], cols, cols/4)
			}
			tile := make([]int8, 2*s.MR*cols)
			dscale, dsum, dsum16 := make([]float32, s.MR*cols/32), make([]float32, s.MR*cols/32), make([]float32, s.MR*cols/16)
			var rows []digits
			for r := range s.MR {
				x := normals(rng, cols)
				rows = append(rows, digitsOf(s, x))
				s.Quantize(&x[0], cols/32, &tile[8*r], 4, 8*s.MR, &dscale[r], &dsum[r], &dsum16[r], 4*s.MR)
			}
			out := make([]float32, s.MR*s.NR)
			gemm, sum := s.Gemm32, &dsum[0]
			if f.Wide {
				gemm = s.GemmWide
			} else if f.Group == 16 {
				gemm, sum = s.Gemm16, &dsum16[0]
			}
			gemm(&panel[0], &pscale[0], &pmin[0], &tile[0], &dscale[0], sum, cols/32, &out[0])
			for r := range s.MR {
				for c := range s.NR {
					var want, size float64
					for i := range cols {
						p := float64(flat[c*cols+i]) * rows[r].value(s.DigitBits, i)
						want, size = want+p, size+math.Abs(p)
					}
					near(t, fmt.Sprintf("%v row %d column %d", typ, r, c), float64(out[r*s.NR+c])/size, want/size, 2e-6)
				}
			}
		}
	})
}

// transposed turns [rows, n] into [n, rows].
func transposed(x []float32, rows int) []float32 {
	n := len(x) / rows
	y := make([]float32, len(x))
	for r := range rows {
		for i := range n {
			y[i*rows+r] = x[r*n+i]
		}
	}
	return y
}

// TestExtremes: the largest codes and digits must not saturate.
func TestExtremes(t *testing.T) {
	each(t, func(t *testing.T, s *Set, _ *rand.Rand) {
		const cols = 64
		for _, c := range []struct {
			name  string
			code  uint8
			group int
			gemm  func(codes *uint8, scale, min *float32, digits *int8, dscale, dsum *float32, blocks int, out *float32)
		}{{"32 of 5 bits", 31, 32, s.Gemm32}, {"16 of 6 bits", 63, 16, s.Gemm16}, {"32 of 8 bits", 255, 32, s.GemmWide}} {
			codes := slices.Repeat([]uint8{c.code}, s.NR*cols)
			scale, min := slices.Repeat([]float32{1}, s.NR*cols/c.group), make([]float32, s.NR*cols/c.group)
			top := int8(1<<s.DigitBits - 1)
			tile := slices.Repeat([]int8{top, top, top, top, -1 << (s.DigitBits - 1), -1 << (s.DigitBits - 1), -1 << (s.DigitBits - 1), -1 << (s.DigitBits - 1)}, s.MR*cols/4)
			ones, out := slices.Repeat([]float32{1}, s.MR*cols/16), make([]float32, s.MR*s.NR)
			c.gemm(&codes[0], &scale[0], &min[0], &tile[0], &ones[0], &ones[0], cols/32, &out[0])
			want := float64(c.code) * cols * float64(int(top)<<s.DigitBits-1<<(s.DigitBits-1))
			for i := range out {
				near(t, c.name, float64(out[i]), want, 1e-6)
			}
		}
	})
}

func TestMul(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for _, m := range s.Rows {
			const k, lda, ldc = 37, 40, 70
			ldb := s.NR + 8
			a, b, c := normals(rng, m*lda), normals(rng, k*ldb), normals(rng, m*ldc)
			halfs := make([]uint16, len(b)+8)
			s.Half(&halfs[0], &b[0], len(b)/8*8)
			for i := range b {
				b[i] = checkpoint.HalfToFloat(halfs[i])
			}
			want := slices.Clone(c)
			for i := range m {
				for j := range s.NR {
					var sum float64
					for kk := range k {
						sum += float64(a[i*lda+kk]) * float64(b[kk*ldb+j])
					}
					want[i*ldc+j] += float32(sum)
				}
			}
			got16 := slices.Clone(c)
			s.MulF32(m, &a[0], lda, &b[0], ldb, &c[0], ldc, k)
			s.MulF16(m, &a[0], lda, &halfs[0], ldb, &got16[0], ldc, k)
			for i := range want {
				near(t, fmt.Sprintf("MulF32 %d rows, element %d", m, i), float64(c[i]), float64(want[i]), 1e-5)
				near(t, fmt.Sprintf("MulF16 %d rows, element %d", m, i), float64(got16[i]), float64(want[i]), 1e-5)
			}
		}
	})
}

func TestElementwise(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		g := Generic()
		const n = 264
		x, w := normals(rng, n), normals(rng, n)
		for i := range 16 {
			x[i] = float32(i-8) * 20 // where exponentials end
		}
		check := func(what string, tol float64, run func(s *Set, x []float32) []float32) {
			got, want := run(s, slices.Clone(x)), run(g, slices.Clone(x))
			for i := range want {
				near(t, fmt.Sprintf("%s of %v", what, x[i%n]), float64(got[i]), float64(want[i]), tol)
			}
		}
		check("Dot", 1e-5, func(s *Set, x []float32) []float32 { return []float32{s.Dot(&x[0], &w[0], n)} })
		check("Max", 0, func(s *Set, x []float32) []float32 { return []float32{s.Max(&x[0], n)} })
		check("Add", 0, func(s *Set, x []float32) []float32 { s.Add(&x[0], &w[0], n); return x })
		check("ScaleMul", 1e-6, func(s *Set, x []float32) []float32 { s.ScaleMul(&x[0], &x[0], 0.3, &w[0], n); return x })
		check("GELUMul", 1e-5, func(s *Set, x []float32) []float32 { s.GELUMul(&x[0], &x[0], &w[0], n); return x })
		check("SoftCap", 1e-5, func(s *Set, x []float32) []float32 { s.SoftCap(&x[0], 30, n); return x })
		check("Exp", 1e-6, func(s *Set, x []float32) []float32 { return append(x, s.Exp(&x[0], n, 170)) })
		check("Rotate", 1e-6, func(s *Set, x []float32) []float32 { s.Rotate(&x[0], &w[0], &w[n/2], 128); return x })
		check("Half", 0, func(s *Set, x []float32) []float32 {
			x[20], x[21] = 1e6, -1e6
			h := make([]uint16, n)
			s.Half(&h[0], &x[0], n)
			y := make([]float32, n)
			for i := range y {
				y[i] = checkpoint.HalfToFloat(h[i])
			}
			return y
		})
	})
}

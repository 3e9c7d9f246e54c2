package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

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
	s.Quantize(&x[0], k/32, &d.high[0], &d.low[0], &d.scale[0], &d.sum[0], &d.sum16[0])
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

// tileOf quantises MR rows [MR, k] as an engine does, a row's blocks in the
// modes given, and returns what the digits stand for beside the tile.
func tileOf(s *Set, x []float32, modes []Mode, group int) (t Tile, values []float64) {
	k := len(x) / s.MR
	digits, two := make([]uint8, 2*len(x)), make([]uint8, k/32)
	scale, sum, sum16 := make([]float32, len(x)/32), make([]float32, len(x)/32), make([]float32, len(x)/16)
	top := make([]float32, len(x)/32)
	for i, m := range modes {
		if m != One || s.Extent == nil {
			two[i%(k/32)] = 1
		}
	}
	for r := range s.MR {
		blocks := top[r*k/32:][:k/32]
		if s.Extent != nil {
			s.Extent(&x[r*k], k/32, &blocks[0])
		}
		s.QuantizeTile(&x[r*k], k/32, &modes[r*k/32], &blocks[0], &digits[0], r, &scale[r], &sum[r], &sum16[r])
	}
	t = Tile{&digits[0], &scale[0], &sum[0], &two[0]}
	if group == 16 {
		t.Sum = &sum16[0]
	}
	return t, tileValues(s, digits, two, scale, k)
}

// tileValues reads a tile's digits in the layout of the set.
func tileValues(s *Set, digits, two []uint8, scale []float32, k int) []float64 {
	values := make([]float64, s.MR*k)
	for r := range s.MR {
		row := digits[2*r*k:]
		for b := range k / 32 {
			for i := range 32 {
				var q int
				switch {
				case s.Extent == nil:
					p := digits[((8*b+i/4)*s.MR+r)*8+i%4:]
					q = int(int8(p[0]))<<s.DigitBits + int(int8(p[4]))
				case two[b] != 0:
					q = (int(row[i])-128)<<tileBits + int(row[32+i])
				default:
					q = int(row[i]) - 128
				}
				values[r*k+32*b+i] = float64(scale[b*s.MR+r]) * float64(q)
			}
			row = row[blockBytes(two[b] != 0):]
		}
	}
	return values
}

// someModes are modes of a tile: blocks without a second digit, rows that need
// none beside rows that do.
func someModes(rng *rand.Rand, rows, blocks int) []Mode {
	modes := make([]Mode, rows*blocks)
	for b := range blocks {
		two := rng.IntN(2) == 1
		for r := range rows {
			switch {
			case two && (r == 0 || rng.IntN(2) == 1):
				modes[r*blocks+b] = Two
			case two:
				modes[r*blocks+b] = OneOfTwo
			}
		}
	}
	return modes
}

func TestQuantizeTile(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		const cols = 640
		x := normals(rng, s.MR*cols)
		clear(x[64:96])
		x[100] = 1e6 // an outlier
		modes := someModes(rng, s.MR, cols/32)
		for _, group := range []int{32, 16} {
			tile, values := tileOf(s, x, modes, group)
			for r := range s.MR {
				for i := 0; i < cols; i += group {
					var top, sum float64
					for _, v := range x[r*cols+i/32*32:][:32] {
						top = max(top, math.Abs(float64(v)))
					}
					step := top / 127
					if modes[(r*cols+i)/32] == Two || s.Extent == nil {
						step = top / 127 / 127
					}
					for j := i; j < i+group; j++ {
						if diff := math.Abs(values[r*cols+j] - float64(x[r*cols+j])); diff > 0.501*step {
							t.Fatalf("row %d element %d: %v became %v", r, j, x[r*cols+j], values[r*cols+j])
						}
						sum += values[r*cols+j]
					}
					near(t, fmt.Sprintf("sum of %d from %d", group, i), float64(*at(tile.Sum, i/group*s.MR+r)), sum, 1e-5)
				}
			}
		}
	})
}

// panelOf makes the panel of NR weight rows as an engine does.
func panelOf(s *Set, w checkpoint.Tensor) Panel {
	f, cols := Formats[w.Type], w.Cols()
	codes, scale, min := expandWith(s, w)
	panel, shift := make([]uint8, len(codes)), make([]int32, len(scale))
	pscale, pmin := transposed(scale, s.NR), transposed(min, s.NR)
	for r := 0; r < s.NR; r += 8 {
		s.Interleave(&panel[4*r], 4*s.NR, &codes[r*cols], cols, cols/4)
	}
	if s.Center != nil {
		s.Center(&panel[0], cols/f.Group, f.Group/4, f.Zero, &shift[0])
		for i := range pmin {
			pmin[i] += float32(f.Zero) * pscale[i]
			if f.Symmetric && pmin[i] != 0 {
				panic(fmt.Sprint(w.Type, ": a symmetric format with a minimum of ", pmin[i]))
			}
		}
	}
	return Panel{&panel[0], &pscale[0], &pmin[0], &shift[0]}
}

// TestGemm multiplies panels of every format by tiles of blocks of one digit
// and of two, and compares with the plain product.
func TestGemm(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for typ, f := range Formats {
			const cols = 512
			w := checkpointtest.RandomTensor(rng, typ, s.NR, cols)
			flat := make([]float32, s.NR*cols)
			if err := checkpoint.Dequantize(typ, flat, w.Data); err != nil {
				t.Fatal(err)
			}
			panel := panelOf(s, w)
			tile, values := tileOf(s, normals(rng, s.MR*cols), someModes(rng, s.MR, cols/32), f.Group)
			out := make([]float32, s.MR*s.NR)
			s.Gemm[f.Kind()](&panel, &tile, cols/32, &out[0], 4*s.NR)
			for r := range s.MR {
				for c := range s.NR {
					var want, size float64
					for i := range cols {
						p := float64(flat[c*cols+i]) * values[r*cols+i]
						want, size = want+p, size+math.Abs(p)
					}
					near(t, fmt.Sprintf("%v row %d column %d", typ, r, c), float64(out[r*s.NR+c])/size, want/size, 2e-6)
				}
			}
		}
	})
}

// TestNeighboursInATile: a row's products are the same to the bit whatever the
// rows beside it need.
func TestNeighboursInATile(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		const cols = 256
		w := checkpointtest.RandomTensor(rng, checkpoint.Q5_0, s.NR, cols)
		panel, x := panelOf(s, w), normals(rng, s.MR*cols)
		modes := make([]Mode, s.MR*cols/32)
		run := func() []float32 {
			tile, _ := tileOf(s, x, modes, 32)
			out := make([]float32, s.MR*s.NR)
			s.Gemm[Formats[w.Type].Kind()](&panel, &tile, cols/32, &out[0], 4*s.NR)
			return out[:s.NR]
		}
		alone := run()
		for b := range cols / 32 / 2 {
			modes[b] = OneOfTwo
			for r := 1; r < s.MR; r++ {
				modes[r*cols/32+b] = Two
			}
		}
		if beside := run(); !slices.Equal(alone, beside) {
			t.Errorf("alone %v, beside rows of two digits %v", alone, beside)
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
		if s.Extent == nil {
			t.Skip("digits of its own")
		}
		const cols = 64
		for _, c := range []struct {
			kind  Kind
			codes []int
		}{{Kind{Group: 32}, []int{-16, 15}}, {Kind{Group: 16}, []int{-32, 31}}, {Kind{Group: 32, Wide: true}, []int{-128, 127}}} {
			for _, code := range c.codes {
				for _, sign := range []int{-1, 1} {
					for two := range 2 {
						checkExtreme(t, s, c.kind, code, sign, two, cols)
					}
				}
			}
		}
	})
}

func checkExtreme(t *testing.T, s *Set, kind Kind, code, sign, two, cols int) {
	codes, shift := slices.Repeat([]uint8{uint8(code)}, s.NR*cols), make([]int32, s.NR*cols/kind.Group)
	s.Center(&codes[0], cols/kind.Group, kind.Group/4, 0, &shift[0])
	scale, min := slices.Repeat([]float32{1}, len(shift)), make([]float32, len(shift))
	x := slices.Repeat([]float32{float32(sign)}, s.MR*cols)
	tile, values := tileOf(s, x, slices.Repeat([]Mode{[]Mode{One, Two}[two]}, s.MR*cols/32), kind.Group)
	out := make([]float32, s.MR*s.NR)
	s.Gemm[kind](&Panel{&codes[0], &scale[0], &min[0], &shift[0]}, &tile, cols/32, &out[0], 4*s.NR)
	for i := range out {
		near(t, fmt.Sprintf("%+v code %d times %d, %d digits", kind, code, sign, 1+two), float64(out[i]), values[0]*float64(code*cols), 1e-6)
	}
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

// TestMulI8: codes give what the same numbers in float32 give.
func TestMulI8(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for _, m := range s.Rows {
			const k, lda, ldc = 37, 40, 70
			ldb := s.NR + 3
			a, got := normals(rng, m*lda), normals(rng, m*ldc)
			codes, floats := make([]int8, k*ldb), make([]float32, k*ldb)
			for i := range codes {
				codes[i] = int8(rng.IntN(256) - 128)
				floats[i] = float32(codes[i])
			}
			want := slices.Clone(got)
			s.MulF32(m, &a[0], lda, &floats[0], ldb, &want[0], ldc, k)
			s.MulI8(m, &a[0], lda, &codes[0], ldb, &got[0], ldc, k)
			for i := range want {
				near(t, fmt.Sprintf("%d rows, element %d", m, i), float64(got[i]), float64(want[i]), 1e-4)
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

// TestShort: weights of 16 bits widened and multiplied.
func TestShort(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for typ, short := range s.Short {
			for n := 8; n <= 72; n += 8 {
				w, x := checkpointtest.RandomTensor(rng, typ, 1, n), normals(rng, n)
				want, got := make([]float32, n), make([]float32, n)
				if err := checkpoint.Dequantize(typ, want, w.Data); err != nil {
					t.Fatal(err)
				}
				p := (*uint16)(unsafe.Pointer(&w.Data[0]))
				short.Widen(&got[0], p, n)
				if !slices.Equal(got, want) {
					t.Fatalf("%v became %v, want %v", typ, got, want)
				}
				var sum float64
				for i := range x {
					sum += float64(x[i]) * float64(want[i])
				}
				near(t, typ.String(), float64(short.Dot(&x[0], p, n)), sum, 1e-5)
			}
		}
	})
}

//go:build unix

package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
)

// fenced is a copy of b that ends where memory does.
func fenced(t *testing.T, b []byte) []byte {
	page := unix.Getpagesize()
	size := (len(b) + page - 1) / page * page
	m, err := unix.Mmap(-1, 0, size+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(m) })
	if err := unix.Mprotect(m[size:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	copy(m[size-len(b):], b)
	return m[size-len(b) : size]
}

// TestGemvRows: every number of rows gives the same products, written where
// they belong and nowhere else, and no byte behind the weights is read. Rows
// are taken four at a time where they are small.
func TestGemvRows(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for typ, gemv := range s.Gemv {
			const rows, cols = 9, 512
			w := checkpointtest.RandomTensor(rng, typ, rows, cols)
			d := digitsOf(s, normals(rng, cols))
			sum := &d.sum[0]
			if Formats[typ].Group == 16 {
				sum = &d.sum16[0]
			}
			run := func(from, n int) []float32 {
				data := fenced(t, w.Data[from*w.RowBytes():(from+n)*w.RowBytes()])
				out := slices.Repeat([]float32{math.MaxFloat32}, rows+4)
				gemv(&data[0], n, w.RowBytes(), cols/typ.Block(), &d.high[0], &d.low[0], &d.scale[0], sum, &out[0])
				return out
			}
			all := run(0, rows)
			for n := 1; n <= rows; n++ {
				out := run(rows-n, n)
				if !slices.Equal(out[:n], all[rows-n:rows]) {
					t.Errorf("%v, the last %d rows: got %v, want %v", typ, n, out[:n], all[rows-n:rows])
				}
				for _, v := range out[n:] {
					if v != math.MaxFloat32 {
						t.Fatalf("%v: %d rows wrote past the result", typ, n)
					}
				}
			}
		}
	})
}

// TestExpandReadsItsBlocksOnly: a block may be the last of a mapped file.
func TestExpandReadsItsBlocksOnly(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for typ := range s.Expand {
			w := checkpointtest.RandomTensor(rng, typ, 1, 512)
			codes, scale, least := expandWith(s, w)
			w.Data = fenced(t, w.Data)
			codes2, scale2, least2 := expandWith(s, w)
			if !slices.Equal(codes, codes2) || !slices.Equal(scale, scale2) || !slices.Equal(least, least2) {
				t.Errorf("%v: another place in memory, another result", typ)
			}
		}
	})
}

// TestQuantizeLayouts: tiles hold the same digits as rows do, and a greatest
// magnitude that is negative or tiny is not lost.
func TestQuantizeLayouts(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		const cols = 96
		x := normals(rng, cols)
		x[3], x[40] = -50, 50
		for i := 64; i < cols; i++ {
			x[i] *= 1e-30
		}
		row := digitsOf(s, x)
		tile := make([]int8, 2*s.MR*cols)
		for r := range s.MR {
			scale, sum, sum16 := make([]float32, s.MR*cols/32), make([]float32, s.MR*cols/32), make([]float32, s.MR*cols/16)
			if s.Extent != nil {
				continue // digits of another kind
			}
			s.QuantizeTile(&x[0], cols/32, nil, nil, (*uint8)(unsafe.Pointer(&tile[0])), r, &scale[r], &sum[r], &sum16[r])
			for i := range cols {
				at := i/4*8*s.MR + 8*r + i%4
				if tile[at] != row.high[i] || tile[at+4] != row.low[i] {
					t.Fatalf("row %d element %d: (%d, %d) in a tile, (%d, %d) in a row", r, i, tile[at], tile[at+4], row.high[i], row.low[i])
				}
			}
			for g := range cols / 16 {
				if scale[g/2*s.MR+r] != row.scale[g/2] || sum[g/2*s.MR+r] != row.sum[g/2] || sum16[g*s.MR+r] != row.sum16[g] {
					t.Fatalf("row %d group %d: floats of a tile are not those of a row", r, g)
				}
			}
		}
		if top := int8(1<<s.DigitBits - 1); row.high[3] != -top || row.high[40] != top {
			t.Errorf("the greatest high digits are %d and %d, want ∓%d", row.high[3], row.high[40], top)
		}
	})
}

// TestDotLengths: 32 at a time, then by eight.
func TestDotLengths(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for n := 8; n <= 72; n += 8 {
			x, y := normals(rng, n), normals(rng, n)
			var want float64
			for i := range x {
				want += float64(x[i]) * float64(y[i])
			}
			near(t, "Dot", float64(s.Dot(&x[0], &y[0], n)), want, 1e-5)
		}
	})
}

// TestShortProducts: fewer than four of k, and none.
func TestShortProducts(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for k := range 9 {
			for _, m := range s.Rows {
				a, b := normals(rng, m*k+1), normals(rng, (k+1)*s.NR)
				c := normals(rng, m*s.NR)
				want := slices.Clone(c)
				mulF32(s.NR)(m, &a[0], k, &b[0], s.NR, &want[0], s.NR, k)
				s.MulF32(m, &a[0], k, &b[0], s.NR, &c[0], s.NR, k)
				for i := range c {
					near(t, "MulF32", float64(c[i]), float64(want[i]), 1e-5)
				}
			}
		}
	})
}

// TestNEONRuns: the extension is there wherever these tests are meant to run,
// unless the processor is older than it.
func TestNEONRuns(t *testing.T) {
	for _, s := range All() {
		if s.Name != "neon" {
			continue
		}
		for _, typ := range []checkpoint.Type{checkpoint.Q8_0, checkpoint.Q5_0, checkpoint.Q4_0, checkpoint.Q4_K, checkpoint.Q6_K} {
			if s.Gemv[typ] == nil || s.Expand[typ] == nil {
				t.Errorf("%v has no kernels", typ)
			}
		}
		return
	}
	t.Skip("no dot product extension")
}

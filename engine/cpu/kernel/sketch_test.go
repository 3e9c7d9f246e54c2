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

// sketched is a matrix of whole groups and its sketch.
func sketched(s *Set, rng *rand.Rand, groups, cols int) (w checkpoint.Tensor, sketch []byte, tops []float32) {
	w = checkpointtest.RandomTensor(rng, checkpoint.Q8_0, groups*s.Sketch.Rows, cols)
	size := s.Sketch.Bytes(cols / 32)
	sketch = make([]byte, groups*size)
	for i := range w.Rows() {
		tops = append(tops, s.Sketch.Make(&w.Row(i)[0], cols/32, &sketch[i/s.Sketch.Rows*size], i%s.Sketch.Rows))
	}
	return w, sketch, tops
}

// TestSketch: the product is that of the codes' upper halves, and scales are
// found.
func TestSketch(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		if s.Sketch == nil {
			t.Skip("none")
		}
		const groups, cols = 3, 160
		w, sketch, tops := sketched(s, rng, groups, cols)
		d := digitsOf(s, normals(rng, cols))
		out, energy := make([]float32, w.Rows()), make([]float32, cols/32)
		row := make([]float32, SketchedFloats*cols/32)
		run := func() (most float32) {
			PackSketched(row, Row{d.high, d.low, d.scale, d.sum}, energy)
			s.Sketch.Gemv(&sketch[0], groups, cols/32, bytePointer(row), 0, &out[0], 0, &most)
			return most
		}
		if most := run(); most != slices.Max(out) {
			t.Errorf("the greatest of %v is %v", out, most)
		}
		for r := range out {
			var want, size float64
			var top float32
			for i := range cols {
				block := w.Row(r)[i/32*34:]
				code := int(int8(block[2+i%32])) + 128
				ws := checkpoint.HalfToFloat(uint16(block[0]) | uint16(block[1])<<8)
				top = max(top, float32(math.Abs(float64(ws))))
				p := float64(ws) * (float64(code/16*16) - 120.5) * d.value(s.DigitBits, i)
				want, size = want+p, size+math.Abs(p)
			}
			near(t, fmt.Sprint("row ", r), float64(out[r])/size, want/size, 2e-6)
			if tops[r] != top {
				t.Errorf("row %d: the greatest scale is %v, want %v", r, tops[r], top)
			}
		}

		plain := slices.Clone(out)
		for b := range energy {
			energy[b] = rng.Float32()
		}
		most := run()
		for r, v := range out {
			var off float64
			for b, e := range energy {
				block := w.Row(r)[34*b:]
				ws := float64(checkpoint.HalfToFloat(uint16(block[0]) | uint16(block[1])<<8))
				off += ws * ws * float64(e)
			}
			near(t, fmt.Sprint("upper of row ", r), float64(v), float64(plain[r])+math.Sqrt(off), 1e-5)
		}
		if most != slices.Max(out) {
			t.Errorf("the greatest of %v is %v", out, most)
		}
	})
}

func bytePointer(f []float32) *byte { return (*byte)(unsafe.Pointer(&f[0])) }

// TestSketchFour: four rows at once are four rows one by one.
func TestSketchFour(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		if s.Sketch == nil || s.Sketch.Gemv4 == nil {
			t.Skip("none")
		}
		const groups, cols, gap = 3, 160, 5
		w, sketch, _ := sketched(s, rng, groups, cols)
		size := SketchedFloats * cols / 32
		rows, n := make([]float32, 4*size), w.Rows()+gap
		for r := range 4 {
			d := digitsOf(s, normals(rng, cols))
			PackSketched(rows[r*size:], Row{d.high, d.low, d.scale, d.sum}, d.scale)
		}
		out, most := make([]float32, 4*n), make([]float32, 4)
		s.Sketch.Gemv4(&sketch[0], groups, cols/32, bytePointer(rows), 4*size, &out[0], 4*n, &most[0])
		for r := range 4 {
			want, top := make([]float32, n), float32(0)
			s.Sketch.Gemv(&sketch[0], groups, cols/32, bytePointer(rows[r*size:]), 0, &want[0], 0, &top)
			if !slices.Equal(out[r*n:(r+1)*n], want) || most[r] != top {
				t.Errorf("row %d: %v and %v, alone %v and %v", r, most[r], out[r*n:(r+1)*n], top, want)
			}
		}
	})
}

// BenchmarkSketch reads a sketch from memory.
func BenchmarkSketch(b *testing.B) {
	for _, s := range All() {
		if s.Sketch == nil {
			continue
		}
		rng := rand.New(rand.NewPCG(1, 2))
		const cols = 640
		groups := 65536 / s.Sketch.Rows
		_, sketch, _ := sketched(s, rng, 16, cols)
		for len(sketch) < groups*s.Sketch.Bytes(cols/32) {
			sketch = append(sketch, sketch...)
		}
		d := digitsOf(s, normals(rng, cols))
		row := make([]float32, SketchedFloats*cols/32)
		PackSketched(row, Row{d.high, d.low, d.scale, d.sum}, make([]float32, cols/32))
		out, most := make([]float32, 65536), float32(0)
		b.Run(s.Name, func(b *testing.B) {
			b.SetBytes(int64(groups * s.Sketch.Bytes(cols/32)))
			for b.Loop() {
				s.Sketch.Gemv(&sketch[0], groups, cols/32, bytePointer(row), 0, &out[0], 0, &most)
			}
		})
	}
}

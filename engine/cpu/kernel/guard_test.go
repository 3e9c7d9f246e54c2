//go:build linux

package kernel

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
)

// guard puts arrays against memory that must not be touched: right before it,
// or right behind it.
type guard struct {
	t      *testing.T
	behind bool
	maps   [][]byte
}

// place copies x there. Its only neighbours on the other side are zeros of the
// same page.
func place[T any](g *guard, x []T) *T {
	page, bytes := unix.Getpagesize(), len(x)*int(unsafe.Sizeof(x[0]))
	room := (bytes + page - 1) / page * page
	all, err := unix.Mmap(-1, 0, room+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		g.t.Fatal(err)
	}
	g.maps = append(g.maps, all)
	for _, end := range [][]byte{all[:page], all[page+room:]} {
		if err := unix.Mprotect(end, unix.PROT_NONE); err != nil {
			g.t.Fatal(err)
		}
	}
	from := page + room - bytes
	if g.behind {
		from = page
	}
	p := (*T)(unsafe.Pointer(&all[from]))
	copy(unsafe.Slice(p, len(x)), x)
	return p
}

// room places n zeros.
func room[T any](g *guard, n int) *T { return place(g, make([]T, n)) }

func (g *guard) free() {
	for _, m := range g.maps {
		if err := unix.Munmap(m); err != nil {
			g.t.Fatal(err)
		}
	}
}

// guarded runs f with arrays that end, then with arrays that begin at the edge,
// and says which shape went over it.
func guarded(t *testing.T, shape string, f func(g *guard)) {
	t.Helper()
	for _, behind := range []bool{false, true} {
		if err := touches(t, behind, f); err != nil {
			t.Errorf("%s: arrays behind the edge %v: %v", shape, behind, err)
		}
	}
}

// touches is what f touched that it must not.
func touches(t *testing.T, behind bool, f func(g *guard)) (fault any) {
	g := &guard{t: t, behind: behind}
	defer g.free()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() { fault = recover() }()
	f(g)
	return nil
}

func TestGuardNotices(t *testing.T) {
	for _, byte := range []int{-1, 8} {
		if touches(t, byte < 0, func(g *guard) { *past(room[uint8](g, 8), byte) = 1 }) == nil {
			t.Errorf("byte %d of eight can be written", byte)
		}
	}
	for _, s := range All() {
		if touches(t, false, func(g *guard) { s.Max(room[float32](g, 8), 16) }) == nil {
			t.Errorf("%s: sixteen of eight floats can be read", s.Name)
		}
	}
}

func TestGuardQuantize(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for _, n := range []int{1, 2, 3, 4, 5, 8, 20} {
			guarded(t, fmt.Sprint("Quantize of blocks ", n), func(g *guard) {
				s.Quantize(place(g, normals(rng, 32*n)), n, room[int8](g, 32*n), room[int8](g, 32*n),
					room[float32](g, n), room[float32](g, n), room[float32](g, 2*n))
			})
			if s.Extent == nil {
				continue
			}
			guarded(t, fmt.Sprint("Extent of blocks ", n), func(g *guard) {
				s.Extent(place(g, normals(rng, 32*n)), n, room[float32](g, n))
			})
		}
	})
}

func TestGuardQuantizeTile(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for _, n := range []int{1, 2, 3, 5, 8} {
			for _, modes := range [][]Mode{slices.Repeat([]Mode{One}, n), slices.Repeat([]Mode{Two}, n), slices.Repeat([]Mode{OneOfTwo}, n), someModes(rng, 1, n)} {
				for row := range s.MR {
					guarded(t, fmt.Sprintf("QuantizeTile of row %d, modes %v", row, modes), func(g *guard) {
						floats := func(n int) *float32 { return at(room[float32](g, s.MR*n), row) }
						digits, x := room[uint8](g, s.MR*64*n), place(g, normals(rng, 32*n))
						mode, top := place(g, modes), place(g, slices.Repeat([]float32{4}, n))
						s.QuantizeTile(x, n, mode, top, digits, row, floats(n), floats(n), floats(2*n))
						if s.Extent != nil {
							s.QuantizeTile(x, n, mode, top, digits, row, floats(n), nil, nil)
						}
					})
				}
			}
		}
	})
}

func TestGuardExpand(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for typ, f := range Formats {
			for _, blocks := range []int{1, 2, 3, 4, 5, 7} {
				n := blocks * typ.Block()
				w := checkpointtest.RandomTensor(rng, typ, 1, n)
				guarded(t, fmt.Sprintf("Expand of %d blocks of %v", blocks, typ), func(g *guard) {
					src, codes := place(g, w.Data), room[uint8](g, n)
					scale, min := room[float32](g, n/f.Group), room[float32](g, n/f.Group)
					if e := s.Expand[typ]; e != nil {
						e(src, blocks, codes, scale, min)
						return
					}
					f.Expand(unsafe.Slice(src, len(w.Data)), unsafe.Slice(codes, n), unsafe.Slice(scale, n/f.Group), unsafe.Slice(min, n/f.Group))
				})
			}
		}
	})
}

// TestGuardGemv has every number of rows up to twice those taken at once, rows
// of one block and of several, side by side and apart.
func TestGuardGemv(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for typ, gemv := range s.Gemv {
			for rows := 1; rows <= 9; rows++ {
				for _, blocks := range []int{1, 2, 3, 5} {
					for _, apart := range []int{0, typ.BlockBytes()} {
						guarded(t, fmt.Sprintf("Gemv of %d rows of %d blocks of %v, %d bytes apart", rows, blocks, typ, apart), func(g *guard) {
							guardGemv(g, gemv, checkpointtest.RandomTensor(rng, typ, rows, blocks*typ.Block()), apart)
						})
					}
				}
			}
		}
	})
}

func guardGemv(g *guard, gemv Gemv, w checkpoint.Tensor, apart int) {
	rows, cols, step := w.Rows(), w.Cols(), w.RowBytes()+apart
	data := make([]byte, rows*step-apart)
	for r := range rows {
		copy(data[r*step:], w.Row(r))
	}
	gemv(place(g, data), rows, step, cols/w.Type.Block(), room[int8](g, cols), room[int8](g, cols),
		room[float32](g, cols/32), room[float32](g, cols/Formats[w.Type].Group), room[float32](g, rows))
}

func TestGuardPanel(t *testing.T) {
	each(t, func(t *testing.T, s *Set, _ *rand.Rand) {
		for _, n := range []int{8, 16, 24, 40} {
			for _, apart := range []int{0, 4, 12} {
				guarded(t, fmt.Sprintf("Interleave of %d dwords, rows %d bytes apart", n, apart), func(g *guard) {
					step := 4*n + apart
					s.Interleave(room[byte](g, (n-1)*4*s.NR+32), 4*s.NR, room[byte](g, 7*step+4*n), step, n)
				})
			}
		}
		if s.Center == nil {
			return
		}
		for _, groups := range []int{1, 2, 3, 8} {
			for _, dwords := range []int{4, 8} {
				guarded(t, fmt.Sprintf("Center of %d groups of %d dwords", groups, dwords), func(g *guard) {
					s.Center(room[uint8](g, groups*dwords*4*s.NR), groups, dwords, 16, room[int32](g, groups*s.NR))
				})
			}
		}
	})
}

// TestGuardGemm has blocks of one digit and of two, and rows of results side by
// side and apart.
func TestGuardGemm(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for kind, gemm := range s.Gemm {
			for _, blocks := range []int{1, 2, 3, 5, 8} {
				for _, apart := range []int{0, 5} {
					for name, two := range map[string][]uint8{"one": make([]uint8, blocks), "two": slices.Repeat([]uint8{1}, blocks), "mixed": mixed(rng, blocks)} {
						if s.Extent == nil && name != "two" {
							continue
						}
						guarded(t, fmt.Sprintf("Gemm %+v of %d blocks, %s, results %d apart", kind, blocks, name, apart), func(g *guard) {
							guardGemm(g, s, kind, gemm, two, apart)
						})
					}
				}
			}
		}
	})
}

func mixed(rng *rand.Rand, n int) []uint8 {
	two := make([]uint8, n)
	for i := range two {
		two[i] = uint8(rng.IntN(2))
	}
	return two
}

func guardGemm(g *guard, s *Set, kind Kind, gemm Gemm, two []uint8, apart int) {
	blocks := len(two)
	k := 32 * blocks
	p := Panel{Codes: room[uint8](g, k*s.NR), Scale: room[float32](g, k/kind.Group*s.NR), Min: room[float32](g, k/kind.Group*s.NR),
		Shift: room[int32](g, k/kind.Group*s.NR)}
	t := Tile{Digits: room[uint8](g, 2*k*s.MR), Scale: room[float32](g, blocks*s.MR), Sum: room[float32](g, k/kind.Group*s.MR), Two: place(g, two)}
	step := s.NR + apart
	gemm(&p, &t, blocks, room[float32](g, (s.MR-1)*step+s.NR), 4*step)
}

func TestGuardMul(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for _, m := range s.Rows {
			for _, k := range []int{1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 37} {
				for _, apart := range []int{0, 3} {
					shape := fmt.Sprintf("of %d rows, k = %d, %d apart", m, k, apart)
					lda, ldb, ldc := k+apart, s.NR+apart, s.NR+apart
					b := normals(rng, (k-1)*ldb+s.NR)
					halfs := make([]uint16, len(b))
					for i, v := range b {
						halfs[i] = checkpoint.FloatToHalf(v)
					}
					guarded(t, "MulF32 "+shape, func(g *guard) {
						s.MulF32(m, place(g, normals(rng, (m-1)*lda+k)), lda, place(g, b), ldb, room[float32](g, (m-1)*ldc+s.NR), ldc, k)
					})
					guarded(t, "MulF16 "+shape, func(g *guard) {
						s.MulF16(m, place(g, normals(rng, (m-1)*lda+k)), lda, place(g, halfs), ldb, room[float32](g, (m-1)*ldc+s.NR), ldc, k)
					})
					guarded(t, "MulI8 "+shape, func(g *guard) {
						s.MulI8(m, place(g, normals(rng, (m-1)*lda+k)), lda, room[int8](g, len(b)), ldb, room[float32](g, (m-1)*ldc+s.NR), ldc, k)
					})
				}
			}
		}
	})
}

func TestGuardElementwise(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for n := 8; n <= 136; n += 8 {
			floats := func(g *guard) *float32 { return place(g, normals(rng, n)) }
			for name, f := range map[string]func(g *guard){
				"Dot":      func(g *guard) { s.Dot(floats(g), floats(g), n) },
				"ScaleMul": func(g *guard) { s.ScaleMul(floats(g), floats(g), 2, floats(g), n) },
				"GELUMul":  func(g *guard) { s.GELUMul(floats(g), floats(g), floats(g), n) },
				"Add":      func(g *guard) { s.Add(floats(g), floats(g), n) },
				"Exp":      func(g *guard) { s.Exp(floats(g), n, 1) },
				"SoftCap":  func(g *guard) { s.SoftCap(floats(g), 30, n) },
				"Max":      func(g *guard) { s.Max(floats(g), n) },
				"Half":     func(g *guard) { s.Half(room[uint16](g, n), floats(g), n) },
				"Rotate":   func(g *guard) { s.Rotate(place(g, normals(rng, 2*n)), floats(g), floats(g), n) },
			} {
				guarded(t, fmt.Sprintf("%s of %d", name, n), f)
			}
		}
	})
}

func TestGuardSketch(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		if s.Sketch == nil {
			t.Skip("none")
		}
		for _, cols := range []int{32, 96, 640} {
			const groups = 3
			w, sketch, _ := sketched(s, rng, groups, cols)
			size, blocks := s.Sketch.Bytes(cols/32), cols/32
			guarded(t, fmt.Sprint("Sketch.Make of columns ", cols), func(g *guard) {
				dst, row := room[byte](g, size), place(g, w.Row(0))
				for lane := range s.Sketch.Rows {
					s.Sketch.Make(row, blocks, dst, lane)
				}
			})
			for n, multiply := range map[int]func(w *byte, groups, blocks int, row *byte, step int, upper *float32, outStep int, most *float32){1: s.Sketch.Gemv, 4: s.Sketch.Gemv4} {
				if multiply == nil {
					continue
				}
				guarded(t, fmt.Sprintf("%d rows times a sketch of columns %d", n, cols), func(g *guard) {
					row := room[float32](g, n*SketchedFloats*blocks)
					multiply(place(g, sketch), groups, blocks, (*byte)(unsafe.Pointer(row)), 4*SketchedFloats*blocks,
						room[float32](g, n*w.Rows()), 4*w.Rows(), room[float32](g, n))
				})
			}
		}
	})
}

func TestGuardGemvFew(t *testing.T) {
	each(t, func(t *testing.T, s *Set, rng *rand.Rand) {
		for typ, few := range s.GemvFew {
			for _, n := range []int{1, 2, 5} {
				for _, cols := range []int{typ.Block(), 768} {
					w := checkpointtest.RandomTensor(rng, typ, n, cols)
					for i, multiply := range few {
						if multiply == nil {
							continue
						}
						guarded(t, fmt.Sprintf("%v [%d, %d] times %d rows", typ, n, cols, 2<<i), func(g *guard) {
							multiply(place(g, w.Data), n, w.RowBytes(), cols/typ.Block(), room[float32](g, PackedFloats(typ, cols, 2<<i)),
								room[float32](g, n<<(i+1)), 4*n)
						})
					}
				}
			}
		}
	})
}

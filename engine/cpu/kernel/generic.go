package kernel

import (
	"math"
	"unsafe"

	"lapidary/checkpoint"
)

// The sizes of portable panels and tiles.
const nr, mr = 16, 2

// Generic is the set in portable Go: what runs where no assembly does, and the
// oracle of the sets that have it.
func Generic() *Set {
	return &Set{
		Name: "generic", NR: nr, MR: mr, DigitBits: rowBits,
		Quantize:   quantize,
		Interleave: interleave,
		Extent:     extent, QuantizeTile: quantizeTile, Center: center,
		Gemm: map[Kind]Gemm{
			{Group: 32}: gemm(32, false), {Group: 32, Min: true}: gemm(32, true),
			{Group: 16}: gemm(16, false), {Group: 16, Min: true}: gemm(16, true),
			{Group: 32, Wide: true}: gemm(32, false),
		},
		MulF32: mulF32(nr), MulF16: mulF16(nr), MulI8: mulI8(nr), Rows: []int{4, 2, 1},
		Dot: dot, ScaleMul: scaleMul, GELUMul: geluMul, Add: add,
		Exp: exp, SoftCap: softCap, Max: maximum, Half: toHalf, Rotate: rotate,
	}
}

// at is the i-th element after p.
func at[T any](p *T, i int) *T {
	return (*T)(unsafe.Add(unsafe.Pointer(p), i*int(unsafe.Sizeof(*p))))
}

// past is what lies n bytes after p.
func past[T any](p *T, n int) *T { return (*T)(unsafe.Add(unsafe.Pointer(p), n)) }

// rowBits is the number of bits of a row's second digits.
const rowBits = 7

// quantize rounds each block of 32 to integers of up to ±(2^b−1)·2^b, so that
// the high digit of the greatest is 2^b − 1, and splits them.
func quantize(x *float32, n int, high, low *int8, scale, sum, sum16 *float32) {
	const limit = float32((1<<rowBits - 1) << rowBits)
	for block := range n {
		in := unsafe.Slice(at(x, 32*block), 32)
		var top float32
		for _, v := range in {
			top = max(top, float32(math.Abs(float64(v))))
		}
		var inverse float32
		if top > 0 {
			inverse = limit / top
		}
		d := top / limit
		var sums [2]int32
		for i, v := range in {
			q := int32(math.RoundToEven(float64(v * inverse)))
			h := (q + 1<<(rowBits-1)) >> rowBits
			*at(high, 32*block+i), *at(low, 32*block+i) = int8(h), int8(q-h<<rowBits)
			sums[i/16] += q
		}
		*at(scale, block) = d
		*at(sum, block) = d * float32(sums[0]+sums[1])
		*at(sum16, 2*block) = d * float32(sums[0])
		*at(sum16, 2*block+1) = d * float32(sums[1])
	}
}

func interleave(dst *byte, dstStep int, src *byte, srcStep, n int) {
	for r := range 8 {
		for k := range n {
			*(*uint32)(unsafe.Pointer(past(dst, k*dstStep+4*r))) = *(*uint32)(unsafe.Pointer(past(src, r*srcStep+4*k)))
		}
	}
}

// tileBits is the number of bits of a tile's second digits.
const tileBits = 7

func extent(x *float32, n int, top *float32) float32 {
	var squares float32
	for block := range n {
		var m float32
		for _, v := range unsafe.Slice(at(x, 32*block), 32) {
			m = max(m, float32(math.Abs(float64(v))))
			squares += v * v
		}
		*at(top, block) = m
	}
	return squares
}

// quantizeTile rounds each block to integers of up to ±127, or ±127·2^7 and
// splits those. High digits have 128 added to them.
func quantizeTile(x *float32, n int, mode *Mode, top *float32, digits *uint8, row int, scale, sum, sum16 *float32) {
	place := row * 64 * n // of the block among the digits
	for block := range n {
		m, limit, unit := *at(mode, block), float32(127), float32(127)
		if m == Two {
			limit = 127 << tileBits
		}
		if m != One {
			unit = 127 << tileBits
		}
		var inverse float32
		if *at(top, block) != 0 {
			inverse = limit / *at(top, block)
		}
		d := *at(top, block) / unit
		var sums [2]int32
		for i, v := range unsafe.Slice(at(x, 32*block), 32) {
			q := int32(math.RoundToEven(float64(v * inverse)))
			if m == OneOfTwo {
				q <<= tileBits
			}
			sums[i/16] += q
			if m == One {
				*past(digits, place+i) = uint8(q + 128)
				continue
			}
			*past(digits, place+i) = uint8(q>>tileBits + 128)
			*past(digits, place+32+i) = uint8(q & (1<<tileBits - 1))
		}
		place += blockBytes(m != One)
		*at(scale, block*mr) = d
		if sum == nil {
			continue
		}
		*at(sum, block*mr) = d * float32(sums[0]+sums[1])
		*at(sum16, 2*block*mr) = d * float32(sums[0])
		*at(sum16, (2*block+1)*mr) = d * float32(sums[1])
	}
}

// blockBytes is the size of a block of 32 of a tile's row.
func blockBytes(two bool) int {
	if two {
		return 64
	}
	return 32
}

func center(codes *uint8, groups, dwords, zero int, shift *int32) {
	for g := range groups {
		for c := range nr {
			var sum int32
			for k := range 4 * dwords {
				p := at(codes, (g*dwords+k/4)*nr*4+c*4+k%4)
				*p -= uint8(zero)
				sum += int32(int8(*p))
			}
			*at(shift, g*nr+c) = -128 * sum
		}
	}
}

// gemm multiplies a panel by a tile, a group at a time.
func gemm(group int, least bool) Gemm {
	return func(p *Panel, t *Tile, blocks int, out *float32, outStep int) {
		for r := range mr {
			clear(unsafe.Slice(past(out, r*outStep), nr))
		}
		place := 0 // of the block among a row's digits
		for b := range blocks {
			two := *at(t.Two, b) != 0
			for g := b * 32 / group; g < (b+1)*32/group; g++ {
				for r := range mr {
					for c := range nr {
						product := groupProduct(group, p, past(t.Digits, r*64*blocks+place), two, g, c)
						y := at(past(out, r*outStep), c)
						*y += *at(p.Scale, g*nr+c) * (*at(t.Scale, b*mr+r) * float32(product))
						if least {
							*y += *at(p.Min, g*nr+c) * *at(t.Sum, g*mr+r)
						}
					}
				}
			}
			place += blockBytes(two)
		}
	}
}

// groupProduct is Σ code·digits of group g, column c; the digits are those of
// a row in the block the group is in.
func groupProduct(group int, p *Panel, digits *uint8, two bool, g, c int) int32 {
	sum := *at(p.Shift, g*nr+c)
	if two {
		sum <<= tileBits
	}
	for k := range group {
		i := g*group%32 + k // in the block
		w := int32(int8(*at(p.Codes, (g*group+k)/4*nr*4+c*4+k%4)))
		if two {
			sum += w * (int32(*past(digits, i))<<tileBits + int32(*past(digits, 32+i)))
		} else {
			sum += w * int32(*past(digits, i))
		}
	}
	return sum
}

func mulF32(nr int) func(m int, a *float32, lda int, b *float32, ldb int, c *float32, ldc, k int) {
	return func(m int, a *float32, lda int, b *float32, ldb int, c *float32, ldc, k int) {
		for i := range m {
			row := unsafe.Slice(at(c, i*ldc), nr)
			for kk := range k {
				s := *at(a, i*lda+kk)
				for j, w := range unsafe.Slice(at(b, kk*ldb), nr) {
					row[j] += s * w
				}
			}
		}
	}
}

func mulF16(nr int) func(m int, a *float32, lda int, b *uint16, ldb int, c *float32, ldc, k int) {
	return func(m int, a *float32, lda int, b *uint16, ldb int, c *float32, ldc, k int) {
		var wide [64]float32
		for kk := range k {
			for j, h := range unsafe.Slice(at(b, kk*ldb), nr) {
				wide[j] = checkpoint.HalfToFloat(h)
			}
			for i := range m {
				s, row := *at(a, i*lda+kk), unsafe.Slice(at(c, i*ldc), nr)
				for j, w := range wide[:nr] {
					row[j] += s * w
				}
			}
		}
	}
}

func mulI8(nr int) func(m int, a *float32, lda int, b *int8, ldb int, c *float32, ldc, k int) {
	return func(m int, a *float32, lda int, b *int8, ldb int, c *float32, ldc, k int) {
		for i := range m {
			row := unsafe.Slice(at(c, i*ldc), nr)
			for kk := range k {
				s := *at(a, i*lda+kk)
				for j, w := range unsafe.Slice(at(b, kk*ldb), nr) {
					row[j] += s * float32(w)
				}
			}
		}
	}
}

func dot(x, y *float32, n int) float32 {
	var s [8]float32
	for i := range n {
		s[i%8] += *at(x, i) * *at(y, i)
	}
	return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]))
}

func scaleMul(y, x *float32, s float32, w *float32, n int) {
	for i := range n {
		*at(y, i) = *at(x, i) * s * *at(w, i)
	}
}

// geluMul uses ½(1 + tanh z) = 1/(1 + exp(−2z)).
func geluMul(y, g, u *float32, n int) {
	for i := range n {
		x := float64(*at(g, i))
		z := math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x)
		*at(y, i) = float32(x / (1 + math.Exp(-2*z)) * float64(*at(u, i)))
	}
}

func add(y, x *float32, n int) {
	for i := range n {
		*at(y, i) += *at(x, i)
	}
}

func exp(x *float32, n int, top float32) float32 {
	var sum float32
	for i := range n {
		e := float32(math.Exp(float64(*at(x, i) - top)))
		*at(x, i) = e
		sum += e
	}
	return sum
}

func softCap(x *float32, limit float32, n int) {
	for i := range n {
		*at(x, i) = limit * float32(math.Tanh(float64(*at(x, i)/limit)))
	}
}

func maximum(x *float32, n int) float32 {
	top := float32(math.Inf(-1))
	for i := range n {
		top = max(top, *at(x, i))
	}
	return top
}

// maxHalf is the greatest finite half-precision number.
const maxHalf = 65504

func toHalf(dst *uint16, src *float32, n int) {
	for i := range n {
		*at(dst, i) = checkpoint.FloatToHalf(min(max(*at(src, i), -maxHalf), maxHalf))
	}
}

func rotate(x *float32, cos, sin *float32, half int) {
	for i := range half {
		a, b, c, s := at(x, i), at(x, i+half), *at(cos, i), *at(sin, i)
		*a, *b = *a*c-*b*s, *b*c+*a*s
	}
}

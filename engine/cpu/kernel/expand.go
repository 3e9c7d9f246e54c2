package kernel

import (
	"encoding/binary"
	"math"

	"lapidary/checkpoint"
)

// Format says how a stored row becomes codes with a scale and a minimum for
// each group: w = scale·code + min.
type Format struct {
	Group int // elements that share a scale: 16 or 32
	// Wide codes need more than six bits.
	Wide bool
	// Zero is the middle of the codes. Symmetric formats have no minimum of
	// their own: theirs is −Zero·scale.
	Zero      int
	Symmetric bool
	// Expand takes whole stored blocks.
	Expand func(src []byte, codes []uint8, scale, min []float32)
}

// Formats are the quantised formats.
var Formats = map[checkpoint.Type]Format{
	checkpoint.Q4_0:   {32, false, 8, true, expandQ4_0},
	checkpoint.Q4_1:   {32, false, 8, false, expandQ4_1},
	checkpoint.Q5_0:   {32, false, 16, true, expandQ5_0},
	checkpoint.Q5_1:   {32, false, 16, false, expandQ5_1},
	checkpoint.Q8_0:   {32, true, 128, true, expandQ8_0},
	checkpoint.Q2_K:   {16, false, 2, false, expandQ2_K},
	checkpoint.Q3_K:   {16, false, 4, true, expandQ3_K},
	checkpoint.Q4_K:   {32, false, 8, false, expandQ4_K},
	checkpoint.Q5_K:   {32, false, 16, false, expandQ5_K},
	checkpoint.Q6_K:   {16, false, 32, true, expandQ6_K},
	checkpoint.IQ4_NL: {32, true, 128, true, expandIQ4_NL},
	checkpoint.IQ4_XS: {32, true, 128, true, expandIQ4_XS},
	checkpoint.MXFP4:  {32, false, 12, true, expandMXFP4},
}

// Kind is the product that panels of the format take.
func (f Format) Kind() Kind { return Kind{f.Group, !f.Symmetric, f.Wide} }

func half(b []byte) float32 { return checkpoint.HalfToFloat(binary.LittleEndian.Uint16(b)) }

// nibbles spreads 16 bytes: low nibbles are elements 0–15, high ones 16–31.
func nibbles(codes, q []byte) {
	for i, b := range q[:16] {
		codes[i], codes[i+16] = b&15, b>>4
	}
}

// fifth adds bit i of bits to element i as its fifth bit.
func fifth(codes []uint8, bits uint32) {
	for i := range codes[:32] {
		codes[i] |= uint8(bits>>i&1) << 4
	}
}

func expandQ4_0(src []byte, codes []uint8, scale, min []float32) {
	for g := range scale {
		b := src[18*g:]
		nibbles(codes[32*g:], b[2:])
		scale[g], min[g] = half(b), -8*half(b)
	}
}

func expandQ4_1(src []byte, codes []uint8, scale, min []float32) {
	for g := range scale {
		b := src[20*g:]
		nibbles(codes[32*g:], b[4:])
		scale[g], min[g] = half(b), half(b[2:])
	}
}

func expandQ5_0(src []byte, codes []uint8, scale, min []float32) {
	for g := range scale {
		b := src[22*g:]
		nibbles(codes[32*g:], b[6:])
		fifth(codes[32*g:], binary.LittleEndian.Uint32(b[2:]))
		scale[g], min[g] = half(b), -16*half(b)
	}
}

func expandQ5_1(src []byte, codes []uint8, scale, min []float32) {
	for g := range scale {
		b := src[24*g:]
		nibbles(codes[32*g:], b[8:])
		fifth(codes[32*g:], binary.LittleEndian.Uint32(b[4:]))
		scale[g], min[g] = half(b), half(b[2:])
	}
}

func expandQ8_0(src []byte, codes []uint8, scale, min []float32) {
	for g := range scale {
		b := src[34*g:]
		for i, q := range b[2:34] {
			codes[32*g+i] = q ^ 0x80
		}
		scale[g], min[g] = half(b), -128*half(b)
	}
}

// Q2_K: scales[16], 2-bit codes[64], d half, dmin half.
func expandQ2_K(src []byte, codes []uint8, scale, min []float32) {
	for g := range scale {
		b := src[84*(g/16):]
		d, dmin := half(b[80:]), half(b[82:])
		s := b[g%16]
		scale[g], min[g] = d*float32(s&15), -dmin*float32(s>>4)
		part, shift := g%16/8, g%8/2*2
		for i := range 16 {
			codes[16*g+i] = b[16+32*part+16*(g%2)+i] >> shift & 3
		}
	}
}

// Q3_K: high bits[32], 2-bit codes[64], 6-bit scales[12], d half; w = d·(s−32)·(q−4).
func expandQ3_K(src []byte, codes []uint8, scale, min []float32) {
	for g := range scale {
		b := src[110*(g/16):]
		n := g % 16
		low := b[96+n%8] >> (n / 8 * 4) & 15
		high := b[96+8+n%4] >> (n / 4 * 2) & 3
		scale[g] = half(b[108:]) * float32(int(low|high<<4)-32)
		min[g] = -4 * scale[g]
		part, shift := n/8, n%8/2
		for i := range 16 {
			at := 16*(n%2) + i
			q := b[32+32*part+at] >> (2 * shift) & 3
			h := b[at] >> (4*part + shift) & 1
			codes[16*g+i] = q | h<<2
		}
	}
}

// sixBits is scale and minimum i of the 12 bytes that hold eight of each.
func sixBits(b []byte, i int) (scale, min float32) {
	if i < 4 {
		return float32(b[i] & 63), float32(b[i+4] & 63)
	}
	return float32(b[i+4]&15 | b[i-4]>>6<<4), float32(b[i+4]>>4 | b[i]>>6<<4)
}

func expandQ4_K(src []byte, codes []uint8, scale, min []float32) {
	for g := range scale {
		b := src[144*(g/8):]
		s, m := sixBits(b[4:], g%8)
		scale[g], min[g] = half(b)*s, -half(b[2:])*m
		for i, q := range b[16+32*(g%8/2):][:32] {
			codes[32*g+i] = q >> (g % 2 * 4) & 15
		}
	}
}

func expandQ5_K(src []byte, codes []uint8, scale, min []float32) {
	for g := range scale {
		b := src[176*(g/8):]
		s, m := sixBits(b[4:], g%8)
		scale[g], min[g] = half(b)*s, -half(b[2:])*m
		for i, q := range b[48+32*(g%8/2):][:32] {
			codes[32*g+i] = q>>(g%2*4)&15 | b[16+i]>>(g%8)&1<<4
		}
	}
}

func expandQ6_K(src []byte, codes []uint8, scale, min []float32) {
	for g := range scale {
		b := src[210*(g/16):]
		n := g % 16
		scale[g] = half(b[208:]) * float32(int8(b[192+n]))
		min[g] = -32 * scale[g]
		part, quarter := n/8, n%8/2
		for i := range 16 {
			at := 16*(n%2) + i
			low := b[64*part+32*(quarter%2)+at] >> (quarter / 2 * 4) & 15
			high := b[128+32*part+at] >> (2 * quarter) & 3
			codes[16*g+i] = low | high<<4
		}
	}
}

// nonLinear are IQ4's values, offset by 128.
var nonLinear = [16]uint8{1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241}

func expandIQ4_NL(src []byte, codes []uint8, scale, min []float32) {
	for g := range scale {
		b := src[18*g:]
		for i, q := range b[2:18] {
			codes[32*g+i], codes[32*g+i+16] = nonLinear[q&15], nonLinear[q>>4]
		}
		scale[g], min[g] = half(b), -128*half(b)
	}
}

// IQ4_XS: d half, high bits of scales uint16, low[4], nibbles[128].
func expandIQ4_XS(src []byte, codes []uint8, scale, min []float32) {
	for g := range scale {
		b, n := src[136*(g/8):], g%8
		low := b[4+n/2] >> (n % 2 * 4) & 15
		high := binary.LittleEndian.Uint16(b[2:]) >> (2 * n) & 3
		scale[g] = half(b) * float32(int(low)|int(high)<<4-32)
		min[g] = -128 * scale[g]
		for i, q := range b[8+16*n:][:16] {
			codes[32*g+i], codes[32*g+i+16] = nonLinear[q&15], nonLinear[q>>4]
		}
	}
}

// fp4 are MXFP4's values, doubled and offset by 12.
var fp4 = [16]uint8{12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0}

func expandMXFP4(src []byte, codes []uint8, scale, min []float32) {
	for g := range scale {
		b := src[17*g:]
		for i, q := range b[1:17] {
			codes[32*g+i], codes[32*g+i+16] = fp4[q&15], fp4[q>>4]
		}
		scale[g] = float32(math.Ldexp(1, int(b[0])-128))
		min[g] = -12 * scale[g]
	}
}

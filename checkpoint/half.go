package checkpoint

import "math"

// HalfToFloat widens an IEEE 754 half-precision number, exactly.
func HalfToFloat(h uint16) float32 {
	sign, size := uint32(h&0x8000)<<16, uint32(h&0x7fff)
	switch {
	case size < 0x0400: // zero and subnormals: size · 2⁻²⁴
		return math.Float32frombits(sign | math.Float32bits(float32(size)*0x1p-24))
	case size < 0x7c00: // the exponent's bias goes from 15 to 127
		return math.Float32frombits(sign | (size<<13 + 112<<23))
	default:
		return math.Float32frombits(sign | 0x7f800000 | size<<13)
	}
}

// FloatToHalf rounds to the nearest half-precision number, ties to even; what
// is too large becomes an infinity.
func FloatToHalf(f float32) uint16 {
	b := math.Float32bits(f)
	sign, size := uint16(b>>16&0x8000), b&0x7fffffff
	switch {
	case size > 0x7f800000: // keep a NaN a NaN even when its low bits go
		return sign | 0x7e00
	case size >= 0x477ff000: // 65520 and up
		return sign | 0x7c00
	case size < 0x38800000: // below 2⁻¹⁴: adding ½ leaves multiples of 2⁻²⁴, rounded
		return sign | uint16(math.Float32bits(math.Float32frombits(size)+0.5)-0x3f000000)
	default:
		odd := size >> 13 & 1
		return sign | uint16((size-112<<23+0xfff+odd)>>13)
	}
}

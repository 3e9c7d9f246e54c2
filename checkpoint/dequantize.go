package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Dequantize turns stored elements into floats: dst receives len(dst) of them,
// which must be a whole number of t's blocks, and src must be exactly as long
// as those blocks. It allocates nothing.
//
// The arithmetic is that of ggml's reference code in float32, each operation
// rounded, so every machine gets the same bits.
func Dequantize(t Type, dst []float32, src []byte) error {
	l := t.layout()
	switch {
	case l.unpack == nil:
		return fmt.Errorf("format %s cannot be dequantized; convert the tensor to one of %s", t, readable())
	case len(dst)%l.block != 0:
		return fmt.Errorf("%d elements are not a whole number of %s blocks of %d", len(dst), t, l.block)
	case len(src) != len(dst)/l.block*l.bytes:
		return fmt.Errorf("%d elements of %s take %d bytes, not %d", len(dst), t, len(dst)/l.block*l.bytes, len(src))
	}
	l.unpack(dst, src)
	return nil
}

// In the layouts below "half" is a little-endian IEEE half-precision number,
// x[n] an array, and q the integer an element is stored as. A product that a
// sum follows is converted to float32 explicitly, even when a variable is in
// between: Go may otherwise fuse the two on some architectures and round once
// instead of twice.

func halfAt(b []byte) float32 { return HalfToFloat(binary.LittleEndian.Uint16(b)) }

// F32: a little-endian IEEE single-precision number.
func unpackF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

// F16: half.
func unpackF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = halfAt(src[2*i:])
	}
}

// BF16: the upper 16 bits of a single-precision number.
func unpackBF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
	}
}

// Q4_0: d half, nibbles[16]. Element i < 16 is the low nibble of byte i,
// element i + 16 the high one; d · (q − 8).
func unpackQ4_0(dst []float32, src []byte) {
	for ; len(dst) >= 32; dst, src = dst[32:], src[18:] {
		d, nibbles, y := halfAt(src), (*[16]byte)(src[2:]), (*[32]float32)(dst)
		for i, b := range nibbles {
			y[i] = d * float32(int(b&15)-8)
			y[i+16] = d * float32(int(b>>4)-8)
		}
	}
}

// Q4_1: d half, m half, nibbles[16] as in Q4_0; d · q + m.
func unpackQ4_1(dst []float32, src []byte) {
	for ; len(dst) >= 32; dst, src = dst[32:], src[20:] {
		d, m, nibbles, y := halfAt(src), halfAt(src[2:]), (*[16]byte)(src[4:]), (*[32]float32)(dst)
		for i, b := range nibbles {
			y[i] = float32(d*float32(b&15)) + m
			y[i+16] = float32(d*float32(b>>4)) + m
		}
	}
}

// Q5_0: d half, fifth bits u32, nibbles[16] as in Q4_0. Bit i of the fifth
// bits is worth 16 to element i; d · (q − 16).
func unpackQ5_0(dst []float32, src []byte) {
	for ; len(dst) >= 32; dst, src = dst[32:], src[22:] {
		d, fifth := halfAt(src), binary.LittleEndian.Uint32(src[2:])
		nibbles, y := (*[16]byte)(src[6:]), (*[32]float32)(dst)
		for i, b := range nibbles {
			y[i] = d * float32(int(b&15|byte(fifth>>i&1)<<4)-16)
			y[i+16] = d * float32(int(b>>4|byte(fifth>>(i+16)&1)<<4)-16)
		}
	}
}

// Q5_1: d half, m half, fifth bits u32, nibbles[16] as in Q5_0; d · q + m.
func unpackQ5_1(dst []float32, src []byte) {
	for ; len(dst) >= 32; dst, src = dst[32:], src[24:] {
		d, m, fifth := halfAt(src), halfAt(src[2:]), binary.LittleEndian.Uint32(src[4:])
		nibbles, y := (*[16]byte)(src[8:]), (*[32]float32)(dst)
		for i, b := range nibbles {
			y[i] = float32(d*float32(b&15|byte(fifth>>i&1)<<4)) + m
			y[i+16] = float32(d*float32(b>>4|byte(fifth>>(i+16)&1)<<4)) + m
		}
	}
}

// Q8_0: d half, q int8[32]; d · q.
func unpackQ8_0(dst []float32, src []byte) {
	for ; len(dst) >= 32; dst, src = dst[32:], src[34:] {
		d, qs, y := halfAt(src), (*[32]byte)(src[2:]), (*[32]float32)(dst)
		for i, q := range qs {
			y[i] = d * float32(int8(q))
		}
	}
}

// curve4 holds the 16 steps of the IQ4 formats, denser around zero.
var curve4 = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// IQ4_NL: d half, nibbles[16] as in Q4_0; d · curve4[q].
func unpackIQ4_NL(dst []float32, src []byte) {
	for ; len(dst) >= 32; dst, src = dst[32:], src[18:] {
		unpackCurve((*[32]float32)(dst), halfAt(src), (*[16]byte)(src[2:]), &curve4)
	}
}

// float4 holds the values of OCP's E2M1 floats, doubled to be whole: sign,
// two bits of exponent, one of mantissa.
var float4 = [16]float32{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}

// MXFP4 (OCP Microscaling Formats 1.0): e u8, nibbles[16] as in Q4_0;
// 2^(e − 127) · float4[q] / 2.
func unpackMXFP4(dst []float32, src []byte) {
	for ; len(dst) >= 32; dst, src = dst[32:], src[17:] {
		// 2^(e−128) is subnormal for e < 2, which a shifted mantissa says.
		bits := uint32(0x00200000) << src[0]
		if src[0] >= 2 {
			bits = uint32(src[0]-1) << 23
		}
		unpackCurve((*[32]float32)(dst), math.Float32frombits(bits), (*[16]byte)(src[1:]), &float4)
	}
}

// unpackCurve scales the steps that 32 nibbles choose.
func unpackCurve(y *[32]float32, d float32, nibbles *[16]byte, curve *[16]float32) {
	for i, b := range nibbles {
		y[i] = d * curve[b&15]
		y[i+16] = d * curve[b>>4]
	}
}

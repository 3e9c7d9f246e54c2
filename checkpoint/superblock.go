package checkpoint

import "encoding/binary"

// The formats of this file pack 256 elements as a superblock: one or two half
// numbers scale small integers, which in turn scale sub-blocks of 16 or 32.

// Q2_K: scales[16], pairs[64], d half, m half.
//
// Sub-blocks hold 16 elements. The low nibble of scales[s] scales sub-block s
// and the high one shifts it: d·low · q − m·high. Two bits make an element:
// elements 128h + 32j + l sit in byte 32h + l at bit 2j.
func unpackQ2_K(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[84:] {
		scales, pairs := (*[16]byte)(src), (*[64]byte)(src[16:])
		d, m := halfAt(src[80:]), halfAt(src[82:])
		for s, packed := range scales {
			scale, shift := d*float32(packed&15), float32(m*float32(packed>>4))
			from, bit := s/8*32+s%2*16, s%8/2*2
			y, q := (*[16]float32)(dst[16*s:]), (*[16]byte)(pairs[from:])
			for l, b := range q {
				y[l] = float32(scale*float32(b>>bit&3)) - shift
			}
		}
	}
}

// Q3_K: high[32], pairs[64], scales[12], d half.
//
// Elements are placed as in Q2_K; the third bit of elements 32k + l is bit k
// of high[l], and it is worth 4 over a base of −4: d·(scale − 32) · (q − 4).
// Sub-block s of 16 elements has a scale of 6 bits: the lower four in a nibble
// of scales[s%8] (high nibble for s ≥ 8), the upper two in scales[8 + s%4] at
// bit 2·(s/4).
func unpackQ3_K(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[110:] {
		high, pairs, scales := (*[32]byte)(src), (*[64]byte)(src[32:]), (*[12]byte)(src[96:])
		d := halfAt(src[108:])
		for s := range 16 {
			six := scales[s%8]>>(s/8*4)&15 | scales[8+s%4]>>(s/4*2)&3<<4
			scale := d * float32(int(six)-32)
			from, bit := s/8*32+s%2*16, s%8/2*2
			y, q := (*[16]float32)(dst[16*s:]), (*[16]byte)(pairs[from:])
			third := (*[16]byte)(high[s%2*16:])
			for l, b := range q {
				y[l] = scale * float32(int(b>>bit&3|third[l]>>(s/2)&1<<2)-4)
			}
		}
	}
}

// scaleShift unpacks the eight 6-bit scales and shifts of Q4_K and Q5_K from
// 12 bytes. The first four of each are the low six bits of bytes 0–3 and 4–7;
// the last four have their low nibble in bytes 8–11 (low half the scale, high
// half the shift) and their upper two bits atop bytes 0–3 and 4–7.
func scaleShift(packed *[12]byte, s int) (scale, shift byte) {
	if s < 4 {
		return packed[s] & 63, packed[s+4] & 63
	}
	return packed[s+4]&15 | packed[s-4]>>6<<4, packed[s+4]>>4 | packed[s]>>6<<4
}

// Q4_K: d half, m half, scales[12], nibbles[128].
//
// Sub-blocks hold 32 elements: d·scale · q − m·shift. Sub-block s is the low
// nibbles (s even) or the high nibbles (s odd) of bytes 32·(s/2) onwards.
func unpackQ4_K(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[144:] {
		d, m, scales := halfAt(src), halfAt(src[2:]), (*[12]byte)(src[4:])
		for s := range 8 {
			six, sixShift := scaleShift(scales, s)
			scale, shift := d*float32(six), float32(m*float32(sixShift))
			y, q, bit := (*[32]float32)(dst[32*s:]), (*[32]byte)(src[16+s/2*32:]), s%2*4
			for l, b := range q {
				y[l] = float32(scale*float32(b>>bit&15)) - shift
			}
		}
	}
}

// Q5_K: d half, m half, scales[12], fifth[32], nibbles[128].
//
// As Q4_K; the fifth bit of element l of sub-block s is bit s of fifth[l].
func unpackQ5_K(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[176:] {
		d, m, scales, fifth := halfAt(src), halfAt(src[2:]), (*[12]byte)(src[4:]), (*[32]byte)(src[16:])
		for s := range 8 {
			six, sixShift := scaleShift(scales, s)
			scale, shift := d*float32(six), float32(m*float32(sixShift))
			y, q, bit := (*[32]float32)(dst[32*s:]), (*[32]byte)(src[48+s/2*32:]), s%2*4
			for l, b := range q {
				y[l] = float32(scale*float32(b>>bit&15|fifth[l]>>s&1<<4)) - shift
			}
		}
	}
}

// Q6_K: low[128], high[64], scales int8[16], d half.
//
// Sub-blocks hold 16 elements: d·scale · (q − 32). In each half h of 128,
// element 32j + l has its lower four bits in low[64h + 32·(j%2) + l] (the low
// nibble for j < 2) and its upper two in high[32h + l] at bit 2j.
func unpackQ6_K(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[210:] {
		scales, d := (*[16]byte)(src[192:]), halfAt(src[208:])
		for s, packed := range scales {
			h, j, from := s/8, s%8/2, s%2*16
			scale := d * float32(int8(packed))
			y := (*[16]float32)(dst[16*s:])
			low, lowBit := (*[16]byte)(src[64*h+32*(j%2)+from:]), j/2*4
			high, highBit := (*[16]byte)(src[128+32*h+from:]), 2*j
			for l, b := range low {
				y[l] = scale * float32(int(b>>lowBit&15|high[l]>>highBit&3<<4)-32)
			}
		}
	}
}

// IQ4_XS: d half, upper u16, lower[4], nibbles[128].
//
// Sub-blocks hold 32 elements in 16 bytes placed as in Q4_0:
// d·(scale − 32) · curve4[q]. Sub-block s has the lower four bits of its scale
// in a nibble of lower[s/2] and the upper two in upper at bit 2s.
func unpackIQ4_XS(dst []float32, src []byte) {
	for ; len(dst) >= 256; dst, src = dst[256:], src[136:] {
		d, upper, lower := halfAt(src), binary.LittleEndian.Uint16(src[2:]), (*[4]byte)(src[4:])
		for s := range 8 {
			six := lower[s/2]>>(s%2*4)&15 | byte(upper>>(2*s)&3)<<4
			scale := d * float32(int(six)-32)
			unpackCurve((*[32]float32)(dst[32*s:]), scale, (*[16]byte)(src[8+16*s:]), &curve4)
		}
	}
}

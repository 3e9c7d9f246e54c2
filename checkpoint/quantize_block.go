package checkpoint

import "encoding/binary"

// pair is a block's elements and their importances, widened.
type pair struct{ x, w [256]float64 }

// load widens len(src) elements; no importance is the same for all.
func (p *pair) load(src, importance []float32) (x, w []float64) {
	x, w = p.x[:len(src)], p.w[:len(src)]
	for i, v := range src {
		x[i] = float64(v)
	}
	if importance == nil {
		for i := range w {
			w[i] = 1
		}
		return x, w
	}
	for i, v := range importance {
		w[i] = float64(v)
	}
	return x, w
}

// next is the first n of a slice that may be nil.
func next(s *[]float32, n int) []float32 {
	if *s == nil {
		return nil
	}
	head := (*s)[:n]
	*s = (*s)[n:]
	return head
}

// The layouts are those in dequantize.go. How far and how finely each search
// looks was settled on the weights of a trained model: finer steps gain less
// than 1 % of the error. Q8_0 looks as far down as 111 and the affine formats
// try short ranges of whole codes, so that what had been stored as Q5_0 and is
// stored again comes out as it was.
var (
	span4   = spanOf(-8, 7, 1, 2.5, 0.25)
	span5   = spanOf(-16, 15, 2, 2.5, 0.25)
	span8   = mirrored(127, 16, 0.5, 0.5)
	affine4 = affineOf(15, false, 8)
	affine5 = affineOf(31, false, 14)
)

func packQ4_0(dst []byte, src, importance []float32) {
	var p pair
	var q [32]uint8
	for ; len(src) >= 32; dst, src = dst[18:], src[32:] {
		x, w := p.load(src[:32], next(&importance, 32))
		d := storeHalf(dst, span4.search(x, w))
		codes(q[:], x, d, 0, -8, 7)
		packNibbles(dst[2:18], &q)
	}
}

func packQ4_1(dst []byte, src, importance []float32) {
	var p pair
	var q [32]uint8
	for ; len(src) >= 32; dst, src = dst[20:], src[32:] {
		x, w := p.load(src[:32], next(&importance, 32))
		scale, shift := affine4.search(x, w)
		d, m := storeHalf(dst, reaching(scale)), storeHalf(dst[2:], shift)
		codes(q[:], x, d, m, 0, 15)
		packNibbles(dst[4:20], &q)
	}
}

func packQ5_0(dst []byte, src, importance []float32) {
	var p pair
	var q [32]uint8
	for ; len(src) >= 32; dst, src = dst[22:], src[32:] {
		x, w := p.load(src[:32], next(&importance, 32))
		d := storeHalf(dst, span5.search(x, w))
		codes(q[:], x, d, 0, -16, 15)
		packFifths(dst[2:6], &q)
		packNibbles(dst[6:22], &q)
	}
}

func packQ5_1(dst []byte, src, importance []float32) {
	var p pair
	var q [32]uint8
	for ; len(src) >= 32; dst, src = dst[24:], src[32:] {
		x, w := p.load(src[:32], next(&importance, 32))
		scale, shift := affine5.search(x, w)
		d, m := storeHalf(dst, reaching(scale)), storeHalf(dst[2:], shift)
		codes(q[:], x, d, m, 0, 31)
		packFifths(dst[4:8], &q)
		packNibbles(dst[8:24], &q)
	}
}

func packQ8_0(dst []byte, src, importance []float32) {
	var p pair
	var q [32]uint8
	for ; len(src) >= 32; dst, src = dst[34:], src[32:] {
		x, w := p.load(src[:32], next(&importance, 32))
		d := storeHalf(dst, span8.search(x, w))
		codes(q[:], x, d, 0, -127, 127)
		for i, c := range q {
			dst[2+i] = c - 127
		}
	}
}

// packNibbles stores the low four bits of 32 codes.
func packNibbles(dst []byte, q *[32]uint8) {
	for i := range 16 {
		dst[i] = q[i]&15 | q[i+16]<<4
	}
}

// packFifths stores the fifth bits of 32 codes.
func packFifths(dst []byte, q *[32]uint8) {
	bits := uint32(0)
	for i, c := range q {
		bits |= uint32(c>>4&1) << i
	}
	binary.LittleEndian.PutUint32(dst, bits)
}

package checkpoint

import "math"

// superSpan is a superblock whose sub-blocks have a scale each: x ≈ d·s·q with
// lo ≤ q ≤ hi and least ≤ s ≤ most.
type superSpan struct {
	span
	sub          int
	least, most  float64
	tight, loose float64 // where the largest of a sub-block may go, in codes
}

var super6 = superSpan{span: spanOf(-32, 31, 1, 1, 0.5), sub: 16, least: -128, most: 127, tight: 28, loose: 33}

// search gives d, stored to dst, and the scales.
func (g *superSpan) search(dst []byte, x, w []float64, s []float64) (d float64) {
	top := math.Abs(largest(x))
	if top < leastScale {
		clear(s)
		return storeHalf(dst, 0)
	}
	var try [16]float64
	best := math.Inf(1)
	next := g.widest(x, w) / g.least
	for range 3 {
		d1 := storeHalf(dst, reaching(next))
		left, fit := g.scales(try[:len(s)], x, w, d1)
		if !(left < best) {
			break
		}
		best, d = left, d1
		copy(s, try[:])
		next = fit
	}
	return storeHalf(dst, d)
}

// widest is the largest scale that a sub-block wishes for, with its sign.
func (g *superSpan) widest(x, w []float64) float64 {
	var wishes [16]float64
	n := len(x) / g.sub
	for j := range n {
		wishes[j] = g.span.search(x[j*g.sub:(j+1)*g.sub], w[j*g.sub:(j+1)*g.sub])
	}
	return largest(wishes[:n])
}

// scales finds the best scale of each sub-block for a given d, the error that
// is left, and the d that then fits best.
func (g *superSpan) scales(s, x, w []float64, d float64) (left, fit float64) {
	var wxq, wqq float64
	for j := range s {
		xs, ws := x[j*g.sub:(j+1)*g.sub], w[j*g.sub:(j+1)*g.sub]
		var least float64
		s[j], least = g.scale(xs, ws, d)
		left += least
		ds := d * s[j]
		if ds == 0 {
			continue
		}
		for i, v := range xs {
			q := s[j] * nearest(v/ds, g.lo, g.hi)
			wxq += float64(ws[i] * q * v)
			wqq += float64(ws[i] * q * q)
		}
	}
	if wqq == 0 {
		return left, d
	}
	return left, wxq / wqq
}

// scale is the best of the scales that put the largest element near the end of
// the codes, on either side.
func (g *superSpan) scale(x, w []float64, d float64) (best, left float64) {
	top := math.Abs(largest(x) / d)
	left = miss(x, w, 0, 0, g.lo, g.hi)
	limit := max(-g.least, g.most) // elements that do not matter may be out of reach
	from, to := min(math.Floor(top/g.loose), limit-1), min(math.Ceil(top/g.tight), limit)
	for s := max(from, 1); s <= to; s++ {
		for _, signed := range [2]float64{s, -s} {
			if signed < g.least || signed > g.most {
				continue
			}
			if e := miss(x, w, d*signed, 0, g.lo, g.hi); e < left {
				best, left = signed, e
			}
		}
	}
	return best, left
}

func packQ6_K(dst []byte, src, importance []float32) {
	var p pair
	var s [16]float64
	var q [256]uint8
	for ; len(src) >= 256; dst, src = dst[210:], src[256:] {
		x, w := p.load(src[:256], next(&importance, 256))
		d := super6.search(dst[208:], x, w, s[:])
		for j, scale := range s {
			codes(q[16*j:16*j+16], x[16*j:16*j+16], d*scale, 0, -32, 31)
			dst[192+j] = byte(int8(scale))
		}
		for h := range 2 {
			low, high, c := dst[64*h:64*h+64], dst[128+32*h:160+32*h], q[128*h:128*h+128]
			for l := range 32 {
				low[l] = c[l]&15 | c[l+64]<<4
				low[l+32] = c[l+32]&15 | c[l+96]<<4
				high[l] = c[l]>>4 | c[l+32]>>4<<2 | c[l+64]>>4<<4 | c[l+96]>>4<<6
			}
		}
	}
}

// superAffine is a superblock whose sub-blocks have a scale and a shift each:
// x ≈ d·s·q − m·t with 0 ≤ q ≤ hi and 0 ≤ s, t ≤ most.
type superAffine struct {
	affine
	sub  int
	most float64
}

var (
	super4 = superAffine{affineOf(15, true, 0), 32, 63}
	super5 = superAffine{affineOf(31, true, 0), 32, 63}
)

// steps are the scales and shifts of the sub-blocks.
type steps struct{ s, t [16]float64 }

// search stores d and m to dst and gives them and the steps.
func (g *superAffine) search(dst []byte, x, w []float64, out *steps) (d, m float64) {
	n := len(x) / g.sub
	var wish steps
	var topS, topT float64
	for j := range n {
		scale, shift := g.affine.search(x[j*g.sub:(j+1)*g.sub], w[j*g.sub:(j+1)*g.sub])
		wish.s[j], wish.t[j] = scale, -shift
		topS, topT = max(topS, scale), max(topT, -shift)
	}
	best := math.Inf(1)
	nextD, nextM := topS/g.most, topT/g.most
	start := wish
	for range 3 {
		d1, m1 := storeHalf(dst, reaching(nextD)), storeHalf(dst[2:], reaching(nextM))
		try := start
		left, fitD, fitM := g.refine(&try, n, x, w, d1, m1)
		if !(left < best) {
			break
		}
		best, d, m, *out = left, d1, m1, try
		nextD, nextM = fitD, fitM
		start = wish
	}
	return storeHalf(dst, d), storeHalf(dst[2:], m)
}

// refine finds steps near the wished-for scales and shifts, the error that is
// left, and the d and m that then fit best.
func (g *superAffine) refine(at *steps, n int, x, w []float64, d, m float64) (left, fitD, fitM float64) {
	var a, b, c, u, v float64 // normal equations of d and m
	for j := range n {
		xs, ws := x[j*g.sub:(j+1)*g.sub], w[j*g.sub:(j+1)*g.sub]
		left += g.walk(&at.s[j], &at.t[j], xs, ws, d, m)
		ds, mt := d*at.s[j], m*at.t[j]
		inverse := 0.0
		if ds != 0 {
			inverse = 1 / ds
		}
		for i, y := range xs {
			q, t := at.s[j]*nearest((y+mt)*inverse, 0, g.hi), at.t[j]
			a += float64(ws[i] * q * q)
			b += float64(ws[i] * q * t)
			c += float64(ws[i] * t * t)
			u += float64(ws[i] * q * y)
			v += float64(ws[i] * t * y)
		}
	}
	det := float64(a*c) - float64(b*b)
	switch {
	case a == 0:
		return left, d, m
	case det <= 1e-12*a*c:
		return left, u / a, m
	}
	fitD, fitM = (float64(u*c)-float64(v*b))/det, (float64(u*b)-float64(v*a))/det
	if fitM < 0 || fitD < 0 {
		return left, d, m
	}
	return left, fitD, fitM
}

// walk turns a scale and a shift into whole steps of d and m and goes to
// better neighbours.
func (g *superAffine) walk(s, t *float64, x, w []float64, d, m float64) float64 {
	s1, t1 := 0.0, 0.0
	if d > 0 {
		s1 = nearest(*s/d, 0, g.most)
	}
	if m > 0 {
		t1 = nearest(*t/m, 0, g.most)
	}
	best := miss(x, w, d*s1, -m*t1, 0, g.hi)
	for range 4 {
		s0, t0, from := s1, t1, best
		for ds := -1.0; ds <= 1; ds++ {
			for dt := -1.0; dt <= 1; dt++ {
				sn, tn := s0+ds, t0+dt
				if ds == 0 && dt == 0 || sn < 0 || sn > g.most || tn < 0 || tn > g.most {
					continue
				}
				if e := miss(x, w, d*sn, -m*tn, 0, g.hi); e < best {
					best, s1, t1 = e, sn, tn
				}
			}
		}
		if !(best < from) {
			break
		}
	}
	*s, *t = s1, t1
	return best
}

// packScaleShift is the inverse of scaleShift.
func packScaleShift(dst []byte, at *steps) {
	for j := range 4 {
		s, t, s4, t4 := byte(at.s[j]), byte(at.t[j]), byte(at.s[j+4]), byte(at.t[j+4])
		dst[j] = s | s4>>4<<6
		dst[j+4] = t | t4>>4<<6
		dst[j+8] = s4&15 | t4<<4
	}
}

func (g *superAffine) block(dst []byte, p *pair, src, importance []float32, q *[256]uint8) {
	var at steps
	x, w := p.load(src, importance)
	d, m := g.search(dst, x, w, &at)
	packScaleShift(dst[4:], &at)
	for j := range 8 {
		codes(q[32*j:32*j+32], x[32*j:32*j+32], d*at.s[j], -m*at.t[j], 0, g.hi)
	}
}

func packQ4_K(dst []byte, src, importance []float32) {
	var p pair
	var q [256]uint8
	for ; len(src) >= 256; dst, src = dst[144:], src[256:] {
		super4.block(dst, &p, src[:256], next(&importance, 256), &q)
		for j := range 4 {
			for l := range 32 {
				dst[16+32*j+l] = q[64*j+l] | q[64*j+32+l]<<4
			}
		}
	}
}

func packQ5_K(dst []byte, src, importance []float32) {
	var p pair
	var q [256]uint8
	for ; len(src) >= 256; dst, src = dst[176:], src[256:] {
		super5.block(dst, &p, src[:256], next(&importance, 256), &q)
		clear(dst[16:48])
		for j := range 8 {
			for l := range 32 {
				dst[16+l] |= q[32*j+l] >> 4 << j
			}
		}
		for j := range 4 {
			for l := range 32 {
				dst[48+32*j+l] = q[64*j+l]&15 | q[64*j+32+l]<<4
			}
		}
	}
}

var super3 = superSpan{span: spanOf(-4, 3, 0.8, 0.6, 0.2), sub: 16, least: -32, most: 31, tight: 2.4, loose: 6}

func packQ3_K(dst []byte, src, importance []float32) {
	var p pair
	var s [16]float64
	var q [256]uint8
	for ; len(src) >= 256; dst, src = dst[110:], src[256:] {
		x, w := p.load(src[:256], next(&importance, 256))
		d := super3.search(dst[108:], x, w, s[:])
		clear(dst[:108])
		for j, scale := range s {
			codes(q[16*j:16*j+16], x[16*j:16*j+16], d*scale, 0, -4, 3)
			six := byte(int(scale) + 32)
			dst[96+j%8] |= six & 15 << (j / 8 * 4)
			dst[104+j%4] |= six >> 4 << (j / 4 * 2)
		}
		packPairs(dst[32:96], &q)
		for i, c := range q {
			dst[i%32] |= c >> 2 << (i / 32)
		}
	}
}

// packPairs adds the low two bits of 256 codes.
func packPairs(dst []byte, q *[256]uint8) {
	for i, c := range q {
		dst[i/128*32+i%32] |= c & 3 << (i % 128 / 32 * 2)
	}
}

var super2 = superAffine{affineOf(3, true, 0), 16, 15}

func packQ2_K(dst []byte, src, importance []float32) {
	var p pair
	var q [256]uint8
	var at steps
	for ; len(src) >= 256; dst, src = dst[84:], src[256:] {
		x, w := p.load(src[:256], next(&importance, 256))
		d, m := super2.search(dst[80:], x, w, &at)
		clear(dst[:80])
		for j := range 16 {
			codes(q[16*j:16*j+16], x[16*j:16*j+16], d*at.s[j], -m*at.t[j], 0, 3)
			dst[j] = byte(at.s[j]) | byte(at.t[j])<<4
		}
		packPairs(dst[16:80], &q)
	}
}

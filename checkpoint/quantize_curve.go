package checkpoint

// curve4Codes are the codes of IQ4_NL nearest to −128, −127.5, … 127.5: the
// middle between two steps of the curve is a multiple of a half.
var curve4Codes = func() (codes [512]uint8) {
	for i := range codes {
		v, best := float32(i)/2-128+0.25, 0 // in the half that begins there
		for c, step := range curve4 {
			if (v-step)*(v-step) < (v-curve4[best])*(v-curve4[best]) {
				best = c
			}
		}
		codes[i] = uint8(best)
	}
	return codes
}()

// curveCode is the code of the step nearest to v.
func curveCode(v float64) uint8 {
	return curve4Codes[int(2*max(-128, min(127.5, v))+256)]
}

// curveEnds are where the search puts the largest element.
var curveEnds = spanOf(-127, 113, 12, 8, 2).ends

// searchCurve is the scale of the curve that leaves the least error.
func searchCurve(x, w []float64) float64 {
	most := largest(x)
	if most < leastScale && most > -leastScale {
		return 0
	}
	var best, gained float64
	try := func(inverse float64) bool {
		var wxq, wqq float64
		for i, v := range x {
			q := float64(curve4[curveCode(v*inverse)])
			wxq += float64(w[i] * q * v)
			wqq += float64(w[i] * q * q)
		}
		if wqq == 0 || !(wxq*wxq/wqq > gained) {
			return false
		}
		best, gained = wxq/wqq, wxq*wxq/wqq
		return true
	}
	for _, end := range curveEnds {
		try(end / most)
	}
	for range 3 {
		if best == 0 || !try(1/best) {
			break
		}
	}
	return best
}

func packIQ4_NL(dst []byte, src, importance []float32) {
	var p pair
	var q [32]uint8
	for ; len(src) >= 32; dst, src = dst[18:], src[32:] {
		x, w := p.load(src[:32], next(&importance, 32))
		d := storeHalf(dst, searchCurve(x, w))
		inverse := 0.0
		if d != 0 {
			inverse = 1 / d
		}
		for i, v := range x {
			q[i] = curveCode(v * inverse)
		}
		packNibbles(dst[2:18], &q)
	}
}

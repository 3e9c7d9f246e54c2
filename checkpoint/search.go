package checkpoint

import (
	"cmp"
	"math"
	"slices"
)

// The encoders look for the scales that leave the least weighted squared
// error. For given codes q the best scale is a least-squares fit; for a given
// scale the best codes are the nearest. The error as a function of the scale
// has a minimum between any two scales at which a code changes, so a search
// tries scales that put the largest element at various places near the end of
// the codes' range, and then fits and rounds in turns.
//
// All of it is in float64: differences of errors, which decide, are a
// millionth of the sums that they are differences of. Products that a sum
// follows are converted explicitly, so that no machine fuses the two and all
// write the same file.

// roundCode rounds to the nearest integer, ties to even, below 2⁵¹.
func roundCode(v float64) float64 {
	const magic = 3 << 51
	return float64(v+magic) - magic
}

// nearest is the code that v rounds to.
func nearest(v, lo, hi float64) float64 {
	if v <= lo {
		return lo
	}
	if v >= hi {
		return hi
	}
	return roundCode(v)
}

// span is a search for one scale: x ≈ d·q with lo ≤ q ≤ hi.
type span struct {
	lo, hi float64
	// ends is where the search puts the element that is the largest.
	ends []float64
}

// spanOf looks from below to beyond the end of the codes, on both sides.
func spanOf(lo, hi, below, beyond, step float64) span {
	s := span{lo: lo, hi: hi}
	for e := lo - beyond; e <= lo+below; e += step {
		s.ends = append(s.ends, e)
	}
	for e := hi - below; e <= hi+beyond; e += step {
		s.ends = append(s.ends, e)
	}
	return s.sorted()
}

// sorted has the ends first at which most scales are found again that an
// encoder had chosen before.
func (s span) sorted() span {
	slices.SortStableFunc(s.ends, func(a, b float64) int {
		return cmp.Compare(min(math.Abs(a-s.lo), math.Abs(a-s.hi)), min(math.Abs(b-s.lo), math.Abs(b-s.hi)))
	})
	return s
}

// mirrored looks on one side only, for codes that are the same on both.
func mirrored(hi, below, beyond, step float64) span {
	s := spanOf(-hi, hi, below, beyond, step)
	s.ends = slices.DeleteFunc(s.ends, func(e float64) bool { return e < 0 })
	return s
}

// largest is the element that is farthest from zero.
func largest(x []float64) float64 {
	most := 0.0
	for _, v := range x {
		if math.Abs(v) > math.Abs(most) {
			most = v
		}
	}
	return most
}

// fit is the best scale for the codes that x/d has, and how much less than
// Σ w·x² the error then is.
func (s *span) fit(x, w []float64, inverse float64) (d, gain float64) {
	var wxq, wqq float64
	w = w[:len(x)]
	for i, v := range x {
		q := nearest(v*inverse, s.lo, s.hi)
		wq := w[i] * q
		wxq += float64(wq * v)
		wqq += float64(wq * q)
	}
	if wqq == 0 {
		return 0, 0
	}
	d = wxq / wqq
	return d, d * wxq
}

// search is the scale that leaves the least error; 0 where nothing is worth a
// code.
func (s *span) search(x, w []float64) float64 {
	most := largest(x)
	if math.Abs(most) < leastScale {
		return 0
	}
	if s.lo == -s.hi {
		most = math.Abs(most) // both signs do; the usual one is plus
	}
	var best, gained float64
	all := sumsOf(x, w).wxx
	for _, end := range s.ends {
		if d, gain := s.fit(x, w, end/most); gain > gained {
			best, gained = d, gain
		}
		if all-gained <= exact*all {
			return best
		}
	}
	for range 3 {
		d, gain := s.fit(x, w, 1/best)
		if !(gain > gained) {
			break
		}
		best, gained = d, gain
	}
	return best
}

// leastScale is half of the smallest positive half-precision number: what is
// smaller rounds to a scale of zero.
const leastScale = 0x1p-25

// exact is the part of the sum of squares that float32 leaves of a block which
// the format holds without error: there is nothing better to find.
const exact = 0x1p-44

// codes are those nearest to x for the scale and shift d·q + m; all as near to
// zero as the range has where d is zero.
func codes(q []uint8, x []float64, d, m, lo, hi float64) {
	inverse := 0.0
	if d != 0 {
		inverse = 1 / d
	}
	for i, v := range x {
		q[i] = uint8(nearest((v-m)*inverse, lo, hi) - lo)
	}
}

// miss is the error that the scale and shift d·q + m leave.
func miss(x, w []float64, d, m, lo, hi float64) float64 {
	sum, inverse := 0.0, 0.0
	if d != 0 {
		inverse = 1 / d
	}
	w = w[:len(x)]
	for i, v := range x {
		v -= m
		e := float64(d*nearest(v*inverse, lo, hi)) - v
		sum += float64(w[i] * e * e)
	}
	return sum
}

// affine is a search for a scale and a shift: x ≈ d·q + m with 0 ≤ q ≤ hi.
type affine struct {
	hi float64
	// starts are the codes that the search gives to the least and to the
	// largest element.
	starts [][2]float64
	// down says that m must not be above zero.
	down bool
}

// affineOf looks a code to both sides of either end, and tries ranges that are
// up to short whole codes short.
func affineOf(hi float64, down bool, short int) affine {
	a := affine{hi: hi, down: down}
	for first := -1.0; first <= 1; first += 0.5 {
		for last := hi - 1; last <= hi+1; last += 0.5 {
			a.starts = append(a.starts, [2]float64{first, last})
		}
	}
	for k := 2; k <= short; k++ {
		a.starts = append(a.starts, [2]float64{0, hi - float64(k)})
	}
	return a
}

// sums are of w, w·x, and w·x²: what all fits share.
type sums struct{ w, wx, wxx float64 }

func sumsOf(x, w []float64) sums {
	var s sums
	w = w[:len(x)]
	for i, v := range x {
		s.w += w[i]
		s.wx += float64(w[i] * v)
		s.wxx += float64(w[i] * v * v)
	}
	return s
}

// fit is the best scale and shift for the codes x·inverse + first has, and
// the error that they leave.
func (a *affine) fit(x, w []float64, s sums, inverse, first float64) (d, m, left float64) {
	var wq, wqq, wxq float64
	w = w[:len(x)]
	for i, v := range x {
		q := nearest(float64(v*inverse)+first, 0, a.hi)
		t := w[i] * q
		wq += t
		wqq += float64(t * q)
		wxq += float64(t * v)
	}
	det := float64(s.w*wqq) - float64(wq*wq)
	if wqq == 0 || det <= 1e-12*s.w*wqq { // one code for all
		if m = s.wx / s.w; !a.down || m <= 0 {
			return 0, m, s.wxx - float64(m*s.wx)
		}
		if wqq == 0 {
			return 0, 0, s.wxx
		}
		return wxq / wqq, 0, s.wxx - float64(wxq*wxq/wqq)
	}
	d = (float64(s.w*wxq) - float64(s.wx*wq)) / det
	m = (float64(wqq*s.wx) - float64(wq*wxq)) / det
	if a.down && m > 0 {
		d, m = wxq/wqq, 0
	}
	left = s.wxx - float64(d*wxq) - float64(m*s.wx)
	return d, m, left
}

// search is the scale and the shift that leave the least error.
func (a *affine) search(x, w []float64) (d, m float64) {
	low, high := x[0], x[0]
	for _, v := range x {
		low, high = min(low, v), max(high, v)
	}
	if a.down {
		low = min(low, 0)
	}
	s, left := sumsOf(x, w), math.Inf(1)
	if high-low < leastScale || s.w == 0 {
		return 0, low
	}
	for _, start := range a.starts {
		inverse := (start[1] - start[0]) / (high - low)
		if d1, m1, left1 := a.fit(x, w, s, inverse, start[0]-float64(low*inverse)); left1 < left {
			d, m, left = d1, m1, left1
		}
		if left <= exact*s.wxx {
			return d, m
		}
	}
	for range 4 {
		d0, m0, from := d, m, left
		if d == 0 {
			break
		}
		for _, f := range nearby {
			if d1, m1, left1 := a.fit(x, w, s, f/d0, -f*m0/d0); left1 < left {
				d, m, left = d1, m1, left1
			}
		}
		if left > from*(1-1e-3) {
			break
		}
	}
	return d, m
}

// nearby are the factors of the scale by which the search looks around the
// best that it has found, as long as that gains a thousandth.
var nearby = [...]float64{1, 0.985, 0.994, 1.006, 1.015}

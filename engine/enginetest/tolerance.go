package enginetest

import (
	"math"

	"lapidary/checkpoint"
	"lapidary/engine"
)

const (
	// relative is what a handful of float32 operations cost, 2⁻²⁴ (6e-8) each,
	// where one of them is a sum of squares or an exponential.
	relative = 2e-6
	// floatProduct is of ‖x‖·‖w‖, the most a product of x and w can be. A sum
	// of K terms in float32 errs by about √K·2⁻²⁴ of its partial sums, which
	// are about ‖x‖·‖w‖/√K: the length does not matter.
	floatProduct = 1e-6
	// quantisedProduct is of max|x|·‖w‖. Rounding x to a sign and 12 bits moves
	// an element by at most half of max|x|/4032, evenly spread; the product
	// moves by a sum of such, whose standard deviation is max|x|/4032/√12·‖w‖.
	// Six of them are allowed: 1 in 500 million results is further off. An
	// engine that keeps 15 bits uses a quarter of it.
	quantisedProduct = 6 / (4032 * 3.4641016)
	// attentionExact is of the greatest value. Scores of size 5 err by some
	// 5·2⁻²⁴, exponentials by as much, and what is attended to moves with them.
	attentionExact = 5e-6
	// attentionHalf is the same where keys or values are not half-precision
	// numbers: rounding moves a value by up to 2⁻¹¹ (5e-4), and a score of
	// independent terms by about 3e-4, which goes to all the weights at once.
	attentionHalf = 2e-3
	// attentionInt8 is the same for codes. A head's greatest magnitude is three
	// or four times the usual one, so rounding to a 127th of it moves the usual
	// element by about 1 %; a score of such elements moves by as much of its
	// usual size, the weights with it, and what is gathered of few positions
	// moves like them.
	attentionInt8 = 2e-2
	// saturated is of the greatest possible result of an S-shaped function,
	// which is a difference of near numbers where the result is small.
	saturated = 1e-6
	// recurrent is of a recurrence's result, and of the part that is left of the
	// one before it. That part errs by the size of its exponent times 2⁻²⁴; what
	// is new by a handful of operations, if it is made of exp(x) − 1: where a is
	// near 1, float32 leaves little of 1 − a².
	recurrent = 2e-6
)

// extent is what is known about the keys and values of an attention.
type extent struct {
	top     float64 // greatest |v|
	inexact bool    // some element is not a half-precision number
}

func extentOf(k, v []float32) (e extent) {
	for _, x := range v {
		e.top = max(e.top, math.Abs(float64(x)))
	}
	for _, part := range [][]float32{k, v} {
		for _, x := range part {
			e.inexact = e.inexact || roundHalf(x) != x
		}
	}
	return e
}

func (e *extent) join(o extent) {
	e.top, e.inexact = max(e.top, o.top), e.inexact || o.inexact
}

func (e *extent) tolerance(keep engine.Precision) float64 {
	switch {
	case keep == engine.Int8:
		return attentionInt8 * e.top
	case keep == engine.Half && e.inexact:
		return attentionHalf * e.top
	default:
		return attentionExact * e.top
	}
}

// roundHalf is the nearest half-precision number.
func roundHalf(x float32) float32 { return checkpoint.HalfToFloat(checkpoint.FloatToHalf(x)) }

func norm(x []float32) float64 {
	var s float64
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	return math.Sqrt(s)
}

func greatest(x []float32) float64 {
	var top float64
	for _, v := range x {
		top = max(top, math.Abs(float64(v)))
	}
	return top
}

package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Quantize is the inverse of [Dequantize]: it stores the elements of src,
// which must be a whole number of t's blocks, in dst, which must be exactly as
// long as those blocks. Formats that have no encoder are refused, and so are
// elements that are not finite or that the format is too narrow for.
//
// Codes and scales of a quantised format are those that make the sum of
// importance · (element − stored element)² least, as far as a search finds
// them. The importance of an element is how much its error matters, such as
// the mean square of what it is multiplied with; nil is the same for all. It
// must not be negative.
func Quantize(t Type, dst []byte, src, importance []float32) error {
	l := t.layout()
	switch {
	case l.pack == nil:
		return fmt.Errorf("format %s cannot be written; choose one of %s", t, writable())
	case len(src)%l.block != 0:
		return fmt.Errorf("%d elements are not a whole number of %s blocks of %d", len(src), t, l.block)
	case len(dst) != len(src)/l.block*l.bytes:
		return fmt.Errorf("%d elements of %s take %d bytes, not %d", len(src), t, len(src)/l.block*l.bytes, len(dst))
	case importance != nil && len(importance) != len(src):
		return fmt.Errorf("%d elements have importances for %d", len(src), len(importance))
	}
	if i := unfit(t, src); i >= 0 {
		return &ValueError{i, src[i], t}
	}
	l.pack(dst, src, importance)
	return nil
}

// ValueError is an element that a format cannot hold.
type ValueError struct {
	Index int
	Value float32
	Type  Type
}

func (e *ValueError) Error() string {
	if v := float64(e.Value); math.IsNaN(v) || math.IsInf(v, 0) {
		return fmt.Sprintf("element %d is %v: the weights are damaged, fetch them again", e.Index, e.Value)
	}
	return fmt.Sprintf("element %d is %v, beyond the ±%v that %s is sure to hold; use BF16 or F32", e.Index, e.Value, float32(maxHalf), e.Type)
}

// maxHalf is the largest half-precision number, which scales are.
const maxHalf = 65504

// unfit is the index of the first element that t cannot hold, or −1.
func unfit(t Type, src []float32) int {
	limit := float32(maxHalf)
	if t == F32 || t == BF16 {
		limit = math.MaxFloat32
	}
	for i, v := range src {
		if !(v >= -limit && v <= limit) {
			return i
		}
	}
	return -1
}

// storeHalf stores a scale and returns what it has become. A scale beyond the
// format's reach is the largest there is.
func storeHalf(dst []byte, v float64) float64 {
	h := FloatToHalf(float32(max(-maxHalf, min(maxHalf, v))))
	binary.LittleEndian.PutUint16(dst, h)
	return float64(HalfToFloat(h))
}

// reaching rounds tiny scales up and not to the nearest: half-precision numbers
// lie 2⁻²⁴ apart there, and a scale that is much too small leaves the largest
// elements out of the codes' reach.
func reaching(d float64) float64 {
	const step, tiny = 0x1p-24, 0x1p-18
	if math.Abs(d) >= tiny {
		return d
	}
	return math.Copysign(math.Ceil(math.Abs(d)/step)*step, d)
}

func packF32(dst []byte, src, _ []float32) {
	for i, v := range src {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
	}
}

func packF16(dst []byte, src, _ []float32) {
	for i, v := range src {
		binary.LittleEndian.PutUint16(dst[2*i:], FloatToHalf(v))
	}
}

// packBF16 rounds to the nearest, ties to even. What would round to an
// infinity becomes the largest finite number.
func packBF16(dst []byte, src, _ []float32) {
	for i, v := range src {
		b := math.Float32bits(v)
		b += 0x7fff + b>>16&1
		if b&0x7f800000 == 0x7f800000 {
			b -= 0x10000
		}
		binary.LittleEndian.PutUint16(dst[2*i:], uint16(b>>16))
	}
}

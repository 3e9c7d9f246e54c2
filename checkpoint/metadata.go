package checkpoint

import (
	"encoding/binary"
	"iter"
	"math"
	"slices"
)

// valueType numbers the metadata types of the GGUF specification.
type valueType uint32

const (
	typeUint8 valueType = iota
	typeInt8
	typeUint16
	typeInt16
	typeUint32
	typeInt32
	typeFloat32
	typeBool
	typeString
	typeArray
	typeUint64
	typeInt64
	typeFloat64
	valueTypes // how many there are
)

// valueBytes is the width of each fixed-width type; 0 for strings and arrays.
var valueBytes = [valueTypes]uint64{
	typeUint8: 1, typeInt8: 1, typeUint16: 2, typeInt16: 2, typeUint32: 4, typeInt32: 4,
	typeFloat32: 4, typeBool: 1, typeUint64: 8, typeInt64: 8, typeFloat64: 8,
}

// value is one metadata entry, still encoded. For a string raw is its bytes;
// for an array of strings it is the length-prefixed run of them.
type value struct {
	typ   valueType
	array bool
	n     int // elements of an array; 1 for a scalar
	from  int // offset in the file
	raw   []byte
}

// Metadata is the key-value part of a GGUF file. Values are decoded when they
// are asked for, from the memory map: it must not be used after the checkpoint
// is closed.
//
// A getter's second result is false when the key is missing or its value is
// not of that kind. Integers of every width convert to each other and to
// floats as long as the value is kept.
type Metadata struct {
	keys   []string
	values map[string]value
}

// Keys lists the keys in file order.
func (m *Metadata) Keys() []string { return slices.Clone(m.keys) }

// String is the text under key.
func (m *Metadata) String(key string) (string, bool) {
	v, ok := m.values[key]
	if !ok || v.array || v.typ != typeString {
		return "", false
	}
	return string(v.raw), true
}

// Uint is the integer under key, which must not be negative.
func (m *Metadata) Uint(key string) (uint64, bool) {
	v, ok := m.values[key]
	if !ok || v.array {
		return 0, false
	}
	return v.uint(0)
}

// Float is the number under key, whether stored as a float or an integer.
func (m *Metadata) Float(key string) (float64, bool) {
	v, ok := m.values[key]
	if !ok || v.array {
		return 0, false
	}
	return v.float(0)
}

// Bool is the truth value under key.
func (m *Metadata) Bool(key string) (bool, bool) {
	v, ok := m.values[key]
	if !ok || v.array || v.typ != typeBool {
		return false, false
	}
	return v.raw[0] != 0, true
}

// Strings is the array of strings under key.
func (m *Metadata) Strings(key string) (StringArray, bool) {
	v, ok := m.values[key]
	if !ok || !v.array || v.typ != typeString {
		return StringArray{}, false
	}
	return StringArray{v.n, v.raw}, true
}

// Ints is the array of integers under key.
func (m *Metadata) Ints(key string) ([]int64, bool) {
	if v := m.values[key]; v.array && v.typ == typeInt32 {
		// The token types of a large vocabulary: 4 ms by single elements, 0.9 so.
		out := make([]int64, v.n)
		for i := range out {
			out[i] = int64(int32(binary.LittleEndian.Uint32(v.raw[4*i:])))
		}
		return out, true
	}
	return elements(m, key, value.int)
}

// Floats is the array of numbers under key, rounded to float32.
func (m *Metadata) Floats(key string) ([]float32, bool) {
	if v := m.values[key]; v.array && v.typ == typeFloat32 {
		// The scores of a large vocabulary, likewise.
		out := make([]float32, v.n)
		unpackF32(out, v.raw)
		return out, true
	}
	return elements(m, key, func(v value, i int) (float32, bool) {
		f, ok := v.float(i)
		return float32(f), ok
	})
}

// Bools is the array of truth values under key.
func (m *Metadata) Bools(key string) ([]bool, bool) {
	return elements(m, key, func(v value, i int) (bool, bool) {
		return v.raw[i] != 0, v.typ == typeBool
	})
}

// elements decodes every element of an array, or none.
func elements[T any](m *Metadata, key string, get func(value, int) (T, bool)) ([]T, bool) {
	v, ok := m.values[key]
	if !ok || !v.array || v.typ == typeString {
		return nil, false
	}
	out := make([]T, v.n)
	for i := range out {
		if out[i], ok = get(v, i); !ok {
			return nil, false
		}
	}
	return out, true
}

// Any is the value under key as the Go type nearest to what is stored: uint8
// to int64, float32, float64, bool, string, a slice of one of these for an
// array, a [StringArray] for an array of strings; nil when the key is missing.
func (m *Metadata) Any(key string) any {
	v, ok := m.values[key]
	switch {
	case !ok:
		return nil
	case v.typ == typeString && v.array:
		return StringArray{v.n, v.raw}
	case v.typ == typeString:
		return string(v.raw)
	case v.array:
		return natural[v.typ].slice(v)
	default:
		return natural[v.typ].scalar(v)
	}
}

// natural gives, for each fixed-width type, its values as Go has them.
var natural = [valueTypes]struct {
	scalar, slice func(value) any
}{
	typeUint8:   goType(func(b []byte) uint8 { return b[0] }),
	typeInt8:    goType(func(b []byte) int8 { return int8(b[0]) }),
	typeUint16:  goType(binary.LittleEndian.Uint16),
	typeInt16:   goType(func(b []byte) int16 { return int16(binary.LittleEndian.Uint16(b)) }),
	typeUint32:  goType(binary.LittleEndian.Uint32),
	typeInt32:   goType(func(b []byte) int32 { return int32(binary.LittleEndian.Uint32(b)) }),
	typeFloat32: goType(func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }),
	typeBool:    goType(func(b []byte) bool { return b[0] != 0 }),
	typeUint64:  goType(binary.LittleEndian.Uint64),
	typeInt64:   goType(func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) }),
	typeFloat64: goType(func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }),
}

func goType[T any](get func([]byte) T) struct{ scalar, slice func(value) any } {
	return struct{ scalar, slice func(value) any }{
		func(v value) any { return get(v.raw) },
		func(v value) any {
			out := make([]T, v.n)
			for i := range out {
				out[i] = get(v.at(i))
			}
			return out
		},
	}
}

// at is the bytes of element i of a fixed-width value.
func (v value) at(i int) []byte { return v.raw[i*int(valueBytes[v.typ]):] }

// int is element i of an integer value, as long as it fits.
func (v value) int(i int) (int64, bool) {
	b := v.at(i)
	switch v.typ {
	case typeUint8:
		return int64(b[0]), true
	case typeInt8:
		return int64(int8(b[0])), true
	case typeUint16:
		return int64(binary.LittleEndian.Uint16(b)), true
	case typeInt16:
		return int64(int16(binary.LittleEndian.Uint16(b))), true
	case typeUint32:
		return int64(binary.LittleEndian.Uint32(b)), true
	case typeInt32:
		return int64(int32(binary.LittleEndian.Uint32(b))), true
	case typeInt64:
		return int64(binary.LittleEndian.Uint64(b)), true
	case typeUint64:
		n := int64(binary.LittleEndian.Uint64(b))
		return n, n >= 0
	}
	return 0, false
}

func (v value) uint(i int) (uint64, bool) {
	if v.typ == typeUint64 {
		return binary.LittleEndian.Uint64(v.at(i)), true
	}
	n, ok := v.int(i)
	return uint64(n), ok && n >= 0
}

func (v value) float(i int) (float64, bool) {
	switch v.typ {
	case typeFloat32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(v.at(i)))), true
	case typeFloat64:
		return math.Float64frombits(binary.LittleEndian.Uint64(v.at(i))), true
	case typeUint64:
		return float64(binary.LittleEndian.Uint64(v.at(i))), true
	}
	n, ok := v.int(i)
	return float64(n), ok
}

// StringArray is an array of strings inside a memory map.
type StringArray struct {
	n   int
	raw []byte // n times: length (8 bytes), bytes; checked when it was read
}

// Len is the number of strings.
func (a StringArray) Len() int { return a.n }

// All yields the strings in order. The bytes alias the file: they must not be
// changed, nor used after the checkpoint is closed.
func (a StringArray) All() iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		rest := a.raw
		for i := range a.n {
			end := 8 + int(binary.LittleEndian.Uint64(rest))
			if !yield(i, rest[8:end:end]) {
				return
			}
			rest = rest[end:]
		}
	}
}

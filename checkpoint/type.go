package checkpoint

import "fmt"

// Type is the storage format of a tensor's elements. The numbers are those of
// the GGUF specification, so a Type can be read from a file as it stands.
type Type uint32

// The storage formats that can be read. dequantize.go and superblock.go give
// the layout of each.
const (
	F32    Type = 0
	F16    Type = 1
	Q4_0   Type = 2
	Q4_1   Type = 3
	Q5_0   Type = 6
	Q5_1   Type = 7
	Q8_0   Type = 8
	Q2_K   Type = 10
	Q3_K   Type = 11
	Q4_K   Type = 12
	Q5_K   Type = 13
	Q6_K   Type = 14
	IQ4_NL Type = 20
	IQ4_XS Type = 23
	BF16   Type = 30
	MXFP4  Type = 39
)

// layout says how a format packs its elements: block elements in bytes bytes,
// which unpack turns into floats and pack makes of them, any whole number of
// blocks at a time.
type layout struct {
	name         string
	block, bytes int
	unpack       func(dst []float32, src []byte)
	pack         func(dst []byte, src, importance []float32) // nil: cannot be written
}

var layouts = [...]layout{
	F32:    {"F32", 1, 4, unpackF32, packF32},
	F16:    {"F16", 1, 2, unpackF16, packF16},
	BF16:   {"BF16", 1, 2, unpackBF16, packBF16},
	Q4_0:   {"Q4_0", 32, 18, unpackQ4_0, packQ4_0},
	Q4_1:   {"Q4_1", 32, 20, unpackQ4_1, packQ4_1},
	Q5_0:   {"Q5_0", 32, 22, unpackQ5_0, packQ5_0},
	Q5_1:   {"Q5_1", 32, 24, unpackQ5_1, packQ5_1},
	Q8_0:   {"Q8_0", 32, 34, unpackQ8_0, packQ8_0},
	Q2_K:   {"Q2_K", 256, 84, unpackQ2_K, packQ2_K},
	Q3_K:   {"Q3_K", 256, 110, unpackQ3_K, packQ3_K},
	Q4_K:   {"Q4_K", 256, 144, unpackQ4_K, packQ4_K},
	Q5_K:   {"Q5_K", 256, 176, unpackQ5_K, packQ5_K},
	Q6_K:   {"Q6_K", 256, 210, unpackQ6_K, packQ6_K},
	IQ4_NL: {"IQ4_NL", 32, 18, unpackIQ4_NL, packIQ4_NL},
	IQ4_XS: {"IQ4_XS", 256, 136, unpackIQ4_XS, nil},
	MXFP4:  {"MXFP4", 32, 17, unpackMXFP4, nil},
}

// opaqueBase is the first of the numbers, beyond any in GGUF, that stand for
// what safetensors files can hold and this package cannot read. Such a tensor
// is listed, and fails when its elements are asked for.
const opaqueBase Type = 1 << 16

// opaques names those formats; one with 0 bytes has elements narrower than a
// byte. The last stands for names that are not in the table.
var opaques = [...]layout{
	{"BOOL", 1, 1, nil, nil}, {"U8", 1, 1, nil, nil}, {"I8", 1, 1, nil, nil}, {"U16", 1, 2, nil, nil}, {"I16", 1, 2, nil, nil},
	{"U32", 1, 4, nil, nil}, {"I32", 1, 4, nil, nil}, {"U64", 1, 8, nil, nil}, {"I64", 1, 8, nil, nil}, {"F64", 1, 8, nil, nil},
	{"C64", 1, 8, nil, nil}, {"F8_E4M3", 1, 1, nil, nil}, {"F8_E5M2", 1, 1, nil, nil}, {"F8_E8M0", 1, 1, nil, nil},
	{"F8_E4M3FNUZ", 1, 1, nil, nil}, {"F8_E5M2FNUZ", 1, 1, nil, nil},
	{"F4", 1, 0, nil, nil}, {"F6_E2M3", 1, 0, nil, nil}, {"F6_E3M2", 1, 0, nil, nil}, {"of unknown dtype", 1, 0, nil, nil},
}

// layout is the zero layout for a number that no table has.
func (t Type) layout() layout {
	switch {
	case int(t) < len(layouts):
		return layouts[t]
	case t >= opaqueBase && t < opaqueBase+Type(len(opaques)):
		return opaques[t-opaqueBase]
	}
	return layout{}
}

// Known reports whether t is a format this package can read.
func (t Type) Known() bool { return t.layout().unpack != nil }

// Block is the number of elements packed together: 1 for float formats.
func (t Type) Block() int { return t.layout().block }

// BlockBytes is the number of bytes one block takes.
func (t Type) BlockBytes() int { return t.layout().bytes }

// Quantised reports whether elements share scales in blocks.
func (t Type) Quantised() bool { return t.layout().block > 1 }

// String is the format's name as llama.cpp spells it: "Q4_K".
func (t Type) String() string {
	if l := t.layout(); l.block > 0 {
		return l.name
	}
	return fmt.Sprintf("type(%d)", uint32(t))
}

// otherNames are formats of the GGUF specification that cannot be read, so
// that a message can call them by name.
var otherNames = map[Type]string{
	4: "Q4_2", 5: "Q4_3", 9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS",
	19: "IQ1_S", 21: "IQ3_S", 22: "IQ2_S", 24: "I8", 25: "I16", 26: "I32", 27: "I64",
	28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0",
}

// otherName is " (IQ1_S)" for such a format, else empty.
func otherName(t Type) string {
	if name, ok := otherNames[t]; ok {
		return " (" + name + ")"
	}
	return ""
}

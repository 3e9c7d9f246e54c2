package kernel

import (
	"unsafe"

	"golang.org/x/sys/cpu"

	"lapidary/checkpoint"
)

// available lists what this processor runs, best first.
func available() []*Set {
	var sets []*Set
	x := cpu.X86
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX512VNNI && x.HasAVX2 && x.HasFMA {
		sets = append(sets, setAVX512())
	}
	// F16C comes with every processor that has AVX2 (x/sys/cpu has no flag for it).
	if x.HasAVX2 && x.HasFMA {
		sets = append(sets, setAVX2())
	}
	return sets
}

// shared are the loops that both sets have in common.
func shared(s Set) *Set {
	s.Interleave, s.Extent = interleaveAVX2, extentAVX2
	s.Dot, s.ScaleMul, s.GELUMul, s.Add = dotAVX2, scaleMulAVX2, geluMulAVX2, addAVX2
	s.Short = map[checkpoint.Type]Short{checkpoint.F16: {fromF16AVX2, dotF16AVX2}, checkpoint.BF16: {fromBF16AVX2, dotBF16AVX2}}
	s.Exp, s.SoftCap, s.Max, s.Half, s.Rotate = expAVX2, softCapAVX2, maxAVX2, toHalfAVX2, rotateAVX2
	s.Expand = map[checkpoint.Type]func(src *byte, blocks int, codes *uint8, scale, min *float32){
		checkpoint.Q8_0: expandQ8_0AVX2, checkpoint.Q4_0: expandQ4_0AVX2, checkpoint.Q4_1: expandQ4_1AVX2,
		checkpoint.Q5_0: expandQ5_0AVX2, checkpoint.Q5_1: expandQ5_1AVX2,
		checkpoint.Q4_K: expandQ4_KAVX2, checkpoint.Q5_K: expandQ5_KAVX2, checkpoint.Q6_K: expandQ6_KAVX2,
	}
	return &s
}

func setAVX2() *Set {
	return shared(Set{
		Name: "avx2", NR: 16, MR: 2, DigitBits: 6,
		Quantize: quantizeAVX2,
		Gemv: map[checkpoint.Type]Gemv{
			checkpoint.Q8_0: gemvQ8_0AVX2, checkpoint.Q4_0: gemvQ4_0AVX2, checkpoint.Q4_1: gemvQ4_1AVX2,
			checkpoint.Q5_0: gemvQ5_0AVX2, checkpoint.Q5_1: gemvQ5_1AVX2,
			checkpoint.Q4_K: gemvQ4_KAVX2, checkpoint.Q5_K: gemvQ5_KAVX2, checkpoint.Q6_K: gemvQ6_KAVX2,
		},
		Sketch: &Sketch{8, sketchQ8_0AVX2, sketchGemvAVX2, nil},
		GemvFew: map[checkpoint.Type]GemvFew{
			checkpoint.Q8_0: {gemvQ8_0TwoAVX2, gemvQ8_0FourAVX2},
			checkpoint.Q4_0: {gemvQ4_0TwoAVX2, gemvQ4_0FourAVX2},
			checkpoint.Q4_1: {gemvQ4_1TwoAVX2, gemvQ4_1FourAVX2},
			checkpoint.Q5_0: {gemvQ5_0TwoAVX2, gemvQ5_0FourAVX2},
			checkpoint.Q5_1: {gemvQ5_1TwoAVX2, gemvQ5_1FourAVX2},
			checkpoint.Q4_K: {gemvQ4_KTwoAVX2},
			checkpoint.Q5_K: {gemvQ5_KTwoAVX2},
			checkpoint.Q6_K: {gemvQ6_KTwoAVX2},
		},
		QuantizeTile: tileAVX2(2), Center: centerAVX2,
		Gemm: map[Kind]Gemm{
			{Group: 32}: flat(gemm32AVX2), {Group: 32, Min: true}: flat(gemm32MinAVX2), {Group: 32, Wide: true}: flat(gemm32WideAVX2),
			{Group: 16}: flat(gemm16AVX2), {Group: 16, Min: true}: flat(gemm16MinAVX2),
		},
		Rows:   []int{4, 2, 1},
		MulF32: byRows(nil, mulF32AVX2_1, mulF32AVX2_2, nil, mulF32AVX2_4),
		MulF16: byRows(nil, mulF16AVX2_1, mulF16AVX2_2, nil, mulF16AVX2_4),
		MulI8:  byRows(nil, mulI8AVX2_1, mulI8AVX2_2, nil, mulI8AVX2_4),
	})
}

func setAVX512() *Set {
	s := shared(Set{
		Name: "avx512", NR: 32, MR: 4, DigitBits: 7,
		Quantize: quantizeAVX512,
		Gemv: map[checkpoint.Type]Gemv{
			checkpoint.Q8_0: gemvQ8_0AVX512, checkpoint.Q4_0: gemvQ4_0AVX512, checkpoint.Q4_1: gemvQ4_1AVX512,
			checkpoint.Q5_0: gemvQ5_0AVX512, checkpoint.Q5_1: gemvQ5_1AVX512,
			checkpoint.Q4_K: gemvQ4_KAVX512, checkpoint.Q5_K: gemvQ5_KAVX512, checkpoint.Q6_K: gemvQ6_KAVX512,
		},
		Sketch: &Sketch{16, sketchQ8_0AVX512, sketchGemvAVX512, sketchGemvFourAVX512},
		GemvFew: map[checkpoint.Type]GemvFew{
			checkpoint.Q8_0: {gemvQ8_0TwoAVX512, gemvQ8_0FourAVX512, gemvQ8_0EightAVX512},
			checkpoint.Q4_0: {gemvQ4_0TwoAVX512, gemvQ4_0FourAVX512, gemvQ4_0EightAVX512},
			checkpoint.Q4_1: {gemvQ4_1TwoAVX512, gemvQ4_1FourAVX512, gemvQ4_1EightAVX512},
			checkpoint.Q5_0: {gemvQ5_0TwoAVX512, gemvQ5_0FourAVX512, gemvQ5_0EightAVX512},
			checkpoint.Q5_1: {gemvQ5_1TwoAVX512, gemvQ5_1FourAVX512, gemvQ5_1EightAVX512},
			checkpoint.Q4_K: {gemvQ4_KTwoAVX512, gemvQ4_KFourAVX512, gemvQ4_KEightAVX512},
			checkpoint.Q5_K: {gemvQ5_KTwoAVX512, gemvQ5_KFourAVX512, gemvQ5_KEightAVX512},
			checkpoint.Q6_K: {gemvQ6_KTwoAVX512, gemvQ6_KFourAVX512, gemvQ6_KEightAVX512},
		},
		QuantizeTile: tileAVX2(4), Center: centerAVX512,
		Gemm: map[Kind]Gemm{
			{Group: 32}: flat(gemm32AVX512), {Group: 32, Min: true}: flat(gemm32MinAVX512), {Group: 32, Wide: true}: flat(gemm32AVX512),
			{Group: 16}: flat(gemm16AVX512), {Group: 16, Min: true}: flat(gemm16MinAVX512),
		},
		Rows:   []int{8, 4, 2, 1},
		MulF32: byRows(nil, mulF32AVX512_1, mulF32AVX512_2, nil, mulF32AVX512_4, nil, nil, nil, mulF32AVX512_8),
		MulF16: byRows(nil, mulF16AVX512_1, mulF16AVX512_2, nil, mulF16AVX512_4, nil, nil, nil, mulF16AVX512_8),
		MulI8:  byRows(nil, mulI8AVX512_1, mulI8AVX512_2, nil, mulI8AVX512_4, nil, nil, nil, mulI8AVX512_8),
	})
	s.Dot, s.ScaleMul, s.GELUMul, s.Exp, s.Extent = dotAVX512, scaleMulAVX512, geluMulAVX512, expAVX512, extentAVX512
	return s
}

// flat gives an assembly product its pointers one by one.
func flat(f func(codes *int8, scale, min *float32, shift *int32, digits *uint8, step int, dscale, dsum *float32, two *uint8, blocks int, out *float32, outStep int)) Gemm {
	return func(p *Panel, t *Tile, blocks int, out *float32, outStep int) {
		f((*int8)(unsafe.Pointer(p.Codes)), p.Scale, p.Min, p.Shift, t.Digits, 64*blocks, t.Scale, t.Sum, t.Two, blocks, out, outStep)
	}
}

// tileAVX2 quantises a row of a tile of mr rows.
func tileAVX2(mr int) func(x *float32, n int, mode *Mode, top *float32, digits *uint8, row int, scale, sum, sum16 *float32) {
	return func(x *float32, n int, mode *Mode, top *float32, digits *uint8, row int, scale, sum, sum16 *float32) {
		quantizeTileAVX2(x, n, (*uint8)(mode), top, past(digits, row*64*n), 4*mr, scale, sum, sum16)
	}
}

package kernel

import (
	"runtime"

	"golang.org/x/sys/cpu"

	"lapidary/checkpoint"
)

// available lists what this processor runs. Every Apple processor that runs
// macOS has the dot product extension.
func available() []*Set {
	if cpu.ARM64.HasASIMDDP || runtime.GOOS == "darwin" {
		return []*Set{setNEON()}
	}
	return nil
}

func setNEON() *Set {
	return &Set{
		Name: "neon", NR: 16, MR: 4, DigitBits: 7,
		Quantize: quantizeNEON, Interleave: interleaveNEON,
		Gemv: map[checkpoint.Type]Gemv{
			checkpoint.Q8_0: gemvQ8_0NEON, checkpoint.Q4_0: gemvQ4_0NEON, checkpoint.Q4_1: gemvQ4_1NEON,
			checkpoint.Q5_0: gemvQ5_0NEON, checkpoint.Q5_1: gemvQ5_1NEON,
			checkpoint.Q4_K: gemvQ4_KNEON, checkpoint.Q5_K: gemvQ5_KNEON, checkpoint.Q6_K: gemvQ6_KNEON,
		},
		Expand: map[checkpoint.Type]func(src *byte, blocks int, codes *uint8, scale, min *float32){
			checkpoint.Q8_0: expandQ8_0NEON, checkpoint.Q4_0: expandQ4_0NEON, checkpoint.Q4_1: expandQ4_1NEON,
			checkpoint.Q5_0: expandQ5_0NEON, checkpoint.Q5_1: expandQ5_1NEON,
			checkpoint.Q4_K: expandQ4_KNEON, checkpoint.Q5_K: expandQ5_KNEON, checkpoint.Q6_K: expandQ6_KNEON,
		},
		Gemm32: gemm32NEON, Gemm16: gemm16NEON, GemmWide: gemmWideNEON,
		Rows:   []int{4, 2, 1},
		MulF32: byRows(nil, mulF32NEON_1, mulF32NEON_2, nil, mulF32NEON_4),
		MulF16: byRows(nil, mulF16NEON_1, mulF16NEON_2, nil, mulF16NEON_4),
		Dot:    dotNEON, ScaleMul: scaleMulNEON, GELUMul: geluMulNEON, Add: addNEON,
		Exp: expNEON, SoftCap: softCapNEON, Max: maxNEON, Half: toHalfNEON, Rotate: rotateNEON,
	}
}

#include "textflag.h"

// func readAVX2(p *byte, n int)
// n is a multiple of 256. Memory is asked 8 kB ahead, as the kernels do.
TEXT ·readAVX2(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), SI
	MOVQ n+8(FP), CX
	VPXOR Y0, Y0, Y0
	VPXOR Y1, Y1, Y1
	VPXOR Y2, Y2, Y2
	VPXOR Y3, Y3, Y3
read:
	PREFETCHT0 8192(SI)
	PREFETCHT0 8256(SI)
	PREFETCHT0 8320(SI)
	PREFETCHT0 8384(SI)
	VPXOR 0(SI), Y0, Y0
	VPXOR 32(SI), Y1, Y1
	VPXOR 64(SI), Y2, Y2
	VPXOR 96(SI), Y3, Y3
	VPXOR 128(SI), Y0, Y0
	VPXOR 160(SI), Y1, Y1
	VPXOR 192(SI), Y2, Y2
	VPXOR 224(SI), Y3, Y3
	ADDQ $256, SI
	SUBQ $256, CX
	JNE read
	VZEROUPPER
	RET

// func multiplyAVX512(rounds int)
// A round is 16 VPDPBUSD of 64 products each, into 16 sums: more than the two
// a cycle times the five cycles one takes.
TEXT ·multiplyAVX512(SB), NOSPLIT, $0-8
	MOVQ rounds+0(FP), CX
	VPXORD Z16, Z16, Z16
	VPXORD Z17, Z17, Z17
products512:
	VPDPBUSD Z16, Z17, Z0
	VPDPBUSD Z16, Z17, Z1
	VPDPBUSD Z16, Z17, Z2
	VPDPBUSD Z16, Z17, Z3
	VPDPBUSD Z16, Z17, Z4
	VPDPBUSD Z16, Z17, Z5
	VPDPBUSD Z16, Z17, Z6
	VPDPBUSD Z16, Z17, Z7
	VPDPBUSD Z16, Z17, Z8
	VPDPBUSD Z16, Z17, Z9
	VPDPBUSD Z16, Z17, Z10
	VPDPBUSD Z16, Z17, Z11
	VPDPBUSD Z16, Z17, Z12
	VPDPBUSD Z16, Z17, Z13
	VPDPBUSD Z16, Z17, Z14
	VPDPBUSD Z16, Z17, Z15
	DECQ CX
	JNE products512
	VZEROUPPER
	RET

// Four products of 8 bits add up in 16 bits, which then widen: what the
// kernels do for codes of up to five bits.
#define FOUR(a, b, c, d, sum) \
	VPMADDUBSW Y13, Y14, a \
	VPMADDUBSW Y13, Y14, b \
	VPMADDUBSW Y13, Y14, c \
	VPMADDUBSW Y13, Y14, d \
	VPADDW b, a, a \
	VPADDW d, c, c \
	VPADDW c, a, a \
	VPMADDWD Y15, a, a \
	VPADDD a, sum, sum

// func multiplyAVX2(rounds int)
// A round is 12 VPMADDUBSW of 32 products each.
TEXT ·multiplyAVX2(SB), NOSPLIT, $0-8
	MOVQ rounds+0(FP), CX
	VPXOR Y13, Y13, Y13
	VPXOR Y14, Y14, Y14
	VPXOR Y15, Y15, Y15
products256:
	FOUR(Y0, Y1, Y2, Y3, Y10)
	FOUR(Y4, Y5, Y6, Y7, Y11)
	FOUR(Y0, Y1, Y2, Y3, Y12)
	DECQ CX
	JNE products256
	VZEROUPPER
	RET

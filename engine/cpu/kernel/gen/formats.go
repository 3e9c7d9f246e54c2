package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// format is a stored block and how its codes come out of it: the layouts are
// documented in package checkpoint.
type format struct {
	name  string
	bytes int
	subs  int // runs of 32 codes in a block
	group int // elements that share a scale
	wide  bool
	zero  int // w = scale·(code − zero); 0 where the block holds minimums

	// prepare loads what the whole block shares and returns its scales.
	prepare func(w reg.Register) scales
	// codes puts the 32 codes of sub-block i into y.
	codes func(on isa, w reg.Register, i int, y reg.VecVirtual)
}

// scales are the floats of one block. Blocks of 32 have one, in every lane of
// scale (and min); blocks of 256 have eight a register.
type scales struct {
	scale, min []reg.VecVirtual
}

var formats = []*format{
	{name: "Q8_0", bytes: 34, subs: 1, group: 32, wide: true, zero: 128, prepare: oneScale,
		codes: func(_ isa, w reg.Register, _ int, y reg.VecVirtual) {
			VMOVDQU(at(w, 2), y)
			VPXOR(bytesOf(0x80), y, y)
		}},
	{name: "Q4_0", bytes: 18, subs: 1, group: 32, zero: 8, prepare: oneScale,
		codes: func(_ isa, w reg.Register, _ int, y reg.VecVirtual) { spread(w, 2, y) }},
	{name: "Q4_1", bytes: 20, subs: 1, group: 32, prepare: scaleAndMin,
		codes: func(_ isa, w reg.Register, _ int, y reg.VecVirtual) { spread(w, 4, y) }},
	{name: "Q5_0", bytes: 22, subs: 1, group: 32, zero: 16, prepare: oneScale,
		codes: func(on isa, w reg.Register, _ int, y reg.VecVirtual) { spread(w, 6, y); fifth(on, w, 2, y) }},
	{name: "Q5_1", bytes: 24, subs: 1, group: 32, prepare: scaleAndMin,
		codes: func(on isa, w reg.Register, _ int, y reg.VecVirtual) { spread(w, 8, y); fifth(on, w, 4, y) }},
	{name: "Q4_K", bytes: 144, subs: 8, group: 32, prepare: sixBitScales,
		codes: func(_ isa, w reg.Register, i int, y reg.VecVirtual) { nibblesK(w, 16, i, y) }},
	{name: "Q5_K", bytes: 176, subs: 8, group: 32, prepare: sixBitScales,
		codes: func(_ isa, w reg.Register, i int, y reg.VecVirtual) {
			nibblesK(w, 48, i, y)
			h := YMM()
			VMOVDQU(at(w, 16), h)
			shift(h, 4-i)
			VPAND(bytesOf(0x10), h, h)
			VPOR(h, y, y)
		}},
	{name: "Q6_K", bytes: 210, subs: 8, group: 16, zero: 32, prepare: q6Scales, codes: q6Codes},
}

func at(r reg.Register, offset int) Mem { return Mem{Base: r, Disp: offset} }

// half broadcasts the half-precision number at w+offset to every lane.
func half(w reg.Register, offset int) reg.VecVirtual {
	x, y := XMM(), YMM()
	VPBROADCASTW(at(w, offset), x)
	VCVTPH2PS(x, y)
	return y
}

func oneScale(w reg.Register) scales { return scales{scale: []reg.VecVirtual{half(w, 0)}} }

func scaleAndMin(w reg.Register) scales {
	return scales{[]reg.VecVirtual{half(w, 0)}, []reg.VecVirtual{half(w, 2)}}
}

// spread turns 16 bytes into 32 codes: low nibbles, then high ones.
func spread(w reg.Register, offset int, y reg.VecVirtual) {
	x, high := XMM(), XMM()
	VMOVDQU(at(w, offset), x)
	VPSRLW(Imm(4), x, high)
	VINSERTI128(Imm(1), high, x.AsY(), y)
	VPAND(bytesOf(0x0f), y, y)
}

// fifth sets bit 4 of each code from the 32 bits at w+offset.
func fifth(on isa, w reg.Register, offset int, y reg.VecVirtual) {
	if on.vnni {
		k, sixteen := K(), YMM()
		KMOVD(at(w, offset), k)
		VMOVDQU(bytesOf(0x10), sixteen)
		VPADDB(sixteen, y, k, y)
		return
	}
	bits := YMM()
	VPBROADCASTD(at(w, offset), bits)
	VPSHUFB(bytesTable("spreadBits", func(i int) byte { return byte(i / 8) }), bits, bits)
	mask := bytesTable("oneBit", func(i int) byte { return 1 << (i % 8) })
	VPAND(mask, bits, bits)
	VPCMPEQB(mask, bits, bits)
	VPAND(bytesOf(0x10), bits, bits)
	VPOR(bits, y, y)
}

// shift moves bytes' bits left by n, or right; callers mask what crosses over.
func shift(y reg.VecVirtual, n int) {
	switch {
	case n > 0:
		VPSLLW(Imm(uint64(n)), y, y)
	case n < 0:
		VPSRLW(Imm(uint64(-n)), y, y)
	}
}

// nibblesK: runs of 32 share their bytes in pairs, low nibbles first.
func nibblesK(w reg.Register, offset, i int, y reg.VecVirtual) {
	VMOVDQU(at(w, offset+32*(i/2)), y)
	shift(y, -4*(i%2))
	VPAND(bytesOf(0x0f), y, y)
}

// sixBitScales unpacks eight six-bit scales and minimums from 12 bytes and
// multiplies them by d and −dmin.
func sixBitScales(w reg.Register) scales {
	var u [3]reg.GPVirtual
	for i := range u {
		u[i] = GP32()
		MOVL(at(w, 4+4*i), u[i])
	}
	low := func(from reg.GPVirtual) reg.GPVirtual {
		r := GP32()
		MOVL(from, r)
		ANDL(U32(0x3f3f3f3f), r)
		return r
	}
	high := func(nibbles int, pairs reg.GPVirtual) reg.GPVirtual {
		r, p := GP32(), GP32()
		MOVL(u[2], r)
		if nibbles > 0 {
			SHRL(Imm(uint64(nibbles)), r)
		}
		ANDL(U32(0x0f0f0f0f), r)
		MOVL(pairs, p)
		SHRL(Imm(2), p)
		ANDL(U32(0x30303030), p)
		ORL(p, r)
		return r
	}
	floats := func(lo, hi reg.GPVirtual, by reg.VecVirtual) reg.VecVirtual {
		x, y := XMM(), YMM()
		VMOVD(lo, x)
		VPINSRD(Imm(1), hi, x, x)
		VPMOVZXBD(x, y)
		VCVTDQ2PS(y, y)
		VMULPS(by, y, y)
		return y
	}
	s := floats(low(u[0]), high(0, u[0]), half(w, 0))
	m := floats(low(u[1]), high(4, u[1]), half(w, 2))
	VXORPS(negativeZero(), m, m)
	return scales{[]reg.VecVirtual{s}, []reg.VecVirtual{m}}
}

func q6Scales(w reg.Register) scales {
	d := half(w, 208)
	var s []reg.VecVirtual
	for i := range 2 {
		y := YMM()
		VPMOVSXBD(at(w, 192+8*i), y)
		VCVTDQ2PS(y, y)
		VMULPS(d, y, y)
		s = append(s, y)
	}
	return scales{scale: s}
}

func q6Codes(_ isa, w reg.Register, i int, y reg.VecVirtual) {
	part, quarter := i/4, i%4
	VMOVDQU(at(w, 64*part+32*(quarter%2)), y)
	shift(y, -4*(quarter/2))
	VPAND(bytesOf(0x0f), y, y)
	h := YMM()
	VMOVDQU(at(w, 128+32*part), h)
	shift(h, 4-2*quarter)
	VPAND(bytesOf(0x30), h, h)
	VPOR(h, y, y)
}

package data

import (
	"math/bits"
)

// permutation is a pseudo-random order of the numbers below n that takes no
// memory and can be entered anywhere: a Feistel network over the next even
// number of bits, walked on until it comes back below n (Black and Rogaway, "Ciphers with
// arbitrary finite domains", 2002).
type permutation struct {
	n    uint64
	half uint
	keys [8]uint64
}

func newPermutation(n int, seeds ...uint64) permutation {
	p := permutation{n: uint64(n), half: uint(max(1, (bits.Len64(uint64(max(n-1, 0)))+1)/2))}
	state := hashOf(seeds...)
	for i := range p.keys {
		p.keys[i] = mix(&state)
	}
	return p
}

// at is the number at place i.
func (p permutation) at(i int) int {
	mask := uint64(1)<<p.half - 1
	x := uint64(i)
	for {
		left, right := x>>p.half, x&mask
		for _, k := range p.keys {
			left, right = right, left^(scramble(right^k)&mask)
		}
		x = left<<p.half | right
		if x < p.n {
			return int(x)
		}
	}
}

// hashOf makes one number of several.
func hashOf(values ...uint64) uint64 {
	h := uint64(0x6c61706964617279)
	for _, v := range values {
		h = scramble(h ^ v*0x9e3779b97f4a7c15)
		h += v
	}
	return scramble(h)
}

// random is a small generator whose numbers are the same in every release.
type random struct{ state uint64 }

func (r *random) below(n int) int {
	hi, _ := bits.Mul64(mix(&r.state), uint64(n))
	return int(hi)
}

// shuffle is Fisher and Yates's.
func shuffle[T any](r *random, list []T) {
	for i := len(list) - 1; i > 0; i-- {
		j := r.below(i + 1)
		list[i], list[j] = list[j], list[i]
	}
}

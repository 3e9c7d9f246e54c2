package tokenizer

import (
	"hash/maphash"
	"math/bits"
)

// index finds normal pieces by their text. It is a hash table with open
// addressing whose slots hold an id and as many bits of the hash as fit beside
// it: 2 MB for 262,144 pieces, one cache line touched for most lookups that
// find nothing. (A Go map[string]int32 takes 16 MB and 33 ms to fill, this
// 5 ms.) The hash is seeded at random, so that no vocabulary file can be made to
// collide.
type index struct {
	*vocab
	seed  maphash.Seed
	slots []uint32 // 0, or id+1 in the low bits and part of the hash above
	ids   uint32   // mask of the id bits
}

// newIndex lists the pieces of kind normal, or all kinds with text.
func newIndex(v *vocab, all bool) *index {
	x := &index{vocab: v, seed: maphash.MakeSeed()}
	x.ids = 1<<bits.Len(uint(v.len())) - 1
	x.slots = make([]uint32, 2<<bits.Len(uint(max(v.len()-1, 0))))
	for id, k := range v.kinds {
		if k == normal || all && (k == userDefined || k == unused) {
			x.insert(int32(id))
		}
	}
	return x
}

// insert adds a piece, unless one before it has the same text.
func (x *index) insert(id int32) {
	piece := x.piece(id)
	hash := maphash.Bytes(x.seed, piece)
	at, tag := x.start(hash)
	for ; x.slots[at] != 0; at = (at + 1) & (len(x.slots) - 1) {
		if x.holds(at, tag, string(piece)) {
			return
		}
	}
	x.slots[at] = tag | uint32(id+1)
}

// find is the id of the piece with this text, or none.
func (x *index) find(text string) int32 {
	at, tag := x.start(maphash.String(x.seed, text))
	for ; x.slots[at] != 0; at = (at + 1) & (len(x.slots) - 1) {
		if x.holds(at, tag, text) {
			return int32(x.slots[at]&x.ids) - 1
		}
	}
	return none
}

func (x *index) start(hash uint64) (at int, tag uint32) {
	return int(hash) & (len(x.slots) - 1), uint32(hash>>32) &^ x.ids
}

func (x *index) holds(at int, tag uint32, text string) bool {
	slot := x.slots[at]
	return slot&^x.ids == tag && string(x.piece(int32(slot&x.ids)-1)) == text
}

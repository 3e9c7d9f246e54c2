package tokenizer

import (
	"bytes"
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

// newIndex lists the pieces with these ids.
func newIndex(v *vocab, ids []int32) *index {
	x := &index{vocab: v, seed: maphash.MakeSeed()}
	x.ids = 1<<bits.Len(uint(v.len())) - 1
	x.slots = make([]uint32, 2<<bits.Len(uint(max(len(ids)-1, 0))))
	for _, id := range ids {
		x.insert(id)
	}
	return x
}

// insert adds a piece, unless one before it has the same text.
func (x *index) insert(id int32) {
	piece := x.piece(id)
	at, tag := x.start(maphash.Bytes(x.seed, piece))
	for ; x.slots[at] != 0; at = (at + 1) & (len(x.slots) - 1) {
		if slot := x.slots[at]; slot&^x.ids == tag && bytes.Equal(x.piece(int32(slot&x.ids)-1), piece) {
			return
		}
	}
	x.slots[at] = tag | uint32(id+1)
}

// find is the id of the piece with this text, or none.
func (x *index) find(text string) int32 {
	at, tag := x.start(maphash.String(x.seed, text))
	for ; x.slots[at] != 0; at = (at + 1) & (len(x.slots) - 1) {
		slot := x.slots[at]
		if slot&^x.ids != tag {
			continue
		}
		if id := int32(slot&x.ids) - 1; string(x.piece(id)) == text {
			return id
		}
	}
	return none
}

func (x *index) start(hash uint64) (at int, tag uint32) {
	return int(hash) & (len(x.slots) - 1), uint32(hash>>32) &^ x.ids
}

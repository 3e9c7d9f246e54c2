package tokenizer

import (
	"bytes"
	"fmt"
	"slices"
)

// ranker turns a list of merges, best first, into ranks of the pieces they make.
// A piece takes the rank of the first merge that makes it: such lists are written
// from the scores of pieces, which is what SentencePiece orders merges by.
type ranker struct {
	index  *index
	ranks  []uint32
	merges uint32
	joined []byte
}

func newRanker(v *vocab) *ranker {
	return &ranker{
		index: newIndex(v, v.where(func(k kind, _ []byte) bool { return k == normal || k == userDefined || k == unused })),
		ranks: slices.Repeat([]uint32{unranked}, v.len()),
	}
}

// add takes the next merge.
func (r *ranker) add(left, right []byte) error {
	r.joined = appendPlain(appendPlain(r.joined[:0], left), right)
	id := r.index.find(string(r.joined))
	if id == none {
		return fmt.Errorf("%q and %q make no piece of the vocabulary", left, right)
	}
	if r.ranks[id] == unranked {
		r.ranks[id] = r.merges
	}
	r.merges++
	return nil
}

// addJoined takes the next merge as one text with a space between the two.
func (r *ranker) addJoined(merge []byte) error {
	left, right, ok := bytes.Cut(merge, []byte(" "))
	if !ok || len(left) == 0 || len(right) == 0 || bytes.IndexByte(right, ' ') >= 0 {
		return fmt.Errorf("%q is not two pieces with a space between", merge)
	}
	return r.add(left, right)
}

// finish returns the ranks, or nil when ids order the merges too.
func (r *ranker) finish() []uint32 {
	last := int64(-1)
	for id, k := range r.index.kinds {
		if k != normal {
			continue
		}
		rank := r.ranks[id]
		if rank == unranked && charLen(string(r.index.piece(int32(id)))) < len(r.index.piece(int32(id))) {
			return r.ranks
		}
		if rank == unranked {
			continue
		}
		if int64(rank) < last {
			return r.ranks
		}
		last = int64(rank)
	}
	return nil
}

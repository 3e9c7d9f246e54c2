package data

import (
	"fmt"
	"math/bits"
	"slices"
)

// Long is what becomes of documents longer than a line.
type Long string

// Policies for long documents.
const (
	// ByForm splits a document of which everything is learnt and cuts one with
	// a prompt on the left.
	ByForm Long = "by_form"
	// Split cuts them into pieces of a line's length; each begins anew, with
	// nothing before it.
	Split Long = "split"
	// Cut keeps the beginning.
	Cut Long = "cut"
	// CutLeft keeps the first token (BOS) and the end, so that an answer stays
	// whole and its prompt loses its beginning.
	CutLeft Long = "cut_left"
	// Drop leaves the document out.
	Drop Long = "drop"
)

func (l Long) check() error {
	if !slices.Contains([]Long{ByForm, Split, Cut, CutLeft, Drop}, l) {
		return fmt.Errorf("long documents: %q is none of by_form, split, cut, cut_left, drop", string(l))
	}
	return nil
}

// piece is the tokens [from, to) of a document; head puts its first token
// before them.
type piece struct {
	ref
	from, to int
	head     bool
}

func (p piece) length() int {
	n := p.to - p.from
	if p.head {
		n++
	}
	return n
}

// pieces cuts a sequence so that each piece fits into length tokens and has
// something to learn.
func (l Long) pieces(r ref, e partEntry, length int) []piece {
	if l == ByForm {
		l = Split
		if e.first > 1 {
			l = CutLeft
		}
	}
	whole := piece{r, 0, e.length, false}
	switch {
	case e.learnt == 0:
		return nil
	case e.length <= length:
		return []piece{whole}
	case l == Drop:
		return nil
	case l == Cut:
		if e.first >= length {
			return nil
		}
		return []piece{{r, 0, length, false}}
	case l == CutLeft:
		return []piece{{r, e.length - length + 1, e.length, true}}
	}
	var out []piece
	for from := 0; from < e.length; from += length {
		to := min(from+length, e.length)
		if to-from >= 2 && to > e.first {
			out = append(out, piece{r, from, to, false})
		}
	}
	return out
}

// pack puts pieces into lines of length tokens: the longest piece first, each
// into the fullest line that has room for it (best-fit decreasing; for packing
// training data: Ding and others, "Fewer Truncations Improve Language
// Modeling", 2024).
func pack(pieces []piece, length int) [][]piece {
	order := slices.Clone(pieces)
	slices.SortStableFunc(order, func(a, b piece) int { return b.length() - a.length() })
	var lines [][]piece
	open := make([][]int, length+1) // lines by the room they have left
	rooms := make([]uint64, length/64+1)
	for _, p := range order {
		room := nextSet(rooms, p.length())
		line := len(lines)
		if room < 0 {
			lines = append(lines, nil)
			room = length
		} else {
			last := len(open[room]) - 1
			line, open[room] = open[room][last], open[room][:last]
			if last == 0 {
				rooms[room/64] &^= 1 << (room % 64)
			}
		}
		lines[line] = append(lines[line], p)
		room -= p.length()
		open[room] = append(open[room], line)
		rooms[room/64] |= 1 << (room % 64)
	}
	return lines
}

// nextSet is the least set bit that is not below from; -1 for none.
func nextSet(set []uint64, from int) int {
	w := from / 64
	if w >= len(set) {
		return -1
	}
	masked := set[w] >> (from % 64) << (from % 64)
	for {
		if masked != 0 {
			return w*64 + bits.TrailingZeros64(masked)
		}
		if w++; w == len(set) {
			return -1
		}
		masked = set[w]
	}
}

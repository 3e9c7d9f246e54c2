package data

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
)

// fingerprint tells streams apart that would not draw the same.
func (st *Stream) fingerprint() string {
	h := sha256.New()
	d := st.drawing
	fmt.Fprintln(h, st.side, d.Lines, d.Length, d.Shuffle, d.Seed, d.Long, d.Unpacked, d.Window)
	for _, l := range st.set.sources {
		fmt.Fprintln(h, l.cache.meta.Key, l.Weight, len(l.sides[st.side]))
		var b [4]byte
		for _, i := range l.sides[st.side] {
			b = [4]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)}
			h.Write(b[:])
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// fill reads the documents of a batch's lines.
func (st *Stream) fill(lines [][]piece) (Batch, error) {
	parts := 1
	if st.set.Kind != Texts {
		parts = st.set.Parts
	}
	b := Batch{Lines: st.drawing.Lines * parts, Length: st.drawing.Length, Parts: parts}
	if st.drawing.Unpacked {
		longest := 0
		for _, line := range lines {
			longest = max(longest, line[0].length())
		}
		b.Length = Bucket(longest, st.drawing.Length)
	}
	b.Tokens, b.Loss = make([]int32, b.Lines*b.Length), make([]float32, b.Lines*b.Length)
	b.Documents = make([][]int, b.Lines)
	if st.set.Kind == Labelled {
		b.Labels = make([]int32, st.drawing.Lines)
		for i := range b.Labels {
			b.Labels[i] = -1
		}
	}
	for i, line := range lines {
		at := 0
		for _, p := range line {
			d, err := st.set.document(st.side, p.ref)
			if err != nil {
				return Batch{}, err
			}
			if st.set.Kind == Texts {
				at = b.put(i, at, d.Sequences[0].piece(p))
				continue
			}
			for j, s := range d.Sequences {
				b.put(i*parts+j, 0, s.within(st.drawing.Length, st.drawing.Long))
			}
			if b.Labels != nil {
				b.Labels[i] = int32(d.Label)
			}
		}
	}
	return b, nil
}

// put writes a sequence into a line and returns where the next one begins.
func (b *Batch) put(line, at int, s Sequence) int {
	from := line*b.Length + at
	copy(b.Tokens[from:from+len(s.Tokens)], s.Tokens)
	for i, l := range s.Loss {
		if l && i > 0 {
			b.Loss[from+i] = 1
		}
	}
	b.Documents[line] = append(b.Documents[line], len(s.Tokens))
	return at + len(s.Tokens)
}

func (s Sequence) piece(p piece) Sequence {
	if !p.head {
		return Sequence{s.Tokens[p.from:p.to], s.Loss[p.from:p.to]}
	}
	return Sequence{
		append([]int32{s.Tokens[0]}, s.Tokens[p.from:p.to]...),
		append([]bool{false}, s.Loss[p.from:p.to]...),
	}
}

// within is the sequence in at most length tokens.
func (s Sequence) within(length int, long Long) Sequence {
	n := len(s.Tokens)
	switch {
	case n <= length:
		return s
	case long == CutLeft:
		return s.piece(piece{from: n - length + 1, to: n, head: true})
	}
	return s.piece(piece{from: 0, to: length})
}

// Bucket is the length that a line of n tokens is padded to: a power of two
// from 64 on, or half way to the next one, so that few shapes occur; most is the
// greatest.
func Bucket(n, most int) int {
	b := 64
	for b < n {
		if b+b/2 >= n && b >= 128 {
			b += b / 2
			break
		}
		b *= 2
	}
	return min(b, most)
}

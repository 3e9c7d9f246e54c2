package generate

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"

	"lapidary/engine"
	"lapidary/gemma"
)

// Prompt is what is continued: tokens, and what is not text among them.
type Prompt struct {
	Tokens []int32
	// Soft are the vectors that stand for some of the tokens, by their places
	// among all.
	Soft []gemma.Soft
	// Together are the tokens, [from, to), that see each other: a picture's, or
	// all that precedes an answer. They are evaluated in one pass.
	Together [][2]int
	// Source is what an encoder–decoder translates; the tokens are the beginning
	// of the answer. Nil for a model that has a decoder alone.
	Source *gemma.Step
	// InThought says that the answer begins within a thought.
	InThought bool
}

// Sourced is a model that looks at a source while it writes.
type Sourced interface {
	Source(ctx context.Context, cache engine.Cache, source gemma.Step) error
}

// plain says that there is nothing but tokens.
func (p *Prompt) plain() bool { return len(p.Soft) == 0 && len(p.Together) == 0 && p.Source == nil }

// check refuses what does not fit together.
func (p *Prompt) check(width int) error {
	for _, s := range p.Soft {
		if n := len(s.Vectors) / width; len(s.Vectors)%width != 0 || s.At < 0 || s.At+n > len(p.Tokens) {
			return fmt.Errorf("%d numbers of soft tokens at token %d %w: they do not fit a prompt of %d and a width of %d",
				len(s.Vectors), s.At, ErrParams, len(p.Tokens), width)
		}
	}
	for _, g := range p.Together {
		if g[0] < 0 || g[1] < g[0] || g[1] > len(p.Tokens) {
			return fmt.Errorf("tokens %d to %d together %w: the prompt has %d", g[0], g[1], ErrParams, len(p.Tokens))
		}
	}
	return nil
}

// piece is where the pass ends that begins at token from: after so many rows,
// but never within tokens that see each other.
func (p *Prompt) piece(from int) int {
	to := min(from+gemma.MaxRows, len(p.Tokens))
	for again := true; again; {
		again = false
		for _, g := range p.Together {
			if g[0] < to && to < g[1] {
				to, again = g[0], true
				if g[0] <= from {
					to = g[1]
				}
			}
		}
	}
	return to
}

// step is the part [from, to) of the prompt.
func (p *Prompt) step(from, to, width int) gemma.Step {
	s := gemma.Step{Tokens: p.Tokens[from:to]}
	for _, soft := range p.Soft {
		first, last := max(soft.At, from), min(soft.At+len(soft.Vectors)/width, to)
		if first < last {
			s.Soft = append(s.Soft, gemma.Soft{At: first - from, Vectors: soft.Vectors[(first-soft.At)*width : (last-soft.At)*width]})
		}
	}
	for _, g := range p.Together {
		if first, last := max(g[0], from), min(g[1], to); first < last {
			s.Together = append(s.Together, [2]int{first - from, last - from})
		}
	}
	return s
}

// Begin is how much of the first n tokens a cache can keep for this prompt:
// what sees later tokens has to be evaluated with them.
func (p *Prompt) Begin(n int) int {
	for again := true; again; {
		again = false
		for _, g := range p.Together {
			if g[0] < n && n < g[1] {
				n, again = g[0], true
			}
		}
	}
	return n
}

// Key is that of a token that is text.
func Key(id int32) uint64 { return uint64(uint32(id)) }

// Keys tell tokens apart, soft ones by what they stand for: two prompts whose
// keys begin alike may share a cache.
func (p *Prompt) Keys(width int) []uint64 {
	keys := make([]uint64, len(p.Tokens))
	for i, id := range p.Tokens {
		keys[i] = Key(id)
	}
	var bytes []byte
	for _, s := range p.Soft {
		h := fnv.New64a()
		bytes = bytes[:0]
		for _, v := range s.Vectors {
			bytes = binary.LittleEndian.AppendUint32(bytes, math.Float32bits(v))
		}
		h.Write(bytes)
		sum := h.Sum64()
		for i := range len(s.Vectors) / width {
			keys[s.At+i] = 1<<63 | (sum + uint64(i))
		}
	}
	return keys
}

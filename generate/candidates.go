package generate

import "slices"

// candidate is a token that may be chosen.
type candidate struct {
	logit float32
	id    int32
}

// before orders candidates: the likelier first, of equals the lower id. What
// is not a number comes last.
func (a candidate) before(b candidate) bool {
	if a.logit == b.logit {
		return a.id < b.id
	}
	return a.logit > b.logit || b.logit != b.logit && a.logit == a.logit
}

// best is the most likely token.
func best(logits []float32) candidate {
	b := candidate{logit: logits[0]}
	for i, x := range logits {
		if x > b.logit || b.logit != b.logit {
			b = candidate{x, int32(i)}
		}
	}
	return b
}

// bestOf is the most likely of the known tokens, or of all.
func bestOf(logits []float32, known []int32) candidate {
	if known == nil {
		return best(logits)
	}
	b := candidate{logits[known[0]], known[0]}
	for _, id := range known[1:] {
		if c := (candidate{logits[id], id}); c.before(b) {
			b = c
		}
	}
	return b
}

// topOf is top of the known tokens, or of all.
func topOf(logits []float32, known []int32, k int, kept []candidate) []candidate {
	if known == nil {
		return top(logits, k, kept)
	}
	kept = kept[:0]
	for _, id := range known {
		c := candidate{logits[id], id}
		switch {
		case len(kept) < k:
			kept = append(kept, c)
			if len(kept) == k {
				for i := k/2 - 1; i >= 0; i-- {
					sink(kept, i)
				}
			}
		case c.before(kept[0]):
			kept[0] = c
			sink(kept, 0)
		}
	}
	slices.SortFunc(kept, func(a, b candidate) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	return kept
}

// top fills kept[:0] with the k most likely tokens, the likeliest first. It
// keeps a heap of k whose root is the least likely, so that almost every token
// of a large vocabulary costs one comparison.
func top(logits []float32, k int, kept []candidate) []candidate {
	kept = kept[:0]
	k = min(k, len(logits))
	for i := range k {
		kept = append(kept, candidate{logits[i], int32(i)})
	}
	for i := k/2 - 1; i >= 0; i-- {
		sink(kept, i)
	}
	if k > 0 {
		floor := kept[0].logit
		for i := k; i < len(logits); i++ {
			if logits[i] > floor || floor != floor {
				kept[0] = candidate{logits[i], int32(i)}
				sink(kept, 0)
				floor = kept[0].logit
			}
		}
	}
	for n := k - 1; n > 0; n-- {
		kept[0], kept[n] = kept[n], kept[0]
		sink(kept[:n], 0)
	}
	return kept
}

// sink restores the heap below i: every parent comes after its children.
func sink(h []candidate, i int) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if child+1 < len(h) && h[child].before(h[child+1]) {
			child++
		}
		if !h[i].before(h[child]) {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}

// reach returns the last candidate of the shortest best-first run of c whose
// weights sum to at least need; the last of all if they never do. It reorders
// c. Each round splits c about a pivot and goes on in one part, so c is never
// sorted: linear time on average.
func reach(c []candidate, need float64, weight func(candidate) float64) candidate {
	for len(c) > 1 {
		n := split(c)
		sum := 0.0
		for _, x := range c[:n] {
			sum += weight(x)
		}
		if sum >= need {
			c = c[:n]
		} else {
			need -= sum
			c = c[n:]
		}
	}
	return c[0]
}

// split reorders c so that every candidate of c[:n] is before every one of
// c[n:]; neither part is empty.
func split(c []candidate) (n int) {
	pivot := median(c[0], c[len(c)/2], c[len(c)-1])
	for i := range c {
		if c[i].before(pivot) {
			c[i], c[n] = c[n], c[i]
			n++
		}
	}
	if n == 0 { // the pivot is the best: it is the run of one
		for i := range c {
			if c[i] == pivot {
				c[0], c[i] = c[i], c[0]
				break
			}
		}
		n = 1
	}
	return n
}

func median(a, b, c candidate) candidate {
	if b.before(a) {
		a, b = b, a
	}
	if c.before(b) {
		b = c
		if c.before(a) {
			b = a
		}
	}
	return b
}

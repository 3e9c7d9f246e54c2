package tokenizer

import (
	"slices"
	"sync"
	"unicode/utf8"
)

// short is the number of characters up to which looking at every pair for the
// best one beats keeping them in a heap.
const short = 32

// merge encodes a run by merging pairs of symbols, best first.
func (e *encoder) merge(dst []Token, run string, from int) []Token {
	switch n := utf8.RuneCountInString(run); {
	case n == 1:
		return e.emit(dst, none, run, from)
	case n <= short:
		return e.mergeShort(dst, run, from)
	default:
		return e.mergeLong(dst, n, run, from)
	}
}

// pair is the piece that two symbols with this text together make.
func (e *encoder) pair(text string) (id int32, rank uint32) {
	if len(text) > e.longest {
		return none, unranked
	}
	if id = e.find(text); id == none {
		return none, unranked
	}
	return id, e.rank(id)
}

// mergeShort merges with a list of at most short symbols.
func (e *encoder) mergeShort(dst []Token, run string, from int) []Token {
	var (
		at    [short + 1]int32 // symbol i is run[at[i]:at[i+1]]
		own   [short]int32     // the piece that a symbol is, or none for a character
		pair  [short]int32     // the piece that symbols i and i+1 make
		ranks [short]uint32    // and its rank
	)
	n := 0
	for i := 0; i < len(run); i += charLen(run[i:]) {
		at[n], own[n], ranks[n] = int32(i), none, unranked
		n++
	}
	at[n] = int32(len(run))
	for i := range n - 1 {
		pair[i], ranks[i] = e.pair(run[at[i]:at[i+2]])
	}
	for {
		best := leftmostLeast(ranks[:n])
		if ranks[best] == unranked {
			break
		}
		own[best] = pair[best]
		copy(at[best+1:], at[best+2:n+1])
		copy(own[best+1:n], own[best+2:n])
		copy(pair[best+1:n], pair[best+2:n])
		copy(ranks[best+1:n], ranks[best+2:n])
		n--
		ranks[n-1] = unranked
		for i := max(best-1, 0); i <= best && i+1 < n; i++ {
			pair[i], ranks[i] = e.pair(run[at[i]:at[i+2]])
		}
	}
	for i := range n {
		dst = e.emit(dst, own[i], run[at[i]:at[i+1]], from+int(at[i]))
	}
	return dst
}

func leftmostLeast(ranks []uint32) int {
	best := 0
	for i, r := range ranks {
		if r < ranks[best] {
			best = i
		}
	}
	return best
}

// node is a symbol of a long run: run[from:nodes[next].from]. The last of them
// only marks the end.
type node struct {
	from       int32 // -1 once it has become part of the symbol before it
	prev, next int32
	id         int32
}

// merger is the working state of one long run.
type merger struct {
	*encoder
	run    string
	nodes  []node
	agenda agenda
}

var mergers = sync.Pool{New: func() any { return new(merger) }}

// mergeLong merges n characters with a heap of pairs. Pairs that have changed
// since they were put there are noticed by their length when they come up.
func (e *encoder) mergeLong(dst []Token, n int, run string, from int) []Token {
	m := mergers.Get().(*merger)
	defer m.release()
	m.start(e, n, run)
	for len(m.agenda) > 0 {
		m.apply(m.agenda.pop())
	}
	last := int32(n)
	for i := int32(0); i != last; i = m.nodes[i].next {
		start, end := m.nodes[i].from, m.nodes[m.nodes[i].next].from
		dst = e.emit(dst, m.nodes[i].id, run[start:end], from+int(start))
	}
	return dst
}

func (m *merger) start(e *encoder, n int, run string) {
	m.encoder, m.run = e, run
	m.nodes = slices.Grow(m.nodes[:0], n+1)
	m.agenda = slices.Grow(m.agenda[:0], n)
	for i, at := int32(0), 0; at < len(run); i++ {
		m.nodes = append(m.nodes, node{int32(at), i - 1, i + 1, none})
		at += charLen(run[at:])
	}
	m.nodes = append(m.nodes, node{from: int32(len(run)), prev: int32(n) - 1})
	for i := range int32(n) - 1 {
		if x, ok := m.propose(i); ok {
			m.agenda = append(m.agenda, x)
		}
	}
	m.agenda.order()
}

// release keeps the memory for the next run, unless this one made it large.
func (m *merger) release() {
	m.encoder, m.run = nil, ""
	if cap(m.nodes) <= 1<<14 {
		mergers.Put(m)
	}
}

// propose is the merge of symbol i and the one after it, if there is one.
func (m *merger) propose(i int32) (entry, bool) {
	next := m.nodes[i].next
	if int(next) == len(m.nodes)-1 {
		return entry{}, false
	}
	from, to := m.nodes[i].from, m.nodes[m.nodes[next].next].from
	id, rank := m.pair(m.run[from:to])
	return entry{uint64(rank)<<32 | uint64(i), id, to - from}, rank != unranked
}

// apply makes a merge if both of its symbols are still there.
func (m *merger) apply(x entry) {
	i := int32(uint32(x.key))
	a := &m.nodes[i]
	if a.from < 0 || int(a.next) == len(m.nodes)-1 {
		return
	}
	b := &m.nodes[a.next]
	if m.nodes[b.next].from-a.from != x.size {
		return
	}
	a.id = x.id
	b.from = -1
	a.next = b.next
	m.nodes[b.next].prev = i
	if a.prev >= 0 {
		m.push(a.prev)
	}
	m.push(i)
}

func (m *merger) push(i int32) {
	if x, ok := m.propose(i); ok {
		m.agenda.push(x)
	}
}

// entry is a merge that may be made.
type entry struct {
	key  uint64 // rank, then the place of the left symbol
	id   int32  // the piece it makes
	size int32  // bytes of that piece
}

// agenda is a binary heap of entries, the least key first. It is not
// container/heap's, whose interface calls make it half as fast.
type agenda []entry

// order makes a heap of entries in any order.
func (h agenda) order() {
	for i := len(h)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
}

func (h *agenda) push(x entry) {
	*h = append(*h, x)
	s := *h
	i := len(s) - 1
	for i > 0 && x.key < s[(i-1)/2].key {
		s[i] = s[(i-1)/2]
		i = (i - 1) / 2
	}
	s[i] = x
}

func (h *agenda) pop() entry {
	s := *h
	least := s[0]
	s[0] = s[len(s)-1]
	*h = s[:len(s)-1]
	h.down(0)
	return least
}

func (h agenda) down(i int) {
	if i >= len(h) {
		return
	}
	x := h[i]
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1].key < h[child].key {
			child++
		}
		if x.key <= h[child].key {
			break
		}
		h[i] = h[child]
		i = child
	}
	h[i] = x
}

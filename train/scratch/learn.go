package scratch

import (
	"container/heap"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// mark spells a space in a vocabulary.
	mark = "▁"
	// coverage is the part of all characters that get pieces of their own; the
	// others are spelled in bytes. SentencePiece's default.
	coverage = 0.9995
	// longest bounds a piece in characters, as SentencePiece does.
	longest = 16
	// longestChunk bounds what is looked at together, in bytes: base64 has no
	// words.
	longestChunk = 256
	// rarest is how often a pair occurs that is worth a piece.
	rarest = 2
)

// Learn makes a vocabulary of at most so many pieces and returns it as a
// tokenizer.json. The special tokens come first, in their order, so that
// <pad>, <eos>, <bos> and <unk> have Gemma's ids; then the 256 bytes, the
// merged pieces from the most frequent on, and the characters. It has fewer
// pieces where the texts have no more pairs that occur twice. Memory grows with
// the number of different words.
//
// A piece is made of letters, or of digits (one), or of other signs; a space
// may begin it; spaces, line breaks and tabs have pieces among themselves. So
// nothing is merged across a word's end, and numbers are spelled digit by digit.
func Learn(texts iter.Seq[string], pieces int, special []string) ([]byte, error) {
	room := pieces - len(special) - 256
	if room < 1 {
		return nil, fmt.Errorf("from_scratch: a vocabulary of %d pieces has no room beside %d special tokens and 256 bytes; ask for at least 300", pieces, len(special))
	}
	l := newLearner(countChunks(texts), room)
	if len(l.names) == 0 {
		return nil, errors.New("from_scratch: the texts that a tokenizer is to be learnt from are empty")
	}
	characters := len(l.names)
	for len(l.names) < room && l.step() {
	}
	var all []piece
	for _, s := range special {
		all = append(all, piece{text: s, control: true})
	}
	for b := range 256 {
		all = append(all, piece{text: fmt.Sprintf("<0x%02X>", b), byte: true})
	}
	var order []int
	for _, name := range l.names[characters:] {
		order = append(order, len(all))
		all = append(all, piece{text: name})
	}
	for _, name := range l.names[:characters] {
		all = append(all, piece{text: name})
	}
	return writeJSON(all, order)
}

// chunk is text within which pieces are looked for.
type chunk struct {
	text  string
	count int64
}

// countChunks counts the different chunks in the order of their first places.
func countChunks(texts iter.Seq[string]) []chunk {
	places := map[string]int{}
	var out []chunk
	for text := range texts {
		for c := range chunks(text) {
			i, ok := places[c]
			if !ok {
				c = strings.Clone(c) // a text would stay in memory for its words
				i = len(out)
				places[c] = i
				out = append(out, chunk{text: c})
			}
			out[i].count++
		}
	}
	return out
}

// class is what a piece is made of.
type class uint8

const (
	letters class = iota
	digits
	signs
	spaces
	breaks
	tabs
)

func classOf(r rune) class {
	switch {
	case r == ' ' || r == '▁':
		return spaces
	case r == '\n':
		return breaks
	case r == '\t':
		return tabs
	case unicode.IsDigit(r):
		return digits
	case unicode.IsLetter(r) || unicode.IsMark(r):
		return letters
	}
	return signs
}

// chunks cuts a text where no piece may lie: spaces stay with the word behind
// them.
func chunks(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		from, last := 0, spaces
		for i, r := range text {
			c := classOf(r)
			joined := c == last && c != digits || last == spaces && (c == letters || c == signs)
			if i > from && (!joined || i-from >= longestChunk) {
				if !yield(text[from:i]) {
					return
				}
				from = i
			}
			last = c
		}
		if from < len(text) {
			yield(text[from:])
		}
	}
}

// pair are two symbols beside each other.
type pair struct{ left, right int32 }

// word is a chunk as symbols.
type word struct {
	symbols []int32
	count   int64
}

// learner merges the most frequent pair again and again. What a merge changes
// is counted in the words that have the pair and nowhere else: counts are kept
// up to date, and the heap has an entry for each that a pair has had, of which
// all but the last are passed over.
type learner struct {
	names  []string // of the symbols
	ids    map[string]int32
	words  []word
	counts map[pair]int64
	where  map[pair][]int32 // words that have it, or had
	queue  queue
	room   int
}

func newLearner(chunks []chunk, room int) *learner {
	l := &learner{ids: map[string]int32{}, counts: map[pair]int64{}, where: map[pair][]int32{}, room: room}
	for _, name := range characters(chunks, room/2) {
		l.symbol(name)
	}
	for _, c := range chunks {
		l.read(c)
	}
	for i, w := range l.words {
		for j := 1; j < len(w.symbols); j++ {
			l.count(pair{w.symbols[j-1], w.symbols[j]}, w.count, int32(i))
		}
	}
	for p, n := range l.counts {
		l.offer(p, n)
	}
	heap.Init(&l.queue)
	return l
}

// characters are those with pieces of their own, from the most frequent on: as
// many as make up nearly all of the texts, and at most so many.
func characters(chunks []chunk, most int) []string {
	counts, all := map[rune]int64{}, int64(0)
	for _, c := range chunks {
		for i, r := range c.text {
			if r == utf8.RuneError && !strings.HasPrefix(c.text[i:], "\uFFFD") {
				continue // a byte
			}
			if r == ' ' {
				r = '▁'
			}
			counts[r] += c.count
			all += c.count
		}
	}
	runes := slices.SortedFunc(maps.Keys(counts), func(a, b rune) int {
		if counts[a] != counts[b] {
			return int(min(max(counts[b]-counts[a], -1), 1))
		}
		return int(a - b)
	})
	var names []string
	seen := int64(0)
	for _, r := range runes {
		if len(names) >= most || float64(seen) >= coverage*float64(all) {
			break
		}
		seen += counts[r]
		names = append(names, string(r))
	}
	return names
}

// symbol is the one with that text, a new one if there is none.
func (l *learner) symbol(name string) int32 {
	id, ok := l.ids[name]
	if !ok {
		id = int32(len(l.names))
		l.ids[name] = id
		l.names = append(l.names, name)
	}
	return id
}

// read makes words of a chunk: one, or several where characters have no piece.
func (l *learner) read(c chunk) {
	var symbols []int32
	flush := func() {
		if len(symbols) > 1 {
			l.words = append(l.words, word{symbols, c.count})
		}
		symbols = nil
	}
	for i, r := range c.text {
		if r == ' ' {
			r = '▁'
		}
		id, ok := l.ids[string(r)]
		if !ok || r == utf8.RuneError && !strings.HasPrefix(c.text[i:], "\uFFFD") {
			flush()
			continue
		}
		symbols = append(symbols, id)
	}
	flush()
}

// count adds n to a pair's count, for a word that has it.
func (l *learner) count(p pair, n int64, word int32) {
	l.counts[p] += n
	if at := l.where[p]; n > 0 && (len(at) == 0 || at[len(at)-1] != word) {
		l.where[p] = append(at, word)
	}
}

// offer puts a pair into the queue if it may be merged.
func (l *learner) offer(p pair, n int64) {
	if n < rarest {
		return
	}
	if name := l.names[p.left] + l.names[p.right]; allowed(name) {
		l.queue = append(l.queue, entry{n, p})
	}
}

// allowed says whether something may be a piece: at most one space stands
// before what is not a space.
func allowed(name string) bool {
	if utf8.RuneCountInString(name) > longest {
		return false
	}
	rest := strings.TrimLeft(name, mark)
	return rest == "" || len(name)-len(rest) <= len(mark)
}

// step merges the most frequent pair; false if none is left.
func (l *learner) step() bool {
	for len(l.queue) > 0 {
		e := heap.Pop(&l.queue).(entry)
		if l.counts[e.pair] != e.count {
			continue // it has another entry, or none
		}
		// A piece that can be put together in two ways is one piece.
		l.merge(e.pair, l.symbol(l.names[e.left]+l.names[e.right]))
		return true
	}
	return false
}

// merge makes one symbol of a pair wherever it is.
func (l *learner) merge(p pair, to int32) {
	changed := map[pair]int64{}
	for _, i := range l.where[p] {
		l.replace(i, p, to, changed)
	}
	delete(l.counts, p)
	delete(l.where, p)
	delete(changed, p)
	for q, n := range changed {
		if n == 0 {
			continue
		}
		if l.counts[q] <= 0 {
			delete(l.counts, q)
			delete(l.where, q)
			continue
		}
		before := len(l.queue)
		if l.offer(q, l.counts[q]); len(l.queue) > before {
			heap.Fix(&l.queue, before)
		}
	}
}

// replace makes one symbol of a pair in word i.
func (l *learner) replace(i int32, p pair, to int32, changed map[pair]int64) {
	w := &l.words[i]
	note := func(q pair, n int64) {
		changed[q] += n
		l.count(q, n, i)
	}
	for j := 0; j+1 < len(w.symbols); j++ {
		if w.symbols[j] != p.left || w.symbols[j+1] != p.right {
			continue
		}
		if j > 0 {
			note(pair{w.symbols[j-1], p.left}, -w.count)
			note(pair{w.symbols[j-1], to}, w.count)
		}
		if j+2 < len(w.symbols) {
			note(pair{p.right, w.symbols[j+2]}, -w.count)
			note(pair{to, w.symbols[j+2]}, w.count)
		}
		note(p, -w.count)
		w.symbols[j] = to
		w.symbols = slices.Delete(w.symbols, j+1, j+2)
	}
}

// entry is a count that a pair has had.
type entry struct {
	count int64
	pair
}

// queue is a heap, the most frequent first; of equal ones those of earlier
// symbols.
type queue []entry

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	a, b := q[i], q[j]
	switch {
	case a.count != b.count:
		return a.count > b.count
	case a.left != b.left:
		return a.left < b.left
	}
	return a.right < b.right
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(entry)) }
func (q *queue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

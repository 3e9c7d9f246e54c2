package generate

import (
	"context"
	"math/bits"
)

// NGrams is a [Drafter] that looks the text's end up in the text itself: where
// the longest run of last tokens stood before, it goes on as it did there. It
// costs under a microsecond a token, so that texts which never repeat
// themselves lose nothing.
//
// It foretells every token, whether the guess is verified or not, and so knows
// how often it is right after runs of each length. That is what decides when a
// draft pays, and how long it is.
//
// (Prompt look-up: Saxena 2023, github.com/apoorvumang/prompt-lookup-decoding.
// The index is that of LZ77 compressors, chains of places with equal hashes.)
type NGrams struct {
	heads []int32 // of each hash of a pair: its latest place plus 1
	links []int32 // of each place: the one before it with the same hash, plus 1
	known int     // tokens of the text that were taken in

	from  int // the place of the token that is expected next, 0 for none
	run   int // how many tokens before it are those before the end
	right [runClasses]float64

	draft  []int32
	likely []float64
}

const (
	minRun = 2 // tokens that a place must share with the end to be found
	maxRun = 32
	// maxTries bounds the places that are compared for a token.
	maxTries = 16

	runClasses = 6
	// rightDecay is how fast old guesses are forgotten: 32 of them count.
	rightDecay = 1.0 / 32
)

// rightAtFirst is how often a guess after a run of each class is right before
// anything is known: about what answers to the prompts in testdata showed.
var rightAtFirst = [runClasses]float64{0.25, 0.4, 0.55, 0.75, 0.9, 0.95}

func runClass(run int) int {
	switch {
	case run < 4:
		return run - minRun
	case run < 6:
		return 2
	case run < 9:
		return 3
	case run < 16:
		return 4
	}
	return 5
}

// NewNGrams makes an empty one.
func NewNGrams() *NGrams { return &NGrams{right: rightAtFirst} }

// Close returns the memory.
func (d *NGrams) Close() { *d = NGrams{right: d.right} }

// Restart takes in a text. What was learned of how often guesses are right
// stays.
func (d *NGrams) Restart(text []int32) {
	d.from, d.run = 0, 0
	d.reindex(text)
	d.find(text)
}

// Draft takes in what is new and returns the tokens that pay.
func (d *NGrams) Draft(_ context.Context, text []int32, price []float64) ([]int32, error) {
	for d.known < len(text) {
		d.take(text[:d.known+1])
	}
	d.draft, d.likely = d.draft[:0], d.likely[:0]
	if d.from == 0 {
		return nil, nil
	}
	p := 1.0
	for i := range len(price) - 1 {
		p *= d.right[runClass(d.run+i)]
		d.likely = append(d.likely, p)
	}
	for i := range worth(d.likely, price) {
		// What repeats itself may still be going on: then the draft does too.
		if at := d.from + i; at < len(text) {
			d.draft = append(d.draft, text[at])
		} else {
			d.draft = append(d.draft, d.draft[at-len(text)])
		}
	}
	return d.draft, nil
}

// take compares the text's last token with the guess and looks for the next.
func (d *NGrams) take(text []int32) {
	hit := d.from > 0 && text[d.from] == text[len(text)-1]
	if d.from > 0 {
		d.learn(hit)
	}
	if hit {
		d.from, d.run = d.from+1, min(d.run+1, maxRun)
	} else {
		d.from, d.run = 0, 0
	}
	if len(text) > len(d.heads) {
		d.reindex(text)
	} else {
		d.index(text)
	}
	if d.run < maxRun {
		d.find(text)
	}
}

func (d *NGrams) learn(hit bool) {
	r := &d.right[runClass(d.run)]
	*r -= *r * rightDecay
	if hit {
		*r += rightDecay
	}
}

// find moves to the place with the longest run, of equal ones to the latest,
// unless the place that is followed is as good.
func (d *NGrams) find(text []int32) {
	end := len(text) - 1
	if end < minRun-1 {
		return
	}
	at := int(d.links[end])
	for range maxTries {
		if at == 0 {
			return
		}
		if run := d.common(text, at-1); run >= minRun && run > d.run {
			d.from, d.run = at, run
		}
		at = int(d.links[at-1])
	}
}

// common is how many tokens up to and with the one at place are the last ones.
func (d *NGrams) common(text []int32, place int) int {
	n, end := 0, len(text)-1
	for n <= place && n < maxRun && text[place-n] == text[end-n] {
		n++
	}
	return n
}

// reindex takes in a text from its start, with room for as much again: 12
// bytes a token, where a model's memory takes thousands.
func (d *NGrams) reindex(text []int32) {
	if len(text) > len(d.heads) {
		d.heads = make([]int32, 1<<bits.Len(uint(max(2*len(text), 1024)-1)))
	}
	clear(d.heads)
	d.links, d.known = d.links[:0], 0
	for d.known < len(text) {
		d.index(text)
	}
}

// index takes in the first token that is not known.
func (d *NGrams) index(text []int32) {
	i := d.known
	d.known++
	if i < minRun-1 {
		d.links = append(d.links, 0)
		return
	}
	h := &d.heads[pairHash(text[i-1], text[i])&uint32(len(d.heads)-1)]
	d.links = append(d.links, *h)
	*h = int32(i) + 1
}

// pairHash multiplies by the fractions of the golden ratio and of √3 (Knuth, The
// Art of Computer Programming, 6.4).
func pairHash(a, b int32) uint32 {
	x := uint64(uint32(a))*0x9E3779B97F4A7C15 ^ uint64(uint32(b))*0xBB67AE8584CAA73B
	return uint32(x >> 32)
}

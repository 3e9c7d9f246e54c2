package main

import (
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
)

// Statements are about three boxes side by side, in the manner of the Cornell
// natural language visual reasoning data (Suhr et al. 2017, ACL P17-2034): the
// boxes hold towers of blocks, or things that lie about.

const (
	side  = 100 // of a box
	gap   = 50  // between two
	block = 20  // side of one of a tower
	reach = 4   // blocks of a tower at most
)

var (
	boxGround = color.RGBA{211, 211, 211, 255}
	gapGround = color.RGBA{128, 128, 128, 255}
	// boxColours are painted as in that data.
	boxColours = []string{"yellow", "blue", "black"}
	boxPaints  = map[string]color.RGBA{"yellow": paints["lemon"], "blue": paints["sky"], "black": paints["black"]}
	boxSizes   = []int{10, 20, 30}
)

// box is what is in one of the three; of a tower from the base up.
type box []thing

type boxes [3]box

func (b boxes) picture() *image.RGBA {
	m := plain(3*side+2*gap, side, gapGround)
	for i, things := range b {
		left := i * (side + gap)
		paint(m, thing{Shape: "square", X: left, Size: side}, boxGround)
		for _, t := range things {
			t.X += left
			paint(m, t, boxPaints[t.Colour])
		}
	}
	return m
}

// tower is up to four blocks with a pixel between them.
func tower(r *rand.Rand, palette []string) box {
	out := make(box, 1+r.IntN(reach))
	for i := range out {
		out[i] = thing{"square", pick(r, palette), 2 * block, side - block - i*(block+1), block}
	}
	return out
}

// heap is things that lie about; a third of them touch a wall.
func heap(r *rand.Rand, palette []string) box {
	var out box
	n := 1 + r.IntN(8)
	for tries := 0; len(out) < n && tries < 100; tries++ {
		t := thing{Shape: pick(r, shapes), Colour: pick(r, palette), Size: boxSizes[r.IntN(len(boxSizes))]}
		t.X, t.Y = r.IntN(side-t.Size+1), r.IntN(side-t.Size+1)
		if r.IntN(3) == 0 {
			t.press(r.IntN(4))
		}
		if free(out, t, 1) {
			out = append(out, t)
		}
	}
	return out
}

// press moves a thing to one of the walls.
func (t *thing) press(wall int) {
	switch far := side - t.Size; wall {
	case 0:
		t.X = 0
	case 1:
		t.X = far
	case 2:
		t.Y = 0
	default:
		t.Y = far
	}
}

func (t thing) touches() (walls int, bottom, top bool) {
	for _, is := range []bool{t.X <= 0, t.X+t.Size >= side, t.Y <= 0, t.Y+t.Size >= side} {
		if is {
			walls++
		}
	}
	return walls, t.Y+t.Size >= side, t.Y <= 0
}

// statement draws pictures until one makes the statement true, or false, as was
// drawn first. What is said and the pictures are drawn together, since most
// statements are true, or false, of most pictures.
func statement(r *rand.Rand) (example, bool) {
	want, towers := r.IntN(2) == 0, r.IntN(2) == 0
	about, lay := aboutHeaps, heap
	if towers {
		about, lay = aboutTowers, tower
	}
	text, holds := about[r.IntN(len(about))](r)
	for range 500 {
		var b boxes
		for i := range b {
			b[i] = lay(r, some(r, boxColours))
		}
		if holds(b) == want {
			return example{b.picture(), b, text, fmt.Sprint(want)}, true
		}
	}
	return example{}, false
}

// said is a statement and what it means.
type said = func(r *rand.Rand) (text string, holds func(boxes) bool)

// often is a number of boxes or things: how it is said and what it means.
type often struct {
	text  string
	n     int
	holds func(n int) bool
}

var words = []string{"no", "one", "two", "three", "four", "five", "six", "seven"}

// amount is "exactly two", "at least 3", "no", … up to most.
func amount(r *rand.Rand, most int) often {
	n := 1 + r.IntN(most)
	name := words[n]
	if r.IntN(2) == 0 {
		name = fmt.Sprint(n)
	}
	switch r.IntN(6) {
	case 0:
		return often{"at least " + name, n, func(k int) bool { return k >= n }}
	case 1:
		return often{"exactly " + name, n, func(k int) bool { return k == n }}
	case 2:
		return often{"only " + name, n, func(k int) bool { return k == n }}
	case 3:
		if n == 1 {
			return often{"no", n, func(k int) bool { return k == 0 }}
		}
	case 4:
		if n == 1 {
			return often{"a", n, func(k int) bool { return k > 0 }}
		}
	}
	return often{name, n, func(k int) bool { return k >= n }}
}

// plural is "there is … tower" or "there are … towers".
func (o often) plural(what string) string {
	if o.n == 1 {
		return fmt.Sprintf("There is %s %s", o.text, what)
	}
	return fmt.Sprintf("There are %s %ss", o.text, what)
}

// how many of the boxes are so.
func (b boxes) how(many func(box) bool) int {
	n := 0
	for _, x := range b {
		if many(x) {
			n++
		}
	}
	return n
}

// all are the things of all boxes that are so.
func (b boxes) all(is func(thing) bool) int {
	n := 0
	for _, x := range b {
		n += count(x, is)
	}
	return n
}

package main

import (
	"fmt"
	"image"
	"math/rand/v2"
	"strconv"
)

// example is a picture with what is asked about it.
type example struct {
	picture        *image.RGBA
	key            any // what tells one picture from another
	Prompt, Answer string
}

// makers draw one example of a kind. An example is thrown away if it says so.
var makers = map[string]func(r *rand.Rand) (example, bool){"questions": question, "statements": statement}

// asked is a kind of question. It draws the answer first, and answer then tells
// whether a scene has it: so every answer comes as often as the others.
type asked struct {
	answers func() []string
	// ask writes a question about the things; empty if none can be asked.
	ask func(r *rand.Rand, things []thing) (prompt, answer string)
}

var questions = []asked{
	{numbers, countShape}, {numbers, countColour}, {func() []string { return numbers()[1:] }, countAll},
	{func() []string { return colours }, colourOf},
	{func() []string { return shapes }, shapeOf},
	{func() []string { return shapes }, shapeAt},
	{func() []string { return colours }, colourAt},
	{truths, leftOf}, {truths, above},
}

func truths() []string { return []string{"yes", "no"} }

func numbers() []string { return []string{"0", "1", "2", "3", "4", "5"} }

// question draws scenes until one has the answer that it drew.
func question(r *rand.Rand) (example, bool) {
	q := questions[r.IntN(len(questions))]
	want := pick(r, q.answers())
	for range 2000 {
		things := scatter(r, 1+r.IntN(most))
		prompt, answer := q.ask(r, things)
		if prompt != "" && answer == want {
			return example{picture(things), things, prompt, answer}, true
		}
	}
	return example{}, false
}

func count(things []thing, is func(thing) bool) int {
	n := 0
	for _, t := range things {
		if is(t) {
			n++
		}
	}
	return n
}

func countShape(r *rand.Rand, things []thing) (prompt, answer string) {
	s := pick(r, shapes)
	return fmt.Sprintf("how many %ss are there?", s), strconv.Itoa(count(things, func(t thing) bool { return t.Shape == s }))
}

func countColour(r *rand.Rand, things []thing) (prompt, answer string) {
	c := pick(r, colours)
	return fmt.Sprintf("how many %s shapes are there?", c), strconv.Itoa(count(things, func(t thing) bool { return t.Colour == c }))
}

func countAll(_ *rand.Rand, things []thing) (prompt, answer string) {
	return "how many shapes are there?", strconv.Itoa(len(things))
}

// colourOf asks about a shape that is there once.
func colourOf(r *rand.Rand, things []thing) (prompt, answer string) {
	t := things[r.IntN(len(things))]
	if count(things, func(u thing) bool { return u.Shape == t.Shape }) != 1 {
		return "", ""
	}
	return fmt.Sprintf("what colour is the %s?", t.Shape), t.Colour
}

// shapeOf asks about a colour that is there once.
func shapeOf(r *rand.Rand, things []thing) (prompt, answer string) {
	t := things[r.IntN(len(things))]
	if count(things, func(u thing) bool { return u.Colour == t.Colour }) != 1 {
		return "", ""
	}
	return fmt.Sprintf("which shape is %s?", t.Colour), t.Shape
}

// quarters of the canvas are named by whether a middle is right and low.
var quarters = []string{"top left", "top right", "bottom left", "bottom right"}

// quarter is where a thing is; -1 if that could be disputed.
func quarter(t thing) int {
	const margin = 8 // of twice a pixel
	x, y := t.middle()
	if max(x-canvas, canvas-x) < margin || max(y-canvas, canvas-y) < margin {
		return -1
	}
	at := 0
	if x > canvas {
		at++
	}
	if y > canvas {
		at += 2
	}
	return at
}

// alone is the thing in a quarter that has no other, nor one near it.
func alone(r *rand.Rand, things []thing) (t thing, at int) {
	t = things[r.IntN(len(things))]
	if at = quarter(t); at < 0 {
		return t, -1
	}
	if count(things, func(u thing) bool { q := quarter(u); return q == at || q < 0 }) != 1 {
		return t, -1
	}
	return t, at
}

func shapeAt(r *rand.Rand, things []thing) (prompt, answer string) {
	t, at := alone(r, things)
	if at < 0 {
		return "", ""
	}
	return fmt.Sprintf("which shape is at the %s?", quarters[at]), t.Shape
}

func colourAt(r *rand.Rand, things []thing) (prompt, answer string) {
	t, at := alone(r, things)
	if at < 0 {
		return "", ""
	}
	return fmt.Sprintf("what colour is the shape at the %s?", quarters[at]), t.Colour
}

func leftOf(r *rand.Rand, things []thing) (prompt, answer string) {
	return compare(r, things, "left of", func(t thing) int { x, _ := t.middle(); return x })
}

func above(r *rand.Rand, things []thing) (prompt, answer string) {
	return compare(r, things, "above", func(t thing) int { _, y := t.middle(); return y })
}

// compare asks about two things, each of which is the only one of its kind, and
// which are not about level.
func compare(r *rand.Rand, things []thing, how string, place func(thing) int) (prompt, answer string) {
	const clear = 12 // of twice a pixel
	if len(things) < 2 {
		return "", ""
	}
	at := r.Perm(len(things))
	a, b := things[at[0]], things[at[1]]
	d := place(a) - place(b)
	if !single(things, a) || !single(things, b) || max(d, -d) < clear {
		return "", ""
	}
	return fmt.Sprintf("is the %s %s %s the %s %s?", a.Colour, a.Shape, how, b.Colour, b.Shape), yes(d < 0)
}

func single(things []thing, t thing) bool {
	return count(things, func(u thing) bool { return u.Shape == t.Shape && u.Colour == t.Colour }) == 1
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// aboutHeaps are the statements about things that lie about.
var aboutHeaps = []said{
	boxesItems, boxesItems, boxesColours, boxesTwo, boxesTwo, thingsTouch, thingsTouch, thingsApart,
	thingsOf, boxesOnTop, eachBox, cornerThings,
}

// kind is "yellow square", "black item", "triangle", ….
func kind(r *rand.Rand) (name string, is func(thing) bool) {
	c, s := hue(r), pick(r, shapes)
	switch r.IntN(3) {
	case 0:
		return c + " " + pick(r, []string{"item", "object"}), being(c)
	case 1:
		return s, func(t thing) bool { return t.Shape == s }
	}
	return c + " " + s, func(t thing) bool { return t.Shape == s && t.Colour == c }
}

func boxName(r *rand.Rand) string { return pick(r, []string{"box", "box", "grey box", "grey square"}) }

// plurals adds the letters that make two of them.
func plurals(n int, what string) string {
	switch {
	case n == 1:
		return what
	case what[len(what)-1] == 'x':
		return what + "es"
	}
	return what + "s"
}

func (o often) boxes(what string) string {
	if o.n == 1 {
		return fmt.Sprintf("There is %s %s", o.text, what)
	}
	return fmt.Sprintf("There are %s %s", o.text, plurals(o.n, what))
}

// boxesItems: There is a box with 4 items. One of the grey square contains exactly five objects.
func boxesItems(r *rand.Rand) (string, func(boxes) bool) {
	n, item := 1+r.IntN(7), pick(r, []string{"item", "object"})
	has := func(b boxes) bool { return b.how(func(x box) bool { return len(x) == n }) > 0 }
	if r.IntN(2) == 0 {
		return fmt.Sprintf("one of the grey square %s exactly %s %s.", pick(r, []string{"has", "contains"}), words[n], plurals(n, item)), has
	}
	return fmt.Sprintf("There is a %s with %d %s.", boxName(r), n, plurals(n, item)), has
}

// boxesColours: There is a box with items of only black and blue color.
func boxesColours(r *rand.Rand) (string, func(boxes) bool) {
	o := amount(r, 2)
	at := r.Perm(3)
	one, two := boxColours[at[0]], boxColours[at[1]]
	var text string
	only := []string{one, two}
	switch r.IntN(4) {
	case 0:
		text, only = "with items of only one color", nil
	case 1:
		text, only = fmt.Sprintf("with only %s items", one), only[:1]
	case 2:
		text = fmt.Sprintf("with items of only %s and %s color", one, two)
	default:
		text = fmt.Sprintf("with only %s and %s items", one, two)
	}
	return o.boxes(boxName(r)) + " " + text + ".", func(b boxes) bool {
		return o.holds(b.how(func(x box) bool {
			if only == nil {
				return hues(x) == 1
			}
			return hues(x) == len(only) && !slices.ContainsFunc(x, func(t thing) bool { return !slices.Contains(only, t.Colour) })
		}))
	}
}

// boxesTwo: There is a box with a yellow circle and three blue items.
func boxesTwo(r *rand.Rand) (string, func(boxes) bool) {
	first, isFirst := kind(r)
	second, isSecond := kind(r)
	n := 1 + r.IntN(3)
	name := pick(r, []string{words[n], fmt.Sprint(n)})
	if n == 1 && r.IntN(2) == 0 {
		name = "a"
	}
	return fmt.Sprintf("There is a %s with a %s and %s %s.", boxName(r), first, name, plurals(n, second)), func(b boxes) bool {
		return b.how(func(x box) bool { return count(x, isFirst) >= 1 && count(x, isSecond) >= n }) > 0
	}
}

// touching is how it is said that a thing is at a wall, and what it means.
func touching(r *rand.Rand) (text string, is func(thing) bool) {
	switch r.IntN(3) {
	case 0:
		return pick(r, []string{"touching the base", "closely touching the bottom of a box"}),
			func(t thing) bool { _, bottom, _ := t.touches(); return bottom }
	case 1:
		return "touching the top", func(t thing) bool { _, _, top := t.touches(); return top }
	}
	return pick(r, []string{"touching the wall", "touching the edge", "touching the side"}),
		func(t thing) bool { walls, _, _ := t.touches(); return walls > 0 }
}

// thingsTouch: There are two yellow circles touching the base.
func thingsTouch(r *rand.Rand) (string, func(boxes) bool) {
	o := amount(r, 3)
	name, is := kind(r)
	how, touch := touching(r)
	return fmt.Sprintf("%s %s.", o.plural(name), how), func(b boxes) bool {
		return o.holds(b.all(func(t thing) bool { return is(t) && touch(t) }))
	}
}

// thingsApart: There are at least three yellow triangles not touching any edge.
func thingsApart(r *rand.Rand) (string, func(boxes) bool) {
	o := amount(r, 3)
	name, is := kind(r)
	return o.plural(name) + " not touching any edge.", func(b boxes) bool {
		return o.holds(b.all(func(t thing) bool { walls, _, _ := t.touches(); return is(t) && walls == 0 }))
	}
}

// thingsOf: There are 2 black triangles.
func thingsOf(r *rand.Rand) (string, func(boxes) bool) {
	o := amount(r, 5)
	name, is := kind(r)
	return o.plural(name) + ".", func(b boxes) bool { return o.holds(b.all(is)) }
}

// boxesOnTop: There is a box with 3 items and yellow one on top.
func boxesOnTop(r *rand.Rand) (string, func(boxes) bool) {
	c, n := hue(r), 1+r.IntN(6)
	with, few := fmt.Sprintf("with %d %s", n, plurals(n, "item")), func(x box) bool { return len(x) == n }
	if r.IntN(3) == 0 {
		with, few = "with all 3 colors", func(x box) bool { return hues(x) == 3 }
	}
	return fmt.Sprintf("There is a box %s and %s on top.", with, pick(r, []string{"a " + c + " item", c + " one", "the " + c + " one"})), func(b boxes) bool {
		return b.how(func(x box) bool {
			return few(x) && slices.MinFunc(x, func(a, b thing) int { return a.Y - b.Y }).Colour == c
		}) > 0
	}
}

// eachBox: Each box has at least 1 black item.
func eachBox(r *rand.Rand) (string, func(boxes) bool) {
	name, is := kind(r)
	return fmt.Sprintf("Each %s %s at least %s %s.", boxName(r), pick(r, []string{"has", "contains"}), pick(r, []string{"1", "one"}), name), func(b boxes) bool {
		return b.how(func(x box) bool { return count(x, is) > 0 }) == 3
	}
}

// cornerThings: There is at least 1 square closely touching a box corner.
func cornerThings(r *rand.Rand) (string, func(boxes) bool) {
	o := amount(r, 2)
	name, is := kind(r)
	return o.plural(name) + pick(r, []string{" touching a corner.", " closely touching a box corner."}), func(b boxes) bool {
		return o.holds(b.all(func(t thing) bool { walls, _, _ := t.touches(); return is(t) && walls >= 2 }))
	}
}

package main

import (
	"fmt"
	"math/rand/v2"
)

// aboutTowers are the statements about towers. Their wording follows what people
// wrote about such pictures.
var aboutTowers = []said{
	towersEnd, towersEnd, blocksEnd, towersOver, towersOver, blocksOver, towersHeight, towersEndHeight,
	towersWith, blocksOf, theTower, towersAlike, towersTogether,
}

// end is the top or the base.
func end(r *rand.Rand) (name string, of func(box) thing) {
	if r.IntN(2) == 0 {
		return "top", func(x box) thing { return x[len(x)-1] }
	}
	return "base", func(x box) thing { return x[0] }
}

func hue(r *rand.Rand) string { return pick(r, boxColours) }

func being(colour string) func(thing) bool { return func(t thing) bool { return t.Colour == colour } }

// towersEnd: There are at least two towers with a yellow block at the top.
func towersEnd(r *rand.Rand) (string, func(boxes) bool) {
	o, c := amount(r, 3), hue(r)
	name, at := end(r)
	with := pick(r, []string{"with a", "with 1", "that has a", "having a"})
	return fmt.Sprintf("%s %s %s block at the %s.", o.plural("tower"), with, c, name), func(b boxes) bool {
		return o.holds(b.how(func(x box) bool { return at(x).Colour == c }))
	}
}

// blocksEnd: There are two yellow blocks as the base of a tower.
func blocksEnd(r *rand.Rand) (string, func(boxes) bool) {
	o, c := amount(r, 3), hue(r)
	name, at := end(r)
	return fmt.Sprintf("%s as the %s of a tower.", o.plural(c+" block"), name), func(b boxes) bool {
		return o.holds(b.how(func(x box) bool { return at(x).Colour == c }))
	}
}

// stacked says that a block of one colour lies right on one of another.
func stacked(x box, upper, lower string) bool {
	for i := 1; i < len(x); i++ {
		if x[i].Colour == upper && x[i-1].Colour == lower {
			return true
		}
	}
	return false
}

// towersOver: There is a tower with a yellow block over a blue block.
func towersOver(r *rand.Rand) (string, func(boxes) bool) {
	o, upper, lower := amount(r, 2), hue(r), hue(r)
	over := pick(r, []string{"over", "above", "on top of"})
	with := pick(r, []string{"with", "which has", "having"})
	return fmt.Sprintf("%s %s a %s block %s a %s block.", o.plural("tower"), with, upper, over, lower), func(b boxes) bool {
		return o.holds(b.how(func(x box) bool { return stacked(x, upper, lower) }))
	}
}

// blocksOver: There is no yellow block above a blue block.
func blocksOver(r *rand.Rand) (string, func(boxes) bool) {
	upper, lower, no := hue(r), hue(r), r.IntN(4) == 0
	over, a := pick(r, []string{"over", "above", "on"}), pick(r, []string{"a", "at least one"})
	if no {
		a = "no"
	}
	return fmt.Sprintf("There is %s %s block %s a %s block.", a, upper, over, lower), func(b boxes) bool {
		return (b.how(func(x box) bool { return stacked(x, upper, lower) }) > 0) != no
	}
}

func blocks(n int, name string) string {
	if n == 1 {
		return name + " block"
	}
	return name + " blocks"
}

// high is a number of blocks, and how it is said.
func high(r *rand.Rand) (text string, is func(box) bool) {
	n := 1 + r.IntN(reach)
	switch r.IntN(3) {
	case 0:
		return blocks(n, "at least "+words[n]), func(x box) bool { return len(x) >= n }
	case 1:
		return blocks(n, pick(r, []string{"exactly ", "only "})+words[n]), func(x box) bool { return len(x) == n }
	}
	return blocks(n, words[n]), func(x box) bool { return len(x) == n }
}

// towersHeight: There is no tower with exactly two blocks.
func towersHeight(r *rand.Rand) (string, func(boxes) bool) {
	o := amount(r, 3)
	text, is := high(r)
	return fmt.Sprintf("%s with %s.", o.plural("tower"), text), func(b boxes) bool { return o.holds(b.how(is)) }
}

// towersEndHeight: There is a yellow block as the top of a tower with exactly three blocks.
func towersEndHeight(r *rand.Rand) (string, func(boxes) bool) {
	c := hue(r)
	text, is := high(r)
	name, at := end(r)
	holds := func(b boxes) bool {
		return b.how(func(x box) bool { return is(x) && at(x).Colour == c }) > 0
	}
	if r.IntN(2) == 0 {
		return fmt.Sprintf("There is a %s block as the %s of a tower with %s.", c, name, text), holds
	}
	return fmt.Sprintf("There is a tower with %s having a %s block at the %s.", text, c, name), holds
}

// theTower: The tower with four blocks has a black block at the top.
func theTower(r *rand.Rand) (string, func(boxes) bool) {
	n, c := 1+r.IntN(reach), hue(r)
	name, at := end(r)
	return fmt.Sprintf("the tower with %s has a %s block at the %s.", blocks(n, words[n]), c, name), func(b boxes) bool {
		return b.how(func(x box) bool { return len(x) == n && at(x).Colour == c }) > 0
	}
}

// towersWith: There are 2 towers that contain at least 1 black block.
func towersWith(r *rand.Rand) (string, func(boxes) bool) {
	o, c, inside := amount(r, 3), hue(r), amount(r, 3)
	with := pick(r, []string{"with", "that contain", "which has"})
	return fmt.Sprintf("%s %s %s.", o.plural("tower"), with, blocks(inside.n, inside.text+" "+c)), func(b boxes) bool {
		return o.holds(b.how(func(x box) bool { return inside.holds(count(x, being(c))) }))
	}
}

// blocksOf: There are 2 blue blocks.
func blocksOf(r *rand.Rand) (string, func(boxes) bool) {
	o, c := amount(r, 6), hue(r)
	return o.plural(c+" block") + ".", func(b boxes) bool { return o.holds(b.all(being(c))) }
}

// towersAlike: There is a black tower. There is 1 tower with blocks of all 3 colours.
func towersAlike(r *rand.Rand) (string, func(boxes) bool) {
	o := amount(r, 2)
	if r.IntN(2) == 0 {
		c := hue(r)
		return o.plural(c+" tower") + ".", func(b boxes) bool {
			return o.holds(b.how(func(x box) bool { return count(x, being(c)) == len(x) }))
		}
	}
	n := 1 + r.IntN(3)
	texts := [][]string{{"the same color", "only one color"}, {"2 different colors", "two different colors"}, {"all 3 colours", "3 different colors"}}
	return fmt.Sprintf("%s with blocks of %s.", o.plural("tower"), pick(r, texts[n-1])), func(b boxes) bool {
		return o.holds(b.how(func(x box) bool { return hues(x) == n }))
	}
}

// hues is how many colours there are.
func hues(x box) int {
	seen := map[string]bool{}
	for _, t := range x {
		seen[t.Colour] = true
	}
	return len(seen)
}

// towersTogether: There is a tower with 2 blue blocks stacked together.
func towersTogether(r *rand.Rand) (string, func(boxes) bool) {
	o, c := amount(r, 2), hue(r)
	return fmt.Sprintf("%s with 2 %s blocks stacked together.", o.plural("tower"), c), func(b boxes) bool {
		return o.holds(b.how(func(x box) bool { return stacked(x, c, c) }))
	}
}

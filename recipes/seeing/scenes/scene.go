package main

import (
	"image"
	"image/color"
	"math/rand/v2"
)

// shapes and colours are named as questions name them.
var (
	shapes  = []string{"circle", "square", "triangle"}
	colours = []string{"red", "green", "blue", "yellow", "white", "purple"}
)

var paints = map[string]color.RGBA{
	"red": {220, 40, 40, 255}, "green": {40, 170, 60, 255}, "blue": {40, 80, 220, 255},
	"yellow": {240, 220, 40, 255}, "white": {250, 250, 250, 255}, "purple": {150, 50, 180, 255},
	"black": {0, 0, 0, 255}, "sky": {0, 153, 255, 255}, "lemon": {255, 255, 0, 255},
}

// thing is a shape in a square of Size pixels whose corner is X, Y.
type thing struct {
	Shape, Colour string
	X, Y, Size    int
}

// middle is twice the middle, so that it is a whole number.
func (t thing) middle() (x, y int) { return 2*t.X + t.Size, 2*t.Y + t.Size }

// apart says that at least so many pixels lie between the squares.
func (t thing) apart(u thing, by int) bool {
	return t.X+t.Size+by <= u.X || u.X+u.Size+by <= t.X || t.Y+t.Size+by <= u.Y || u.Y+u.Size+by <= t.Y
}

// The canvas is small, for a model that looks at it in 36 patches of 8 × 8.
const (
	canvas   = 48
	smallest = 9
	largest  = 13
	most     = 5
)

var ground = color.RGBA{20, 20, 24, 255}

// scatter draws n things that do not touch; fewer if they do not fit. They have
// some of the shapes and colours only, so that there are scenes with many alike.
func scatter(r *rand.Rand, n int) []thing {
	var out []thing
	someShapes, someColours := some(r, shapes), some(r, colours)
	for tries := 0; len(out) < n && tries < 200; tries++ {
		t := thing{Shape: pick(r, someShapes), Colour: pick(r, someColours), Size: smallest + r.IntN(largest-smallest+1)}
		t.X, t.Y = 1+r.IntN(canvas-1-t.Size), 1+r.IntN(canvas-1-t.Size)
		if free(out, t, 1) {
			out = append(out, t)
		}
	}
	return out
}

func free(things []thing, t thing, by int) bool {
	for _, u := range things {
		if !t.apart(u, by) {
			return false
		}
	}
	return true
}

// some are one or more of the names.
func some(r *rand.Rand, from []string) []string {
	out := make([]string, 1+r.IntN(len(from)))
	for i, at := range r.Perm(len(from))[:len(out)] {
		out[i] = from[at]
	}
	return out
}

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

func picture(things []thing) *image.RGBA {
	m := plain(canvas, canvas, ground)
	for _, t := range things {
		paint(m, t, paints[t.Colour])
	}
	return m
}

func plain(width, height int, c color.RGBA) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for i := range width * height {
		m.SetRGBA(i%width, i/width, c)
	}
	return m
}

// paint fills the pixels whose middles the shape covers.
func paint(m *image.RGBA, t thing, c color.RGBA) {
	for y := range t.Size {
		for x := range t.Size {
			if covers(t.Shape, 2*x+1-t.Size, 2*y+1-t.Size, t.Size) {
				m.SetRGBA(t.X+x, t.Y+y, c)
			}
		}
	}
}

// covers is asked about a point in halves of a pixel from the middle.
func covers(shape string, x, y, size int) bool {
	switch shape {
	case "circle":
		return x*x+y*y <= size*size
	case "triangle": // its tip is up
		return 2*max(x, -x) <= y+size
	}
	return true
}

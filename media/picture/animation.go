package picture

import (
	"errors"
	"fmt"
	"iter"
	"time"
)

// A Frame is a picture of an animation.
type Frame struct {
	Image  *Image
	Start  time.Duration // since the animation began
	Length time.Duration
}

// An Animation is a GIF or WebP file whose frames are decoded one at a time, when they are asked for.
type Animation struct {
	Width, Height int

	frames []animationFrame
	name   string
}

// An animationFrame says where and how one stored frame goes onto the canvas.
type animationFrame struct {
	length        time.Duration
	x, y          int
	width, height int
	disposal      disposal
	replaces      bool // the canvas, transparency included; others are laid over it
	// decode returns the stored frame, width × height pixels of red, green, blue and (not premultiplied) alpha.
	decode func() ([]uint8, error)
}

// What becomes of a frame's place when the next is drawn.
type disposal uint8

const (
	keep     disposal = iota
	clear_            // transparent
	previous          // as it was before the frame
)

// OpenAnimation reads what a GIF or WebP file says of its frames. A file with a single picture is an animation of one frame.
// Frames that last less than 20 ms are taken to last 100 ms, as browsers do.
func OpenAnimation(data []byte, limits Limits) (*Animation, error) {
	if err := limits.checkBytes(len(data)); err != nil {
		return nil, err
	}
	var a *Animation
	var err error
	name := "gif"
	switch {
	case prefix("GIF8")(data):
		a, err = openGIF(data)
	case isWebP(data):
		name = "webp"
		a, err = openWebP(data, limits)
	default:
		return nil, errors.New("not an animation that can be read: want GIF or WebP")
	}
	if err == nil {
		a.name, err = name, limits.Check(a.Width, a.Height)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the %s animation: %w", name, explain(err))
	}
	return a, nil
}

// IsAnimation tells whether data begin as the formats do that OpenAnimation reads.
func IsAnimation(data []byte) bool { return prefix("GIF8")(data) || isWebP(data) }

// Len is the number of frames.
func (a *Animation) Len() int { return len(a.frames) }

// Length is the time that all frames last together.
func (a *Animation) Length() time.Duration {
	var sum time.Duration
	for _, f := range a.frames {
		sum += f.length
	}
	return sum
}

// Frames yields the frames in order, complete and laid over white. It ends after an error.
func (a *Animation) Frames() iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		canvas := make([]uint8, 4*a.Width*a.Height)
		var start time.Duration
		for i, f := range a.frames {
			before := []uint8(nil)
			if f.disposal == previous {
				before = append(before, canvas...)
			}
			if err := a.draw(canvas, f); err != nil {
				yield(Frame{}, fmt.Errorf("frame %d of the %s animation: %w", i+1, a.name, explain(err)))
				return
			}
			if !yield(Frame{a.flatten(canvas), start, f.length}, nil) {
				return
			}
			start += f.length
			switch f.disposal {
			case clear_:
				a.clear(canvas, f)
			case previous:
				canvas = before
			}
		}
	}
}

// draw also turns a panic of a decoder into an error.
func (a *Animation) draw(canvas []uint8, f animationFrame) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("damaged file (%v)", p)
		}
	}()
	pix, err := f.decode()
	if err != nil {
		return err
	}
	if len(pix) != 4*f.width*f.height || f.x < 0 || f.y < 0 || f.x+f.width > a.Width || f.y+f.height > a.Height {
		return fmt.Errorf("it does not fit the canvas of %d × %d", a.Width, a.Height)
	}
	for y := range f.height {
		from := pix[4*y*f.width:][:4*f.width]
		to := canvas[4*((f.y+y)*a.Width+f.x):][:len(from)]
		if f.replaces {
			copy(to, from)
			continue
		}
		for i := 0; i < len(from); i += 4 {
			blendOver((*[4]uint8)(to[i:]), (*[4]uint8)(from[i:]))
		}
	}
	return nil
}

// blendOver lays a pixel over another, in libwebp's arithmetic for colours that are not premultiplied.
func blendOver(to, from *[4]uint8) {
	switch alpha := uint32(from[3]); alpha {
	case 0:
	case 255:
		*to = *from
	default:
		share := uint32(to[3]) * (256 - alpha) >> 8
		sum := alpha + share
		scale := 1 << 24 / sum
		for i := range 3 {
			to[i] = uint8((uint32(from[i])*alpha + uint32(to[i])*share) * scale >> 24)
		}
		to[3] = uint8(sum)
	}
}

func (a *Animation) clear(canvas []uint8, f animationFrame) {
	for y := range f.height {
		clear(canvas[4*((f.y+y)*a.Width+f.x):][:4*f.width])
	}
}

func (a *Animation) flatten(canvas []uint8) *Image {
	out := newImage(a.Width, a.Height)
	for i := range a.Width * a.Height {
		p := canvas[4*i:][:4]
		out.Pix[3*i], out.Pix[3*i+1], out.Pix[3*i+2] = over(p[0], p[3]), over(p[1], p[3]), over(p[2], p[3])
	}
	return out
}

func frameLength(d time.Duration) time.Duration {
	if d < 20*time.Millisecond {
		return 100 * time.Millisecond
	}
	return d
}

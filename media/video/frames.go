package video

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"lapidary/media/picture"
)

// Options say which frames are wanted. With neither Frames nor FPS it is all of them; both at once are refused.
type Options struct {
	Frames int     // so many, spread evenly; a video that has fewer gives all
	FPS    float64 // so many a second, at least one: the number is rounded down, and they are spread evenly
	Stride bool    // instead, FPS means a frame every 1/FPS seconds from the first on
	// MaxFrames bounds what FPS, or nothing, asks for, by thinning it evenly from the first frame to the last, or where Truncate is set
	// by leaving out the last ones. 0 is no bound.
	MaxFrames int
	Truncate  bool
	// Limits bound each frame, and the file where it is a GIF or WebP.
	Limits picture.Limits
}

// OptionsFor asks for the frames that a model's video processor takes.
func OptionsFor(c picture.VideoConfig) Options {
	if !c.Sample {
		return Options{}
	}
	if c.Frames > 0 {
		return Options{Frames: c.Frames}
	}
	return Options{FPS: c.FPS, Stride: c.Stride, MaxFrames: c.MaxFrames, Truncate: c.Truncate}
}

// A Frame is a picture of a video.
type Frame struct {
	Image *picture.Image
	Time  time.Duration // since the first frame
	Index int           // among all frames of the video
}

// Frames yields the frames of a video that the options ask for, in order. Of n frames spread evenly among m, the i-th is
// number ⌊i·m/n⌋. An error is the last thing that it yields; [ErrNoProgram] is wrapped where ffmpeg is needed and missing.
func Frames(ctx context.Context, path string, o Options) iter.Seq2[Frame, error] {
	return func(yield func(Frame, error) bool) {
		if err := frames(ctx, path, o, func(f Frame) bool { return yield(f, nil) }); err != nil {
			yield(Frame{}, fmt.Errorf("video %s: %w", path, err))
		}
	}
}

func frames(ctx context.Context, path string, o Options, yield func(Frame) bool) error {
	if o.Frames < 0 || !(o.FPS >= 0) || o.MaxFrames < 0 || o.Frames > 0 && o.FPS > 0 {
		return fmt.Errorf("%d frames and %g frames a second were asked for: want one of them, or neither", o.Frames, o.FPS)
	}
	head, err := readHead(path)
	if err != nil {
		return err
	}
	if picture.IsAnimation(head) {
		return animationFrames(ctx, path, o, yield)
	}
	p, err := findProgram()
	if err != nil {
		return err
	}
	index, err := p.index(ctx, path)
	if err != nil {
		return err
	}
	wanted := o.plan(len(index.times), index.length())
	if farApart(wanted, len(index.times)) && canSeek(head) {
		return p.seekFrames(ctx, path, o.Limits, index, wanted, yield)
	}
	return p.readFrames(ctx, path, o.Limits, index, wanted, yield)
}

func readHead(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, plainError(err)
	}
	defer f.Close()
	if s, err := f.Stat(); err == nil && s.IsDir() {
		return nil, errors.New("is a folder")
	}
	head := make([]byte, 16)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return nil, plainError(err)
	}
	return head[:n], nil
}

// plainError leaves out the path, which the caller names.
func plainError(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// plan lists the frames that are wanted of total ones, in order. They last for length.
func (o Options) plan(total int, length time.Duration) []int {
	n, bySecond := total, length.Seconds()*o.FPS
	switch {
	case o.Frames > 0:
		n = min(o.Frames, total)
	case o.FPS > 0:
		n = max(1, int(min(bySecond, float64(total))))
	}
	at := func(i int) int { return int(int64(i) * int64(total) / int64(n)) }
	if o.FPS > 0 && o.Stride && bySecond > 0 {
		step := max(1, float64(total)/bySecond)
		at = func(i int) int { return min(int(float64(i)*step), total-1) }
	}
	out := indices(n, at)
	switch most := o.MaxFrames; {
	case most == 0 || n <= most || o.Frames > 0:
	case o.Truncate || most == 1:
		out = out[:most]
	default:
		apart := float64(n-1) / float64(most-1)
		thin := indices(most, func(i int) int { return out[int(float64(i)*apart)] })
		thin[most-1] = out[n-1]
		out = thin
	}
	return out
}

func indices(n int, at func(i int) int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = at(i)
	}
	return out
}

func animationFrames(ctx context.Context, path string, o Options, yield func(Frame) bool) error {
	data, err := readLimited(path, o.Limits)
	if err != nil {
		return err
	}
	a, err := picture.OpenAnimation(data, o.Limits)
	if err != nil {
		return err
	}
	wanted := o.plan(a.Len(), a.Length())
	i, next := 0, 0
	for f, err := range a.Frames() {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if i == wanted[next] {
			if next++; !yield(Frame{f.Image, f.Start, i}) || next == len(wanted) {
				return nil
			}
		}
		i++
	}
	return nil
}

func readLimited(path string, limits picture.Limits) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, plainError(err)
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, int64(limits.MaxBytes())+1)) // OpenAnimation refuses what is longer
}

// readPPM reads a picture in Netpbm's format: "P6", width, height and 255 in ASCII, then the samples.
func readPPM(r *bufio.Reader, limits picture.Limits) (*picture.Image, error) {
	var m picture.Image
	var most int
	if _, err := r.Peek(1); err != nil {
		return nil, err
	}
	if _, err := fmt.Fscanf(r, "P6\n%d %d\n%d\n", &m.Width, &m.Height, &most); err != nil || most != 255 {
		return nil, errors.New("ffmpeg gave something else than a picture")
	}
	if err := limits.Check(m.Width, m.Height); err != nil {
		return nil, err
	}
	m.Pix = make([]uint8, 3*m.Width*m.Height)
	if _, err := io.ReadFull(r, m.Pix); err != nil {
		return nil, errors.New("ffmpeg ended in the middle of a picture")
	}
	return &m, nil
}

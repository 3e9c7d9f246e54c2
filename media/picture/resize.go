package picture

import (
	"fmt"
	"math"
)

// A Filter is a kernel for resizing, numbered as in Pillow and in preprocessor_config.json ("resample").
type Filter int

// The kernels that Gemma's image processors use.
const (
	Bilinear Filter = 2 // a triangle, one pixel to each side
	Bicubic  Filter = 3 // Keys' cubic with a = -1/2, two pixels to each side
)

func (f Filter) support() float64 {
	if f == Bicubic {
		return 2
	}
	return 1
}

func (f Filter) at(x float64) float64 {
	x = math.Abs(x)
	if f == Bilinear {
		return max(0, 1-x)
	}
	const a = -0.5
	switch {
	case x < 1:
		return ((a+2)*x-(a+3))*x*x + 1
	case x < 2:
		return (((x-5)*x+8)*x - 4) * a
	}
	return 0
}

// A tap is what one output position reads: weights for the inputs from first on, with fraction bits behind the point.
type tap struct {
	first   int
	weights []int32
}

// fraction leaves two bits of 32 for sums beyond the 8 of a sample, one for each side, as in Pillow.
const fraction = 32 - 8 - 2

// taps returns the weights for resizing a line. When it shrinks, the kernel is stretched over as many inputs as one output stands
// for, so that nothing is skipped.
func (f Filter) taps(from, to int) []tap {
	scale := float64(from) / float64(to)
	stretch := max(scale, 1)
	reach := f.support() * stretch
	out := make([]tap, to)
	for i := range out {
		center := (float64(i) + 0.5) * scale
		first := max(0, int(center-reach+0.5))
		last := min(from, int(center+reach+0.5))
		exact, sum := make([]float64, last-first), 0.0
		for j := range exact {
			exact[j] = f.at((float64(j+first) - center + 0.5) * (1 / stretch))
			sum += exact[j]
		}
		out[i] = tap{first, fixed(exact, sum)}
	}
	return out
}

func fixed(exact []float64, sum float64) []int32 {
	out := make([]int32, len(exact))
	for i, w := range exact {
		if sum != 0 {
			w /= sum
		}
		out[i] = int32(math.Copysign(0.5, w) + w*(1<<fraction))
	}
	return out
}

// Resize returns m at another size, bit for bit as the Image.resize of Pillow 13 does for 8-bit pictures: rows first, rounded to
// 8 bits, then columns; but columns first where they shrink and rows grow (earlier Pillows begin with the rows there too). Of
// Pillow's filters only those with a name here are supported.
func (m *Image) Resize(width, height int, filter Filter) (*Image, error) {
	if filter != Bilinear && filter != Bicubic {
		return nil, fmt.Errorf("resampling filter %d is not supported: want %d (bilinear) or %d (bicubic)", filter, Bilinear, Bicubic)
	}
	if err := (Limits{}).Check(width, height); err != nil {
		return nil, fmt.Errorf("cannot resize to %d × %d: %w", width, height, err)
	}
	if m.Width <= 0 || m.Height <= 0 || m.Width > maxSide || m.Height > maxSide || len(m.Pix) != 3*m.Width*m.Height {
		return nil, fmt.Errorf("cannot resize a picture of %d × %d pixels with %d samples", m.Width, m.Height, len(m.Pix))
	}
	if width > m.Width && height < m.Height {
		low, err := m.Resize(m.Width, height, filter)
		if err != nil {
			return nil, err
		}
		return low.Resize(width, height, filter)
	}
	line := func(y int) []uint8 { return m.row(y) }
	if width != m.Width {
		line = resizeRows(m, width, filter)
	}
	out := newImage(width, height)
	if height == m.Height {
		for y := range height {
			copy(out.row(y), line(y))
		}
		return out, nil
	}
	resizeColumns(out, m.Height, filter, line)
	return out, nil
}

// resizeRows returns a function that gives m's rows resized to width, each valid until the next call.
func resizeRows(m *Image, width int, filter Filter) func(y int) []uint8 {
	taps, line := filter.taps(m.Width, width), make([]uint8, 3*width)
	return func(y int) []uint8 {
		row := m.row(y)
		for x, t := range taps {
			var r, g, b int32 = half, half, half
			in := row[3*t.first:][:3*len(t.weights)]
			for i, w := range t.weights {
				r += w * int32(in[3*i])
				g += w * int32(in[3*i+1])
				b += w * int32(in[3*i+2])
			}
			line[3*x], line[3*x+1], line[3*x+2] = clip(r>>fraction), clip(g>>fraction), clip(b>>fraction)
		}
		return line
	}
}

const half = 1 << (fraction - 1)

// resizeColumns reads the rows one after the other and adds each to all output rows that it belongs to, so that no picture of
// the old height and the new width has to be kept. Output rows begin and end in order.
func resizeColumns(out *Image, from int, filter Filter, line func(y int) []uint8) {
	taps, sums := filter.taps(from, out.Height), make([][]int32, out.Height)
	done, begun := 0, 0
	for y := range from {
		for ; begun < out.Height && taps[begun].first <= y; begun++ {
			sums[begun] = make([]int32, 3*out.Width)
		}
		if done == begun {
			continue
		}
		row := line(y)
		for o := done; o < begun; o++ {
			t := taps[o]
			addScaled(sums[o], row, t.weights[y-t.first])
			if y == t.first+len(t.weights)-1 {
				round(out.row(o), sums[o])
				sums[o], done = nil, o+1
			}
		}
	}
}

func addScaled(sums []int32, row []uint8, w int32) {
	sums = sums[:len(row)]
	for i, v := range row {
		sums[i] += w * int32(v)
	}
}

func round(row []uint8, sums []int32) {
	for i, s := range sums {
		row[i] = clip((s + half) >> fraction)
	}
}

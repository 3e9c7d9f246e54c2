package picture

import "image"

// jfif converts a decoded JPEG to RGB as libjpeg does: halved chroma is interpolated with weights 3:1 in each halved direction
// ("fancy upsampling"), other ratios are repeated, and BT.601's coefficients have 16 fractional bits (ITU-T T.871).
func jfif(m *image.YCbCr) *Image {
	out := newImage(m.Rect.Dx(), m.Rect.Dy())
	cb, cr := newChroma(m, m.Cb, out.Width, out.Height), newChroma(m, m.Cr, out.Width, out.Height)
	for y := range out.Height {
		luma := m.Y[y*m.YStride:]
		b, r := cb.row(y), cr.row(y)
		row := out.row(y)
		for x := range out.Width {
			l, u, v := int32(luma[x]), int32(b[x])-128, int32(r[x])-128
			row[3*x] = clip(l + (91881*v+1<<15)>>16)
			row[3*x+1] = clip(l + (-22554*u-46802*v+1<<15)>>16)
			row[3*x+2] = clip(l + (116130*u+1<<15)>>16)
		}
	}
	return out
}

func clip(v int32) uint8 { return uint8(max(0, min(255, v))) }

// A chroma plane gives rows of full width.
type chroma struct {
	pix           []uint8
	stride        int
	stepX, stepY  int // full-size pixels a sample stands for
	width, height int // in samples, without padding
	line          []uint8
	sums          []int32
}

func newChroma(m *image.YCbCr, pix []uint8, width, height int) *chroma {
	c := &chroma{pix: pix, stride: m.CStride, stepX: 1, stepY: 1}
	switch m.SubsampleRatio {
	case image.YCbCrSubsampleRatio422:
		c.stepX = 2
	case image.YCbCrSubsampleRatio420:
		c.stepX, c.stepY = 2, 2
	case image.YCbCrSubsampleRatio440:
		c.stepY = 2
	case image.YCbCrSubsampleRatio411:
		c.stepX = 4
	case image.YCbCrSubsampleRatio410:
		c.stepX, c.stepY = 4, 2
	}
	c.width, c.height = (width+c.stepX-1)/c.stepX, (height+c.stepY-1)/c.stepY
	c.line = make([]uint8, c.width*c.stepX)
	c.sums = make([]int32, c.width)
	return c
}

func (c *chroma) stored(y int) []uint8 {
	y = max(0, min(c.height-1, y))
	return c.pix[y*c.stride:][:c.width]
}

// row returns the plane's row y at full width; it is valid until the next call.
func (c *chroma) row(y int) []uint8 {
	near := c.stored(y / c.stepY)
	far := c.stored(y/c.stepY + 2*(y%c.stepY) - 1)
	wide := c.width > 2 // libjpeg interpolates no narrower plane sideways
	switch {
	case c.stepX == 2 && c.stepY == 2 && wide:
		for i := range c.sums {
			c.sums[i] = 3*int32(near[i]) + int32(far[i])
		}
		c.spread(8, 7, 4)
	case c.stepX == 2 && c.stepY == 1 && wide:
		for i := range c.sums {
			c.sums[i] = int32(near[i])
		}
		c.spread(1, 2, 2)
	case c.stepX == 1 && c.stepY == 2:
		bias := int32(1 + y%2) // it alternates, so that rounding drifts neither way
		for i := range c.line {
			c.line[i] = uint8((3*int32(near[i]) + int32(far[i]) + bias) >> 2)
		}
	default:
		for i := range c.line {
			c.line[i] = near[i/c.stepX]
		}
	}
	return c.line
}

// spread doubles the width of the sums: each becomes two means with its neighbours, of weights 3:1, rounded by the biases.
func (c *chroma) spread(left, right int32, shift uint) {
	last := len(c.sums) - 1
	for i, s := range c.sums {
		c.line[2*i] = uint8((3*s + c.sums[max(i-1, 0)] + left) >> shift)
		c.line[2*i+1] = uint8((3*s + c.sums[min(i+1, last)] + right) >> shift)
	}
}

// vp8 converts a decoded lossy WebP to RGB as libwebp does: chroma is interpolated with weights 9:3:3:1, luma is 16 to 235.
func vp8(m *image.YCbCr) *Image {
	out := newImage(m.Rect.Dx(), m.Rect.Dy())
	width, height := (out.Width+1)/2, (out.Height+1)/2
	for y := range out.Height {
		near, far := y/2, max(0, min(height-1, y/2+2*(y%2)-1))
		luma, row := m.Y[y*m.YStride:], out.row(y)
		for x := range out.Width {
			n, f := x/2, max(0, min(width-1, x/2+2*(x%2)-1))
			u := blend(m.Cb[near*m.CStride:], m.Cb[far*m.CStride:], n, f)
			v := blend(m.Cr[near*m.CStride:], m.Cr[far*m.CStride:], n, f)
			l := int32(luma[x]) * 19077 >> 8
			row[3*x] = clip((l + v*26149>>8 - 14234) >> 6)
			row[3*x+1] = clip((l - u*6419>>8 - v*13320>>8 + 8708) >> 6)
			row[3*x+2] = clip((l + u*33050>>8 - 17685) >> 6)
		}
	}
	return out
}

// blend rounds in two steps, like the vector code it has to agree with.
func blend(near, far []uint8, n, f int) int32 {
	here, side, above, diagonal := int32(near[n]), int32(near[f]), int32(far[n]), int32(far[f])
	return ((here+3*side+3*above+diagonal+8)>>3 + here) >> 1
}

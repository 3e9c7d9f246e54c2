package picture

import (
	"fmt"
	"image"
	"image/color"
)

// over lays a sample of a colour that is not premultiplied over white, as Pillow's alpha_composite does: the share of the
// colour has 7 more bits than alpha, and the division by 255 is done by shifts.
func over(sample, alpha uint8) uint8 {
	share := uint32(alpha) << 7
	sum := uint32(sample)*share + 255*(255<<7-share) + 0x80<<7
	return uint8(((sum>>8 + sum) >> 8) >> 7)
}

// eachPixel makes an Image whose pixels at returns.
func eachPixel(r image.Rectangle, at func(x, y int) (red, green, blue uint8)) *Image {
	out := newImage(r.Dx(), r.Dy())
	i := 0
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			out.Pix[i], out.Pix[i+1], out.Pix[i+2] = at(x, y)
			i += 3
		}
	}
	return out
}

// flatten makes an Image of what the decoders of the standard library and golang.org/x/image return.
func flatten(m image.Image) (*Image, error) {
	r := m.Bounds()
	switch m := m.(type) {
	case *image.NRGBA:
		return eachPixel(r, func(x, y int) (uint8, uint8, uint8) {
			p := m.Pix[m.PixOffset(x, y):]
			return over(p[0], p[3]), over(p[1], p[3]), over(p[2], p[3])
		}), nil
	case *image.NRGBA64:
		return eachPixel(r, func(x, y int) (uint8, uint8, uint8) {
			p := m.Pix[m.PixOffset(x, y):]
			return over(p[0], p[6]), over(p[2], p[6]), over(p[4], p[6])
		}), nil
	case *image.RGBA:
		return eachPixel(r, func(x, y int) (uint8, uint8, uint8) {
			p := m.Pix[m.PixOffset(x, y):]
			return premultipliedOver(p[0], p[3]), premultipliedOver(p[1], p[3]), premultipliedOver(p[2], p[3])
		}), nil
	case *image.RGBA64:
		return eachPixel(r, func(x, y int) (uint8, uint8, uint8) {
			p := m.Pix[m.PixOffset(x, y):]
			return premultipliedOver(p[0], p[6]), premultipliedOver(p[2], p[6]), premultipliedOver(p[4], p[6])
		}), nil
	case *image.Gray:
		return eachPixel(r, func(x, y int) (uint8, uint8, uint8) {
			v := m.Pix[m.PixOffset(x, y)]
			return v, v, v
		}), nil
	case *image.Gray16:
		return eachPixel(r, func(x, y int) (uint8, uint8, uint8) {
			v := m.Pix[m.PixOffset(x, y)]
			return v, v, v
		}), nil
	case *image.CMYK:
		return eachPixel(r, func(x, y int) (uint8, uint8, uint8) {
			p := m.Pix[m.PixOffset(x, y):]
			return inkLess(p[0], p[3]), inkLess(p[1], p[3]), inkLess(p[2], p[3])
		}), nil
	case *image.Paletted:
		return flattenPaletted(m), nil
	}
	return nil, fmt.Errorf("its colours are stored in a way that is not supported (%T)", m)
}

// premultipliedOver adds to a premultiplied sample the white that shines through. A sample beyond its alpha is clipped.
func premultipliedOver(sample, alpha uint8) uint8 {
	return uint8(min(255, uint(sample)+255-uint(alpha)))
}

// inkLess is the light that an ink and black leave, in the arithmetic of Pillow's CMYK conversion.
func inkLess(ink, black uint8) uint8 {
	paper := 255 - uint32(black)
	t := uint32(ink)*paper + 128
	return uint8(paper - (t>>8+t)>>8)
}

func flattenPaletted(m *image.Paletted) *Image {
	var table [256][3]uint8
	for i, c := range m.Palette[:min(len(m.Palette), 256)] {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		table[i] = [3]uint8{over(n.R, n.A), over(n.G, n.A), over(n.B, n.A)}
	}
	return eachPixel(m.Rect, func(x, y int) (uint8, uint8, uint8) {
		c := table[m.Pix[m.PixOffset(x, y)]]
		return c[0], c[1], c[2]
	})
}

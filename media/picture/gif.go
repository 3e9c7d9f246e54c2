package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"image/gif"
	"io"
	"time"
)

var errGIF = errors.New("its blocks are damaged")

// openGIF finds the frames without decompressing them. Each becomes a file of its own for the standard library's decoder, which
// would otherwise hold all of them at once: a few kilobytes can describe thousands of large frames.
func openGIF(data []byte) (*Animation, error) {
	if len(data) < 13 {
		return nil, io.ErrUnexpectedEOF
	}
	a := &Animation{Width: int(binary.LittleEndian.Uint16(data[6:])), Height: int(binary.LittleEndian.Uint16(data[8:]))}
	at := 13 + colourTable(data[10])
	if at > len(data) {
		return nil, io.ErrUnexpectedEOF
	}
	head := data[:at]
	var control []byte // the last graphic control extension: it speaks of the next frame
	for at < len(data) {
		begin := at
		var err error
		switch data[at] {
		case 0: // some writers pad
			at++
		case ';':
			at = len(data)
		case '!':
			if at, err = gifSkip(data, at+2); err != nil {
				return nil, err
			}
			if block := data[begin:at]; len(block) == 8 && block[1] == 0xf9 {
				control = block
			}
		case ',':
			if at, err = gifImage(data, at); err != nil {
				return nil, err
			}
			a.frames = append(a.frames, newGIFFrame(head, control, data[begin:at]))
			control = nil
		default:
			return nil, errGIF
		}
	}
	if len(a.frames) == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return a, nil
}

// colourTable is the size of the colour table that a flags byte announces.
func colourTable(flags byte) int {
	if flags&0x80 == 0 {
		return 0
	}
	return 3 << (1 + flags&7)
}

// gifSkip skips sub-blocks, up to and with the empty one.
func gifSkip(data []byte, at int) (int, error) {
	for at < len(data) {
		n := int(data[at])
		at += 1 + n
		if n == 0 {
			return at, nil
		}
	}
	return 0, io.ErrUnexpectedEOF
}

func gifImage(data []byte, at int) (int, error) {
	if at+11 > len(data) {
		return 0, io.ErrUnexpectedEOF
	}
	return gifSkip(data, at+10+colourTable(data[at+9])+1)
}

func newGIFFrame(head, control, block []byte) animationFrame {
	word := func(i int) int { return int(binary.LittleEndian.Uint16(block[i:])) }
	f := animationFrame{x: word(1), y: word(3), width: word(5), height: word(7), length: frameLength(0)}
	if control != nil {
		f.length = frameLength(time.Duration(binary.LittleEndian.Uint16(control[4:])) * 10 * time.Millisecond)
		switch control[3] >> 2 & 7 {
		case 2:
			f.disposal = clear_
		case 3:
			f.disposal = previous
		}
	}
	f.decode = func() ([]uint8, error) {
		file := io.MultiReader(bytes.NewReader(head), bytes.NewReader(control), bytes.NewReader(block), bytes.NewReader([]byte{';'}))
		m, err := gif.Decode(file)
		if err != nil {
			return nil, err
		}
		p, ok := m.(*image.Paletted)
		if !ok {
			return nil, errGIF
		}
		return gifPixels(p), nil
	}
	return f
}

func gifPixels(p *image.Paletted) []uint8 {
	var table [256][4]uint8
	for i, c := range p.Palette[:min(len(p.Palette), 256)] {
		r, g, b, a := c.RGBA()
		table[i] = [4]uint8{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), uint8(a >> 8)}
	}
	width, height := p.Rect.Dx(), p.Rect.Dy()
	out := make([]uint8, 0, 4*width*height)
	for y := range height {
		for _, i := range p.Pix[y*p.Stride:][:width] {
			out = append(out, table[i][:]...)
		}
	}
	return out
}

package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"time"

	"golang.org/x/image/webp"
)

var errWebP = errors.New("its chunks are damaged")

func isWebP(data []byte) bool {
	return len(data) >= 12 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP"
}

// A riffChunk is a piece of a RIFF file; whole includes name and length.
type riffChunk struct {
	name           string
	payload, whole []byte
}

// riffChunks splits data, which begin with a chunk's name.
func riffChunks(data []byte) ([]riffChunk, error) {
	var out []riffChunk
	for len(data) >= 8 {
		n := uint64(binary.LittleEndian.Uint32(data[4:]))
		if n > uint64(len(data)-8) {
			return nil, io.ErrUnexpectedEOF
		}
		end := min(8+int(n)+int(n%2), len(data))
		out = append(out, riffChunk{string(data[:4]), data[8 : 8+n], data[:end]})
		data = data[end:]
	}
	return out, nil
}

func find(chunks []riffChunk, name string) *riffChunk {
	for i := range chunks {
		if chunks[i].name == name {
			return &chunks[i]
		}
	}
	return nil
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// webpFlags returns the canvas and flags of the VP8X chunk, if there is one.
func webpFlags(chunks []riffChunk) (width, height int, flags byte, ok bool) {
	x := find(chunks, "VP8X")
	if x == nil || len(x.payload) < 10 {
		return 0, 0, 0, false
	}
	return uint24(x.payload[4:]) + 1, uint24(x.payload[7:]) + 1, x.payload[0], true
}

func webpSize(data []byte) (width, height int, err error) {
	chunks, err := riffChunks(data[12:])
	if err != nil {
		return 0, 0, err
	}
	if width, height, _, ok := webpFlags(chunks); ok {
		return width, height, nil
	}
	f, err := newWebPFrame(chunks, Limits{Pixels: maxSide * maxSide})
	return f.width, f.height, err
}

func webpOrientation(data []byte) int {
	chunks, err := riffChunks(data[12:])
	if err != nil {
		return 1
	}
	if exif := find(chunks, "EXIF"); exif != nil {
		return exifOrientation(exif.payload)
	}
	return 1
}

func openWebP(data []byte, limits Limits) (*Animation, error) {
	chunks, err := riffChunks(data[12:])
	if err != nil {
		return nil, err
	}
	const animated = 0x02
	width, height, flags, extended := webpFlags(chunks)
	if !extended || flags&animated == 0 {
		f, err := newWebPFrame(chunks, limits)
		if err != nil {
			return nil, err
		}
		if extended && (f.width != width || f.height != height) {
			return nil, fmt.Errorf("its picture of %d × %d pixels does not fit the canvas of %d × %d", f.width, f.height, width, height)
		}
		return &Animation{Width: f.width, Height: f.height, frames: []animationFrame{f}}, nil
	}
	a := &Animation{Width: width, Height: height}
	for _, c := range chunks {
		if c.name != "ANMF" {
			continue
		}
		f, err := movingWebPFrame(c.payload, limits)
		if err != nil {
			return nil, err
		}
		a.frames = append(a.frames, f)
	}
	if len(a.frames) == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return a, nil
}

func movingWebPFrame(payload []byte, limits Limits) (animationFrame, error) {
	if len(payload) < 16 {
		return animationFrame{}, io.ErrUnexpectedEOF
	}
	chunks, err := riffChunks(payload[16:])
	if err != nil {
		return animationFrame{}, err
	}
	f, err := newWebPFrame(chunks, limits)
	if err != nil {
		return animationFrame{}, err
	}
	if f.width != uint24(payload[6:])+1 || f.height != uint24(payload[9:])+1 {
		return animationFrame{}, errWebP
	}
	f.x, f.y = 2*uint24(payload), 2*uint24(payload[3:])
	f.length = frameLength(time.Duration(uint24(payload[12:])) * time.Millisecond)
	const disposes, replaces = 0x01, 0x02
	f.replaces = payload[15]&replaces != 0
	if payload[15]&disposes != 0 {
		f.disposal = clear_
	}
	return f, nil
}

// newWebPFrame makes a frame of the picture among chunks. The size in its own header counts, and is checked before decoding.
func newWebPFrame(chunks []riffChunk, limits Limits) (animationFrame, error) {
	picture := find(chunks, "VP8 ")
	if picture == nil {
		picture = find(chunks, "VP8L")
	}
	if picture == nil {
		return animationFrame{}, io.ErrUnexpectedEOF
	}
	c, err := webp.DecodeConfig(bytes.NewReader(riffFile(picture.whole)))
	if err != nil {
		return animationFrame{}, err
	}
	if err := limits.Check(c.Width, c.Height); err != nil {
		return animationFrame{}, err
	}
	parts := [][]byte{picture.whole}
	if alpha := find(chunks, "ALPH"); alpha != nil && picture.name == "VP8 " {
		parts = [][]byte{vp8x(c.Width, c.Height), alpha.whole, picture.whole}
	}
	f := animationFrame{width: c.Width, height: c.Height, replaces: true, length: frameLength(0)}
	f.decode = func() ([]uint8, error) {
		m, err := webp.Decode(bytes.NewReader(riffFile(parts...)))
		if err != nil {
			return nil, err
		}
		return webpPixels(m)
	}
	return f, nil
}

func riffFile(chunks ...[]byte) []byte {
	body := bytes.Join(append([][]byte{[]byte("WEBP")}, chunks...), nil)
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

// vp8x is the header chunk of a picture with alpha.
func vp8x(width, height int) []byte {
	const alpha = 0x10
	w, h := width-1, height-1
	return append([]byte("VP8X\x0a\x00\x00\x00"), alpha, 0, 0, 0, byte(w), byte(w>>8), byte(w>>16), byte(h), byte(h>>8), byte(h>>16))
}

func webpPixels(m image.Image) ([]uint8, error) {
	switch m := m.(type) {
	case *image.NRGBA:
		return m.Pix, nil
	case *image.YCbCr:
		return withAlpha(vp8(m), func(int, int) uint8 { return 255 }), nil
	case *image.NYCbCrA:
		return withAlpha(vp8(&m.YCbCr), func(x, y int) uint8 { return m.A[y*m.AStride+x] }), nil
	}
	return nil, errWebP
}

func withAlpha(m *Image, alpha func(x, y int) uint8) []uint8 {
	out := make([]uint8, 0, 4*m.Width*m.Height)
	for y := range m.Height {
		row := m.row(y)
		for x := range m.Width {
			out = append(out, row[3*x], row[3*x+1], row[3*x+2], alpha(x, y))
		}
	}
	return out
}

func decodeWebP(data []byte, limits Limits) (*Image, error) { return firstFrame(data, limits) }

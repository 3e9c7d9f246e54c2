package picture

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// An Image is an opaque picture in RGB, 8 bits a sample.
type Image struct {
	Width, Height int
	// Pix has Height rows of Width pixels of three samples: red, green, blue.
	Pix []uint8
}

func newImage(width, height int) *Image {
	return &Image{Width: width, Height: height, Pix: make([]uint8, 3*width*height)}
}

func (m *Image) row(y int) []uint8 { return m.Pix[3*y*m.Width : 3*(y+1)*m.Width] }

// Crop returns a copy of the part of m with its upper left corner at (x, y); what lies outside m is cut off.
func (m *Image) Crop(x, y, width, height int) *Image {
	width, height = min(width, m.Width-x), min(height, m.Height-y)
	out := newImage(max(width, 0), max(height, 0))
	for r := range out.Height {
		copy(out.row(r), m.row(y + r)[3*x:])
	}
	return out
}

// Limits bound what is decoded. A zero field means its default.
type Limits struct {
	Bytes  int // of the file; default 256 MiB
	Pixels int // width × height, of every frame; default 100,000,000
}

const (
	defaultBytes  = 256 << 20
	defaultPixels = 100_000_000
	// maxSide keeps the tables of resizing small; JPEG, GIF and WebP cannot have longer sides.
	maxSide = 65535
)

// ErrTooLarge is wrapped by errors about a file or a picture beyond its [Limits].
var ErrTooLarge = errors.New("too large")

// MaxBytes is the limit of a file's bytes.
func (l Limits) MaxBytes() int {
	if l.Bytes <= 0 {
		return defaultBytes
	}
	return l.Bytes
}

// MaxPixels is the limit of a picture's pixels.
func (l Limits) MaxPixels() int {
	if l.Pixels <= 0 {
		return defaultPixels
	}
	return l.Pixels
}

func (l Limits) checkBytes(n int) error {
	if n > l.MaxBytes() {
		return fmt.Errorf("picture file is %w: it has more than the limit of %d bytes", ErrTooLarge, l.MaxBytes())
	}
	return nil
}

// Check refuses a size without pixels or beyond the limits; no side may be longer than 65,535.
func (l Limits) Check(width, height int) error {
	if width <= 0 || height <= 0 {
		return fmt.Errorf("picture has no pixels: its header says %d × %d", width, height)
	}
	if width > maxSide || height > maxSide {
		return fmt.Errorf("picture is %w: %d × %d pixels, the limit is %d a side", ErrTooLarge, width, height, maxSide)
	}
	if width > l.MaxPixels()/height {
		return fmt.Errorf("picture is %w: %d × %d pixels, the limit is %d in all: scale it down first", ErrTooLarge, width, height, l.MaxPixels())
	}
	return nil
}

// Read decodes the picture that r yields. It reads no more than limits allow.
func Read(r io.Reader, limits Limits) (*Image, error) {
	data, err := io.ReadAll(io.LimitReader(r, int64(limits.MaxBytes())+1))
	if err != nil {
		return nil, err
	}
	return Decode(data, limits)
}

// ReadFile decodes the picture in a file.
func ReadFile(path string, limits Limits) (*Image, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := Read(f, limits)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

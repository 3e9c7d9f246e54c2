package picture

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"strings"

	"golang.org/x/image/bmp"
)

// A format is one kind of file.
type format struct {
	name  string
	match func(data []byte) bool
	// size reads width and height from the header.
	size func(data []byte) (width, height int, err error)
	// decode is called with data whose size is within the limits.
	decode func(data []byte, limits Limits) (*Image, error)
	// orientation finds the EXIF orientation, 1 to 8. Nil where decode has already obeyed it.
	orientation func(data []byte) int
}

var formats = []format{
	{"jpeg", prefix("\xff\xd8\xff"), config(jpeg.DecodeConfig), decodeJPEG, jpegOrientation},
	{"png", prefix("\x89PNG\r\n\x1a\n"), config(png.DecodeConfig), decodeWith(png.Decode), pngOrientation},
	{"gif", prefix("GIF8"), config(gif.DecodeConfig), firstFrame, none},
	{"webp", isWebP, webpSize, decodeWebP, webpOrientation},
	{"bmp", prefix("BM"), config(bmp.DecodeConfig), decodeWith(bmp.Decode), none},
	{"tiff", isTIFF, tiffSize, decodeTIFF, tiffOrientation},
	{"avif", isAVIF, heifSize, decodeAVIF, none},
	{"heic", isHEIC, heifSize, decodeHEIC, none},
}

func none([]byte) int { return 1 }

func prefix(magic string) func([]byte) bool {
	return func(data []byte) bool { return bytes.HasPrefix(data, []byte(magic)) }
}

func config(read func(io.Reader) (image.Config, error)) func([]byte) (int, int, error) {
	return func(data []byte) (int, int, error) {
		c, err := read(bytes.NewReader(data))
		return c.Width, c.Height, err
	}
}

func decodeWith(read func(io.Reader) (image.Image, error)) func([]byte, Limits) (*Image, error) {
	return func(data []byte, _ Limits) (*Image, error) {
		m, err := read(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		return flatten(m)
	}
}

func sniff(data []byte) (format, error) {
	for _, f := range formats {
		if f.match(data) {
			return f, nil
		}
	}
	return format{}, errors.New("not a picture that can be read: want JPEG, PNG, GIF, WebP, BMP, TIFF, AVIF or HEIC")
}

// Decode decodes a picture file: the first frame where there are several, upright, with transparency laid over white.
// A file or a picture beyond limits is refused before it is decoded, with an error that wraps [ErrTooLarge].
func Decode(data []byte, limits Limits) (*Image, error) {
	if err := limits.checkBytes(len(data)); err != nil {
		return nil, err
	}
	f, err := sniff(data)
	if err != nil {
		return nil, err
	}
	m, err := f.read(data, limits)
	if err != nil {
		return nil, fmt.Errorf("cannot read the %s picture: %w", f.name, explain(err))
	}
	return m, nil
}

// read also turns a panic of a decoder into an error: decoders of other people meet hostile files here.
func (f format) read(data []byte, limits Limits) (m *Image, err error) {
	defer func() {
		if p := recover(); p != nil {
			m, err = nil, fmt.Errorf("damaged file (%v)", p)
		}
	}()
	width, height, err := f.size(data)
	if err != nil {
		return nil, err
	}
	if err := limits.Check(width, height); err != nil {
		return nil, err
	}
	m, err = f.decode(data, limits)
	if err != nil {
		return nil, err
	}
	return m.orient(f.orientation(data)), nil
}

func explain(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("the file ends too early")
	}
	return err
}

// decodeJPEG refuses files with more scans than any encoder writes: each goes over the whole picture, and may be a few bytes long.
// An end marker is added, since it is missing in many files that are otherwise whole.
func decodeJPEG(data []byte, _ Limits) (*Image, error) {
	const mostScans = 500
	if n := bytes.Count(data, []byte("\xff\xda")); n > mostScans {
		return nil, fmt.Errorf("it has %d scans, more than %d", n, mostScans)
	}
	m, err := jpeg.Decode(io.MultiReader(bytes.NewReader(data), strings.NewReader("\xff\xd9")))
	if err != nil {
		return nil, err
	}
	if m, ok := m.(*image.YCbCr); ok {
		return jfif(m), nil
	}
	return flatten(m)
}

func firstFrame(data []byte, limits Limits) (*Image, error) {
	a, err := OpenAnimation(data, limits)
	if err != nil {
		return nil, err
	}
	for f, err := range a.Frames() {
		return f.Image, err
	}
	return nil, errors.New("the file has no frame")
}

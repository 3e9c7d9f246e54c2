package picture

import (
	"bytes"
	"encoding/binary"
)

// orient turns and mirrors m as EXIF's orientation demands; other values than 2 to 8 leave it as it is.
// The table says where the upright picture's pixel (x, y) is stored: transposed or not, then counted from the right, from below.
func (m *Image) orient(orientation int) *Image {
	if orientation < 2 || orientation > 8 {
		return m
	}
	transposed := orientation >= 5
	fromRight := orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8
	fromBelow := orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7
	out := newImage(m.Width, m.Height)
	if transposed {
		out.Width, out.Height = m.Height, m.Width
	}
	i := 0
	for y := range out.Height {
		for x := range out.Width {
			sx, sy := x, y
			if transposed {
				sx, sy = y, x
			}
			if fromRight {
				sx = m.Width - 1 - sx
			}
			if fromBelow {
				sy = m.Height - 1 - sy
			}
			copy(out.Pix[i:i+3], m.Pix[3*(sy*m.Width+sx):])
			i += 3
		}
	}
	return out
}

// exifOrientation takes EXIF data with or without the six bytes that precede them in JPEG files.
func exifOrientation(data []byte) int {
	return tiffOrientation(bytes.TrimPrefix(data, []byte("Exif\x00\x00")))
}

// jpegOrientation looks through the segments before the first scan for APP1 with EXIF data.
func jpegOrientation(data []byte) int {
	const (
		app1 = 0xe1
		sos  = 0xda
	)
	for at := 2; at+4 <= len(data) && data[at] == 0xff; {
		marker := data[at+1]
		if marker == 0xff { // padding
			at++
			continue
		}
		length := int(binary.BigEndian.Uint16(data[at+2:]))
		if marker == sos || length < 2 || at+2+length > len(data) {
			return 1
		}
		payload := data[at+4 : at+2+length]
		if marker == app1 && bytes.HasPrefix(payload, []byte("Exif\x00\x00")) {
			return exifOrientation(payload)
		}
		at += 2 + length
	}
	return 1
}

// pngOrientation looks for the eXIf chunk, wherever it stands.
func pngOrientation(data []byte) int {
	for at := 8; at+12 <= len(data); {
		length := uint64(binary.BigEndian.Uint32(data[at:]))
		if length > uint64(len(data)-at-12) {
			return 1
		}
		if string(data[at+4:at+8]) == "eXIf" {
			return exifOrientation(data[at+8 : at+8+int(length)])
		}
		at += 12 + int(length)
	}
	return 1
}

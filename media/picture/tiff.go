package picture

import (
	"bytes"
	"encoding/binary"
	"image"

	"golang.org/x/image/tiff"
)

// Tags of TIFF 6.0 and EXIF 2.32.
const (
	tagCompression  = 0x0103
	tagPhotometric  = 0x0106
	tagOrientation  = 0x0112
	tagExtraSamples = 0x0152
)

func isTIFF(data []byte) bool {
	return prefix("II*\x00")(data) || prefix("MM\x00*")(data)
}

// A tiffDirectory is the first directory of a TIFF file, which is also what EXIF data are. Damaged data have no entries.
type tiffDirectory struct {
	order   binary.ByteOrder
	entries []byte // of 12 bytes: tag, type, count, value
}

const shortType = 3

func openTIFF(data []byte) tiffDirectory {
	d := tiffDirectory{order: binary.LittleEndian}
	if len(data) < 8 {
		return d
	}
	if data[0] == 'M' {
		d.order = binary.BigEndian
	}
	at := uint64(d.order.Uint32(data[4:]))
	if at+2 > uint64(len(data)) {
		return d
	}
	end := at + 2 + 12*uint64(d.order.Uint16(data[at:]))
	if end <= uint64(len(data)) {
		d.entries = data[at+2 : end]
	}
	return d
}

// value returns a tag's value of 16 bits, the first where there are several, and where its entry is; or -1 as entry.
func (d tiffDirectory) value(tag uint16) (value uint16, entry int) {
	for i := 0; i < len(d.entries); i += 12 {
		e := d.entries[i:]
		if d.order.Uint16(e) == tag && d.order.Uint16(e[2:]) == shortType {
			return d.order.Uint16(e[8:]), i
		}
	}
	return 0, -1
}

// tiffOrientation returns 1, as stored, where there is no such tag.
func tiffOrientation(data []byte) int {
	if v, entry := openTIFF(data).value(tagOrientation); entry >= 0 {
		return int(v)
	}
	return 1
}

const (
	blackIsZero = 1
	photoRGB    = 2
	photoCMYK   = 5
	faxGroup3   = 3
	faxGroup4   = 4
	plainAlpha  = 2
)

func tiffSize(data []byte) (width, height int, err error) {
	return config(tiff.DecodeConfig)(cmykAsRGBA(data))
}

// decodeTIFF corrects two things of golang.org/x/image/tiff: it knows no CMYK, and it takes the white runs of a fax for white
// where the file says that their zeros are black.
func decodeTIFF(data []byte, _ Limits) (*Image, error) {
	d := openTIFF(data)
	photometric, _ := d.value(tagPhotometric)
	compression, _ := d.value(tagCompression)
	m, err := tiff.Decode(bytes.NewReader(cmykAsRGBA(data)))
	if err != nil {
		return nil, err
	}
	if n, ok := m.(*image.NRGBA); ok && photometric == photoCMYK {
		m = &image.CMYK{Pix: n.Pix, Stride: n.Stride, Rect: n.Rect}
	}
	out, err := flatten(m)
	if err == nil && photometric == blackIsZero && (compression == faxGroup3 || compression == faxGroup4) {
		for i := range out.Pix {
			out.Pix[i] = ^out.Pix[i]
		}
	}
	return out, err
}

// cmykAsRGBA returns a copy of a file of four inks with a new directory in which they are called red, green, blue and alpha, so
// that the decoder hands them over unchanged. Other files are returned as they are.
func cmykAsRGBA(data []byte) []byte {
	d := openTIFF(data)
	photometric, entry := d.value(tagPhotometric)
	if _, extra := d.value(tagExtraSamples); photometric != photoCMYK || extra >= 0 {
		return data
	}
	entries := bytes.Clone(d.entries)
	d.order.PutUint16(entries[entry+8:], photoRGB)
	alpha := make([]byte, 12)
	d.order.PutUint16(alpha, tagExtraSamples)
	d.order.PutUint16(alpha[2:], shortType)
	d.order.PutUint32(alpha[4:], 1)
	d.order.PutUint16(alpha[8:], plainAlpha)
	at := 0 // directories are sorted by tag
	for at < len(entries) && d.order.Uint16(entries[at:]) < tagExtraSamples {
		at += 12
	}
	out := bytes.Clone(data)
	if len(out)%2 != 0 {
		out = append(out, 0)
	}
	d.order.PutUint32(out[4:], uint32(len(out)))
	count := make([]byte, 2)
	d.order.PutUint16(count, uint16(len(entries)/12+1))
	return bytes.Join([][]byte{out, count, entries[:at], alpha, entries[at:], make([]byte, 4)}, nil)
}

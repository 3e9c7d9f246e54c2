package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"slices"

	"github.com/gen2brain/avif"
	"github.com/gen2brain/heic"
)

// AVIF and HEIC files are both HEIF: boxes (ISO/IEC 14496-12) in which a picture is an item with properties (23008-12). Here are
// read the few properties that are wanted before or after the codecs see the file.

var (
	errHEIF  = errors.New("its boxes are damaged")
	errCodec = errors.New("its picture is damaged or has a part that the decoder does not know")
)

// brands are those that the ftyp box names, the major one first.
func brands(data []byte) []string {
	if len(data) < 16 || string(data[4:8]) != "ftyp" {
		return nil
	}
	end := min(uint64(binary.BigEndian.Uint32(data)), uint64(len(data)), 1024)
	out := []string{string(data[8:12])}
	for at := uint64(16); at+4 <= end; at += 4 {
		out = append(out, string(data[at:at+4]))
	}
	return out
}

func hasBrand(data []byte, names ...string) bool {
	return slices.ContainsFunc(brands(data), func(b string) bool { return slices.Contains(names, b) })
}

func isAVIF(data []byte) bool { return hasBrand(data, "avif", "avis") }

func isHEIC(data []byte) bool {
	return hasBrand(data, "heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1")
}

type box struct {
	kind    string
	payload []byte
}

// boxes splits data. What follows a damaged box is left out: mdat may be cut, which the codec reports.
func boxes(data []byte) []box {
	var out []box
	for len(data) >= 8 {
		size, head := uint64(binary.BigEndian.Uint32(data)), uint64(8)
		switch {
		case size == 0:
			size = uint64(len(data))
		case size == 1 && len(data) >= 16:
			size, head = binary.BigEndian.Uint64(data[8:]), 16
		}
		if size < head || size > uint64(len(data)) {
			break
		}
		out = append(out, box{string(data[4:8]), data[head:size]})
		data = data[size:]
	}
	return out
}

// child returns the payload of the first box of a kind, skipping bytes at its start (version and flags of a full box).
func child(in []box, kind string, skip int) []byte {
	for _, b := range in {
		if b.kind == kind && len(b.payload) >= skip {
			return b.payload[skip:]
		}
	}
	return nil
}

// heifProperties are those of all items, in the order in which associations number them, and which belong to the primary item.
type heifProperties struct {
	all     []box
	primary []int
}

func readProperties(data []byte) heifProperties {
	meta := boxes(child(boxes(data), "meta", 4))
	iprp := boxes(child(meta, "iprp", 0))
	p := heifProperties{all: boxes(child(iprp, "ipco", 0))}
	for _, b := range iprp {
		if b.kind == "ipma" {
			p.primary = append(p.primary, associations(b.payload, primaryItem(meta))...)
		}
	}
	return p
}

func primaryItem(meta []box) uint32 {
	pitm := child(meta, "pitm", 0)
	switch {
	case len(pitm) >= 6 && pitm[0] == 0:
		return uint32(binary.BigEndian.Uint16(pitm[4:]))
	case len(pitm) >= 8 && pitm[0] != 0:
		return binary.BigEndian.Uint32(pitm[4:])
	}
	return 0
}

// A cursor reads big-endian numbers; past the end it reads zeros and says so.
type cursor struct {
	data []byte
	over bool
}

func (c *cursor) number(bytes int) uint32 {
	if len(c.data) < bytes {
		c.over = true
		return 0
	}
	var v uint32
	for _, b := range c.data[:bytes] {
		v = v<<8 | uint32(b)
	}
	c.data = c.data[bytes:]
	return v
}

// associations lists the properties of an item (counted from 0) in an ipma box.
func associations(ipma []byte, item uint32) []int {
	c := &cursor{data: ipma}
	head := c.number(4)
	idSize, indexSize := 2, 1
	if head>>24 > 0 {
		idSize = 4
	}
	if head&1 != 0 {
		indexSize = 2
	}
	var out []int
	for n := c.number(4); n > 0 && !c.over; n-- {
		id := c.number(idSize)
		for k := c.number(1); k > 0 && !c.over; k-- {
			index := c.number(indexSize) & (1<<(8*indexSize-1) - 1) // the uppermost bit says that it is essential
			if id == item && index > 0 {
				out = append(out, int(index)-1)
			}
		}
	}
	return out
}

// of returns the primary item's properties in their order.
func (p heifProperties) of() []box {
	var out []box
	for _, i := range p.primary {
		if i < len(p.all) {
			out = append(out, p.all[i])
		}
	}
	return out
}

// heifSize is the largest size that any picture of the file has: parts of a grid, thumbnails and alpha planes are decoded too.
func heifSize(data []byte) (width, height int, err error) {
	for _, b := range readProperties(data).all {
		if b.kind != "ispe" || len(b.payload) < 12 {
			continue
		}
		w, h := int(binary.BigEndian.Uint32(b.payload[4:])), int(binary.BigEndian.Uint32(b.payload[8:]))
		if uint64(w)*uint64(h) >= uint64(width)*uint64(height) {
			width, height = w, h
		}
	}
	if width == 0 {
		return 0, 0, errHEIF
	}
	return width, height, nil
}

// init keeps the module of libheif from using the system's library, which would run outside of any sandbox. It opens such a
// library all the same unless the build tag nodynamic is set.
func init() { heic.ForceWasmMode = true }

// decodeAVIF calls libavif, which leaves turning and mirroring to its callers.
func decodeAVIF(data []byte, _ Limits) (*Image, error) {
	if avif.Dynamic() == nil {
		return nil, errors.New("this program was built to read it with the system's libavif, which has no sandbox: build it with -tags nodynamic")
	}
	m, err := avif.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, errCodec
	}
	if !decoded(m, readProperties(data).transparent()) {
		return nil, errCodec
	}
	out, err := flatten(m)
	if err != nil {
		return nil, err
	}
	return readProperties(data).turn(out), nil
}

// decoded reports whether samples are what premultiplied ones can be. The module calls a picture decoded also when no frame of it
// could be, and returns memory as it was found, which is zeros for the most part.
func decoded(m image.Image, transparent bool) bool {
	var pix []uint8
	step := 4
	switch m := m.(type) {
	case *image.RGBA:
		pix = m.Pix
	case *image.RGBA64:
		pix, step = m.Pix, 8
	}
	var seen uint8
	for i := 0; i+step <= len(pix); i += step {
		p := pix[i : i+step]
		c := step / 4 // bytes a channel, the upper one first
		alpha := p[3*c]
		seen |= alpha
		if !transparent && alpha != 255 || max(p[0], p[c], p[2*c]) > alpha {
			return false
		}
	}
	return seen != 0
}

// transparent reports whether any item is auxiliary, as alpha planes are.
func (p heifProperties) transparent() bool {
	return slices.ContainsFunc(p.all, func(b box) bool { return b.kind == "auxC" })
}

// turn obeys irot (quarter turns to the left) and imir (mirrored: top to bottom, or left to right), in their order.
func (p heifProperties) turn(m *Image) *Image {
	for _, b := range p.of() {
		if len(b.payload) < 1 {
			continue
		}
		switch b.kind {
		case "irot":
			m = m.orient([4]int{1, 8, 3, 6}[b.payload[0]&3])
		case "imir":
			m = m.orient([2]int{4, 2}[b.payload[0]&1])
		}
	}
	return m
}

// decodeHEIC calls libheif, which turns and mirrors.
func decodeHEIC(data []byte, _ Limits) (*Image, error) {
	m, err := heic.Decode(bytes.NewReader(data))
	if err != nil {
		return nil, errCodec
	}
	if w := m.Bounds().Dx(); w < heicNarrowest {
		return nil, fmt.Errorf("it is %d pixels wide, and the decoder can read no less than %d: convert it to PNG", w, heicNarrowest)
	}
	matrix := readProperties(data).matrix()
	switch m := m.(type) {
	case *image.YCbCr:
		mend(m.Y, m.YStride)
		return eachPixel(m.Rect, func(x, y int) (uint8, uint8, uint8) {
			c := m.COffset(x, y)
			return matrix.rgb(m.Y[m.YOffset(x, y)], m.Cb[c], m.Cr[c])
		}), nil
	case *image.Gray:
		mend(m.Pix, m.Stride)
		return eachPixel(m.Rect, func(x, y int) (uint8, uint8, uint8) {
			return matrix.rgb(m.Pix[m.PixOffset(x, y)], 128, 128)
		}), nil
	case *image.NRGBA:
		mend(m.Pix, m.Stride)
	case *image.RGBA:
		mend(m.Pix, m.Stride)
	}
	return flatten(m)
}

// mend takes the first samples from the row below: the module frees the memory of a picture before it hands out a view of it, and
// the allocator inside (dlmalloc) writes the six words of a free chunk's links there.
func mend(pix []uint8, stride int) {
	const links = 6 * 4
	if len(pix) >= stride+links {
		copy(pix[:links], pix[stride:])
	}
}

// heicNarrowest is where a row of halved chroma reaches the 64 samples that libheif makes at least. The module takes shorter rows
// to be padded to 16 samples only, and mixes them up.
const heicNarrowest = 97

// A yuvMatrix converts samples to RGB (ITU-T H.273).
type yuvMatrix struct {
	kr, kb float32
	full   bool // luma is 0 to 255, not 16 to 235
}

// matrix reads the colr box; without one a picture is full-range BT.601, as JPEG is.
func (p heifProperties) matrix() yuvMatrix {
	m := yuvMatrix{0.299, 0.114, true}
	for _, b := range p.of() {
		if b.kind != "colr" || len(b.payload) < 11 || string(b.payload[:4]) != "nclx" {
			continue
		}
		m.full = b.payload[10]&0x80 != 0
		switch binary.BigEndian.Uint16(b.payload[8:]) {
		case 1:
			m.kr, m.kb = 0.2126, 0.0722 // BT.709
		case 9, 10:
			m.kr, m.kb = 0.2627, 0.0593 // BT.2020
		}
	}
	return m
}

func (m yuvMatrix) rgb(y, cb, cr uint8) (r, g, b uint8) {
	l, u, v := float32(y), float32(cb)-128, float32(cr)-128
	if !m.full {
		l, u, v = (l-16)*(255.0/219), u*(255.0/224), v*(255.0/224)
	}
	red, blue := l+2*(1-m.kr)*v, l+2*(1-m.kb)*u
	green := (l - m.kr*red - m.kb*blue) / (1 - m.kr - m.kb)
	return clip(int32(red + 0.5)), clip(int32(green + 0.5)), clip(int32(blue + 0.5))
}

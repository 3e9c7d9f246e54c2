package picture

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"slices"
)

// AVIF and HEIC files are both HEIF: boxes (ISO/IEC 14496-12) in which a picture is an item with properties (23008-12). Here are
// read the few properties that are wanted before or after the codecs see the file.

var errHEIF = errors.New("its boxes are damaged")

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

// decodeAVIF calls libavif, which leaves turning and mirroring to its callers.
func decodeAVIF(data []byte, limits Limits) (*Image, error) {
	s, err := avifCodec.open(data)
	if err != nil {
		return nil, err
	}
	defer s.close()
	const justSize, firstOnly = 1, 0
	// where the codec writes: width, height, depth, number of frames, then a frame's length in 8 bytes
	at, err := s.alloc(4*4 + 8)
	if err != nil {
		return nil, err
	}
	call := func(mode, out uint64) error {
		return s.decode(mode, firstOnly, at, at+4, at+8, at+12, at+16, out)
	}
	if err := call(justSize, 0); err != nil {
		return nil, err
	}
	v, err := s.numbers(at, 3)
	if err != nil {
		return nil, err
	}
	width, height, wide := int(v[0]), int(v[1]), v[2] > 8
	if err := limits.Check(width, height); err != nil {
		return nil, err
	}
	size := 4 * width * height
	if wide {
		size *= 2
	}
	out, err := s.alloc(size)
	if err != nil {
		return nil, err
	}
	// the codec answers that all is well even when it found no frame, but then it writes no length
	const unwritten = 1<<64 - 1
	s.module.Memory().WriteUint64Le(uint32(at)+16, unwritten)
	if err := call(0, out); err != nil {
		return nil, err
	}
	if length, ok := s.module.Memory().ReadUint64Le(uint32(at) + 16); !ok || length == unwritten {
		return nil, errSandbox
	}
	pix, err := s.bytes(out, size)
	if err != nil {
		return nil, err
	}
	return readProperties(data).turn(avifImage(pix, width, height, wide)), nil
}

// avifImage takes premultiplied RGBA, of 16 bits little-endian where wide.
func avifImage(pix []uint8, width, height int, wide bool) *Image {
	if wide {
		for i := range len(pix) / 2 {
			v := uint32(binary.LittleEndian.Uint16(pix[2*i:]))
			pix[i] = uint8((v*255 + 32767) / 65535)
		}
	}
	m := newImage(width, height)
	for i := range width * height {
		p := pix[4*i:][:4]
		m.Pix[3*i], m.Pix[3*i+1], m.Pix[3*i+2] = premultipliedOver(p[0], p[3]), premultipliedOver(p[1], p[3]), premultipliedOver(p[2], p[3])
	}
	return m
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
func decodeHEIC(data []byte, limits Limits) (*Image, error) {
	s, err := heifCodec.open(data)
	if err != nil {
		return nil, err
	}
	defer s.close()
	const justSize = 1
	at, err := s.alloc(5 * 4) // width, height, colour space, chroma, premultiplied
	if err != nil {
		return nil, err
	}
	call := func(mode, out uint64) error { return s.decode(mode, at, at+4, at+8, at+12, at+16, out) }
	if err := call(justSize, 0); err != nil {
		return nil, err
	}
	v, err := s.numbers(at, 5)
	if err != nil {
		return nil, err
	}
	if err := limits.Check(int(v[0]), int(v[1])); err != nil {
		return nil, err
	}
	l, err := newHEIFLayout(int(v[0]), int(v[1]), v[2], v[3])
	if err != nil {
		return nil, err
	}
	out, err := s.alloc(l.size)
	if err != nil {
		return nil, err
	}
	if err := call(0, out); err != nil {
		return nil, err
	}
	pix, err := s.bytes(out, l.size)
	if err != nil {
		return nil, err
	}
	return l.image(pix, readProperties(data).matrix()), nil
}

// A heifLayout says how the codec lays the samples out, one plane after the other. It makes rows of an even number of samples, at
// least 64, and pads them to 16 bytes.
type heifLayout struct {
	kind          image.YCbCrSubsampleRatio
	space         uint32
	width, height int
	stride, half  int // of rows of luma (or all channels), of chroma
	size          int
}

const (
	heifYCbCr = 0
	heifRGB   = 1
	heifGrey  = 2
)

func newHEIFLayout(width, height int, space, chroma uint32) (heifLayout, error) {
	pad := func(samples, channels int) int { return (max(64, samples+samples%2)*channels + 15) &^ 15 }
	l := heifLayout{space: space, width: width, height: height, stride: pad(width, 1)}
	l.size = l.stride * height
	switch {
	case space == heifRGB:
		l.stride = pad(width, 4)
		l.size = l.stride * height
	case space == heifGrey:
	case space == heifYCbCr && chroma == 1:
		l.kind, l.half = image.YCbCrSubsampleRatio420, pad((width+1)/2, 1)
		l.size += 2 * l.half * ((height + 1) / 2)
	case space == heifYCbCr && chroma == 2:
		l.kind, l.half = image.YCbCrSubsampleRatio422, pad((width+1)/2, 1)
		l.size += 2 * l.half * height
	case space == heifYCbCr && chroma == 3:
		l.kind, l.half = image.YCbCrSubsampleRatio444, l.stride
		l.size += 2 * l.half * height
	default:
		return l, fmt.Errorf("its colours (space %d, chroma %d) are not supported", space, chroma)
	}
	return l, nil
}

func (l heifLayout) image(pix []uint8, matrix yuvMatrix) *Image {
	m := newImage(l.width, l.height)
	rect := image.Rect(0, 0, l.width, l.height)
	switch l.space {
	case heifRGB:
		n := &image.NRGBA{Pix: pix, Stride: l.stride, Rect: rect}
		return eachPixel(rect, func(x, y int) (uint8, uint8, uint8) {
			p := n.Pix[n.PixOffset(x, y):]
			return over(p[0], p[3]), over(p[1], p[3]), over(p[2], p[3])
		})
	case heifGrey:
		for y := range l.height {
			for x, row := 0, m.row(y); x < l.width; x++ {
				row[3*x], row[3*x+1], row[3*x+2] = matrix.rgb(pix[y*l.stride+x], 128, 128)
			}
		}
		return m
	}
	luma := l.stride * l.height
	chroma := (l.size - luma) / 2
	yuv := &image.YCbCr{
		Y: pix[:luma], Cb: pix[luma : luma+chroma], Cr: pix[luma+chroma:],
		SubsampleRatio: l.kind, YStride: l.stride, CStride: l.half, Rect: rect,
	}
	return eachPixel(rect, func(x, y int) (uint8, uint8, uint8) {
		c := yuv.COffset(x, y)
		return matrix.rgb(yuv.Y[y*l.stride+x], yuv.Cb[c], yuv.Cr[c])
	})
}

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

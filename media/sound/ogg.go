package sound

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// oggReader takes the packets of the first stream out of an Ogg file
// (RFC 3533). Pages of other streams, such as pictures, are passed over.
type oggReader struct {
	rest   []byte
	serial uint32
	begun  bool
	last   bool   // the stream's last page has been read
	part   []byte // of a packet that goes on
	queue  []oggPacket
}

type oggPacket struct {
	data []byte
	// position counts the samples up to the end of the page if the packet is
	// the last that ends on it, else it is oggNowhere.
	position uint64
	last     bool // nothing follows
}

const (
	oggNowhere = math.MaxUint64
	oggHeader  = 27
)

// The flags of a page.
const (
	oggContinued = 1
	oggFirst     = 2
	oggLast      = 4
)

var errOggEnd = errors.New("the end of the stream")

// next is the next packet, errOggEnd after the last one.
func (o *oggReader) next() (oggPacket, error) {
	for len(o.queue) == 0 {
		if err := o.page(); err != nil {
			return oggPacket{}, err
		}
	}
	p := o.queue[0]
	o.queue = o.queue[1:]
	return p, nil
}

// page reads a page and queues the packets that end on it.
func (o *oggReader) page() error {
	if o.last {
		if len(o.rest) >= oggHeader && string(o.rest[:4]) == "OggS" && o.rest[5]&oggFirst != 0 {
			return errors.New("a second stream follows: split the file")
		}
		return errOggEnd
	}
	page, body, err := cutOggPage(o.rest)
	if err != nil {
		return err
	}
	o.rest = o.rest[len(page):]
	if serial := binary.LittleEndian.Uint32(page[14:]); !o.begun {
		o.serial, o.begun = serial, true
	} else if serial != o.serial {
		return nil
	}
	o.last = page[5]&oggLast != 0
	o.split(page, body)
	return nil
}

func (o *oggReader) split(page, body []byte) {
	skip := page[5]&oggContinued != 0 && o.part == nil // its beginning is not there
	for _, n := range page[oggHeader : len(page)-len(body)] {
		o.part = append(o.part, body[:n]...)
		body = body[n:]
		if n == 255 {
			continue
		}
		if !skip {
			o.queue = append(o.queue, oggPacket{data: o.part, position: oggNowhere})
		}
		skip, o.part = false, nil
	}
	if n := len(o.queue); n > 0 {
		o.queue[n-1].position = binary.LittleEndian.Uint64(page[6:])
		o.queue[n-1].last = o.last
	}
}

// cutOggPage is the page at the start of data, and its body.
func cutOggPage(data []byte) (page, body []byte, err error) {
	if len(data) == 0 {
		return nil, nil, errors.New("its end is missing")
	}
	if len(data) < oggHeader {
		return nil, nil, errors.New("it ends in the middle of a page")
	}
	if string(data[:4]) != "OggS" || data[4] != 0 {
		return nil, nil, errors.New("the data is damaged: no page where one should be")
	}
	size := oggHeader + int(data[oggHeader-1])
	if size > len(data) {
		return nil, nil, errors.New("it ends in the middle of a page")
	}
	head := size
	for _, n := range data[oggHeader:head] {
		size += int(n)
	}
	if size > len(data) {
		return nil, nil, errors.New("it ends in the middle of a page")
	}
	if oggChecksum(data[:size]) != binary.LittleEndian.Uint32(data[22:]) {
		return nil, nil, errors.New("the data is damaged: a page's checksum is wrong")
	}
	return data[:size], data[head:size], nil
}

var oggTable = func() (t [256]uint32) {
	for i := range t {
		r := uint32(i) << 24
		for range 8 {
			r = r<<1 ^ 0x04c11db7&-(r>>31)
		}
		t[i] = r
	}
	return t
}()

// oggChecksum is the CRC of a page, for which its own field is zero. It is not
// one of package hash/crc32, which has them with the bits the other way round.
func oggChecksum(page []byte) uint32 {
	var sum uint32
	for i, b := range page {
		if i >= 22 && i < 26 {
			b = 0
		}
		sum = sum<<8 ^ oggTable[byte(sum>>24)^b]
	}
	return sum
}

// timeline relates the positions on the pages with what has been decoded.
type timeline struct {
	// start is the position of the first decoded sample: above 0 in a piece
	// cut out of a broadcast, below where the first samples are to be dropped
	// (Vorbis I §A.2).
	start, end int64
	begun      bool
}

func (t *timeline) packet(p oggPacket, decoded int) {
	if p.position > math.MaxInt64 {
		return
	}
	t.end = int64(p.position)
	if !t.begun && decoded > 0 {
		t.begun = true
		t.start = t.end - int64(decoded)
		if p.last {
			// What is too much of a single page is its end.
			t.start = max(t.start, 0)
		}
	}
}

// trim drops what is not sound; skipped are samples that count but are not.
func (t *timeline) trim(m *mixer, skipped int) {
	lead := int64(skipped) + max(0, -t.start)
	length := t.end - max(0, t.start) - int64(skipped)
	m.trim(int(min(lead, maxSamples)), int(min(max(length, 0), maxSamples)))
}

// firstOggPacket is what the first page holds.
func firstOggPacket(data []byte) []byte {
	if len(data) < oggHeader {
		return nil
	}
	return data[min(oggHeader+int(data[oggHeader-1]), len(data)):]
}

// decodeOgg gives each packet to a decoder and keeps the mixer in step.
func decodeOgg(o *oggReader, m *mixer, skipped int, decode func(packet []byte) error) error {
	var t timeline
	for {
		p, err := o.next()
		if err == nil {
			err = guard(func() error { return decode(p.data) })
		}
		if errors.Is(err, errOggEnd) {
			t.trim(m, skipped)
			return nil
		}
		if err != nil {
			m.trim(skipped, -1)
			return err
		}
		t.packet(p, len(m.out))
	}
}

// opusHead is the first packet of Ogg Opus (RFC 7845 §5.1).
type opusHead struct {
	channels, skip int
	gain           float32
}

func parseOpusHead(p []byte) (h opusHead, err error) {
	if len(p) < 19 || !bytes.HasPrefix(p, []byte("OpusHead")) || p[8]>>4 != 0 {
		return h, errors.New("its header is damaged or of a later version")
	}
	h.channels = int(p[9])
	h.skip = int(binary.LittleEndian.Uint16(p[10:]))
	// 256ths of a decibel.
	h.gain = float32(math.Pow(10, float64(int16(binary.LittleEndian.Uint16(p[16:])))/(20*256)))
	if family := p[18]; h.channels < 1 || h.channels > 2 || family > 1 {
		return h, fmt.Errorf("%d channels in mapping family %d: one or two in family 0 are read, mix it down with ffmpeg -i IN -ac 2 out.opus", h.channels, family)
	}
	return h, nil
}

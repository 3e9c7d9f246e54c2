package sound

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// WAV: RIFF with chunks "fmt " and "data" (Microsoft, Multimedia Programming
// Interface 1.0, 1991; WAVEFORMATEXTENSIBLE in mmreg.h), and its 64-bit
// siblings RF64 (EBU Tech 3306) and BW64 (ITU-R BS.2088).

// The codings of samples, as the tag in the "fmt " chunk numbers them.
const (
	wavPCM        = 1
	wavFloat      = 3
	wavALaw       = 6
	wavMuLaw      = 7
	wavExtensible = 0xFFFE
)

// wavGUIDTail ends the GUIDs of codings that have a tag as well.
const wavGUIDTail = "\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71"

func isWAV(data []byte) bool {
	if len(data) < 12 || string(data[8:12]) != "WAVE" {
		return false
	}
	id := string(data[:4])
	return id == "RIFF" || id == "RF64" || id == "BW64"
}

type wavFormat struct {
	tag      uint16
	channels int
	rate     int
	size     int // bytes of a sample
}

func decodeWAV(data []byte, m *mixer) error {
	var format *wavFormat
	var long uint64 // data's size in a 64-bit file
	for at := 12; ; {
		if len(data)-at < 8 {
			return errors.New("it ends before its data chunk")
		}
		id := string(data[at : at+4])
		size := uint64(binary.LittleEndian.Uint32(data[at+4:]))
		body := data[at+8:]
		switch id {
		case "ds64":
			if len(body) >= 16 {
				long = binary.LittleEndian.Uint64(body[8:])
			}
		case "fmt ":
			f, err := parseWAVFormat(body[:min(size, uint64(len(body)))])
			if err != nil {
				return err
			}
			format = &f
		case "data":
			return decodeWAVData(body, size, long, format, m)
		}
		// Chunks lie at even places.
		if size += size & 1; size > uint64(len(body)) {
			return errors.New("it ends before its data chunk")
		}
		at += 8 + int(size)
	}
}

func parseWAVFormat(b []byte) (wavFormat, error) {
	if len(b) < 16 {
		return wavFormat{}, fmt.Errorf("its fmt chunk has %d bytes and needs 16", len(b))
	}
	f := wavFormat{
		tag:      binary.LittleEndian.Uint16(b),
		channels: int(binary.LittleEndian.Uint16(b[2:])),
		rate:     int(binary.LittleEndian.Uint32(b[4:])),
		size:     (int(binary.LittleEndian.Uint16(b[14:])) + 7) / 8,
	}
	if f.tag == wavExtensible {
		if len(b) < 40 || !bytes.HasSuffix(b[:40], []byte(wavGUIDTail)) {
			return f, errors.New("its extensible header names no known coding: convert it to PCM")
		}
		f.tag = binary.LittleEndian.Uint16(b[24:])
	}
	if _, err := f.reader(); err != nil {
		return f, err
	}
	// The bytes between moments count: 20 bits may be kept in the upper end of
	// four bytes.
	if align := int(binary.LittleEndian.Uint16(b[12:])); f.channels > 0 && align != f.channels*f.size {
		if align%f.channels != 0 || f.tag != wavPCM || align/f.channels < f.size {
			return f, fmt.Errorf("its header contradicts itself: %d channels of %d bytes in blocks of %d", f.channels, f.size, align)
		}
		f.size = align / f.channels
	}
	return f, nil
}

func decodeWAVData(body []byte, size, long uint64, f *wavFormat, m *mixer) error {
	if f == nil {
		return errors.New("its data comes before its fmt chunk")
	}
	read, err := f.reader()
	if err != nil {
		return err
	}
	if err := m.start(f.rate, f.channels); err != nil {
		return err
	}
	// A program that writes to a pipe cannot know the size and leaves one of
	// these; the data then goes on to the end.
	open := size == 0 || size >= math.MaxUint32-64
	if size == math.MaxUint32 && long > 0 {
		size, open = long, false
	}
	missing := uint64(0)
	if open {
		size = uint64(len(body))
	} else if size > uint64(len(body)) {
		missing, size = size-uint64(len(body)), uint64(len(body))
	}
	step := f.size * f.channels
	m.out = make([]float32, 0, min(int(size)/step, m.limit))
	for b := body[:size]; len(b) >= step; b = b[step:] {
		var sum float64
		for c := 0; c < step; c += f.size {
			sum += read(b[c : c+f.size])
		}
		if err := m.add(sum / float64(f.channels)); err != nil {
			return err
		}
	}
	if missing > 0 {
		return fmt.Errorf("%d bytes of its data are missing", missing)
	}
	return nil
}

// reader is how one sample becomes a number.
func (f wavFormat) reader() (func(b []byte) float64, error) {
	switch {
	case f.tag == wavPCM && f.size == 1:
		return func(b []byte) float64 { return (float64(b[0]) - 128) / 128 }, nil
	case f.tag == wavPCM && f.size == 2:
		return func(b []byte) float64 { return float64(int16(binary.LittleEndian.Uint16(b))) / (1 << 15) }, nil
	case f.tag == wavPCM && f.size == 3:
		return func(b []byte) float64 {
			return float64(int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24)) / (1 << 31)
		}, nil
	case f.tag == wavPCM && f.size == 4:
		return func(b []byte) float64 { return float64(int32(binary.LittleEndian.Uint32(b))) / (1 << 31) }, nil
	case f.tag == wavFloat && f.size == 4:
		return func(b []byte) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(b))) }, nil
	case f.tag == wavFloat && f.size == 8:
		return func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }, nil
	case f.tag == wavALaw && f.size == 1:
		return func(b []byte) float64 { return aLaw(b[0]) }, nil
	case f.tag == wavMuLaw && f.size == 1:
		return func(b []byte) float64 { return muLaw(b[0]) }, nil
	}
	return nil, fmt.Errorf("coding %d with %d bytes a sample is not read here: convert it to PCM, for instance with ffmpeg -i IN out.wav", f.tag, f.size)
}

// muLaw expands a byte of ITU-T G.711 µ-law: sign, three bits of exponent,
// four of mantissa, all inverted, with a bias of 33 on a scale of 13 bits.
func muLaw(b byte) float64 {
	b = ^b
	magnitude := (int(b&15)<<1+33)<<(b>>4&7) - 33
	if b&0x80 != 0 {
		magnitude = -magnitude
	}
	return float64(magnitude) / (1 << 13)
}

// aLaw expands a byte of ITU-T G.711 A-law, of which the even bits are
// inverted. The lowest two segments are one straight line.
func aLaw(b byte) float64 {
	b ^= 0x55
	magnitude := int(b&15)<<1 + 1
	if e := b >> 4 & 7; e > 0 {
		magnitude = (magnitude + 32) << (e - 1)
	}
	if b&0x80 == 0 {
		magnitude = -magnitude
	}
	return float64(magnitude) / (1 << 12)
}

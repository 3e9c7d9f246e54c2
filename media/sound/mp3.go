package sound

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/hajimehoshi/go-mp3"
)

// id3Length is the length of the ID3v2 tags at the start (id3.org, ID3v2.4.0
// §3.1: the size has seven bits a byte).
func id3Length(data []byte) int {
	all := 0
	for rest := data; len(rest) >= 10 && string(rest[:3]) == "ID3"; rest = data[all:] {
		size := 10
		for i, b := range rest[6:10] {
			size += int(b&0x7F) << (7 * (3 - i))
		}
		if rest[5]&0x10 != 0 {
			size += 10 // a footer
		}
		all = min(all+size, len(data))
	}
	return all
}

// mp3Frame is what the first header says (ISO/IEC 11172-3 §2.4.1.3 and
// 13818-3).
type mp3Frame struct {
	at      int
	samples int // that a frame holds
	side    int // bytes of side information
}

// mp3Search is how far past a tag the first frame may lie. Encoders and
// editors leave padding there.
const mp3Search = 64 << 10

// firstMP3Frame finds the first header that a second one follows where the
// first says, or that reaches the end of the data.
func firstMP3Frame(data []byte) (mp3Frame, bool) {
	for at := 0; at+4 <= min(len(data), mp3Search); at++ {
		f, length := parseMP3Header(data[at:])
		if length == 0 {
			continue
		}
		next := at + length
		if next+4 > len(data) {
			f.at = at
			return f, at == 0
		}
		if _, n := parseMP3Header(data[next:]); n > 0 {
			f.at = at
			return f, true
		}
	}
	return mp3Frame{}, false
}

// The kbit/s of layer III by the header's index, MPEG-1 and MPEG-2, and the
// rates of MPEG-1, which are halved for 2 and quartered for 2.5.
var (
	mp3Bits = [2][16]int{
		{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0},
		{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0},
	}
	mp3Rates = [4]int{44100, 48000, 32000, 0}
)

// parseMP3Header reads a header of layer III. The length is 0 where there is
// none.
func parseMP3Header(b []byte) (f mp3Frame, length int) {
	if len(b) < 4 || b[0] != 0xFF || b[1]&0xE6 != 0xE2 {
		return f, 0
	}
	version := b[1] >> 3 & 3 // 3: MPEG-1, 2: MPEG-2, 0: MPEG-2.5
	lower := 0
	f.samples = 1152
	if version != 3 {
		lower, f.samples = 1, 576
	}
	bits, rate := mp3Bits[lower][b[2]>>4], mp3Rates[b[2]>>2&3]
	if version == 1 || bits == 0 || rate == 0 {
		return f, 0
	}
	rate >>= [4]int{2, 0, 1, 0}[version]
	mono := b[3]>>6 == 3
	switch {
	case lower == 0 && !mono:
		f.side = 32
	case lower == 0 || !mono:
		f.side = 17
	default:
		f.side = 9
	}
	return f, f.samples/8*bits*1000/rate + int(b[2]>>1&1)
}

// mp3Decay is what every decoder of layer III lags behind: 528 samples of the
// filter bank and one more (LAME technical FAQ).
const mp3Decay = 529

// mp3Trim reads the tag in the first frame, in which encoders say how much they have added: the
// samples to drop at the start and the length of the sound, −1 if unknown
// (Xing's header with LAME's extension, the LAME tag, revision 1).
func mp3Trim(data []byte) (lead, length int) {
	f, _ := parseMP3Header(data)
	tag := data[min(4+f.side, len(data)):]
	if !bytes.HasPrefix(tag, []byte("Xing")) && !bytes.HasPrefix(tag, []byte("Info")) || len(tag) < 8 {
		return 0, -1
	}
	lead = f.samples // the tag is a frame of silence to a decoder
	flags := binary.BigEndian.Uint32(tag[4:])
	lame, frames := 8, -1
	for bit, size := range []int{4, 4, 100, 4} {
		if flags>>bit&1 == 0 {
			continue
		}
		if bit == 0 && len(tag) >= 12 {
			frames = int(binary.BigEndian.Uint32(tag[8:]))
		}
		lame += size
	}
	if len(tag) < lame+24 || tag[lame] == 0 {
		return lead, -1
	}
	delays := tag[lame+21:]
	before := int(delays[0])<<4 | int(delays[1])>>4
	after := int(delays[1]&15)<<8 | int(delays[2])
	length = -1
	if sound := frames*f.samples - before - after; frames > 0 && sound > 0 {
		length = sound
	}
	return lead + before + mp3Decay, length
}

func decodeMP3(data []byte, m *mixer) error {
	f, _ := firstMP3Frame(data[id3Length(data):])
	data = data[id3Length(data)+f.at:]
	if len(data) > 1 && data[1]>>3&3 == 0 {
		return errors.New("MPEG-2.5, of 8 to 12 kHz, is not read here: convert it first, for instance with ffmpeg -i IN out.wav")
	}
	lead, length := mp3Trim(data)
	// The decoder looks through all of a source that can seek, and needs not.
	d, err := mp3.NewDecoder(struct{ io.Reader }{bytes.NewReader(data)})
	if err != nil {
		return err
	}
	// It gives two channels of 16 bits whatever there is.
	if err := m.start(d.SampleRate(), 2); err != nil {
		return err
	}
	buf := make([]byte, 4<<10)
	for {
		n, err := io.ReadFull(d, buf)
		for b := buf[:n]; len(b) >= 4; b = b[4:] {
			left := int(int16(binary.LittleEndian.Uint16(b)))
			right := int(int16(binary.LittleEndian.Uint16(b[2:])))
			if err := m.add(float64(left+right) / (1 << 16)); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			m.trim(lead, length)
			return err
		}
	}
	m.trim(lead, length)
	if missing := length - len(m.out); missing > 0 {
		return missingSamples(missing)
	}
	return nil
}

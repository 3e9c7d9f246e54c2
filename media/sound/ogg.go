package sound

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/jfreymuth/oggvorbis"
	"github.com/pion/opus"
	"github.com/pion/opus/pkg/oggreader"
)

// firstOggPacket is what the first page holds (RFC 3533 §6).
func firstOggPacket(data []byte) []byte {
	const header = 27
	if len(data) < header {
		return nil
	}
	return data[min(header+int(data[header-1]), len(data)):]
}

func decodeVorbis(data []byte, m *mixer) error {
	r, err := oggvorbis.NewReader(struct{ io.Reader }{bytes.NewReader(data)})
	if err != nil {
		return err
	}
	if err := m.start(r.SampleRate(), r.Channels()); err != nil {
		return err
	}
	buf := make([]float32, 1024*m.channels)
	for idle := 0; idle < 100; {
		n, err := r.Read(buf)
		if n == 0 {
			idle++
		} else {
			idle = 0
		}
		if err := m.frames(buf[:n]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return errors.New("the data is damaged: packets without sound")
}

// opusRate is the rate at which Ogg Opus counts, whatever was recorded
// (RFC 7845 §4), and opusMax the samples of its longest packet, 120 ms.
const (
	opusRate = 48000
	opusMax  = opusRate * 120 / 1000
)

func decodeOpus(data []byte, m *mixer) error {
	r, head, err := oggreader.NewWith(bytes.NewReader(data))
	if err != nil {
		return err
	}
	if head.Channels < 1 || head.Channels > 2 || head.ChannelMap > 1 {
		return refuse("%d channels in mapping family %d: one or two in family 0 are read, mix it down with ffmpeg -i IN -ac 2 out.opus", head.Channels, head.ChannelMap)
	}
	if err := m.start(opusRate, int(head.Channels)); err != nil {
		return err
	}
	d, err := opus.NewDecoderWithOutput(opusRate, m.channels)
	if err != nil {
		return err
	}
	s := opusStream{decoder: d, gain: gainOf(head.OutputGain)}
	err = s.read(r, m)
	length := -1
	if s.end > 0 && err == nil {
		length = int(min(s.end-s.start, math.MaxInt32)) - int(head.PreSkip)
	}
	m.trim(int(head.PreSkip), max(length, -1))
	return err
}

// gainOf is the factor of an output gain in 256ths of a decibel (RFC 7845 §5.1).
func gainOf(q78 uint16) float32 {
	return float32(math.Pow(10, float64(int16(q78))/(20*256)))
}

type opusStream struct {
	decoder opus.Decoder
	gain    float32
	// start is the position the first page's first sample has, which is not 0
	// in a recording cut out of a broadcast; end is that of the last page.
	start, end uint64
	paged      bool // a page with sound has been seen
}

// read decodes all packets but the one with the comments.
func (s *opusStream) read(r *oggreader.OggReader, m *mixer) error {
	buf := make([]float32, opusMax*m.channels)
	for n := 0; ; n++ {
		packet, page, err := r.ParseNextPacket()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if bytes.HasPrefix(packet, []byte("OpusHead")) {
			return errors.New("a second stream follows: split the file")
		}
		if n == 0 || len(packet) == 0 {
			continue
		}
		got, err := s.decoder.DecodeToFloat32(packet, buf)
		if err != nil {
			return err
		}
		for i := range buf[:got*m.channels] {
			buf[i] *= s.gain
		}
		if err := m.frames(buf[:got*m.channels]); err != nil {
			return err
		}
		s.count(page.GranulePosition, len(m.out))
	}
}

// count keeps the positions. The first page with sound says where it ends, not
// where it starts; decoded is how much there is by now.
func (s *opusStream) count(position uint64, decoded int) {
	const unknown = math.MaxUint64 // no packet ends on the page
	if position == unknown {
		return
	}
	if !s.paged || s.end == position && s.start > 0 {
		s.paged = true
		s.start = 0
		if position > uint64(decoded) {
			s.start = position - uint64(decoded)
		}
	}
	s.end = position
}

func missingSamples(n int) error { return fmt.Errorf("%d samples are missing", n) }

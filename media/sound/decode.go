package sound

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
)

// Clip is one recording in one channel.
type Clip struct {
	// Samples are between −1 and 1 for sources in whole numbers; sources in
	// floating point are taken as they are. Several channels have become
	// their mean.
	Samples []float32
	// Rate is in samples per second.
	Rate int
	// Damage says why the recording stops before its own end, for a truncated
	// file for instance. It is nil for a whole one.
	Damage error
}

// Seconds is the duration.
func (c Clip) Seconds() float64 { return float64(len(c.Samples)) / float64(c.Rate) }

// Limits bound what Decode takes in. A zero field means its default.
type Limits struct {
	// Bytes bounds the encoded sound (default 256 MiB), so that a stream
	// without an end is refused.
	Bytes int64
	// Seconds bounds the duration (default one hour). A small file can hold
	// days of silence. Whatever this says, a clip has at most 2²⁸ samples,
	// which are a gibibyte.
	Seconds float64
}

const (
	defaultBytes   = 256 << 20
	defaultSeconds = 3600
	maxSamples     = 1 << 28
)

// The rates and channel counts beyond which a header is taken for damage.
const (
	minRate     = 1000
	maxRate     = 768000
	maxChannels = 255
)

func (l Limits) withDefaults() (Limits, error) {
	if l.Bytes < 0 || l.Seconds < 0 || math.IsNaN(l.Seconds) {
		return l, fmt.Errorf("sound: limits of %d bytes and %g seconds: neither may be negative", l.Bytes, l.Seconds)
	}
	if l.Bytes == 0 {
		l.Bytes = defaultBytes
	}
	if l.Seconds == 0 {
		l.Seconds = defaultSeconds
	}
	return l, nil
}

// Decode reads a whole recording: WAV, FLAC, MP3, Ogg Vorbis or Ogg Opus,
// which is found out from its first bytes. The error says what is wrong with a
// recording of which nothing can be had; one that breaks off later is returned
// as far as it goes, with [Clip.Damage] set.
func Decode(r io.Reader, limits Limits) (Clip, error) {
	limits, err := limits.withDefaults()
	if err != nil {
		return Clip{}, err
	}
	data, err := io.ReadAll(io.LimitReader(r, limits.Bytes))
	if err != nil {
		return Clip{}, fmt.Errorf("sound: reading: %w", err)
	}
	if int64(len(data)) == limits.Bytes {
		if n, _ := io.ReadFull(r, make([]byte, 1)); n > 0 {
			return Clip{}, tooLarge(limits)
		}
	}
	return decode(data, limits)
}

// DecodeBytes is Decode of what is in memory.
func DecodeBytes(data []byte, limits Limits) (Clip, error) {
	limits, err := limits.withDefaults()
	if err != nil {
		return Clip{}, err
	}
	if int64(len(data)) > limits.Bytes {
		return Clip{}, tooLarge(limits)
	}
	return decode(data, limits)
}

// DecodeAt decodes and resamples to rate.
func DecodeAt(r io.Reader, rate int, limits Limits) (Clip, error) {
	clip, err := Decode(r, limits)
	if err != nil {
		return Clip{}, err
	}
	samples, err := Resample(clip.Samples, clip.Rate, rate)
	if err != nil {
		return Clip{}, err
	}
	return Clip{Samples: samples, Rate: rate, Damage: clip.Damage}, nil
}

func tooLarge(l Limits) error {
	return fmt.Errorf("sound: more than %d bytes: cut the recording or raise the limit", l.Bytes)
}

func decode(data []byte, limits Limits) (Clip, error) {
	f, err := sniff(data)
	if err != nil {
		return Clip{}, fmt.Errorf("sound: %w", err)
	}
	m := &mixer{seconds: limits.Seconds}
	err = guard(func() error { return f.decode(data, m) })
	var refused refusal
	if err == nil && len(m.out) == 0 {
		err = errors.New("no samples in it")
	}
	if err != nil && (len(m.out) == 0 || errors.As(err, &refused)) {
		return Clip{}, fmt.Errorf("sound: %s: %w", f.name, err)
	}
	clip := Clip{Samples: m.out, Rate: m.rate}
	if err != nil {
		clip.Damage = fmt.Errorf("sound: %s: after %.2f s: %w", f.name, clip.Seconds(), err)
	}
	return clip, nil
}

// guard turns a decoder's panic into an error. The decoders are other people's
// and meet whatever a stranger uploads.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the data is damaged: %v", p)
		}
	}()
	return f()
}

// refusal is an error that says no to the whole recording, however much of it
// has been decoded.
type refusal struct{ error }

func refuse(format string, args ...any) error { return refusal{fmt.Errorf(format, args...)} }

// format is a way in which sound is stored.
type format struct {
	name   string
	decode func(data []byte, m *mixer) error
}

// sniff finds the format by the first bytes.
func sniff(data []byte) (format, error) {
	body := data[id3Length(data):]
	switch {
	case len(data) == 0:
		return format{}, errors.New("the input is empty")
	case isWAV(data):
		return format{"WAV", decodeWAV}, nil
	case bytes.HasPrefix(body, []byte("fLaC")):
		return format{"FLAC", func(_ []byte, m *mixer) error { return decodeFLAC(body, m) }}, nil
	case bytes.HasPrefix(data, []byte("OggS")):
		return sniffOgg(data)
	}
	if name := foreign(data); name != "" {
		return format{}, fmt.Errorf("%s is not read here: convert it first, for instance with ffmpeg -i IN out.wav", name)
	}
	if _, ok := firstMP3Frame(body); ok {
		return format{"MP3", decodeMP3}, nil
	}
	return format{}, errors.New("not WAV, FLAC, MP3, Ogg Vorbis or Opus: convert it first, for instance with ffmpeg -i IN out.wav")
}

func sniffOgg(data []byte) (format, error) {
	packet := firstOggPacket(data)
	switch {
	case bytes.HasPrefix(packet, []byte("OpusHead")):
		return format{"Opus", decodeOpus}, nil
	case bytes.HasPrefix(packet, []byte("\x01vorbis")):
		return format{"Ogg Vorbis", decodeVorbis}, nil
	}
	return format{}, errors.New("an Ogg file with neither Vorbis nor Opus in its first stream: convert it first, for instance with ffmpeg -i IN out.wav")
}

// foreign names formats that are recognised only to say so.
func foreign(data []byte) string {
	at := func(i int, magic string) bool {
		return len(data) >= i+len(magic) && string(data[i:i+len(magic)]) == magic
	}
	switch {
	case at(4, "ftyp"):
		return "MP4 or M4A"
	case at(0, "\x1a\x45\xdf\xa3"):
		return "Matroska or WebM"
	case at(0, "FORM"):
		return "AIFF"
	case at(0, ".snd"):
		return "AU"
	case at(0, "caff"):
		return "CAF"
	case at(0, "#!AMR"):
		return "AMR"
	case at(0, "\x30\x26\xb2\x75"):
		return "WMA"
	case len(data) >= 2 && data[0] == 0xFF && data[1]&0xF6 == 0xF0:
		return "AAC"
	}
	return ""
}

// mixer takes decoded samples, makes one channel of them and keeps the limits.
type mixer struct {
	seconds  float64
	rate     int
	channels int
	limit    int
	out      []float32
}

// start is told what a header says, before any sample.
func (m *mixer) start(rate, channels int) error {
	if rate < minRate || rate > maxRate {
		return refuse("a rate of %d Hz: rates from %d to %d Hz are read", rate, minRate, maxRate)
	}
	if channels < 1 || channels > maxChannels {
		return refuse("%d channels: 1 to %d are read", channels, maxChannels)
	}
	m.rate, m.channels = rate, channels
	m.limit = int(min(m.seconds*float64(rate), maxSamples))
	return nil
}

// frames adds interleaved samples, a whole number for each channel.
func (m *mixer) frames(p []float32) error {
	for ; len(p) >= m.channels; p = p[m.channels:] {
		var sum float64
		for _, v := range p[:m.channels] {
			sum += float64(v)
		}
		if err := m.add(sum / float64(m.channels)); err != nil {
			return err
		}
	}
	return nil
}

// add takes the mean of the channels at the next moment.
func (m *mixer) add(v float64) error {
	if len(m.out) >= m.limit {
		return refuse("longer than %.4g s: cut the recording or raise the limit", float64(m.limit)/float64(m.rate))
	}
	if !(math.Abs(v) <= math.MaxFloat32) {
		return refuse("sample %d is not a finite number", len(m.out))
	}
	m.out = append(m.out, float32(v))
	return nil
}

// trim drops what a codec adds before and after the sound. A negative length
// leaves the end alone.
func (m *mixer) trim(lead, length int) {
	m.out = m.out[min(lead, len(m.out)):]
	if length >= 0 && length < len(m.out) {
		m.out = m.out[:length]
	}
}

func missingSamples(n int) error { return fmt.Errorf("%d samples are missing", n) }

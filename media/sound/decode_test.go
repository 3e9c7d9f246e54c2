package sound_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"lapidary/media/sound"
)

// reference is what testdata/reference.json has of a file.
type reference struct {
	Rate, Samples, Step int
	Data                []float64
}

func references(t testing.TB) map[string]reference {
	var refs map[string]reference
	if err := json.Unmarshal(read(t, "reference.json"), &refs); err != nil {
		t.Fatal(err)
	}
	return refs
}

func read(t testing.TB, name string) []byte {
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// closeness is how near to ffmpeg's decoders ours have to come: the worst
// difference, of full scale, and the ratio of signal to difference in dB.
// MP3 comes in 16 bits, and go-mp3's last granule of mpeg1.mp3 is off; the low
// layer of Opus is 16 bits wide in libopus and resampled in other steps.
var closeness = map[string]struct{ worst, ratio float64 }{
	".wav": {1e-5, 90}, ".flac": {1e-5, 90}, ".ogg": {1e-5, 90},
	"mpeg1.mp3": {5e-3, 55}, "mpeg2.mp3": {1e-4, 60},
	"celt.opus": {1e-4, 75}, "silk.opus": {1e-2, 40}, "hybrid.opus": {1e-2, 45},
}

func TestDecode(t *testing.T) {
	for name, ref := range references(t) {
		t.Run(name, func(t *testing.T) {
			clip, err := sound.Decode(bytes.NewReader(read(t, name)), sound.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if clip.Rate != ref.Rate || clip.Damage != nil {
				t.Fatalf("rate %d, want %d; damage %v", clip.Rate, ref.Rate, clip.Damage)
			}
			want, ok := closeness[filepath.Ext(name)]
			if !ok {
				want = closeness[name]
			}
			worst, ratio := difference(t, clip.Samples, ref)
			if !(worst <= want.worst && ratio >= want.ratio) {
				t.Errorf("worst difference %g, want %g; %.1f dB, want %g", worst, want.worst, ratio, want.ratio)
			}
		})
	}
}

func difference(t *testing.T, got []float32, ref reference) (worst, ratio float64) {
	t.Helper()
	// ffmpeg leaves the end of Vorbis longer than the file says.
	if n := len(got); n > ref.Samples || n < ref.Samples-64 {
		t.Fatalf("%d samples, want %d", n, ref.Samples)
	}
	var signal, noise float64
	for i, want := range ref.Data {
		if i*ref.Step >= len(got) {
			break
		}
		d := float64(got[i*ref.Step]) - want/32768
		worst = max(worst, math.Abs(d))
		signal += want / 32768 * want / 32768
		noise += d * d
	}
	return worst, 10 * math.Log10(signal/noise)
}

func TestDecodeSaysWhy(t *testing.T) {
	for name, want := range map[string]string{
		"surround.opus": "6 channels in mapping family 1",
		"mpeg25.mp3":    "MPEG-2.5, of 8 to 12 kHz, is not read here",
		"m4a.m4a":       "MP4 or M4A is not read here",
		"adpcm.wav":     "coding 17",
		"README.md":     "not WAV, FLAC, MP3",
	} {
		_, err := sound.DecodeBytes(read(t, name), sound.Limits{})
		expect(t, name, err, want)
	}
	for want, data := range map[string]string{
		"the input is empty":            "",
		"it ends before its data chunk": "RIFF\x10\x00\x00\x00WAVE",
		"needs 16":                      "RIFF\x10\x00\x00\x00WAVEfmt \x02\x00\x00\x00ab",
		"Matroska or WebM":              "\x1a\x45\xdf\xa3........",
		"neither Vorbis nor Opus":       "OggS" + strings.Repeat("\x00", 22) + "\x01\x05Speex",
		"AAC is not read here":          "\xff\xf1\x50\x80",
	} {
		_, err := sound.DecodeBytes([]byte(data), sound.Limits{})
		expect(t, want, err, want)
	}
}

// expect wants an error of one line.
func expect(t *testing.T, what string, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: error %v, want one line with %q", what, err, want)
	}
}

// wav is a file of the given header with what follows as data.
func wav(tag, channels, rate, bits int, size uint32, data []byte) []byte {
	b := []byte("RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00")
	b = binary.LittleEndian.AppendUint16(b, uint16(tag))
	b = binary.LittleEndian.AppendUint16(b, uint16(channels))
	b = binary.LittleEndian.AppendUint32(b, uint32(rate))
	b = binary.LittleEndian.AppendUint32(b, uint32(rate*channels*bits/8))
	b = binary.LittleEndian.AppendUint16(b, uint16(channels*bits/8))
	b = binary.LittleEndian.AppendUint16(b, uint16(bits))
	b = append(b, "data"...)
	b = binary.LittleEndian.AppendUint32(b, size)
	return append(b, data...)
}

func TestDecodeHostileWAV(t *testing.T) {
	for want, data := range map[string][]byte{
		"a rate of 16 Hz":         wav(1, 1, 16, 16, 4, make([]byte, 4)),
		"a rate of 4294967295 Hz": wav(1, 1, -1, 16, 4, make([]byte, 4)),
		"0 channels":              wav(1, 0, 8000, 16, 4, make([]byte, 4)),
		"1000 channels":           wav(1, 1000, 8000, 16, 4, make([]byte, 4)),
		"not a finite number":     wav(3, 1, 8000, 32, 4, []byte("\x00\x00\xc0\x7f")),
		"no samples in it":        wav(1, 1, 8000, 16, 0, nil),
		"coding 1 with 5 bytes":   wav(1, 1, 8000, 40, 5, make([]byte, 5)),
	} {
		_, err := sound.DecodeBytes(data, sound.Limits{})
		expect(t, want, err, want)
	}
}

// What a program leaves that writes to a pipe has no size.
func TestDecodeOpenEndedWAV(t *testing.T) {
	for _, size := range []uint32{0, math.MaxUint32} {
		clip, err := sound.DecodeBytes(wav(1, 1, 8000, 16, size, []byte("\x00\x40\x00\xc0")), sound.Limits{})
		if err != nil || clip.Damage != nil || len(clip.Samples) != 2 || clip.Samples[0] != 0.5 || clip.Samples[1] != -0.5 {
			t.Errorf("size %d: %v, %v", size, clip, err)
		}
	}
}

// A file that is cut off gives what is there, and says so.
func TestDecodeTruncated(t *testing.T) {
	for _, name := range []string{"s16.wav", "s16.flac", "mpeg1.mp3", "celt.opus", "stereo.ogg"} {
		data := read(t, name)
		whole, err := sound.DecodeBytes(data, sound.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		cut, err := sound.DecodeBytes(data[:len(data)*3/4], sound.Limits{})
		if err != nil || cut.Damage == nil || len(cut.Samples) == 0 || len(cut.Samples) >= len(whole.Samples) {
			t.Fatalf("%s: %d of %d samples, damage %v, error %v", name, len(cut.Samples), len(whole.Samples), cut.Damage, err)
		}
		for i, v := range cut.Samples[:len(cut.Samples)/2] {
			if v != whole.Samples[i] {
				t.Fatalf("%s: sample %d is %g, want %g", name, i, v, whole.Samples[i])
			}
		}
	}
}

// endless never ends and counts what it has given.
type endless struct{ given int }

func (e *endless) Read(p []byte) (int, error) {
	e.given += len(p)
	return len(p), nil
}

func TestDecodeLimits(t *testing.T) {
	stream := &endless{}
	head := wav(1, 1, 8000, 16, math.MaxUint32, nil)
	_, err := sound.Decode(io.MultiReader(bytes.NewReader(head), stream), sound.Limits{Bytes: 1 << 16})
	expect(t, "endless", err, "more than 65536 bytes")
	if stream.given > 1<<17 {
		t.Errorf("%d bytes were read", stream.given)
	}
	_, err = sound.DecodeBytes(head, sound.Limits{Bytes: 10})
	expect(t, "bytes", err, "more than 10 bytes")
	_, err = sound.DecodeBytes(read(t, "celt.opus"), sound.Limits{Seconds: 0.1})
	expect(t, "seconds", err, "longer than 0.1 s")
	_, err = sound.DecodeBytes(head, sound.Limits{Seconds: -1})
	expect(t, "negative", err, "neither may be negative")
	exact := int64(len(read(t, "u8.wav")))
	if _, err := sound.Decode(bytes.NewReader(read(t, "u8.wav")), sound.Limits{Bytes: exact}); err != nil {
		t.Error(err)
	}
}

func TestDecodeAfterID3(t *testing.T) {
	tag := append([]byte("ID3\x04\x00\x00\x00\x00\x01\x00"), make([]byte, 128)...)
	for _, name := range []string{"s16.flac", "mpeg1.mp3"} {
		want, err := sound.DecodeBytes(read(t, name), sound.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := sound.DecodeBytes(append(tag[:len(tag):len(tag)], read(t, name)...), sound.Limits{})
		if err != nil || len(got.Samples) != len(want.Samples) || got.Samples[100] != want.Samples[100] {
			t.Errorf("%s: %d samples, want %d: %v", name, len(got.Samples), len(want.Samples), err)
		}
	}
}

func TestDecodeAt(t *testing.T) {
	clip, err := sound.DecodeAt(bytes.NewReader(read(t, "celt.opus")), 16000, sound.Limits{})
	if err != nil || clip.Rate != 16000 || len(clip.Samples) != 3200 || clip.Seconds() != 0.2 {
		t.Errorf("rate %d, %d samples: %v", clip.Rate, len(clip.Samples), err)
	}
	_, err = sound.DecodeAt(bytes.NewReader(read(t, "celt.opus")), 1, sound.Limits{})
	expect(t, "rate", err, "from 48000 to 1 Hz")
}

func TestDecodeConcurrently(t *testing.T) {
	var wg sync.WaitGroup
	for name := range references(t) {
		data := read(t, name)
		for range 4 {
			wg.Go(func() {
				if _, err := sound.DecodeBytes(data, sound.Limits{}); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
	}
	wg.Wait()
}

// FuzzOgg lets what it changes through by making the checksums right again.
func FuzzOgg(f *testing.F) {
	for _, name := range []string{"stereo.ogg", "celt.opus", "hybrid.opus", "silk.opus"} {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		data = sound.FixOggChecksums(data)
		clip, err := sound.DecodeBytes(data, sound.Limits{Bytes: 1 << 20, Seconds: 10})
		if err == nil && len(clip.Samples) == 0 {
			t.Error("no samples and no error")
		}
	})
}

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		if info, err := os.Stat(path); err == nil && info.Size() < 8<<10 {
			f.Add(read(f, filepath.Base(path)))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		limits := sound.Limits{Bytes: 1 << 20, Seconds: 10}
		clip, err := sound.DecodeBytes(data, limits)
		if err != nil {
			return
		}
		if clip.Rate < 1000 || len(clip.Samples) == 0 || clip.Seconds() > limits.Seconds {
			t.Errorf("%d samples at %d Hz", len(clip.Samples), clip.Rate)
		}
		for i, v := range clip.Samples {
			if v-v != 0 {
				t.Fatalf("sample %d is %g", i, v)
			}
		}
	})
}

package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// one file of every kind
var kinds = []string{"ycc2.jpg", "alpha.png", "transparent.gif", "lossyalpha.webp", "losslessalpha.webp", "rgb.bmp", "lzw.tif", "cmyk.tif", "q60.avif", "q60.heic"}

// patched returns a file in which what follows a mark is replaced.
func patched(t testing.TB, name, mark string, skip int, by []byte) []byte {
	t.Helper()
	data := read(t, "testdata/files", name)
	at := bytes.Index(data, []byte(mark))
	if at < 0 {
		t.Fatalf("%s has no %q", name, mark)
	}
	copy(data[at+len(mark)+skip:], by)
	return data
}

func TestBombs(t *testing.T) {
	big := binary.BigEndian.AppendUint32(nil, 60000)
	both := append(big, big...)
	little := []byte{0x60, 0xea, 0, 0, 0x60, 0xea, 0, 0}
	bombs := map[string][]byte{
		"png":          patched(t, "rgb.png", "IHDR", 0, both),
		"jpeg":         patched(t, "ycc2.jpg", "\xff\xc0", 3, []byte{0xea, 0x60, 0xea, 0x60}),
		"gif":          patched(t, "rgb.gif", "GIF8", 2, []byte{0x60, 0xea, 0x60, 0xea}),
		"bmp":          patched(t, "rgb.bmp", "BM", 16, little),
		"webp":         patched(t, "lossyalpha.webp", "VP8X", 8, []byte{0x5f, 0xea, 0, 0x5f, 0xea, 0}),
		"webp picture": patched(t, "lossy.webp", "\x9d\x01\x2a", 0, []byte{0xff, 0x3f, 0xff, 0x3f}),
		"avif":         patched(t, "q60.avif", "ispe", 4, both),
		"heic":         patched(t, "q60.heic", "ispe", 4, both),
	}
	header := bombs["png"][12:29]
	binary.BigEndian.PutUint32(bombs["png"][29:], crc32.ChecksumIEEE(header))
	for name, data := range bombs {
		_, err := Decode(data, Limits{})
		if !errors.Is(err, ErrTooLarge) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want a refusal for its size", name, err)
		}
	}
	for _, name := range kinds {
		_, err := Decode(read(t, "testdata/files", name), Limits{Pixels: 36 * 23})
		if !errors.Is(err, ErrTooLarge) || !strings.Contains(err.Error(), "37 × 23") && name != "q60.heic" {
			t.Errorf("%s: got %v, want a refusal with the size", name, err)
		}
	}
	if _, err := Read(bytes.NewReader(make([]byte, 2000)), Limits{Bytes: 1000}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v for a file beyond the limit", err)
	}
	if _, err := OpenAnimation(patched(t, "rgb.gif", "GIF8", 2, []byte{0x60, 0xea, 0x60, 0xea}), Limits{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v for a canvas beyond the limit", err)
	}
}

func TestTruncated(t *testing.T) {
	for _, name := range append([]string{"alpha.avif"}, kinds...) {
		data := read(t, "testdata/files", name)
		for n := range 16 {
			cut := data[:len(data)*n/16]
			if _, err := Decode(cut, Limits{}); err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("%s cut to %d of %d bytes: %v", name, len(cut), len(data), err)
			}
		}
	}
}

func TestJPEGEnds(t *testing.T) {
	for _, name := range []string{"ycc2.jpg", "progressive.jpg"} {
		data := read(t, "testdata/files", name)
		m, err := Decode(data[:len(data)-2], Limits{})
		if err != nil {
			t.Fatal(name, err)
		}
		if largest, _ := distance(t, m, decode(t, "testdata/files", name)); largest != 0 {
			t.Errorf("%s without its end marker differs by up to %d", name, largest)
		}
	}
	data := read(t, "testdata/files/progressive.jpg")
	scan := data[bytes.LastIndex(data, []byte("\xff\xda")) : len(data)-2]
	many := append(data[:len(data)-2:len(data)-2], bytes.Repeat(scan, 500)...)
	if _, err := Decode(many, Limits{}); err == nil || !strings.Contains(err.Error(), "scans") {
		t.Errorf("got %v for a file of hundreds of scans", err)
	}
}

func TestNoPicture(t *testing.T) {
	if _, err := Decode([]byte("<svg/>"), Limits{}); err == nil || !strings.Contains(err.Error(), "want JPEG") {
		t.Error(err)
	}
	if _, err := ReadFile(filepath.Join(t.TempDir(), "none.png"), Limits{}); err == nil {
		t.Error("a missing file was read")
	}
	if _, err := OpenAnimation(read(t, "testdata/files/rgb.png"), Limits{}); err == nil {
		t.Error("a PNG was taken for an animation")
	}
}

// TestNarrow holds that a picture the module of libheif would mix up is refused.
func TestNarrow(t *testing.T) {
	if _, err := Decode(read(t, "testdata/narrow.heic"), Limits{}); err == nil || !strings.Contains(err.Error(), "37 pixels wide") {
		t.Errorf("got %v for a HEIC picture of 37 pixels", err)
	}
}

func TestConcurrent(t *testing.T) {
	var wait sync.WaitGroup
	for i := range 4 * len(kinds) {
		name := kinds[i%len(kinds)]
		data := read(t, "testdata/files", name)
		wait.Go(func() {
			if m, err := Decode(data, Limits{}); err != nil || m.Width != 37 && m.Width != 131 {
				t.Error(name, err)
			}
		})
	}
	wait.Wait()
}

// FuzzDecode wants errors, not panics and not more memory than the limits allow.
func FuzzDecode(f *testing.F) {
	for _, name := range append(kinds, "turned6.jpg", "palettealpha.png", "turned3.tif", "bits.tif") {
		f.Add(read(f, "testdata/files", name))
	}
	for _, name := range []string{"disposals.gif", "mixed.webp"} {
		f.Add(read(f, "testdata/moving", name))
	}
	limits := Limits{Bytes: 1 << 20, Pixels: 1 << 16}
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := Decode(data, limits); err == nil && (len(m.Pix) != 3*m.Width*m.Height || m.Width*m.Height > limits.Pixels) {
			t.Fatalf("%d × %d pixels with %d samples", m.Width, m.Height, len(m.Pix))
		}
	})
}

// FuzzAnimation wants the same of animations, every frame of them.
func FuzzAnimation(f *testing.F) {
	for _, name := range []string{"disposals.gif", "pillow2.gif", "mixed.webp", "lossy.webp"} {
		f.Add(read(f, "testdata/moving", name))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := OpenAnimation(data, Limits{Bytes: 1 << 20, Pixels: 1 << 16})
		if err != nil || a.Len() > 100 {
			return
		}
		for m, err := range a.Frames() {
			if err == nil && len(m.Image.Pix) != 3*a.Width*a.Height {
				t.Fatalf("%d × %d pixels with %d samples", a.Width, a.Height, len(m.Image.Pix))
			}
		}
	})
}

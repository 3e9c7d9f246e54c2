package picture

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func read(t testing.TB, path ...string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// distance is the largest and the mean difference of two pictures' samples.
func distance(t testing.TB, got, want *Image) (largest int, mean float64) {
	t.Helper()
	if got.Width != want.Width || got.Height != want.Height || len(got.Pix) != len(want.Pix) {
		t.Fatalf("got %d × %d (%d samples), want %d × %d", got.Width, got.Height, len(got.Pix), want.Width, want.Height)
	}
	for i, v := range got.Pix {
		d := max(int(v), int(want.Pix[i])) - min(int(v), int(want.Pix[i]))
		largest, mean = max(largest, d), mean+float64(d)/float64(len(got.Pix))
	}
	return largest, mean
}

func decode(t testing.TB, path ...string) *Image {
	t.Helper()
	m, err := Decode(read(t, path...), Limits{})
	if err != nil {
		t.Fatalf("%s: %v", path[len(path)-1], err)
	}
	return m
}

func TestDecode(t *testing.T) {
	files, err := filepath.Glob("testdata/files/*")
	if err != nil || len(files) < 60 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			got, want := decode(t, file), decode(t, "testdata/want", name+".png")
			largest, mean := distance(t, got, want)
			if l := tolerance(name); largest > l.largest || mean > l.mean {
				t.Errorf("differs by up to %d (mean %.3f), allowed is %v", largest, mean, l)
			}
			if l := meanLuma(got, want); l > 1 {
				t.Errorf("luma differs by %.3f in the mean", l)
			}
		})
	}
}

type allowed struct {
	largest int
	mean    float64
}

// tolerance is nothing but for lossy formats: doc.go says why.
func tolerance(name string) allowed {
	switch filepath.Ext(name) {
	case ".jpg":
		return allowed{2, 0.06}
	case ".heic", ".avif":
		if strings.HasPrefix(name, "q100") || strings.HasPrefix(name, "grey") || strings.HasPrefix(name, "alpha") {
			if filepath.Ext(name) == ".heic" { // its first samples are those of the row below
				return allowed{60, 0.05}
			}
			return allowed{2, 0.6}
		}
		return allowed{255, 7}
	}
	return allowed{}
}

func meanLuma(a, b *Image) float64 {
	sum := 0.0
	for i := 0; i < len(a.Pix); i += 3 {
		luma := func(p []uint8) float64 { return 0.299*float64(p[0]) + 0.587*float64(p[1]) + 0.114*float64(p[2]) }
		sum += math.Abs(luma(a.Pix[i:])-luma(b.Pix[i:])) / float64(len(a.Pix)/3)
	}
	return sum
}

func TestResize(t *testing.T) {
	source := decode(t, "testdata/resize/source.png")
	filters := map[string]Filter{"bilinear": Bilinear, "bicubic": Bicubic}
	files, err := filepath.Glob("testdata/resize/bi*.png")
	if err != nil || len(files) < 10 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		name, size, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".png"), "-")
		var w, h int
		if _, err := fmt.Sscanf(size, "%dx%d", &w, &h); err != nil {
			t.Fatal(err)
		}
		got, err := source.Resize(w, h, filters[name])
		if err != nil {
			t.Fatal(err)
		}
		if largest, _ := distance(t, got, decode(t, file)); largest != 0 {
			t.Errorf("%s differs from Pillow's by up to %d", file, largest)
		}
	}
}

func TestAnimations(t *testing.T) {
	var times map[string][]float64
	if err := json.Unmarshal(read(t, "testdata/moving/times.json"), &times); err != nil || len(times) == 0 {
		t.Fatal(len(times), err)
	}
	for name, lengths := range times {
		a, err := OpenAnimation(read(t, "testdata/moving", name), Limits{})
		if err != nil {
			t.Fatal(name, err)
		}
		if a.Len() != len(lengths) {
			t.Fatalf("%s has %d frames, want %d", name, a.Len(), len(lengths))
		}
		i, start := 0, time.Duration(0)
		for f, err := range a.Frames() {
			if err != nil {
				t.Fatal(name, err)
			}
			length := time.Duration(lengths[i]) * time.Millisecond
			if length == 0 {
				length = 100 * time.Millisecond
			}
			if f.Start != start || f.Length != length {
				t.Errorf("%s: frame %d from %v lasts %v, want %v, %v", name, i, f.Start, f.Length, start, length)
			}
			start += length
			if largest, mean := distance(t, f.Image, decode(t, "testdata/moving", fmt.Sprintf("%s.%d.png", name, i))); largest > 0 {
				t.Errorf("%s: frame %d differs by up to %d (mean %.3f)", name, i, largest, mean)
			}
			i++
		}
		if i != a.Len() || start != a.Length() {
			t.Errorf("%s: %d frames, %v", name, i, start)
		}
	}
}

// TestWide holds samples of 16 bits, also with alpha, against their upper halves.
func TestWide(t *testing.T) {
	wide := image.NewNRGBA64(image.Rect(0, 0, 9, 5))
	for i := range wide.Pix {
		wide.Pix[i] = uint8(i * 89)
	}
	narrow := image.NewNRGBA(wide.Rect)
	for i := range narrow.Pix {
		narrow.Pix[i] = wide.Pix[2*i]
	}
	pictures := make([]*Image, 2)
	for i, m := range []image.Image{wide, narrow} {
		var b bytes.Buffer
		if err := png.Encode(&b, m); err != nil {
			t.Fatal(err)
		}
		var err error
		if pictures[i], err = Decode(b.Bytes(), Limits{}); err != nil {
			t.Fatal(err)
		}
	}
	if largest, _ := distance(t, pictures[0], pictures[1]); largest != 0 {
		t.Errorf("differs by up to %d", largest)
	}
}

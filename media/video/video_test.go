package video

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"lapidary/media/picture"
)

// fakeProgram puts a shell script called ffmpeg on PATH, alone. It logs its arguments, one call a line, and does what say has
// for the kind of output that is asked for: framecrc, image2pipe or f32le.
func fakeProgram(t *testing.T, say map[string]string) (log string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the stand-in for ffmpeg is a shell script")
	}
	dir := t.TempDir()
	log = filepath.Join(dir, "log")
	script := "#!/bin/sh\necho \"$*\" >> " + log + "\ncase \"$*\" in\n"
	for kind, commands := range say {
		script += "*" + kind + "*)\n" + commands + "\n;;\nesac\ncase \"$*\" in\n"
	}
	script += "esac\n"
	if err := os.WriteFile(filepath.Join(dir, "ffmpeg"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
	return log
}

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// ppm is a picture of 2 × 1 pixels whose first sample is i.
func ppm(i int) string {
	return fmt.Sprintf("P6\n2 1\n255\n%s\x01\x02\x03\x04\x05", string([]byte{byte(i)}))
}

// list is an index of n frames, 25 a second, in the order in which they are stored: every other one is shown before its forerunner.
func list(n int) string {
	var b strings.Builder
	b.WriteString("#software: x\n#tb 0: 1/12800\n#media_type 0: video\n")
	for i := range n {
		fmt.Fprintf(&b, "0, %d, %d, 512, 77, 0x1234abcd\n", 512*i, 512*(i^1))
	}
	return b.String() + "0, 9, 9999999, 512, 77, 0x1234abcd, F=0x5\n"
}

func collect(t *testing.T, path string, o Options) ([]Frame, error) {
	t.Helper()
	var out []Frame
	for f, err := range Frames(t.Context(), path, o) {
		if err != nil {
			return out, err
		}
		out = append(out, f)
	}
	return out, nil
}

func TestFrames(t *testing.T) {
	pictures := ""
	for i := range 4 {
		pictures += ppm(i)
	}
	log := fakeProgram(t, map[string]string{
		"framecrc":   "cat " + write(t, "list", []byte(list(10))),
		"image2pipe": "cat " + write(t, "pictures", []byte(pictures)),
	})
	path := write(t, "-x.avi", []byte("RIFF"))
	got, err := collect(t, path, Options{Frames: 4})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{0, 2, 5, 7} { // ⌊i·10/4⌋
		f := got[i]
		if f.Index != want || f.Time != time.Duration(want)*40*time.Millisecond || f.Image.Width != 2 || f.Image.Pix[0] != byte(i) {
			t.Errorf("frame %d is %+v", i, f)
		}
	}
	if len(got) != 4 {
		t.Errorf("%d frames", len(got))
	}
	calls, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"-i file:" + path, "-protocol_whitelist file", "-frames:v 4", "-max_pixels 100000000", "select='eq(n,0)+eq(n,2)+eq(n,5)+eq(n,7)',"} {
		if !strings.Contains(string(calls), want) {
			t.Errorf("ffmpeg was not told %q: %s", want, calls)
		}
	}
	for range Frames(t.Context(), path, Options{Frames: 4}) {
		break
	}
}

// TestPlan has cases worked out with numpy by the rules of transformers' video processors.
func TestPlan(t *testing.T) {
	for _, c := range []struct {
		o       Options
		total   int
		seconds float64
		want    []int
	}{
		{Options{Frames: 5}, 12, 1, []int{0, 2, 4, 7, 9}},
		{Options{FPS: 1}, 105, 3.5, []int{0, 35, 70}},
		{Options{FPS: 1, Stride: true}, 105, 3.5, []int{0, 30, 60}},
		{Options{FPS: 1, Stride: true, MaxFrames: 4}, 300, 10, []int{0, 90, 180, 270}},
		{Options{FPS: 1, Stride: true, MaxFrames: 4}, 330, 11, []int{0, 90, 180, 300}},
		{Options{FPS: 1, Stride: true, MaxFrames: 4, Truncate: true}, 300, 10, []int{0, 30, 60, 90}},
		{Options{FPS: 1, Stride: true, MaxFrames: 1}, 300, 10, []int{0}},
		{Options{FPS: 100}, 3, 1, []int{0, 1, 2}},
		{Options{FPS: 100, Stride: true}, 3, 1, []int{0, 1, 2}},
		{Options{FPS: 1, Stride: true}, 3, 0, []int{0}},
		{Options{}, 3, 1, []int{0, 1, 2}},
		{Options{MaxFrames: 2}, 3, 1, []int{0, 2}},
	} {
		got := c.o.plan(c.total, time.Duration(c.seconds*float64(time.Second)))
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v of %d frames in %g s: %v, want %v", c.o, c.total, c.seconds, got, c.want)
		}
	}
}

// TestMany wants more frames than are listed in an argument.
func TestMany(t *testing.T) {
	var pictures strings.Builder
	const total, wanted = 12002, 6001
	for i := range total {
		pictures.WriteString(ppm(i))
	}
	fakeProgram(t, map[string]string{
		"framecrc":   "cat " + write(t, "list", []byte(list(total))),
		"image2pipe": "cat " + write(t, "pictures", []byte(pictures.String())),
	})
	got, err := collect(t, write(t, "a.avi", []byte("RIFF")), Options{Frames: wanted})
	if err != nil || len(got) != wanted {
		t.Fatal(len(got), err)
	}
	for i, f := range got {
		if f.Index != 2*i || f.Image.Pix[0] != byte(2*i) {
			t.Fatalf("frame %d is %+v", i, f)
		}
	}
}

func TestSeek(t *testing.T) {
	log := fakeProgram(t, map[string]string{
		"framecrc":   "cat " + write(t, "list", []byte(list(1000))),
		"image2pipe": "cat " + write(t, "picture", []byte(ppm(7))),
	})
	got, err := collect(t, write(t, "a.mp4", []byte("\x00\x00\x00\x18ftypisom0000")), Options{FPS: 0.05})
	if err != nil || len(got) != 2 || got[1].Index != 500 || got[1].Time != 20*time.Second {
		t.Fatal(got, err)
	}
	calls, err := os.ReadFile(log)
	if err != nil || !strings.Contains(string(calls), "-ss 19.980000") || strings.Count(string(calls), "\n") != 3 {
		t.Errorf("%s %v", calls, err)
	}
}

func TestErrors(t *testing.T) {
	path := write(t, "a.avi", []byte("RIFF"))
	good := "cat " + write(t, "list", []byte(list(3)))
	for want, say := range map[string]map[string]string{
		"cannot read it: bad header":      {"framecrc": "echo 'bad header\nInvalid data' >&2; exit 1"},
		"has no pictures":                 {"framecrc": "echo \"Stream map '0:V:0' matches no streams.\" >&2; exit 1"},
		"exit status 3":                   {"framecrc": "exit 3"},
		"list of its frames":              {"framecrc": "echo '0, 1, 1, 1, 1, 1'"},
		"none of its frames":              {"framecrc": good},
		"something else than a picture":   {"framecrc": good, "image2pipe": "echo hello world"},
		"in the middle of a picture":      {"framecrc": good, "image2pipe": "printf 'P6\\n2 1\\n255\\nab'"},
		"too large":                       {"framecrc": good, "image2pipe": "printf 'P6\\n99999 1\\n255\\nab'"},
		"cannot read it: picture too big": {"framecrc": good, "image2pipe": "echo 'picture too big' >&2; exit 1"},
	} {
		t.Run(want, func(t *testing.T) {
			fakeProgram(t, say)
			_, err := collect(t, path, Options{Frames: 2})
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestMisuse(t *testing.T) {
	path := write(t, "a.avi", []byte("RIFF"))
	t.Setenv("PATH", t.TempDir())
	if _, err := collect(t, path, Options{}); !errors.Is(err, ErrNoProgram) || !strings.Contains(err.Error(), "install") {
		t.Error(err)
	}
	if _, err := SoundTrack(t.Context(), path, 16000); !errors.Is(err, ErrNoProgram) {
		t.Error(err)
	}
	if _, err := collect(t, path, Options{Frames: 1, FPS: 1}); err == nil || !strings.Contains(err.Error(), "want one") {
		t.Error(err)
	}
	if _, err := collect(t, path+"x", Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := collect(t, filepath.Dir(path), Options{}); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Error(err)
	}
	if _, err := SoundTrack(t.Context(), path, 0); err == nil || !strings.Contains(err.Error(), "out of range") {
		t.Error(err)
	}
}

// TestCancel has a child that never ends; without the kill the test would not either.
func TestCancel(t *testing.T) {
	started := filepath.Join(t.TempDir(), "started")
	forever := ": > " + started + "\nexec sleep 1000"
	fakeProgram(t, map[string]string{"framecrc": forever, "f32le": forever})
	path := write(t, "a.avi", []byte("RIFF"))
	for name, call := range map[string]func(context.Context) error{
		"frames": func(ctx context.Context) error {
			for _, err := range Frames(ctx, path, Options{}) {
				return err
			}
			return nil
		},
		"sound": func(ctx context.Context) error {
			_, err := SoundTrack(ctx, path, 8000)
			return err
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- call(ctx) }()
		tick := time.NewTicker(5 * time.Millisecond)
		for range tick.C {
			if _, err := os.Stat(started); err == nil {
				break
			}
		}
		tick.Stop()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Error(name, err)
		}
		if err := os.Remove(started); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSoundTrack(t *testing.T) {
	want := []float32{0, 0.25, -1, 1}
	var data []byte
	for _, v := range want {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	log := fakeProgram(t, map[string]string{"f32le": "cat " + write(t, "sound", data)})
	path := write(t, "a.avi", []byte("RIFF"))
	got, err := SoundTrack(t.Context(), path, 16000)
	if err != nil || !slices.Equal(got, want) {
		t.Error(got, err)
	}
	if calls, err := os.ReadFile(log); err != nil || !strings.Contains(string(calls), "-ac 1 -ar 16000") {
		t.Errorf("%s %v", calls, err)
	}
	fakeProgram(t, map[string]string{"f32le": "echo \"Stream map '0:a:0' matches no streams.\" >&2; exit 1"})
	if _, err := SoundTrack(t.Context(), path, 16000); !errors.Is(err, ErrNoSound) {
		t.Error(err)
	}
}

// moving is a GIF of n frames, each of one colour and 50 ms.
func moving(t *testing.T, n int) []byte {
	t.Helper()
	var g gif.GIF
	for i := range n {
		m := image.NewPaletted(image.Rect(0, 0, 3, 2), color.Palette{color.RGBA{uint8(i), 0, 0, 255}, color.White})
		g.Image, g.Delay = append(g.Image, m), append(g.Delay, 5)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, &g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestAnimation(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // no ffmpeg
	path := write(t, "a.gif", moving(t, 20))
	for _, c := range []struct {
		o    Options
		want []int
	}{
		{Options{Frames: 3}, []int{0, 6, 13}},
		{Options{FPS: 4}, []int{0, 5, 10, 15}},
		{Options{FPS: 0.1}, []int{0}},
		{Options{Frames: 32}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}},
	} {
		got, err := collect(t, path, c.o)
		if err != nil || len(got) != len(c.want) {
			t.Fatal(c.o, len(got), err)
		}
		for i, n := range c.want {
			if f := got[i]; f.Index != n || f.Time != time.Duration(n)*50*time.Millisecond || f.Image.Pix[0] != byte(n) {
				t.Errorf("%+v: frame %d is %+v", c.o, i, f)
			}
		}
	}
	if _, err := collect(t, path, Options{Limits: picture.Limits{Pixels: 5}}); !errors.Is(err, picture.ErrTooLarge) {
		t.Error(err)
	}
	if _, err := collect(t, write(t, "cut.gif", moving(t, 5)[:40]), Options{}); err == nil {
		t.Error("a cut file was read")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range Frames(ctx, path, Options{}) {
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

func TestOptionsFor(t *testing.T) {
	p, err := picture.Defaults("gemma4")
	if err != nil {
		t.Fatal(err)
	}
	if o := OptionsFor(*p.Video); o != (Options{Frames: 32}) {
		t.Errorf("%+v", o)
	}
	p.Video.Frames, p.Video.FPS = 0, 2
	if o := OptionsFor(*p.Video); o != (Options{FPS: 2}) {
		t.Errorf("%+v", o)
	}
	p.Video.Stride, p.Video.MaxFrames, p.Video.Truncate = true, 3, true
	if o := OptionsFor(*p.Video); o != (Options{FPS: 2, Stride: true, MaxFrames: 3, Truncate: true}) {
		t.Errorf("%+v", o)
	}
	p.Video.Sample = false
	if o := OptionsFor(*p.Video); o != (Options{}) {
		t.Errorf("%+v", o)
	}
}

package video

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"lapidary/media/picture"
)

// ErrNoProgram is wrapped by errors about ffmpeg not being installed.
var ErrNoProgram = errors.New("the program ffmpeg is not installed or not on PATH")

// ErrNoSound is wrapped by the error about a file without a sound track.
var ErrNoSound = errors.New("has no sound track")

// A program is the path of ffmpeg.
type program string

func findProgram() (program, error) {
	path, err := exec.LookPath("ffmpeg")
	if err != nil {
		return "", fmt.Errorf("%w: install it (ffmpeg.org), or make the video a moving GIF or WebP", ErrNoProgram)
	}
	return program(path), nil
}

// run starts ffmpeg on a file and lets read have what it writes. before are options of the input, after those of the output.
// When read returns, or ctx ends, ffmpeg is killed if it still runs.
func (p program) run(ctx context.Context, path string, before, after []string, read func(*bufio.Reader) error) error {
	child, cancel := context.WithCancel(ctx)
	defer cancel()
	// "file:" keeps a name that begins with "-" or "http:" a name, and the list keeps playlists from opening anything else
	args := append([]string{"-v", "error", "-nostdin", "-protocol_whitelist", "file"}, before...)
	args = append(append(args, "-i", "file:"+path), after...)
	cmd := exec.CommandContext(child, string(p), append(args, "pipe:1")...)
	cmd.WaitDelay = 5 * time.Second
	said := &tail{}
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start ffmpeg: %w", err)
	}
	readErr := read(bufio.NewReaderSize(out, 1<<16))
	atEnd := errors.Is(readErr, io.EOF)
	if !atEnd {
		cancel()
	}
	waitErr := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !atEnd:
		return readErr
	case waitErr != nil:
		return said.explain(waitErr)
	}
	return nil
}

// A tail keeps the beginning of what a child says on standard error; the rest is counted as written.
type tail struct{ bytes.Buffer }

func (t *tail) Write(b []byte) (int, error) {
	const most = 8 << 10
	t.Buffer.Write(b[:min(len(b), most-min(most, t.Len()))])
	return len(b), nil
}

var errNoStream = errors.New("has no such track")

// explain makes one line of ffmpeg's complaint. Its last line is the most general one, its first the most precise.
func (t *tail) explain(err error) error {
	if strings.Contains(t.String(), "matches no streams") {
		return errNoStream
	}
	line, _, _ := strings.Cut(strings.TrimSpace(t.String()), "\n")
	if line == "" {
		line = err.Error()
	}
	return fmt.Errorf("ffmpeg cannot read it: %s", strings.TrimSpace(line))
}

// An index has the times of a video's frames in the order in which they are shown, in seconds from the beginning of the file.
type index struct {
	times []float64
	last  float64 // how long the last frame is shown
}

func (x index) length() time.Duration {
	return x.since(len(x.times)-1) + seconds(x.last)
}

// since is the time of frame i after the first.
func (x index) since(i int) time.Duration { return seconds(x.times[i] - x.times[0]) }

func seconds(s float64) time.Duration { return time.Duration(math.Round(s * float64(time.Second))) }

// index reads the packets of the first video track, cover pictures left aside.
func (p program) index(ctx context.Context, path string) (index, error) {
	var x index
	err := p.run(ctx, path, nil, []string{"-map", "0:V:0", "-c", "copy", "-f", "framecrc"}, func(r *bufio.Reader) error {
		var err error
		x, err = readIndex(r)
		return err
	})
	if errors.Is(err, errNoStream) || err == nil && len(x.times) == 0 {
		return x, errors.New("has no pictures")
	}
	return x, err
}

// readIndex reads what ffmpeg's framecrc muxer writes: "#tb 0: 1/12800", then a line a packet of stream, decoding time, showing
// time, duration, size, checksum and, where they are not the usual ones, flags ("F=0x4"). It returns io.EOF when all is well.
func readIndex(r io.Reader) (index, error) {
	const most = 20_000_000 // four days at 60 frames a second
	unit := 0.0
	var x index
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if rest, ok := strings.CutPrefix(line, "#tb 0: "); ok {
			num, den, _ := strings.Cut(rest, "/")
			n, _ := strconv.ParseFloat(num, 64)
			d, _ := strconv.ParseFloat(den, 64)
			unit = n / d
		}
		fields := strings.Split(line, ",")
		if strings.HasPrefix(line, "#") || len(fields) < 6 || dropped(fields[6:]) {
			continue
		}
		at, err := strconv.ParseInt(strings.TrimSpace(fields[2]), 10, 64)
		if err != nil || !(unit > 0) || math.IsInf(unit, 0) || len(x.times) == most {
			return x, errors.New("ffmpeg's list of its frames cannot be read")
		}
		length, _ := strconv.ParseInt(strings.TrimSpace(fields[3]), 10, 64)
		x.times, x.last = append(x.times, float64(at)*unit), float64(length)*unit
	}
	if err := lines.Err(); err != nil {
		return x, err
	}
	slices.Sort(x.times)
	return x, io.EOF
}

// dropped tells whether a packet's flags say that it is decoded but not shown.
func dropped(fields []string) bool {
	const discard = 4
	for _, f := range fields {
		if hex, ok := strings.CutPrefix(strings.TrimSpace(f), "F=0x"); ok {
			flags, err := strconv.ParseUint(hex, 16, 32)
			return err == nil && flags&discard != 0
		}
	}
	return false
}

// decoderLimits has ffmpeg refuse larger pictures before it makes room for them.
func decoderLimits(limits picture.Limits) []string {
	return []string{"-max_pixels", strconv.Itoa(limits.MaxPixels())}
}

// asPictures has frames written as PPM files one after the other. Frames are renumbered to 25 a second, the rate that is also
// told to the output, so that no version of ffmpeg repeats or drops any of them to keep to a rate.
func asPictures(filter string, frames int) []string {
	return []string{
		"-map", "0:V:0", "-vf", filter + "settb=1/25,setpts=N,fps=25", "-r", "25", "-frames:v", strconv.Itoa(frames),
		"-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24",
	}
}

// selection is the filter that lets only wanted frames of total ones pass. A long list would be too long an argument: then all pass.
func selection(wanted []int, total int) (filter string, passing []int) {
	const most = 5000
	if len(wanted) == total || len(wanted) > most {
		return "", indices(total, func(i int) int { return i })
	}
	terms := make([]string, len(wanted))
	for i, n := range wanted {
		terms[i] = fmt.Sprintf("eq(n,%d)", n)
	}
	return "select='" + strings.Join(terms, "+") + "',", wanted
}

// readFrames decodes the video from its beginning and takes the wanted frames.
func (p program) readFrames(ctx context.Context, path string, limits picture.Limits, x index, wanted []int, yield func(Frame) bool) error {
	filter, passing := selection(wanted, len(x.times))
	got := 0
	err := p.run(ctx, path, decoderLimits(limits), asPictures(filter, len(passing)), func(r *bufio.Reader) error {
		for _, i := range passing {
			m, err := readPPM(r, limits)
			if err != nil {
				return err
			}
			if i != wanted[got] {
				continue
			}
			if got++; !yield(Frame{m, x.since(i), i}) || got == len(wanted) {
				return nil
			}
		}
		return nil
	})
	if err == nil && got == 0 {
		return errors.New("none of its frames can be decoded")
	}
	return err
}

// farApart tells whether entering the video at every frame is quicker than decoding all that lies between: starting ffmpeg and
// decoding from the last key frame takes as long as decoding some hundred frames.
func farApart(wanted []int, total int) bool { return total/len(wanted) >= 300 }

// canSeek knows files with an index of their frames by their first bytes: ISO media (MP4, MOV) and Matroska (MKV, WebM).
func canSeek(head []byte) bool {
	return len(head) >= 12 && string(head[4:8]) == "ftyp" || bytes.HasPrefix(head, []byte("\x1aE\xdf\xa3"))
}

// seekFrames starts ffmpeg for each frame, half a frame before it.
func (p program) seekFrames(ctx context.Context, path string, limits picture.Limits, x index, wanted []int, yield func(Frame) bool) error {
	for _, i := range wanted {
		before := decoderLimits(limits)
		if i > 0 {
			before = append(before, "-ss", strconv.FormatFloat((x.times[i-1]+x.times[i])/2, 'f', 6, 64))
		}
		var m *picture.Image
		err := p.run(ctx, path, before, asPictures("", 1), func(r *bufio.Reader) (err error) {
			m, err = readPPM(r, limits)
			return err
		})
		if err != nil {
			return err
		}
		if m == nil {
			return fmt.Errorf("ffmpeg finds no frame at %v", x.since(i))
		}
		if !yield(Frame{m, x.since(i), i}) {
			return nil
		}
	}
	return nil
}

// SoundTrack returns the first sound track of a video (or sound file), all channels mixed to one, at rate samples a second, −1 to
// 1. Tracks of more than four hours are refused; [ErrNoSound] is wrapped where there is none, [ErrNoProgram] without ffmpeg.
func SoundTrack(ctx context.Context, path string, rate int) ([]float32, error) {
	samples, err := soundTrack(ctx, path, rate)
	if err != nil {
		return nil, fmt.Errorf("video %s: %w", path, err)
	}
	return samples, nil
}

func soundTrack(ctx context.Context, path string, rate int) ([]float32, error) {
	const fastest, hours = 384000, 4
	if rate <= 0 || rate > fastest {
		return nil, fmt.Errorf("%d samples a second are out of range: want 1 to %d", rate, fastest)
	}
	if _, err := readHead(path); err != nil {
		return nil, err
	}
	p, err := findProgram()
	if err != nil {
		return nil, err
	}
	var samples []float32
	err = p.run(ctx, path, nil, []string{"-map", "0:a:0", "-ac", "1", "-ar", strconv.Itoa(rate), "-f", "f32le", "-c:a", "pcm_f32le"},
		func(r *bufio.Reader) error {
			var b [4]byte
			for {
				if _, err := io.ReadFull(r, b[:]); err != nil {
					return err
				}
				if len(samples) == hours*3600*rate {
					return fmt.Errorf("sound track is longer than %d hours: cut it first", hours)
				}
				samples = append(samples, math.Float32frombits(binary.LittleEndian.Uint32(b[:])))
			}
		})
	if errors.Is(err, errNoStream) {
		return nil, ErrNoSound
	}
	return samples, err
}

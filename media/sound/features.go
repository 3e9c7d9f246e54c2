package sound

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/dsp/fourier"
)

// Features are what an audio tower takes, for a batch of clips.
type Features struct {
	// Clips, Frames and Size are the axes: the batch, time (that of the
	// longest clip) and what a row has.
	Clips, Frames, Size int
	// Values is [Clips, Frames, Size], row-major.
	Values []float32
	// Mask is [Clips, Frames]: true where a frame is of the clip, false where
	// it is of the padding. The true ones of a clip come first.
	Mask []bool
}

// Valid is how many frames of clip i are its own.
func (f Features) Valid(i int) int {
	n := 0
	for _, ok := range f.Mask[i*f.Frames:][:f.Frames] {
		if ok {
			n++
		}
	}
	return n
}

// Extractor turns samples into features. It may be used from many goroutines
// at once.
type Extractor struct {
	p      Params
	window []float64
	bands  []band
}

// band is a triangle over the bins of the transform.
type band struct {
	from    int
	weights []float64
}

// NewExtractor prepares the tables for the settings.
func NewExtractor(p Params) (*Extractor, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	e := &Extractor{p: p}
	if !p.Raw {
		e.window = hann(p.Frame)
		e.bands = melBands(p)
	}
	return e, nil
}

// Params are the settings.
func (e *Extractor) Params() Params { return e.p }

// Features of clips at the settings' rate, which are padded to one length as
// the reference pads a batch: a clip has the same features by itself as among
// others, up to its last frames, which may reach into the padding.
func (e *Extractor) Features(clips ...[]float32) (Features, error) {
	longest, err := e.measure(clips)
	if err != nil {
		return Features{}, err
	}
	padded := (longest + e.p.Multiple - 1) / e.p.Multiple * e.p.Multiple
	f := Features{Clips: len(clips), Frames: e.frames(padded), Size: e.p.Size}
	if f.Frames == 0 {
		return Features{}, fmt.Errorf("sound: the longest clip has %d samples, which is less than a frame: record at least %d", longest, e.p.Frame+1)
	}
	if int64(f.Clips)*int64(f.Frames)*int64(f.Size) > maxSamples {
		return Features{}, fmt.Errorf("sound: %d clips of up to %d samples are too many for one batch", len(clips), longest)
	}
	f.Values = make([]float32, f.Clips*f.Frames*f.Size)
	f.Mask = make([]bool, f.Clips*f.Frames)
	for i, clip := range clips {
		values := f.Values[i*f.Frames*f.Size:][:f.Frames*f.Size]
		mask := f.Mask[i*f.Frames:][:f.Frames]
		if e.p.Raw {
			e.raw(clip, values, mask)
		} else {
			e.mel(e.pad(clip, padded), len(clip), values, mask)
		}
	}
	return f, nil
}

// measure is the length of the longest clip.
func (e *Extractor) measure(clips [][]float32) (int, error) {
	if len(clips) == 0 {
		return 0, errors.New("sound: features of no clips")
	}
	longest := 0
	for i, clip := range clips {
		if len(clip) == 0 {
			return 0, fmt.Errorf("sound: clip %d is empty", i)
		}
		if l := e.p.Longest; l > 0 && len(clip) > l {
			rate := float64(e.p.Rate)
			return 0, fmt.Errorf("sound: clip %d lasts %.1f s and the model takes %.1f s: split it with Chunks", i, float64(len(clip))/rate, float64(l)/rate)
		}
		for j, v := range clip {
			if v-v != 0 {
				return 0, fmt.Errorf("sound: clip %d: sample %d is not a finite number", i, j)
			}
		}
		longest = max(longest, len(clip))
	}
	return longest, nil
}

// lead is the number of zeros before the first sample.
func (e *Extractor) lead() int {
	if e.p.Centred {
		return e.p.Frame / 2
	}
	return 0
}

// frames in a padded clip. The reference cuts frames of one sample more than a
// window has, since preemphasis may look at the sample before.
func (e *Extractor) frames(padded int) int {
	if e.p.Raw {
		return padded / e.p.Size
	}
	if n := padded + e.lead() - (e.p.Frame + 1); n >= 0 {
		return n/e.p.Hop + 1
	}
	return 0
}

func (e *Extractor) raw(clip, values []float32, mask []bool) {
	own := (len(clip) + e.p.Size - 1) / e.p.Size
	for i := range mask {
		mask[i] = i < own
	}
	// The rest of a clip's own last frame is silence; the frames that make the
	// batch even have the padding's value.
	copy(values, clip)
	for i := own * e.p.Size; i < len(values); i++ {
		values[i] = float32(e.p.Padding)
	}
}

// pad puts a clip between what comes before and after it.
func (e *Extractor) pad(clip []float32, padded int) []float64 {
	lead := e.lead()
	out := make([]float64, lead+padded)
	for i, v := range clip {
		out[lead+i] = float64(v) * e.p.Scale
	}
	for i := lead + len(clip); i < len(out); i++ {
		out[i] = e.p.Padding * e.p.Scale
	}
	return out
}

// mel computes the rows of one clip of n samples.
func (e *Extractor) mel(samples []float64, n int, values []float32, mask []bool) {
	fft := fourier.NewFFT(e.p.FFT)
	frame := make([]float64, e.p.FFT)
	bins := make([]complex128, e.p.FFT/2+1)
	sizes := make([]float64, len(bins))
	for i := range mask {
		at := i * e.p.Hop
		mask[i] = e.valid(at, n)
		if !mask[i] && e.p.ZeroInvalid {
			continue
		}
		e.cut(samples[at:at+e.p.Frame+1], frame[:e.p.Frame])
		fft.Coefficients(bins, frame)
		for k, c := range bins {
			sizes[k] = math.Sqrt(real(c)*real(c) + imag(c)*imag(c))
		}
		e.log(sizes, values[i*e.p.Size:][:e.p.Size])
	}
}

// valid tells whether the frame at a place in the padded clip of n samples is
// sound.
func (e *Extractor) valid(at, n int) bool {
	at -= e.lead()
	if e.p.MaskByEnd {
		at += e.p.Frame
	}
	return at >= 0 && at < n
}

// cut takes a frame of Frame+1 samples, emphasised and windowed.
func (e *Extractor) cut(from, frame []float64) {
	p := e.p.Preemphasis
	switch {
	case p > 0 && e.p.HTK:
		before := from[0] * p
		for i := range frame {
			frame[i] = (from[i] - before) * e.window[i]
			before = from[i] * p
		}
	case p > 0:
		for i := range frame {
			frame[i] = (from[i+1] - p*from[i]) * e.window[i]
		}
	default:
		for i := range frame {
			frame[i] = from[i] * e.window[i]
		}
	}
}

// log takes the bands' logarithms.
func (e *Extractor) log(sizes []float64, row []float32) {
	for b, band := range e.bands {
		var sum float64
		for k, w := range band.weights {
			sum += w * sizes[band.from+k]
		}
		if e.p.FloorAdded {
			sum += e.p.Floor
		} else {
			sum = max(sum, e.p.Floor)
		}
		v := math.Log(sum)
		if e.p.Mean != nil {
			v -= e.p.Mean[b]
		}
		if e.p.Deviation != nil {
			v /= e.p.Deviation[b]
		}
		row[b] = float32(v)
	}
}

// hann is the periodic Hann window, rounded as the reference rounds it.
func hann(n int) []float64 {
	w := make([]float64, n)
	for i := range w {
		w[i] = float64(float32(0.5 - 0.5*math.Cos(2*math.Pi*float64(i)/float64(n))))
	}
	return w
}

// melBands are triangles whose corners are evenly spaced on the mel scale
// m(f) = 2595·log10(1 + f/700) (O'Shaughnessy, Speech Communication, 1987, in
// HTK's form). A band too narrow for any bin stays empty.
func melBands(p Params) []band {
	mel := func(f float64) float64 { return 2595 * math.Log10(1+f/700) }
	hertz := func(m float64) float64 { return 700 * (math.Pow(10, m/2595) - 1) }
	low, high := mel(p.Low), mel(p.High)
	corner := func(i int) float64 { return hertz(low + (high-low)*float64(i)/float64(p.Size+1)) }
	perBin := float64(p.Rate) / float64(p.FFT)
	bands := make([]band, p.Size)
	for b := range bands {
		left, middle, right := corner(b), corner(b+1), corner(b+2)
		bands[b].from = int(math.Ceil(left / perBin))
		for k := bands[b].from; k <= p.FFT/2 && float64(k)*perBin < right; k++ {
			f := float64(k) * perBin
			w := min((f-left)/(middle-left), (right-f)/(right-middle))
			bands[b].weights = append(bands[b].weights, max(w, 0))
		}
	}
	return bands
}

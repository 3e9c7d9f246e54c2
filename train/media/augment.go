package media

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/dsp/fourier"
)

// Augment says how recordings vary. The zero value leaves them as they are.
type Augment struct {
	// Speed is the slowest and the fastest that a recording is played, evenly on
	// a logarithmic scale; pitch and formants go with it. Both 0: as it is.
	Speed [2]float64 `yaml:"speed,omitempty" json:"speed,omitempty"`
	// Warp is by how much of itself the speed swings while it plays.
	Warp float64 `yaml:"warp,omitempty" json:"warp,omitempty"`
	// Lead is how many seconds of silence may stand before it.
	Lead float64 `yaml:"lead,omitempty" json:"lead,omitempty"`
	// Level normalises the loudness to so much (root mean square, 1 is full
	// scale); 0 leaves it.
	Level float64 `yaml:"level,omitempty" json:"level,omitempty"`
	// Gain is by how many decibels it is louder or softer at most.
	Gain float64 `yaml:"gain,omitempty" json:"gain,omitempty"`
	// Equalise is the deviation, in decibels, of a gain that goes smoothly over
	// the frequencies.
	Equalise float64 `yaml:"equalise,omitempty" json:"equalise,omitempty"`
	// Notch is the width in Hz of a band that is missing at most.
	Notch float64 `yaml:"notch,omitempty" json:"notch,omitempty"`
	// Gap is how many seconds in the middle are silent at most.
	Gap float64 `yaml:"gap,omitempty" json:"gap,omitempty"`
	// Noise is the least and the most that white noise lies under it, in decibels;
	// both 0 for none.
	Noise [2]float64 `yaml:"noise,omitempty" json:"noise,omitempty"`
	// Flip turns the waveform over in half of the cases.
	Flip bool `yaml:"flip,omitempty" json:"flip,omitempty"`
}

// Check says what cannot be obeyed.
func (a Augment) Check() error {
	for name, v := range map[string]float64{"warp": a.Warp, "lead": a.Lead, "level": a.Level, "gain": a.Gain, "equalise": a.Equalise, "notch": a.Notch, "gap": a.Gap} {
		if !(v >= 0 && v <= 1e4) {
			return fmt.Errorf("%s %g is not possible: want 0 or more", name, v)
		}
	}
	switch {
	case a.Speed != [2]float64{} && !(a.Speed[0] >= 0.25 && a.Speed[0] <= a.Speed[1] && a.Speed[1] <= 4):
		return fmt.Errorf("speed %g to %g is not possible: want the slowest and the fastest, from 0.25 to 4", a.Speed[0], a.Speed[1])
	case a.Warp >= 1:
		return fmt.Errorf("warp %g is not possible: want less than 1", a.Warp)
	case a.Level > 1:
		return fmt.Errorf("level %g is not possible: 1 is full scale", a.Level)
	case !(a.Noise[0] <= a.Noise[1]):
		return errors.New("noise wants the least and the most decibels, in this order")
	}
	return nil
}

// Draw is which variation of an example is made.
type Draw struct {
	Seed  uint64
	Step  int // of the training
	Place int // in the step's batch
}

func (d Draw) generator() *rand.Rand {
	return rand.New(rand.NewPCG(d.Seed, uint64(d.Step)<<24^uint64(d.Place)))
}

// Apply makes a variation of a recording, at so many samples a second. The
// recording stays as it is.
func (a Augment) Apply(samples []float32, rate int, d Draw) []float32 {
	if len(samples) == 0 {
		return nil
	}
	r := d.generator()
	out := a.replay(r, samples, rate)
	a.filter(r, out, rate)
	a.gap(r, out, rate)
	a.level(out)
	if by := decibels((2*r.Float64() - 1) * a.Gain); a.Gain > 0 {
		scale(out, by)
	}
	if r.IntN(2) == 0 && a.Flip {
		scale(out, -1)
	}
	a.noise(r, out)
	return out
}

// replay changes the speed. Between two samples it is linear: what that adds lies
// 20 dB and more below a recording that has little above a quarter of its rate,
// as speech has.
func (a Augment) replay(r *rand.Rand, samples []float32, rate int) []float32 {
	speed := 1.0
	if a.Speed != [2]float64{} {
		low, high := math.Log(a.Speed[0]), math.Log(a.Speed[1])
		speed = math.Exp(low + r.Float64()*(high-low))
	}
	lead := int(r.Float64() * a.Lead * float64(rate))
	swing, phase, turns := r.Float64()*a.Warp, r.Float64()*2*math.Pi, 1+3*r.Float64()
	omega := 2 * math.Pi * turns / float64(rate)
	out := make([]float32, lead, lead+int(float64(len(samples))/speed/(1-swing))+1)
	for at, n := 0.0, 0; at <= float64(len(samples)-1); n++ {
		i := int(at)
		v := samples[i]
		if i+1 < len(samples) {
			v += float32(at-float64(i)) * (samples[i+1] - v)
		}
		out = append(out, v)
		at += speed * (1 + swing*math.Cos(omega*float64(n)+phase))
	}
	return out
}

// knots are between how many points the gain over frequency is drawn.
const knots = 8

// filter gives the frequencies gains of their own.
func (a Augment) filter(r *rand.Rand, x []float32, rate int) {
	if a.Equalise == 0 && a.Notch == 0 {
		return
	}
	var gains [knots + 1]float64
	for i := range gains {
		gains[i] = r.NormFloat64() * a.Equalise
	}
	middle, width := r.Float64()*float64(rate)/4, r.Float64()*a.Notch/2
	n := fast(len(x))
	padded := make([]float64, n)
	for i, v := range x {
		padded[i] = float64(v)
	}
	t := fourier.NewFFT(n)
	spectrum := t.Coefficients(nil, padded)
	for i := range spectrum {
		at := min(4*float64(i)/float64(n), 1) * knots // the upper half of the band has the last gain
		k := min(int(at), knots-1)
		gain := gains[k] + (at-float64(k))*(gains[k+1]-gains[k])
		if hz := float64(i) * float64(rate) / float64(n); a.Notch > 0 && math.Abs(hz-middle) < width {
			gain -= 30
		}
		spectrum[i] *= complex(decibels(gain)/float64(n), 0)
	}
	for i, v := range t.Sequence(padded, spectrum)[:len(x)] {
		x[i] = float32(v)
	}
}

// fast is a length from n on whose transform is fast: a power of two, or three
// quarters of one.
func fast(n int) int {
	size := 4
	for size < n {
		size *= 2
	}
	if size/4*3 >= n {
		return size / 4 * 3
	}
	return size
}

func (a Augment) gap(r *rand.Rand, x []float32, rate int) {
	middle, half := r.IntN(len(x)), int(r.Float64()*a.Gap/2*float64(rate))
	clear(x[max(0, middle-half):min(len(x), middle+half)])
}

// level sets the loudness of all that is not silent.
func (a Augment) level(x []float32) {
	if loud := loudness(x); a.Level > 0 && loud > 0 {
		scale(x, a.Level/loud)
	}
}

func (a Augment) noise(r *rand.Rand, x []float32) {
	if a.Noise == [2]float64{} {
		return
	}
	by := loudness(x) * decibels(-(a.Noise[0] + r.Float64()*(a.Noise[1]-a.Noise[0])))
	for i := range x {
		x[i] += float32(by * r.NormFloat64())
	}
}

// loudness is the root of the mean square.
func loudness(x []float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(max(len(x), 1)))
}

func scale(x []float32, by float64) {
	for i := range x {
		x[i] *= float32(by)
	}
}

// decibels is the factor of an amplitude.
func decibels(v float64) float64 { return math.Pow(10, v/20) }

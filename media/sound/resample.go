package sound

import (
	"fmt"
	"math"
)

// The resampler's filter: a sinc that reaches filterReach zero crossings to
// either side under a Kaiser window. Kaiser's formulas (Nonrecursive digital
// filter design using the I0-sinh window function, 1974) give the window's
// parameter for an attenuation and the width of the transition for the
// parameter; the transition ends where the band of the slower rate does, so
// nothing is folded back. It starts at 0.87 of that band.
const (
	filterReach       = 48
	filterAttenuation = 100 // dB
	filterParameter   = 0.1102 * (filterAttenuation - 8.7)
	filterTransition  = (filterAttenuation - 8) / (2.285 * 2 * filterReach * math.Pi)
	filterCutoff      = 1 - filterTransition/2
)

// Between phases of the filter that are not kept it is interpolated. With this
// many to a zero crossing the error is below that of the window.
const filterPhases = 1024

// maxBank bounds the filter for an exact ratio, in coefficients.
const maxBank = 1 << 20

// Resample changes the rate of a recording from one to another, both in
// samples per second. The result has ceil(n·to/from) samples, the first at the
// same moment as the first of the source, on which silence borders. What the
// slower rate has no room for is taken out, at least 95 dB down. The result
// is a new slice also where the rates are the same.
//
// The method is the polyphase one (Crochiere and Rabiner, Multirate Digital
// Signal Processing, 1983).
func Resample(samples []float32, from, to int) ([]float32, error) {
	for _, rate := range []int{from, to} {
		if rate < minRate || rate > maxRate {
			return nil, fmt.Errorf("sound: resampling from %d to %d Hz: rates from %d to %d Hz are possible", from, to, minRate, maxRate)
		}
	}
	if from == to {
		return append([]float32(nil), samples...), nil
	}
	g := gcd(from, to)
	up, down := to/g, from/g
	n := (int64(len(samples))*int64(up) + int64(down) - 1) / int64(down)
	if n > maxSamples {
		return nil, fmt.Errorf("sound: resampling to %d Hz makes %d samples and the limit is %d: cut the recording", to, n, maxSamples)
	}
	return newBank(up, down).run(samples, int(n)), nil
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// bank holds the filter at phases+1 moments between two samples of the source.
type bank struct {
	up, down int
	phases   int
	reach    int // samples of the source to either side
	taps     int
	rows     []float32 // [phases+1, taps]
}

func newBank(up, down int) *bank {
	width := max(1, float64(down)/float64(up)) // of a zero crossing, in samples of the source
	b := &bank{up: up, down: down, reach: int(math.Ceil(filterReach * width))}
	b.taps = 2 * b.reach
	if b.phases = up; up*b.taps > maxBank {
		b.phases = min(up, int(math.Ceil(filterPhases/width)))
	}
	b.rows = make([]float32, (b.phases+1)*b.taps)
	norm := 1 / besselI0(filterParameter)
	for p := range b.phases + 1 {
		row := b.rows[p*b.taps:][:b.taps]
		for t := range row {
			// Tap t meets the source's sample t−reach+1 from the one at or
			// before the moment.
			x := (float64(t-b.reach+1) - float64(p)/float64(b.phases)) / width
			if r := x / filterReach; r > -1 && r < 1 {
				window := besselI0(filterParameter*math.Sqrt(1-r*r)) * norm
				row[t] = float32(window * filterCutoff * sinc(filterCutoff*x) / width)
			}
		}
	}
	return b
}

func (b *bank) run(samples []float32, n int) []float32 {
	out := make([]float32, n)
	edge := make([]float32, b.taps)
	at, rest := 0, 0 // the moment, in samples of the source: at + rest/up
	exact := b.phases == b.up
	for i := range out {
		window := b.window(samples, at, edge)
		if exact {
			out[i] = dot(b.rows[rest*b.taps:][:b.taps], window)
		} else {
			phase := float64(rest) / float64(b.up) * float64(b.phases)
			p := min(int(phase), b.phases-1)
			rows := b.rows[p*b.taps:]
			low, high := dot(rows[:b.taps], window), dot(rows[b.taps:][:b.taps], window)
			out[i] = low + float32(phase-float64(p))*(high-low)
		}
		rest += b.down
		at += rest / b.up
		rest %= b.up
	}
	return out
}

// window is what the filter meets at a moment: a piece of the source, or at
// its ends a copy in edge with the silence around it. A padded copy of all the
// source would double the memory of long recordings.
func (b *bank) window(samples []float32, at int, edge []float32) []float32 {
	from := at - b.reach + 1
	if from >= 0 && from+b.taps <= len(samples) {
		return samples[from : from+b.taps]
	}
	clear(edge)
	low, high := max(from, 0), min(from+b.taps, len(samples))
	if low < high {
		copy(edge[low-from:], samples[low:high])
	}
	return edge
}

// dot keeps four sums: with one, each addition waits for the last.
func dot(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		x, y := a[i:i+4:i+4], b[i:i+4:i+4]
		s0 += x[0] * y[0]
		s1 += x[1] * y[1]
		s2 += x[2] * y[2]
		s3 += x[3] * y[3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + (s2 + s3)
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// besselI0 is the modified Bessel function of the first kind and order zero by
// its power series (Abramowitz and Stegun 9.6.12), which converges quickly for
// the arguments of a window.
func besselI0(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > sum*1e-17; k++ {
		term *= x / (2 * k) * (x / (2 * k))
		sum += term
	}
	return sum
}

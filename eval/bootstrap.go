package eval

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Resamples is how often records are drawn again, with repetitions, for an
// interval.
const Resamples = 10_000

// Estimate is a figure with the interval that holds it 95 times of 100: the 2.5th
// and the 97.5th percentile of the figure's resamples (Efron & Tibshirani, An
// Introduction to the Bootstrap, 1993, chapter 13).
type Estimate struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// bootstrap estimates statistics over n records; all see the same resamples, so
// that a statistic may be the difference of two.
func bootstrap(n int, seed uint64, stats []statistic) []Estimate {
	at := make([]int, n)
	for i := range at {
		at[i] = i
	}
	estimates, drawn := make([]Estimate, len(stats)), make([][]float64, len(stats))
	for k, s := range stats {
		estimates[k].Value = s(at)
		drawn[k] = make([]float64, Resamples)
	}
	rng := rand.New(rand.NewPCG(seed, bootstrapStream))
	for b := range Resamples {
		for i := range at {
			at[i] = rng.IntN(n)
		}
		for k, s := range stats {
			drawn[k][b] = s(at)
		}
	}
	for k, d := range drawn {
		slices.Sort(d)
		estimates[k].Low, estimates[k].High = quantile(d, 0.025), quantile(d, 0.975)
	}
	return estimates
}

// Streams keep what is drawn for one purpose from what is drawn for another.
const (
	bootstrapStream = 1 + iota
	limitStream
	shotStream
)

// quantile is that of sorted values, between two of them by a straight line.
func quantile(sorted []float64, p float64) float64 {
	place := p * float64(len(sorted)-1)
	i := int(math.Floor(place))
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (place-float64(i))*(sorted[i+1]-sorted[i])
}

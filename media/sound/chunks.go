package sound

import "fmt"

// Where Chunks may cut: in the last third of what is allowed, in the middle of
// the quietest stretch of quietStretch steps of a hundredth of a second.
const (
	quietStretch = 15
	stepsASecond = 100
)

// Chunks splits a recording into pieces of at most the given duration, for
// models that take 30 seconds at once. The pieces are slices of the recording
// and together are all of it. A piece ends in the middle of the quietest
// 0.15 s in the last third of the duration, which between sentences is a
// pause, so that few words are cut; among equally quiet places it is the last.
// The last piece is whatever remains.
func Chunks(samples []float32, rate int, seconds float64) ([][]float32, error) {
	if rate < minRate || rate > maxRate {
		return nil, fmt.Errorf("sound: a rate of %d Hz: rates from %d to %d Hz are possible", rate, minRate, maxRate)
	}
	if !(seconds >= 1 && seconds <= maxSamples/float64(rate)) {
		return nil, fmt.Errorf("sound: chunks of %g s: at least 1 s and at most %d samples are possible", seconds, maxSamples)
	}
	limit := int(seconds * float64(rate))
	var chunks [][]float32
	for len(samples) > limit {
		cut := quietest(samples[:limit], rate)
		chunks = append(chunks, samples[:cut:cut])
		samples = samples[cut:]
	}
	if len(samples) > 0 {
		chunks = append(chunks, samples[:len(samples):len(samples)])
	}
	return chunks, nil
}

// quietest is the middle of the quietest stretch in the last third.
func quietest(samples []float32, rate int) int {
	step := rate / stepsASecond
	from := len(samples) - len(samples)/3
	energy := make([]float64, (len(samples)-from)/step)
	for i := range energy {
		for _, v := range samples[from+i*step:][:step] {
			energy[i] += float64(v) * float64(v)
		}
	}
	best, cut := 0.0, len(samples)
	for i := 0; i+quietStretch <= len(energy); i++ {
		var sum float64 // anew each time: a running sum would not come back to 0
		for _, e := range energy[i : i+quietStretch] {
			sum += e
		}
		if i == 0 || sum <= best {
			best, cut = sum, from+i*step+quietStretch*step/2
		}
	}
	return cut
}

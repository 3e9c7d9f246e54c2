package sound_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"lapidary/media/sound"
)

// Speech with pauses is cut in them.
func TestChunksCutInPauses(t *testing.T) {
	const rate = 16000
	samples := tone(200, rate, 100)
	pauses := []float64{12, 22, 27, 44, 52, 75, 79}
	for _, p := range pauses {
		clear(samples[int(p*rate):int((p+0.4)*rate)])
	}
	chunks, err := sound.Chunks(samples, rate, 30)
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, c := range chunks[:len(chunks)-1] {
		at += len(c)
		inside := false
		for _, p := range pauses {
			inside = inside || float64(at)/rate > p+0.05 && float64(at)/rate < p+0.35
		}
		if !inside {
			t.Errorf("cut at %.2f s", float64(at)/rate)
		}
	}
	if len(chunks) != 4 {
		t.Errorf("%d chunks", len(chunks))
	}
}

func TestChunksAreAllOfIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.SampledFrom([]int{1000, 8000, 11025}).Draw(t, "rate")
		seconds := rapid.Float64Range(1, 5).Draw(t, "seconds")
		samples := make([]float32, rapid.IntRange(0, 20*rate).Draw(t, "n"))
		for i := range samples {
			samples[i] = float32(math.Sin(float64(i*i) / 1e5))
		}
		chunks, err := sound.Chunks(samples, rate, seconds)
		if err != nil {
			t.Fatal(err)
		}
		at := 0
		for i, c := range chunks {
			if len(c) == 0 || float64(len(c)) > seconds*float64(rate) {
				t.Fatalf("chunk %d has %d samples", i, len(c))
			}
			if i < len(chunks)-1 && float64(len(c)) < seconds*float64(rate)*0.6 {
				t.Fatalf("chunk %d is short: %d samples", i, len(c))
			}
			if &c[0] != &samples[at] {
				t.Fatalf("chunk %d is not where it should be", i)
			}
			at += len(c)
		}
		if at != len(samples) {
			t.Fatalf("%d of %d samples", at, len(samples))
		}
	})
}

func TestChunksRefuse(t *testing.T) {
	for _, c := range []struct {
		rate    int
		seconds float64
	}{{0, 30}, {16000, 0}, {16000, -1}, {16000, math.NaN()}, {16000, math.Inf(1)}, {16000, 0.5}} {
		_, err := sound.Chunks(make([]float32, 10), c.rate, c.seconds)
		expect(t, "chunks", err, "possible")
	}
}

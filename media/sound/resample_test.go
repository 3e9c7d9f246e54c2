package sound_test

import (
	"fmt"
	"math"
	"testing"

	"lapidary/media/sound"
)

// tone is a sine at a rate, from the same moment whatever the rate.
func tone(hz float64, rate int, seconds float64) []float32 {
	out := make([]float32, int(math.Round(seconds*float64(rate))))
	for i := range out {
		out[i] = float32(math.Sin(2 * math.Pi * hz * float64(i) / float64(rate)))
	}
	return out
}

// loudness is the root mean square away from the ends, in dB.
func loudness(samples []float32) float64 {
	var sum float64
	middle := samples[len(samples)/4 : len(samples)*3/4]
	for _, v := range middle {
		sum += float64(v) * float64(v)
	}
	return 10 * math.Log10(sum/float64(len(middle))+1e-30)
}

// ratios are those of usual rates and one whose filter is interpolated.
var ratios = [][2]int{
	{8000, 16000}, {11025, 16000}, {22050, 16000}, {24000, 16000}, {32000, 16000}, {44100, 16000}, {48000, 16000},
	{96000, 16000}, {192000, 16000}, {16000, 44100}, {47999, 16001}, {767999, 16000}, {16000, 44101},
}

// A tone in the passband comes out as the same tone.
func TestResampleKeepsTones(t *testing.T) {
	for _, r := range ratios {
		band := float64(min(r[0], r[1])) / 2
		for _, part := range []float64{0.01, 0.3, 0.85} {
			got, err := sound.Resample(tone(part*band, r[0], 0.2), r[0], r[1])
			if err != nil {
				t.Fatal(err)
			}
			want := tone(part*band, r[1], 0.3)[:len(got)]
			difference := make([]float32, len(got))
			for i := range got {
				difference[i] = got[i] - want[i]
			}
			if d := loudness(difference) - loudness(want); !(d < -90) {
				t.Errorf("%d to %d Hz: a tone at %.0f Hz is %.1f dB off", r[0], r[1], part*band, d)
			}
		}
	}
}

// A tone that the lower rate has no room for is gone, not folded back.
func TestResampleDoesNotAlias(t *testing.T) {
	for _, r := range ratios {
		if r[1] > r[0] {
			continue
		}
		for _, part := range []float64{1.001, 1.2, float64(r[0]) / float64(r[1]) * 0.95} {
			if part*float64(r[1]) > float64(r[0]) || part < 1 {
				continue
			}
			got, err := sound.Resample(tone(part*float64(r[1])/2, r[0], 0.2), r[0], r[1])
			if err != nil {
				t.Fatal(err)
			}
			if d := loudness(got) + 3; !(d < -95) {
				t.Errorf("%d to %d Hz: a tone at %.3f of the band is at %.1f dB", r[0], r[1], part, d)
			}
		}
	}
}

// Rates between which there are images: none of them may be heard.
func TestResampleUpwardsHasNoImages(t *testing.T) {
	got, err := sound.Resample(tone(3000, 8000, 0.5), 8000, 48000)
	if err != nil {
		t.Fatal(err)
	}
	want := tone(3000, 48000, 0.5)
	for i := range got {
		got[i] -= want[i]
	}
	if d := loudness(got) + 3; !(d < -90) {
		t.Errorf("what is not the tone is at %.1f dB", d)
	}
}

func TestResampleLengths(t *testing.T) {
	for _, c := range []struct{ n, from, to, want int }{
		{0, 8000, 16000, 0}, {1, 8000, 16000, 2}, {441, 44100, 16000, 160}, {442, 44100, 16000, 161}, {1, 48000, 16000, 1}, {7, 16000, 16000, 7},
	} {
		got, err := sound.Resample(make([]float32, c.n), c.from, c.to)
		if err != nil || len(got) != c.want {
			t.Errorf("%d samples from %d to %d Hz are %d, want %d: %v", c.n, c.from, c.to, len(got), c.want, err)
		}
	}
	same := []float32{1, 2, 3}
	got, err := sound.Resample(same, 16000, 16000)
	if err != nil {
		t.Fatal(err)
	}
	if got[0] = 9; same[0] != 1 {
		t.Error("the result shares the source's memory")
	}
}

func TestResampleRefuses(t *testing.T) {
	for _, c := range [][2]int{{0, 16000}, {16000, 0}, {-1, 16000}, {16000, 1 << 40}} {
		_, err := sound.Resample(make([]float32, 10), c[0], c[1])
		expect(t, "rates", err, "are possible")
	}
	_, err := sound.Resample(make([]float32, 1<<20), 1000, 768000)
	expect(t, "length", err, "cut the recording")
}

// BenchmarkResample is for 30 s of sound.
func BenchmarkResample(b *testing.B) {
	for _, r := range [][2]int{{48000, 16000}, {44100, 16000}, {47999, 16001}} {
		b.Run(fmt.Sprintf("%dto%d", r[0], r[1]), func(b *testing.B) {
			samples := tone(440, r[0], 30)
			for b.Loop() {
				if _, err := sound.Resample(samples, r[0], r[1]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

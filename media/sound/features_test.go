package sound_test

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"

	"lapidary/media/sound"
	"lapidary/media/sound/soundtest"
)

func TestGolden(t *testing.T) { soundtest.Golden(t, "testdata/audio_features") }

func extractor(t testing.TB, family string) *sound.Extractor {
	t.Helper()
	p, ok := sound.Defaults(family)
	if !ok {
		t.Fatalf("no family %s", family)
	}
	e, err := sound.NewExtractor(p)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var families = []string{"gemma3n", "gemma4", "gemma4_unified"}

// A clip has the same features alone and in a batch, as far as both are of it
// and not of the silence after it.
func TestFeaturesAloneAndInBatch(t *testing.T) {
	clips := [][]float32{tone(440, 16000, 0.31), tone(1000, 16000, 0.8), tone(90, 16000, 0.05)}
	for _, family := range families {
		e := extractor(t, family)
		batch, err := e.Features(clips...)
		if err != nil {
			t.Fatal(err)
		}
		for i, clip := range clips {
			alone, err := e.Features(clip)
			if err != nil {
				t.Fatal(err)
			}
			n := min(alone.Valid(0), batch.Valid(i))
			if n == 0 || n < alone.Valid(0) {
				t.Errorf("%s: clip %d has %d frames alone and %d in the batch", family, i, alone.Valid(0), batch.Valid(i))
			}
			in := batch.Values[i*batch.Frames*batch.Size:][:n*batch.Size]
			if !slices.Equal(in, alone.Values[:n*alone.Size]) {
				t.Errorf("%s: clip %d differs", family, i)
			}
		}
	}
}

// The frequency of a tone shows in the band that is made for it.
func TestFeaturesFindTheTone(t *testing.T) {
	for _, family := range []string{"gemma3n", "gemma4"} {
		e := extractor(t, family)
		p := e.Params()
		mel := func(f float64) float64 { return 2595 * math.Log10(1+f/700) }
		for _, hz := range []float64{500, 1500, 4000} {
			f, err := e.Features(tone(hz, 16000, 0.5))
			if err != nil {
				t.Fatal(err)
			}
			row := f.Values[20*f.Size:][:f.Size]
			loudest := slices.Index(row, slices.Max(row))
			want := (mel(hz)-mel(p.Low))/(mel(p.High)-mel(p.Low))*float64(p.Size+1) - 1
			if math.Abs(float64(loudest)-want) > 1.5 {
				t.Errorf("%s: %g Hz in band %d, want %.1f", family, hz, loudest, want)
			}
		}
	}
}

func TestFeaturesRefuse(t *testing.T) {
	e := extractor(t, "gemma4")
	for want, clips := range map[string][][]float32{
		"no clips":                nil,
		"clip 1 is empty":         {tone(1, 16000, 0.1), nil},
		"clip 0 lasts 31.0 s":     {make([]float32, 31*16000)},
		"clip 0: sample 1 is not": {{0, float32(math.NaN())}},
		"clip 0: sample 0 is not": {{float32(math.Inf(-1))}},
	} {
		_, err := e.Features(clips...)
		expect(t, want, err, want)
	}
	_, err := extractor(t, "gemma3n").Features(make([]float32, 100))
	expect(t, "short", err, "less than a frame")
}

func TestFeaturesConcurrently(t *testing.T) {
	e := extractor(t, "gemma3n")
	clip := tone(700, 16000, 0.3)
	want, err := e.Features(clip)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			got, err := e.Features(clip)
			if err != nil || !slices.Equal(got.Values, want.Values) {
				t.Errorf("features differ between goroutines: %v", err)
			}
		})
	}
	wg.Wait()
}

// Preemphasis, normalisation and a transform of another length, on numbers
// that are worked out by hand: a constant has a single bin.
func TestFeaturesOfAConstant(t *testing.T) {
	base := sound.Params{
		Rate: 16000, Size: 1, Frame: 8, Hop: 4, FFT: 8, Low: 0, High: 4000, Scale: 1, Floor: 1e-9, Multiple: 1,
	}
	clip := slices.Repeat([]float32{0.5}, 32)
	first := func(p sound.Params) float64 {
		t.Helper()
		e, err := sound.NewExtractor(p)
		if err != nil {
			t.Fatal(err)
		}
		f, err := e.Features(clip)
		if err != nil {
			t.Fatal(err)
		}
		return float64(f.Values[0])
	}
	// Under a periodic Hann window bin 0 has half the frame's sum, 0.5·8/2 = 2,
	// and bin 1, at 2000 Hz, half of that: 1. Bin 0 is at the band's lower
	// corner and has no weight.
	mel := func(f float64) float64 { return 2595 * math.Log10(1+f/700) }
	middle := 700 * (math.Pow(10, mel(4000)/2/2595) - 1)
	weight := (4000 - 2000.0) / (4000 - middle)
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-5 {
			t.Errorf("%s: %g, want %g", what, got, want)
		}
	}
	near("plain", first(base), math.Log(weight))
	p := base
	p.Scale = 3
	near("scaled", first(p), math.Log(3*weight))
	p = base
	p.Preemphasis = 0.75
	near("emphasised", first(p), math.Log(weight/4))
	p.HTK = true
	near("emphasised in HTK's way", first(p), math.Log(weight/4))
	p = base
	p.Floor, p.FloorAdded = 2, true
	near("with the floor added", first(p), math.Log(2+weight))
	p.FloorAdded = false
	near("with a floor", first(p), math.Log(2))
	p = base
	p.Mean, p.Deviation = []float64{1}, []float64{2}
	near("normalised", first(p), (math.Log(weight)-1)/2)
}

func TestReadParams(t *testing.T) {
	folder := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := sound.ReadParams(folder)
	expect(t, "nothing", err, "no processor_config.json or preprocessor_config.json")

	write("preprocessor_config.json", `{"processor_class":"Gemma3nProcessor","feature_extractor_type":"Gemma3nAudioFeatureExtractor","frame_length":480,
		"hop_length":160,"fft_length":1024,"fft_overdrive":true,"mel_floor":0.001,"sampling_rate":16000,"per_bin_mean":null,"dither":0.0,"image_mean":[0.5]}`)
	want, _ := sound.Defaults("gemma3n")
	want.Frame, want.Floor = 480, 0.001
	got, err := sound.ReadParams(folder)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v: %v", got, want, err)
	}

	write("processor_config.json", `{"image_processor":{"size":3},"audio_seq_length":100,"audio_ms_per_token":40,
		"feature_extractor":{"feature_extractor_type":"Gemma4AudioFeatureExtractor","frame_length_ms":25.0,"hop_length_ms":12.5,"fft_overdrive":true}}`)
	want, _ = sound.Defaults("gemma4")
	want.Frame, want.Hop, want.FFT, want.Longest = 400, 200, 1024, 64000
	if got, err = sound.ReadParams(folder); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v: %v", got, want, err)
	}

	write("processor_config.json", `{"processor_class":"Gemma3Processor"}`)
	if got, err = sound.ReadParams(folder); err != nil || got.Preemphasis != 0.97 {
		t.Errorf("the other file was not read: %+v: %v", got, err)
	}
	write("preprocessor_config.json", `{"feature_extractor_type":"Gemma4AudioFeatureExtractor","mel_floor":-1}`)
	_, err = sound.ReadParams(folder)
	expect(t, "floor", err, "mel_floor is -1")
}

func TestParseParams(t *testing.T) {
	for _, family := range []struct{ name, class string }{
		{"gemma3n", "Gemma3nAudioFeatureExtractor"}, {"gemma4", "Gemma4AudioFeatureExtractor"}, {"gemma4_unified", "Gemma4UnifiedAudioFeatureExtractor"},
	} {
		got, err := sound.ParseParams([]byte(`{"feature_extractor_type":"` + family.class + `"}`))
		want, _ := sound.Defaults(family.name)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v: %v", family.name, got, want, err)
		}
	}
	got, err := sound.ParseParams([]byte(`{"feature_extractor":{"feature_extractor_type":"Gemma4UnifiedAudioFeatureExtractor","audio_samples_per_token":20,"feature_size":20},"audio_seq_length":5}`))
	if err != nil || got.Size != 20 || got.Multiple != 20 || got.Longest != 100 {
		t.Errorf("%+v: %v", got, err)
	}
	for text, want := range map[string]string{
		`[`:  "no JSON",
		`{}`: "describes no front end",
		`{"feature_extractor_type":"WhisperFeatureExtractor"}`: "describes no front end",
		gemma4(`"dither":0.1`):                                 "dither",
		gemma4(`"padding_side":"left"`):                        "padding_side",
		gemma4(`"sampling_rate":-5`):                           "frames of 0 samples",
		gemma4(`"frame_length":1000000000`):                    "frames of 1000000000 samples",
		gemma4(`"fft_length":16`):                              "fft_length is 16",
		gemma4(`"hop_length":0`):                               "hop_length is 0",
		gemma4(`"feature_size":100000000`):                     "feature_size is 1e+08",
		gemma4(`"max_frequency":9000`):                         "max_frequency is 9000",
		gemma4(`"per_bin_mean":[1,2]`):                         "per_bin_mean has 2 entries",
		gemma4(`"feature_size":1,"per_bin_stddev":[0]`):        "per_bin_stddev is 0",
	} {
		_, err := sound.ParseParams([]byte(text))
		expect(t, text, err, want)
	}
}

func gemma4(field string) string {
	return `{"feature_extractor_type":"Gemma4AudioFeatureExtractor",` + field + `}`
}

func FuzzParams(f *testing.F) {
	f.Add([]byte(gemma4(`"feature_size":80,"frame_length_ms":25,"sampling_rate":8000,"max_frequency":4000`)))
	f.Add([]byte(`{"feature_extractor":{"feature_extractor_type":"Gemma4UnifiedAudioFeatureExtractor","feature_size":20}}`))
	f.Add([]byte(`{"feature_extractor_type":"Gemma3nAudioFeatureExtractor","per_bin_mean":[0]}`))
	clip := tone(440, 16000, 0.05)
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := sound.ParseParams(data)
		if err != nil {
			return
		}
		e, err := sound.NewExtractor(p)
		if err != nil {
			t.Fatalf("settings were parsed and are refused: %v", err)
		}
		out, err := e.Features(clip)
		if err == nil && len(out.Values) != out.Frames*out.Size {
			t.Errorf("%d values for %d frames of %d", len(out.Values), out.Frames, out.Size)
		}
	})
}

// BenchmarkFeatures is for 30 s of sound.
func BenchmarkFeatures(b *testing.B) {
	clip := tone(440, 16000, 30)
	for _, family := range families {
		b.Run(family, func(b *testing.B) {
			e := extractor(b, family)
			for b.Loop() {
				if _, err := e.Features(clip); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

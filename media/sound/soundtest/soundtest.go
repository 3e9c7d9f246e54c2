// Package soundtest runs the reference outputs of the front ends for sound.
package soundtest

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/media/sound"
)

type golden struct {
	Tolerance struct{ Abs, Rel float64 }
	Runs      []run
}

// run is a batch through the front end of the family it is named by.
type run struct {
	Name    string
	Inputs  map[string]json.RawMessage
	Outputs struct {
		Shape []int `json:"input_features_shape"`
		Mask  struct {
			Shape []int
			Data  []int
		} `json:"input_features_mask"`
	}
}

// Golden runs every run of the golden in a folder, each as a subtest of the
// run's name: golden.json has the clips (pcm16_0, pcm16_1, … at sample_rate),
// the shapes and the masks, trace.safetensors has the features under
// RUN/input_features.
func Golden(t *testing.T, folder string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Runs) == 0 {
		t.Fatalf("%s has no runs", folder)
	}
	traces, err := checkpoint.Open(filepath.Join(folder, "trace.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer traces.Close()
	for _, r := range g.Runs {
		t.Run(r.Name, func(t *testing.T) {
			want, ok := traces.Tensor(r.Name + "/input_features")
			if !ok {
				t.Fatalf("no trace of %s", r.Name)
			}
			r.check(t, checkpointtest.Floats(want), g.Tolerance.Abs, g.Tolerance.Rel)
		})
	}
}

func (r run) check(t *testing.T, want []float32, abs, rel float64) {
	params, ok := sound.Defaults(r.Name)
	if !ok {
		t.Fatalf("no family %s", r.Name)
	}
	var rate int
	if err := json.Unmarshal(r.Inputs["sample_rate"], &rate); err != nil || rate != params.Rate {
		t.Fatalf("sample_rate %d (%v), the family has %d", rate, err, params.Rate)
	}
	e, err := sound.NewExtractor(params)
	if err != nil {
		t.Fatal(err)
	}
	f, err := e.Features(r.clips(t)...)
	if err != nil {
		t.Fatal(err)
	}
	if got := []int{f.Clips, f.Frames, f.Size}; !slices.Equal(got, r.Outputs.Shape) {
		t.Fatalf("shape %v, want %v", got, r.Outputs.Shape)
	}
	if len(f.Mask) != len(r.Outputs.Mask.Data) {
		t.Fatalf("%d entries in the mask, want %d", len(f.Mask), len(r.Outputs.Mask.Data))
	}
	for i, want := range r.Outputs.Mask.Data {
		if f.Mask[i] != (want != 0) {
			t.Errorf("mask %d is %v", i, f.Mask[i])
		}
	}
	compare(t, f.Values, want, abs, rel)
}

func compare(t *testing.T, got, want []float32, abs, rel float64) {
	if len(got) != len(want) {
		t.Fatalf("%d values, want %d", len(got), len(want))
	}
	worst := 0.0
	for i := range want {
		d := math.Abs(float64(got[i]) - float64(want[i]))
		// Not d > …, which a NaN would pass.
		if !(d <= abs || d <= rel*math.Abs(float64(want[i]))) {
			t.Fatalf("value %d is %g, want %g", i, got[i], want[i])
		}
		worst = max(worst, d)
	}
	t.Logf("worst difference %.2g", worst)
}

// clips in the order of their numbers.
func (r run) clips(t *testing.T) [][]float32 {
	var names []string
	for name := range r.Inputs {
		if strings.HasPrefix(name, "pcm16_") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	clips := make([][]float32, len(names))
	for i, name := range names {
		var pcm struct{ Data []float32 }
		if err := json.Unmarshal(r.Inputs[name], &pcm); err != nil {
			t.Fatal(err)
		}
		for j := range pcm.Data {
			pcm.Data[j] /= 32768
		}
		clips[i] = pcm.Data
	}
	return clips
}

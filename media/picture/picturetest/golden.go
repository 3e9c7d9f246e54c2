// Package picturetest holds this project's picture preprocessing against reference outputs.
//
// A case is a folder with golden.json (runs with their inputs and expected outputs), trace.safetensors (their pixel values, named
// "run/pixel_values", float32) and the picture that the inputs name. All numbers are read from the folder.
package picturetest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapidary/media/picture"
)

type golden struct {
	Runs        []run
	TargetSizes *struct {
		PatchSize int     `json:"patch_size"`
		Pooling   int     `json:"pooling_kernel_size"`
		Rows      [][]int // height, width, max soft tokens, target height, target width, soft tokens
	} `json:"gemma4_target_sizes"`
}

type run struct {
	Name   string
	Inputs struct {
		Image     string
		Size      int
		MinCrop   int     `json:"min_crop_size"`
		MaxCrops  int     `json:"max_num_crops"`
		MinRatio  float64 `json:"min_ratio"`
		PatchSize int     `json:"patch_size"`
		MaxTokens int     `json:"max_soft_tokens"`
		Pooling   int     `json:"pooling_kernel_size"`
	}
	Outputs struct {
		Crops      *int  `json:"num_crops"`
		Shape      []int `json:"pixel_values_shape"`
		SoftTokens *int  `json:"num_soft_tokens"`
		Positions  *struct {
			Shape []int
			Data  []int32
		} `json:"image_position_ids"`
	}
}

// Golden runs the case in a folder, each of its runs as a subtest named like it.
func Golden(t *testing.T, dir string) {
	var g golden
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil || len(g.Runs) == 0 {
		t.Fatalf("golden.json has %d runs: %v", len(g.Runs), err)
	}
	trace, err := readTrace(filepath.Join(dir, "trace.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range g.Runs {
		t.Run(r.Name, func(t *testing.T) {
			m, err := picture.ReadFile(filepath.Join(dir, r.Inputs.Image), picture.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			r.check(t, m, trace[r.Name+"/pixel_values"])
		})
	}
	if g.TargetSizes != nil {
		t.Run("target_sizes", g.checkSizes)
	}
}

func (r run) config() (picture.Config, error) {
	if r.Inputs.PatchSize > 0 {
		p, err := picture.Defaults("gemma4")
		c := p.Image
		c.PatchSize, c.Pooling, c.MaxSoftTokens = r.Inputs.PatchSize, r.Inputs.Pooling, r.Inputs.MaxTokens
		return c, err
	}
	p, err := picture.Defaults("gemma3")
	c := p.Image
	c.Width, c.Height = r.Inputs.Size, r.Inputs.Size
	if r.Inputs.MaxCrops > 0 {
		c.PanAndScan = picture.PanAndScan{Enabled: true, MinCrop: r.Inputs.MinCrop, MaxCrops: r.Inputs.MaxCrops, MinRatio: r.Inputs.MinRatio}
	}
	return c, err
}

func (r run) check(t *testing.T, m *picture.Image, want []float32) {
	c, err := r.config()
	if err != nil {
		t.Fatal(err)
	}
	f, err := c.Features(m)
	if err != nil {
		t.Fatal(err)
	}
	if n := r.Outputs.Crops; n != nil && f.Crops != *n {
		t.Errorf("%d crops, want %d", f.Crops, *n)
	}
	if n := r.Outputs.SoftTokens; n != nil && f.SoftTokens != *n {
		t.Errorf("%d soft tokens, want %d", f.SoftTokens, *n)
	}
	if s := r.Outputs.Shape; s != nil && !slices.Equal(f.Shape, s) {
		t.Errorf("shape %v, want %v", f.Shape, s)
	}
	if p := r.Outputs.Positions; p != nil {
		f.Pad(p.Shape[1])
		if got := flat(f.Positions); !slices.Equal(got, p.Data) {
			t.Errorf("positions %v, want %v", got, p.Data)
		}
	}
	if len(f.Values) != len(want) || len(want) == 0 {
		t.Fatalf("%d values, want %d", len(f.Values), len(want))
	}
	worst := 0.0
	for i, v := range f.Values {
		worst = max(worst, math.Abs(float64(v)-float64(want[i])))
	}
	if worst > 1e-6 {
		t.Errorf("pixel values differ by up to %g", worst)
	}
}

func flat(positions [][2]int32) []int32 {
	var out []int32
	for _, p := range positions {
		out = append(out, p[:]...)
	}
	return out
}

func (g golden) checkSizes(t *testing.T) {
	p, err := picture.Defaults("gemma4")
	if err != nil {
		t.Fatal(err)
	}
	c := p.Image
	c.PatchSize, c.Pooling = g.TargetSizes.PatchSize, g.TargetSizes.Pooling
	for _, row := range g.TargetSizes.Rows {
		c.MaxSoftTokens = row[2]
		w, h, err := c.TargetSize(row[1], row[0])
		side := c.PatchSize * c.Pooling
		if err != nil || h != row[3] || w != row[4] || w/side*(h/side) != row[5] {
			t.Errorf("%v: got %d × %d: %v", row, h, w, err)
		}
	}
}

// readTrace reads the float32 tensors of a safetensors file: a length of 8 bytes, a JSON header, the data.
func readTrace(path string) (map[string][]float32, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var header map[string]json.RawMessage
	if len(data) < 8 || binary.LittleEndian.Uint64(data) > uint64(len(data)-8) {
		return nil, fmt.Errorf("%s is cut off", path)
	}
	n := binary.LittleEndian.Uint64(data)
	if err := json.Unmarshal(data[8:8+n], &header); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	out := map[string][]float32{}
	for name, raw := range header {
		var tensor struct {
			Type    string    `json:"dtype"`
			Offsets [2]uint64 `json:"data_offsets"`
		}
		if strings.HasPrefix(name, "__") || json.Unmarshal(raw, &tensor) != nil || tensor.Type != "F32" {
			continue
		}
		values := make([]float32, (tensor.Offsets[1]-tensor.Offsets[0])/4)
		for i := range values {
			values[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[8+n+tensor.Offsets[0]+4*uint64(i):]))
		}
		out[name] = values
	}
	return out, nil
}

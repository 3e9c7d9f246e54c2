package picture_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"lapidary/media/picture"
	"lapidary/media/picture/picturetest"
)

func TestGolden(t *testing.T) { picturetest.Golden(t, "testdata/image_features") }

func golden(t *testing.T) *picture.Image {
	t.Helper()
	m, err := picture.ReadFile("testdata/image_features/image.png", picture.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestMerged holds merged patches against what the reference does in two steps: small patches, then groups of them.
func TestMerged(t *testing.T) {
	small, err := picture.Defaults("gemma4")
	if err != nil {
		t.Fatal(err)
	}
	large, err := picture.Defaults("gemma4_unified")
	if err != nil {
		t.Fatal(err)
	}
	m := golden(t)
	f, err := small.Image.Features(m)
	if err != nil {
		t.Fatal(err)
	}
	g, err := large.Image.Features(m)
	if err != nil {
		t.Fatal(err)
	}
	if f.SoftTokens != g.SoftTokens || g.Shape[0] != g.SoftTokens || g.Shape[1] != 3*48*48 {
		t.Fatal(f.SoftTokens, g.SoftTokens, g.Shape)
	}
	for i, p := range f.Positions {
		into := slices.Index(g.Positions, [2]int32{p[0] / 3, p[1] / 3})
		for r := range 16 {
			row := int(p[1]%3)*16 + r
			at := into*g.Shape[1] + 3*(48*row+16*int(p[0]%3))
			if !slices.Equal(f.Values[i*f.Shape[1]+48*r:][:48], g.Values[at:at+48]) {
				t.Fatalf("patch %v, row %d differs", p, r)
			}
		}
	}
}

func TestReadConfig(t *testing.T) {
	const gemma3 = `{"do_convert_rgb":null,"do_normalize":true,"do_pan_and_scan":null,"do_rescale":true,"do_resize":true,
		"image_mean":[0.5,0.5,0.5],"image_processor_type":"Gemma3ImageProcessor","image_seq_length":256,"image_std":[0.5,0.5,0.5],
		"pan_and_scan_max_num_crops":null,"resample":2,"rescale_factor":0.00392156862745098,"size":{"height":896,"width":896}}`
	const gemma4 = `{"image_processor":{"image_processor_type":"Gemma4UnifiedImageProcessorFast","max_soft_tokens":560,"size":null},
		"video_processor":{"video_processor_type":"Gemma4UnifiedVideoProcessor","num_frames":16,"patch_size":8}}`
	const siglip = `{"image_processor_type":"SiglipImageProcessor","size":{"height":448,"width":448},"resample":3,"image_mean":0.5}`
	cases := []struct {
		files map[string]string
		check func(p picture.Processors) bool
	}{
		{map[string]string{"preprocessor_config.json": gemma3}, func(p picture.Processors) bool {
			want, err := picture.Defaults("gemma3")
			return err == nil && p.Image == want.Image && p.Video == nil
		}},
		{map[string]string{"processor_config.json": gemma4, "preprocessor_config.json": gemma3}, func(p picture.Processors) bool {
			return p.Image.Layout == picture.MergedPatches && p.Image.MaxSoftTokens == 560 && p.Image.Filter == picture.Bicubic &&
				p.Video.Frames == 16 && p.Video.Sample && p.Video.PatchSize == 8 && p.Video.MaxSoftTokens == 70
		}},
		{map[string]string{"preprocessor_config.json": siglip, "config.json": `{"model_type":"paligemma","vision_config":{"image_size":448,"patch_size":14}}`},
			func(p picture.Processors) bool {
				return p.Image.Width == 448 && p.Image.Filter == picture.Bicubic && p.Image.SoftTokens == 1024
			}},
		{map[string]string{"config.json": `{"model_type":"gemma3","mm_tokens_per_image":4,"vision_config":{"image_size":32}}`},
			func(p picture.Processors) bool { return p.Image.Width == 32 && p.Image.SoftTokens == 4 }},
		{map[string]string{"config.json": `{"model_type":"gemma4","vision_config":{"patch_size":4,"pooling_kernel_size":2}}`},
			func(p picture.Processors) bool { return p.Image.PatchSize == 4 && p.Video.Pooling == 2 }},
		{map[string]string{"processor_config.json": `{"image_processor":{"image_processor_type":"Gemma4ImageProcessor"},"video_processor":
			{"video_processor_type":"EmbeddingGemma2VideoProcessor","fps":2,"num_frames":32,"max_frames":8,"overflow_strategy":"truncate"}}`},
			func(p picture.Processors) bool {
				v := p.Video
				return v.Stride && v.FPS == 2 && v.Frames == 0 && v.MaxFrames == 8 && v.Truncate && !v.Timestamps && v.MaxSoftTokens == 70
			}},
		{map[string]string{"config.json": `{"model_type":"t5gemma2","encoder":{"mm_tokens_per_image":16,"vision_config":{"image_size":64}}}`},
			func(p picture.Processors) bool { return p.Image.Height == 64 && p.Image.SoftTokens == 16 }},
	}
	for i, c := range cases {
		dir := fstest.MapFS{}
		for name, data := range c.files {
			dir[name] = &fstest.MapFile{Data: []byte(data)}
		}
		p, err := picture.ReadConfig(dir)
		if err != nil || !c.check(p) {
			t.Errorf("case %d: %+v, %v", i, p, err)
		}
	}
}

func TestReadConfigRefuses(t *testing.T) {
	for data, want := range map[string]string{
		`{`: "unexpected end",
		`{"image_processor_type":"CLIPImageProcessor"}`:                                "not one of Gemma's",
		`{"image_processor_type":"Gemma3ImageProcessor","size":{"shortest_edge":3}}`:   "size",
		`{"image_processor_type":"Gemma3ImageProcessor","size":1e9}`:                   "size",
		`{"image_processor_type":"Gemma3ImageProcessor","image_std":[1,2]}`:            "image_std",
		`{"image_processor_type":"Gemma4ImageProcessor","max_soft_tokens":1000000000}`: "soft tokens",
		`{"image_processor_type":"Gemma4ImageProcessor","patch_size":-1}`:              "patch size",
		`{}`: "model type",
	} {
		_, err := picture.ReadConfig(fstest.MapFS{"preprocessor_config.json": {Data: []byte(data)}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want an error about %q", data, err, want)
		}
	}
	if _, err := picture.ReadConfig(fstest.MapFS{}); err == nil {
		t.Error("an empty folder has no settings")
	}
}

func TestFeaturesRefuses(t *testing.T) {
	m := &picture.Image{Width: 20, Height: 10, Pix: make([]uint8, 600)}
	square, err := picture.Defaults("gemma3")
	if err != nil {
		t.Fatal(err)
	}
	patches, err := picture.Defaults("gemma4")
	if err != nil {
		t.Fatal(err)
	}
	change := func(c picture.Config, how func(*picture.Config)) picture.Config {
		how(&c)
		return c
	}
	for want, c := range map[string]picture.Config{
		"filter":       change(square.Image, func(c *picture.Config) { c.Filter = 0 }),
		"cannot":       change(square.Image, func(c *picture.Config) { c.Width = -1 }),
		"image_std":    change(square.Image, func(c *picture.Config) { c.Std[1] = 0 }),
		"pan and scan": change(square.Image, func(c *picture.Config) { c.PanAndScan = picture.PanAndScan{Enabled: true} }),
		"patch size":   change(patches.Image, func(c *picture.Config) { c.PatchSize = 0 }),
		"divisible":    change(patches.Image, func(c *picture.Config) { c.Resize = false }),
	} {
		if _, err := c.Features(m); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %q", err, want)
		}
	}
	if _, err := square.Image.Features(&picture.Image{Width: 3, Height: 3}); err == nil {
		t.Error("a picture without samples was taken")
	}
	thin := &picture.Image{Width: 60000, Height: 1, Pix: make([]uint8, 180000)}
	f, err := patches.Image.Features(thin)
	if err != nil || f.SoftTokens != 280 || math.IsNaN(float64(f.Values[0])) {
		t.Error(f, err)
	}
}

package gemma_test

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"lapidary/checkpoint"
	"lapidary/engine"
	"lapidary/engine/cpu"
	"lapidary/gemma"
)

// grown is a tower of a golden case at the size it is published with, but for
// the number of layers, with random weights.
type grown struct {
	golden string
	config map[string]any // dotted names
	shapes []shape        // the first that fits a tensor's name
	run    func(ctx context.Context, m *gemma.Model) error
	macs   float64 // of two layers and what stands around them
}

type shape struct {
	name string // a pattern
	dims []int
}

// grownTowers: SigLIP of Gemma 3 4B over a picture of 896 pixels, Gemma 4's
// vision tower over 2,520 patches (280 soft tokens), its conformer over 30 s.
var grownTowers = map[string]grown{
	"SigLIP": {
		golden: "gemma3_mm",
		config: map[string]any{"vision_config.hidden_size": 1152, "vision_config.intermediate_size": 4304, "vision_config.num_attention_heads": 16,
			"vision_config.image_size": 896, "vision_config.patch_size": 14, "mm_tokens_per_image": 256, "text_config.hidden_size": 2560},
		shapes: []shape{
			{`patch_embedding\.weight`, []int{1152, 3, 14, 14}}, {`position_embedding`, []int{4096, 1152}},
			{`fc1\.weight`, []int{4304, 1152}}, {`fc2\.weight`, []int{1152, 4304}}, {`fc1\.bias`, []int{4304}},
			{`(q|k|v|out)_proj\.weight`, []int{1152, 1152}}, {`mm_input_projection_weight`, []int{1152, 2560}}, {`vision_tower|multi_modal`, []int{1152}},
		},
		run: func(ctx context.Context, m *gemma.Model) error {
			_, err := m.Pictures(ctx, []gemma.Picture{{Pixels: noise(3 * 896 * 896)}})
			return err
		},
		macs: 4096*(588*1152+2*(4*1152*1152+2*1152*4304+2*4096*1152)) + 256*1152*2560,
	},
	"Gemma4": {
		golden: "gemma4_e2b_mm",
		config: map[string]any{"vision_config.hidden_size": 768, "vision_config.intermediate_size": 3072, "vision_config.num_attention_heads": 12,
			"vision_config.num_key_value_heads": 12, "vision_config.head_dim": 64, "vision_config.patch_size": 16, "vision_config.pooling_kernel_size": 3,
			"vision_config.position_embedding_size": 10240, "text_config.hidden_size": 1536, "audio_config": nil},
		shapes: []shape{
			{`vision_tower.*(input|output)_m`, []int{}}, {`vision_tower.*(gate|up)_proj`, []int{3072, 768}}, {`vision_tower.*down_proj`, []int{768, 3072}},
			{`vision_tower.*[qk]_norm`, []int{64}}, {`vision_tower.*norm`, []int{768}}, {`position_embedding_table`, []int{2, 10240, 768}},
			{`vision_tower.*proj`, []int{768, 768}}, {`embed_vision`, []int{1536, 768}},
		},
		run: func(ctx context.Context, m *gemma.Model) error {
			p := gemma.Picture{Pixels: noise(2520 * 768)}
			for i := range int32(2520) {
				p.Places = append(p.Places, [2]int32{i % 60, i / 60})
			}
			_, err := m.Pictures(ctx, []gemma.Picture{p})
			return err
		},
		macs: 2520*(768*768+2*(4*768*768+3*768*3072+2*2520*768)) + 280*768*1536,
	},
	"Conformer": {
		golden: "gemma4_e2b_mm",
		config: map[string]any{"audio_config.hidden_size": 1024, "audio_config.num_attention_heads": 8, "audio_config.subsampling_conv_channels": []int{128, 32},
			"audio_config.conv_kernel_size": 5, "audio_config.attention_chunk_size": 12, "audio_config.attention_context_left": 13,
			"audio_config.output_proj_dims": 1536, "text_config.hidden_size": 1536, "vision_config": nil},
		shapes: []shape{
			{`audio_tower.*(input|output)_m`, []int{}}, {`layer0\.conv`, []int{128, 1, 3, 3}}, {`layer1\.conv`, []int{32, 128, 3, 3}},
			{`layer0\.norm`, []int{128}}, {`layer1\.norm`, []int{32}}, {`ffw_layer_1`, []int{4096, 1024}}, {`ffw_layer_2`, []int{1024, 4096}},
			{`per_dim_scale`, []int{128}}, {`depthwise`, []int{1024, 1, 5}}, {`linear_start`, []int{2048, 1024}}, {`output_proj\.bias`, []int{1536}},
			{`output_proj\.weight`, []int{1536, 1024}}, {`audio_tower.*norm`, []int{1024}}, {`audio_tower`, []int{1024, 1024}}, {`embed_audio`, []int{1536, 1536}},
		},
		run: func(ctx context.Context, m *gemma.Model) error {
			s := gemma.Sound{Valid: 3000}
			all := noise(3000 * 128)
			for i := range s.Valid {
				s.Frames = append(s.Frames, all[i*128:(i+1)*128])
			}
			_, err := m.Sounds(ctx, []gemma.Sound{s})
			return err
		},
		macs: 1500*64*128*9 + 750*32*32*128*9 + 750*(1024*1024+2*(5*1024*1024+3*1024*1024+16*1024*1024)+2*1024*1536),
	},
}

func noise(n int) []float32 {
	rng := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, n)
	for i := range x {
		x[i] = rng.Float32()
	}
	return x
}

// write makes the tower's checkpoint.
func (g grown) write(b *testing.B, folder string) {
	b.Helper()
	from := filepath.Join("testdata", "goldens", g.golden)
	small, err := checkpoint.Open(filepath.Join(from, "model.safetensors"))
	if err != nil {
		b.Fatal(err)
	}
	defer small.Close()
	var tensors []checkpoint.Tensor
	for _, t := range small.Tensors() {
		for _, s := range g.shapes {
			if regexp.MustCompile(hubWords.Replace(s.name)).MatchString(t.Name) {
				t.Shape, t.Data = s.dims, nil
				tensors = append(tensors, t)
				break
			}
		}
	}
	f, err := os.Create(filepath.Join(folder, "model.safetensors"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	rng := rand.New(rand.NewPCG(3, 4))
	err = checkpoint.StreamSafetensors(f, tensors, func(w io.Writer, t checkpoint.Tensor) error {
		data := make([]byte, 4*t.Rows()*t.Cols())
		for i := range len(data) / 4 { // ±2⁻⁶ … 2⁻⁵
			data[4*i], data[4*i+1], data[4*i+2] = byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()&0x7f)
			data[4*i+3] = byte(0x3c | rng.Uint32()&0x80)
		}
		_, err := w.Write(data)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "config.json"), g.configJSON(b, from), 0o600); err != nil {
		b.Fatal(err)
	}
}

// hubWords are the names of published files as a checkpoint gives them.
var hubWords = strings.NewReplacer("fc1", "up_proj", "fc2", "down_proj", "out)", "o)")

func (g grown) configJSON(b *testing.B, from string) []byte {
	text, err := os.ReadFile(filepath.Join(from, "config.json"))
	if err != nil {
		b.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		b.Fatal(err)
	}
	for name, v := range g.config {
		at, parts := config, strings.Split(name, ".")
		for _, p := range parts[:len(parts)-1] {
			at = at[p].(map[string]any)
		}
		at[parts[len(parts)-1]] = v
	}
	text, err = json.Marshal(config)
	if err != nil {
		b.Fatal(err)
	}
	return text
}

// BenchmarkTowers says how many multiply-adds a second towers do at published
// sizes (two layers each), and how many times longer that takes than at the
// peak: what a float32 product of 512 rows reaches in the same run.
func BenchmarkTowers(b *testing.B) {
	e, err := cpu.New(cpu.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	peak := peakOf(b, e)
	for name, g := range maps.All(grownTowers) {
		b.Run(name, func(b *testing.B) {
			folder := b.TempDir()
			g.write(b, folder)
			c, err := checkpoint.Open(folder)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			m, err := gemma.Load(c, e)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := g.run(b.Context(), m); err != nil {
					b.Fatal(err)
				}
			}
			rate := g.macs * float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(rate/1e9, "GMAC/s")
			b.ReportMetric(peak/rate, "×peak")
		})
	}
}

// peakOf is the best of several products of 512 rows, in multiply-adds a second.
func peakOf(b *testing.B, e engine.Engine) float64 {
	const rows, in, out = 512, 1152, 4608
	w, err := e.Load(checkpoint.Tensor{Name: "w", Type: checkpoint.F32, Shape: []int{out, in}, Data: make([]byte, 4*in*out)})
	if err != nil {
		b.Fatal(err)
	}
	best := 0.0
	for range 8 {
		p := e.Begin(b.Context(), []engine.Span{{Rows: rows}})
		x := p.Write(noise(rows*in), in)
		began := time.Now()
		p.Linear(x, w)
		best = max(best, float64(rows)*in*out/time.Since(began).Seconds())
		p.Discard()
	}
	b.Logf("peak %.1f GMAC/s", best/1e9)
	return best
}

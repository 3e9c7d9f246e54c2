package picture

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

// Processors are the settings for pictures and for the frames of videos that belong to a model.
type Processors struct {
	Image Config
	Video *VideoConfig // nil: the family takes no videos
}

// A VideoConfig holds the settings of a video processor: its Config is for each frame.
type VideoConfig struct {
	Config
	Sample bool    // take some frames only
	Frames int     // how many, spread evenly; 0: as FPS says
	FPS    float64 // how many a second; 0: all
	// Stride: FPS means a frame every 1/FPS seconds from the first on. Else the number of frames is rounded down first, then
	// they are spread evenly.
	Stride    bool
	MaxFrames int  // 0: any number
	Truncate  bool // more than MaxFrames: keep the first, instead of thinning evenly
	// Timestamps: each frame is preceded by its time in the prompt.
	Timestamps bool
}

var half3 = [3]float64{0.5, 0.5, 0.5}

// squareConfig is a SigLIP-like processor: values −1 to 1.
func squareConfig(size int, filter Filter) Config {
	return Config{
		Layout: Square, Resize: true, Filter: filter, Width: size, Height: size,
		Rescale: true, Factor: 1.0 / 255, Normalise: true, Mean: half3, Std: half3,
		PanAndScan: PanAndScan{MinCrop: 256, MaxCrops: 4, MinRatio: 1.2},
	}
}

// patchConfig is Gemma 4's: values 0 to 1.
func patchConfig(layout Layout, tokens int) Config {
	return Config{
		Layout: layout, Resize: true, Filter: Bicubic, Rescale: true, Factor: 1.0 / 255,
		Std: [3]float64{1, 1, 1}, PatchSize: 16, Pooling: 3, MaxSoftTokens: tokens,
	}
}

// processors gives the settings of a processor class where its file is silent.
func processors(layout Layout) Processors {
	video := patchConfig(layout, 70)
	video.Normalise = true // with mean 0 and deviation 1
	return Processors{Image: patchConfig(layout, 280), Video: &VideoConfig{Config: video, Sample: true, Frames: 32, Timestamps: true}}
}

// embeddingProcessors differ from Gemma 4's in which frames of a video are taken.
func embeddingProcessors() Processors {
	p := processors(Patches)
	v := p.Video
	v.Frames, v.FPS, v.Stride, v.MaxFrames, v.Timestamps = 0, 1, true, 32, false
	return p
}

// classes are named in "image_processor_type"; "Fast" and "Pil" at the end make no difference.
var classes = map[string]func() Processors{
	"Gemma3ImageProcessor":        func() Processors { return Processors{Image: squareConfig(224, Bilinear)} },
	"SiglipImageProcessor":        func() Processors { return Processors{Image: squareConfig(224, Bicubic)} },
	"Gemma4ImageProcessor":        func() Processors { return processors(Patches) },
	"Gemma4UnifiedImageProcessor": func() Processors { return processors(MergedPatches) },
}

// Defaults returns the settings of a family's published models, named as "model_type" in config.json. Image size and tokens of
// the Square families are those of the models that were published first: set Width, Height and SoftTokens where a checkpoint's
// vision_config says otherwise.
func Defaults(modelType string) (Processors, error) {
	switch modelType {
	case "gemma3", "shieldgemma2", "t5gemma2", "t5gemma2_encoder":
		c := squareConfig(896, Bilinear)
		c.SoftTokens = 256
		return Processors{Image: c}, nil
	case "paligemma":
		c := squareConfig(224, Bicubic)
		c.SoftTokens = 256
		return Processors{Image: c}, nil
	case "gemma3n":
		c := squareConfig(768, Bilinear)
		c.Normalise, c.SoftTokens = false, 256
		return Processors{Image: c}, nil
	case "gemma4", "diffusion_gemma":
		return processors(Patches), nil
	case "embedding_gemma2":
		return embeddingProcessors(), nil
	case "gemma4_unified":
		return processors(MergedPatches), nil
	}
	return Processors{}, fmt.Errorf("no picture settings are known for model type %q", modelType)
}

// ReadConfig reads the settings from a checkpoint's folder: processor_config.json (its image_processor and video_processor),
// else preprocessor_config.json and video_preprocessor_config.json, else config.json (the family's defaults, with the sizes of its
// vision_config). Settings that are missing or null take the processor class's defaults.
func ReadConfig(dir fs.FS) (Processors, error) {
	model, err := readModel(dir)
	if err != nil {
		return Processors{}, err
	}
	image, err := readJSON[imageJSON](dir, "preprocessor_config.json")
	if err != nil {
		return Processors{}, err
	}
	video, err := readJSON[videoJSON](dir, "video_preprocessor_config.json")
	if err != nil {
		return Processors{}, err
	}
	both, err := readJSON[struct {
		Image *imageJSON `json:"image_processor"`
		Video *videoJSON `json:"video_processor"`
		// Gemma 3 keeps it beside the processors
		Tokens *int `json:"image_seq_length"`
	}](dir, "processor_config.json")
	if err != nil {
		return Processors{}, err
	}
	if both != nil && both.Image != nil {
		image = both.Image
	}
	if both != nil && both.Video != nil {
		video = both.Video
	}
	if image == nil {
		return model.defaults()
	}
	p, err := image.processors(model.ModelType)
	if err != nil {
		return Processors{}, err
	}
	if p.Image.Layout == Square && p.Image.SoftTokens == 0 {
		p.Image.SoftTokens = model.softTokens()
	}
	if both != nil && p.Image.Layout == Square {
		set(&p.Image.SoftTokens, both.Tokens)
	}
	if p.Video != nil && (model.ModelType == "embedding_gemma2" || video != nil && video.Class == "EmbeddingGemma2VideoProcessor") {
		frame := p.Video.Config
		p.Video = embeddingProcessors().Video
		p.Video.Config = frame
	}
	if p.Video != nil && video != nil {
		if err := video.apply(p.Video); err != nil {
			return Processors{}, fmt.Errorf("video processor: %w", err)
		}
	}
	return p, nil
}

// readJSON returns nil where there is no such file.
func readJSON[T any](dir fs.FS, name string) (*T, error) {
	f, err := dir.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const most = 1 << 20
	data, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	out := new(T)
	if err := json.Unmarshal(data, out); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}

// modelJSON is what of config.json matters here.
type modelJSON struct {
	ModelType string `json:"model_type"`
	PerImage  *int   `json:"mm_tokens_per_image"`
	Soft      *int   `json:"vision_soft_tokens_per_image"`
	Vision    *struct {
		ImageSize *int `json:"image_size"`
		PatchSize *int `json:"patch_size"`
		Pooling   *int `json:"pooling_kernel_size"`
	} `json:"vision_config"`
	Encoder *modelJSON `json:"encoder"` // of T5Gemma 2
}

func readModel(dir fs.FS) (modelJSON, error) {
	m, err := readJSON[modelJSON](dir, "config.json")
	if err != nil || m == nil {
		return modelJSON{}, err
	}
	if e := m.Encoder; e != nil {
		if m.Vision == nil {
			m.Vision = e.Vision
		}
		if m.PerImage == nil {
			m.PerImage = e.PerImage
		}
	}
	return *m, nil
}

// softTokens is 0 where config.json does not say; PaliGemma has a token a patch.
func (m modelJSON) softTokens() int {
	switch v := m.Vision; {
	case m.PerImage != nil:
		return *m.PerImage
	case m.Soft != nil:
		return *m.Soft
	case m.ModelType == "paligemma" && v != nil && v.ImageSize != nil && v.PatchSize != nil && *v.PatchSize > 0:
		side := *v.ImageSize / *v.PatchSize
		return side * side
	}
	return 0
}

func (m modelJSON) defaults() (Processors, error) {
	if m.ModelType == "" {
		return Processors{}, errors.New("folder has none of processor_config.json, preprocessor_config.json and config.json with a model_type")
	}
	p, err := Defaults(m.ModelType)
	if err != nil {
		return p, err
	}
	if n := m.softTokens(); n > 0 {
		p.Image.SoftTokens = n
	}
	if m.Vision == nil {
		return p, nil
	}
	if p.Image.Layout == Square {
		set(&p.Image.Width, m.Vision.ImageSize)
		set(&p.Image.Height, m.Vision.ImageSize)
		return p, nil
	}
	for _, c := range []*Config{&p.Image, &p.Video.Config} {
		set(&c.PatchSize, m.Vision.PatchSize)
		set(&c.Pooling, m.Vision.Pooling)
	}
	return p, nil
}

func set[T any](to *T, from *T) {
	if from != nil {
		*to = *from
	}
}

// imageJSON has the fields of an image processor; what is missing or null stays nil.
type imageJSON struct {
	Class         string          `json:"image_processor_type"`
	Resize        *bool           `json:"do_resize"`
	Size          json.RawMessage `json:"size"`
	Resample      *Filter         `json:"resample"`
	Rescale       *bool           `json:"do_rescale"`
	Factor        *float64        `json:"rescale_factor"`
	Normalise     *bool           `json:"do_normalize"`
	Mean          json.RawMessage `json:"image_mean"`
	Std           json.RawMessage `json:"image_std"`
	PanAndScan    *bool           `json:"do_pan_and_scan"`
	MinCrop       *int            `json:"pan_and_scan_min_crop_size"`
	MaxCrops      *int            `json:"pan_and_scan_max_num_crops"`
	MinRatio      *float64        `json:"pan_and_scan_min_ratio_to_activate"`
	Tokens        *int            `json:"image_seq_length"`
	PatchSize     *int            `json:"patch_size"`
	Pooling       *int            `json:"pooling_kernel_size"`
	MaxSoftTokens *int            `json:"max_soft_tokens"`
}

type videoJSON struct {
	imageJSON
	Class      string   `json:"video_processor_type"`
	Sample     *bool    `json:"do_sample_frames"`
	Frames     *int     `json:"num_frames"`
	FPS        *float64 `json:"fps"`
	MaxFrames  *int     `json:"max_frames"`
	Overflow   *string  `json:"overflow_strategy"`
	Timestamps *bool    `json:"add_timestamps"`
}

func (j *imageJSON) processors(modelType string) (Processors, error) {
	class := strings.TrimSuffix(strings.TrimSuffix(j.Class, "Fast"), "Pil")
	of, known := classes[class]
	var p Processors
	switch {
	case known:
		p = of()
	case class != "":
		return p, fmt.Errorf("image processor %q is not one of Gemma's", j.Class)
	default:
		var err error
		if p, err = Defaults(modelType); err != nil {
			return p, err
		}
	}
	if err := j.apply(&p.Image); err != nil {
		return p, fmt.Errorf("image processor: %w", err)
	}
	return p, nil
}

func (j *imageJSON) apply(c *Config) error {
	set(&c.Resize, j.Resize)
	set(&c.Filter, j.Resample)
	set(&c.Rescale, j.Rescale)
	set(&c.Factor, j.Factor)
	set(&c.Normalise, j.Normalise)
	set(&c.PanAndScan.Enabled, j.PanAndScan)
	set(&c.PanAndScan.MinCrop, j.MinCrop)
	set(&c.PanAndScan.MaxCrops, j.MaxCrops)
	set(&c.PanAndScan.MinRatio, j.MinRatio)
	set(&c.SoftTokens, j.Tokens)
	set(&c.PatchSize, j.PatchSize)
	set(&c.Pooling, j.Pooling)
	set(&c.MaxSoftTokens, j.MaxSoftTokens)
	if c.Layout == Square {
		if err := readSize(j.Size, c); err != nil {
			return err
		}
	} else if err := c.checkPatches(); err != nil {
		return err
	}
	return errors.Join(readTriple(j.Mean, &c.Mean, "image_mean"), readTriple(j.Std, &c.Std, "image_std"))
}

func (j *videoJSON) apply(v *VideoConfig) error {
	set(&v.Sample, j.Sample)
	set(&v.FPS, j.FPS)
	set(&v.MaxFrames, j.MaxFrames)
	set(&v.Timestamps, j.Timestamps)
	if !v.Stride { // which takes no number of frames, though a default one is written down
		set(&v.Frames, j.Frames)
	}
	if j.Overflow != nil {
		v.Truncate = *j.Overflow == "truncate"
	}
	return j.imageJSON.apply(&v.Config)
}

// readSize takes {"height": h, "width": w} or a number for both.
func readSize(raw json.RawMessage, c *Config) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var side int
	if json.Unmarshal(raw, &side) == nil {
		c.Width, c.Height = side, side
	} else {
		var s struct{ Height, Width int }
		if err := json.Unmarshal(raw, &s); err != nil || s.Height == 0 || s.Width == 0 {
			return fmt.Errorf("size %s is not understood: want height and width", raw)
		}
		c.Width, c.Height = s.Width, s.Height
	}
	return Limits{}.Check(c.Width, c.Height)
}

// readTriple takes three numbers or one for all channels.
func readTriple(raw json.RawMessage, to *[3]float64, name string) error {
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	var one float64
	if json.Unmarshal(raw, &one) == nil {
		*to = [3]float64{one, one, one}
		return nil
	}
	var three []float64
	if err := json.Unmarshal(raw, &three); err != nil || len(three) != 3 {
		return fmt.Errorf("%s %s is not understood: want three numbers", name, raw)
	}
	copy(to[:], three)
	return nil
}

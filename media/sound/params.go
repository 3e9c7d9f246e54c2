package sound

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
)

// Params say how samples become what a model's audio tower takes. A family is
// a set of them, see [Defaults]; a checkpoint brings its own, see
// [ReadParams].
type Params struct {
	// Rate is in Hz. Clips have to have it.
	Rate int
	// Size is the length of a row of features: the number of mel bands, or
	// the samples of a frame where Raw is set.
	Size int
	// Raw features are the samples themselves, Size at a time, with the last
	// frame filled up. None of the fields down to Deviation apply then.
	Raw bool

	// Frame, Hop and FFT are lengths in samples: of an analysis window, from
	// one to the next, and of the transform, which zeros fill up.
	Frame, Hop, FFT int
	// Low and High, in Hz, bound the mel bands.
	Low, High float64
	// Preemphasis p takes p times the sample before from each. HTK does so
	// within a frame, where the first sample is multiplied by 1−p (HTK Book
	// §5.2); else the sample before the frame counts.
	Preemphasis float64
	HTK         bool
	// Scale multiplies the samples.
	Scale float64
	// Floor is the smallest value of which the logarithm is taken. With
	// FloorAdded it is added to every value instead.
	Floor      float64
	FloorAdded bool
	// Centred puts the middle of the first frame at the first sample, with
	// zeros before it.
	Centred bool
	// MaskByEnd counts a frame as valid if its last sample is; else its first
	// sample decides.
	MaskByEnd bool
	// ZeroInvalid makes the rows of frames that are not valid zero.
	ZeroInvalid bool
	// Mean and Deviation normalise each band. They have Size entries or none.
	Mean, Deviation []float64

	// Padding is the value of the samples that make clips equally long.
	Padding float64
	// Multiple rounds the padded length of a batch up.
	Multiple int
	// Longest is how many samples a clip may have: what the model was made
	// for. Longer recordings are split by Chunks. 0 is no limit.
	Longest int
}

// families has the front ends by model type, with the default settings of
// transformers 5.23.0 (models/gemma3n, gemma4, gemma4_unified).
var families = map[string]Params{
	"gemma3n": {
		Rate: 16000, Size: 128, Frame: 512, Hop: 160, FFT: 1024, Low: 125, High: 7600,
		Preemphasis: 0.97, HTK: true, Scale: 1, Floor: 1e-5,
		Multiple: 128, Longest: 480000,
	},
	"gemma4": {
		Rate: 16000, Size: 128, Frame: 320, Hop: 160, FFT: 512, Low: 0, High: 8000,
		HTK: true, Scale: 1, Floor: 1e-3, FloorAdded: true,
		Centred: true, MaskByEnd: true, ZeroInvalid: true,
		Multiple: 128, Longest: 480000,
	},
	"gemma4_unified": {
		Rate: 16000, Size: 640, Raw: true, Multiple: 640, Longest: 480000,
	},
}

// Defaults are the settings of a family that hears: gemma3n, gemma4 or
// gemma4_unified.
func Defaults(family string) (Params, bool) {
	p, ok := families[family]
	return p, ok
}

// maxConfig bounds a configuration file.
const maxConfig = 16 << 20

// ReadParams reads the settings of a checkpoint's folder:
// processor_config.json, or preprocessor_config.json where the former is
// missing or does not speak of sound.
func ReadParams(folder string) (Params, error) {
	for _, name := range []string{"processor_config.json", "preprocessor_config.json"} {
		path := filepath.Join(folder, name)
		data, err := readConfig(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Params{}, fmt.Errorf("sound: %w", err)
		}
		p, err := ParseParams(data)
		if errors.Is(err, errNoSound) {
			continue
		}
		if err != nil {
			return Params{}, fmt.Errorf("%w, in %s", err, path)
		}
		return p, nil
	}
	return Params{}, fmt.Errorf("sound: %s: no processor_config.json or preprocessor_config.json that describes sound: the model hears nothing, or its settings are those of its family", folder)
}

func readConfig(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxConfig {
		return nil, fmt.Errorf("%s: not a regular file of at most %d bytes", path, maxConfig)
	}
	return os.ReadFile(path)
}

var errNoSound = errors.New("sound: the configuration describes no front end for sound")

// config is what the files have, the fields of a feature extractor either at
// the top or under feature_extractor.
type config struct {
	Nested         json.RawMessage `json:"feature_extractor"`
	Type           string          `json:"feature_extractor_type"`
	Class          string          `json:"processor_class"`
	SequenceLength *int            `json:"audio_seq_length"`
	TokenMS        *float64        `json:"audio_ms_per_token"`

	Size          *int      `json:"feature_size"`
	Rate          *int      `json:"sampling_rate"`
	Padding       *float64  `json:"padding_value"`
	PaddingSide   *string   `json:"padding_side"`
	FrameMS       *float64  `json:"frame_length_ms"`
	HopMS         *float64  `json:"hop_length_ms"`
	Frame         *int      `json:"frame_length"`
	Hop           *int      `json:"hop_length"`
	Low           *float64  `json:"min_frequency"`
	High          *float64  `json:"max_frequency"`
	Preemphasis   *float64  `json:"preemphasis"`
	HTK           *bool     `json:"preemphasis_htk_flavor"`
	Overdrive     *bool     `json:"fft_overdrive"`
	Dither        *float64  `json:"dither"`
	Scale         *float64  `json:"input_scale_factor"`
	Floor         *float64  `json:"mel_floor"`
	Mean          []float64 `json:"per_bin_mean"`
	Deviation     []float64 `json:"per_bin_stddev"`
	TokenSamples  *int      `json:"audio_samples_per_token"`
	FFTRegardless *int      `json:"fft_length"`
}

// ParseParams reads settings from the text of a processor_config.json or
// preprocessor_config.json. What it does not mention has the default of the
// family that it names.
func ParseParams(data []byte) (Params, error) {
	var c config
	if err := json.Unmarshal(data, &c); err != nil {
		return Params{}, fmt.Errorf("sound: the configuration is no JSON of the expected form: %w", err)
	}
	if nested := c.Nested; len(nested) > 0 {
		c.Nested = nil // else it would be overwritten while it is read
		if err := json.Unmarshal(nested, &c); err != nil {
			return Params{}, fmt.Errorf("sound: feature_extractor: %w", err)
		}
	}
	family, ok := c.family()
	if !ok {
		return Params{}, errNoSound
	}
	p := families[family]
	if err := c.apply(&p); err != nil {
		return Params{}, err
	}
	return p, p.check()
}

// family tells which front end it is. Only preprocessor_config.json of a model
// that hears has a processor's class and a sampling rate but no type.
func (c config) family() (string, bool) {
	name := c.Type
	if name == "" && c.Rate != nil {
		name = c.Class
	}
	for prefix, family := range map[string]string{
		"Gemma3nAudio": "gemma3n", "Gemma3nProcessor": "gemma3n",
		"Gemma4Audio": "gemma4", "Gemma4Processor": "gemma4",
		"Gemma4UnifiedAudio": "gemma4_unified", "Gemma4UnifiedProcessor": "gemma4_unified",
	} {
		if strings.HasPrefix(name, prefix) {
			return family, true
		}
	}
	return "", false
}

func set[T any](dst *T, src *T) {
	if src != nil {
		*dst = *src
	}
}

func (c config) apply(p *Params) error {
	if c.Dither != nil && *c.Dither != 0 {
		return fmt.Errorf("sound: dither of %g: random noise would make answers differ from run to run, set it to 0", *c.Dither)
	}
	if c.PaddingSide != nil && *c.PaddingSide != "right" {
		return fmt.Errorf("sound: padding_side %q: clips are padded on the right", *c.PaddingSide)
	}
	set(&p.Rate, c.Rate)
	set(&p.Padding, c.Padding)
	if p.Raw {
		set(&p.Size, c.Size)
		set(&p.Size, c.TokenSamples)
		p.Multiple, p.Longest = p.Size, 750*p.Size
		if c.SequenceLength != nil {
			p.Longest = *c.SequenceLength * p.Size
		}
		return nil
	}
	set(&p.Size, c.Size)
	set(&p.Low, c.Low)
	set(&p.High, c.High)
	set(&p.Preemphasis, c.Preemphasis)
	set(&p.HTK, c.HTK)
	set(&p.Scale, c.Scale)
	set(&p.Floor, c.Floor)
	p.Mean, p.Deviation = c.Mean, c.Deviation
	return c.lengths(p)
}

// lengths of a frame, a hop and a transform. Those in milliseconds are what a
// front end is made from; files that were saved from one have samples.
func (c config) lengths(p *Params) error {
	overdrive := p.FFT > 1<<bitsFor(p.Frame)
	set(&overdrive, c.Overdrive)
	const ms = 16 // samples of the defaults
	frameMS, hopMS := float64(p.Frame)/ms, float64(p.Hop)/ms
	for _, l := range []struct {
		dst     *int
		ms      float64
		fromMS  *float64
		samples *int
	}{{&p.Frame, frameMS, c.FrameMS, c.Frame}, {&p.Hop, hopMS, c.HopMS, c.Hop}} {
		set(&l.ms, l.fromMS)
		*l.dst = int(math.RoundToEven(min(max(float64(p.Rate)*l.ms/1000, 0), math.MaxInt32)))
		if l.fromMS == nil {
			set(l.dst, l.samples)
		}
	}
	if p.Frame < 1 || p.Frame > maxFFT {
		return fmt.Errorf("sound: frames of %d samples: 1 to %d are possible", p.Frame, maxFFT)
	}
	p.FFT = 1 << bitsFor(p.Frame)
	if overdrive {
		p.FFT *= 2
	}
	set(&p.FFT, c.FFTRegardless)
	if c.SequenceLength != nil && c.TokenMS != nil {
		longest := float64(*c.SequenceLength) * *c.TokenMS * float64(p.Rate) / 1000
		p.Longest = int(min(max(longest, 0), maxSamples))
	}
	return nil
}

// bitsFor is the exponent of the smallest power of two that n fits in.
func bitsFor(n int) int {
	bits := 0
	for 1<<bits < n {
		bits++
	}
	return bits
}

const (
	maxFFT  = 1 << 16
	maxSize = 1 << 16
)

// check says what of the settings cannot be obeyed.
func (p Params) check() error {
	in := func(name string, v, low, high float64) error {
		if !(v >= low && v <= high) {
			return fmt.Errorf("sound: %s is %g: it has to lie between %g and %g", name, v, low, high)
		}
		return nil
	}
	err := errors.Join(
		in("sampling_rate", float64(p.Rate), minRate, maxRate),
		in("feature_size", float64(p.Size), 1, maxSize),
		in("padding_value", p.Padding, -math.MaxFloat32, math.MaxFloat32),
		in("the multiple of padding", float64(p.Multiple), 1, maxSize),
		in("the longest clip", float64(p.Longest), 0, maxSamples),
	)
	if !p.Raw && err == nil {
		err = errors.Join(
			in("frame_length", float64(p.Frame), 2, maxFFT),
			in("hop_length", float64(p.Hop), 1, maxFFT),
			in("fft_length", float64(p.FFT), float64(p.Frame), maxFFT),
			in("min_frequency", p.Low, 0, float64(p.Rate)/2),
			in("max_frequency", p.High, p.Low+1, float64(p.Rate)/2),
			in("preemphasis", p.Preemphasis, 0, 1),
			in("input_scale_factor", p.Scale, -1e9, 1e9),
			in("mel_floor", p.Floor, 1e-30, 1e30),
			p.checkBands(),
		)
	}
	if err != nil {
		// The first is enough: one line.
		first, _, _ := strings.Cut(err.Error(), "\n")
		return errors.New(first)
	}
	return nil
}

func (p Params) checkBands() error {
	if n := len(p.Mean); n != 0 && n != p.Size {
		return fmt.Errorf("sound: per_bin_mean has %d entries and there are %d bands", n, p.Size)
	}
	if n := len(p.Deviation); n != 0 && n != p.Size {
		return fmt.Errorf("sound: per_bin_stddev has %d entries and there are %d bands", n, p.Size)
	}
	for i, v := range p.Deviation {
		if v == 0 {
			return fmt.Errorf("sound: per_bin_stddev is 0 for band %d", i)
		}
	}
	return nil
}

package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"lapidary/chat"
	"lapidary/checkpoint"
	"lapidary/gemma"
	"lapidary/media/picture"
	"lapidary/media/sound"
	"lapidary/tokenizer"
)

// Item is an example as a model takes it.
type Item struct {
	// Tokens are the prompt with placeholders where soft tokens go, the answer,
	// and the token that ends a text.
	Tokens []int32
	// Loss says which of the tokens are to be predicted from those before them.
	Loss []bool
	// Pictures and Sounds are what gemma.Model.Pictures and Sounds take, Places
	// the ranges of tokens, [from, to), that their soft tokens stand in for: those
	// of the pictures first, then those of the sounds.
	Pictures []gemma.Picture
	Sounds   []gemma.Sound
	Places   [][2]int
	// Together are the tokens that see each other, as gemma.Step has it.
	Together [][2]int
}

// Soft are the soft tokens of pictures and sounds in the item's places.
func (it *Item) Soft(pictures, sounds [][]float32) ([]gemma.Soft, error) {
	if len(pictures) != len(it.Pictures) || len(sounds) != len(it.Sounds) {
		return nil, fmt.Errorf("soft tokens of %d pictures and %d sounds, want %d and %d", len(pictures), len(sounds), len(it.Pictures), len(it.Sounds))
	}
	var out []gemma.Soft
	for i, v := range append(append([][]float32(nil), pictures...), sounds...) {
		out = append(out, gemma.Soft{At: it.Places[i][0], Vectors: v})
	}
	return out, nil
}

// Loader makes items. It may be used from several goroutines at once.
type Loader struct {
	config    gemma.Config
	tokenizer *tokenizer.Tokenizer
	template  *chat.Template
	pictures  *picture.Config
	sounds    *sound.Extractor
	augment   Augment
	end       int32

	files archives
	mu    sync.Mutex
	known map[string]any // pictures and samples, by path
	bytes int            // that they take
}

// mostKept bounds the memory for what is decoded: the rest is decoded again when
// it is needed.
const mostKept = 2 << 30

// New makes a loader for the model of a checkpoint.
func New(c *checkpoint.Checkpoint, t *tokenizer.Tokenizer, a Augment) (*Loader, error) {
	config, err := gemma.ReadConfig(c)
	if err != nil {
		return nil, err
	}
	if err := a.Check(); err != nil {
		return nil, err
	}
	if len(t.EOS()) == 0 {
		return nil, errors.New("the tokenizer has no token that ends a text: a model could not learn to stop")
	}
	l := &Loader{config: config, tokenizer: t, template: chat.Plain(c), augment: a, end: t.EOS()[0], known: map[string]any{}}
	if err := l.eyes(c); err != nil {
		return nil, err
	}
	if err := l.ears(c); err != nil {
		return nil, err
	}
	if l.pictures == nil && l.sounds == nil {
		return nil, fmt.Errorf("this %s model takes neither pictures nor sounds", config.Family)
	}
	return l, nil
}

func (l *Loader) eyes(c *checkpoint.Checkpoint) error {
	if l.config.Pixels == nil && l.config.Patches == nil && l.config.SigLIP == nil {
		return nil
	}
	p, err := processors(c, l.config.Family)
	if err != nil {
		return err
	}
	if v := l.config.Pixels; v != nil && p.Image.PatchSize*p.Image.Pooling != v.Patch {
		return fmt.Errorf("processor_config.json has patches of %d × %d pixels, want the model's of %d", p.Image.PatchSize, p.Image.Pooling, v.Patch)
	}
	l.pictures = &p.Image
	return nil
}

func processors(c *checkpoint.Checkpoint, family string) (picture.Processors, error) {
	if folder := c.Folder(); folder != nil {
		return picture.ReadConfig(folder)
	}
	return picture.Defaults(family)
}

func (l *Loader) ears(c *checkpoint.Checkpoint) error {
	if l.config.Frames == nil && l.config.Sounds == nil {
		return nil
	}
	p, known := sound.Defaults(l.config.Family)
	for _, name := range []string{"preprocessor_config.json", "processor_config.json"} {
		data, err := c.Sibling(name)
		if err != nil {
			continue // it need not be there
		}
		if p, err = sound.ParseParams(data); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		known = true
	}
	if f := l.config.Frames; f != nil && p.Size != f.Samples {
		return fmt.Errorf("processor_config.json has frames of %d samples, want the model's of %d", p.Size, f.Samples)
	}
	if !known {
		return fmt.Errorf("no settings for sound are known for a %s model: its folder needs a processor_config.json", l.config.Family)
	}
	var err error
	l.sounds, err = sound.NewExtractor(p)
	return err
}

// Close closes the archives that were read from.
func (l *Loader) Close() error { return l.files.close() }

// Load makes the item of an example: a variation of it, or the example itself if
// draw is nil.
func (l *Loader) Load(ctx context.Context, e Example, draw *Draw) (*Item, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	it, err := l.load(e, draw)
	if err != nil && e.Place != "" {
		return nil, fmt.Errorf("%s: %w", e.Place, err)
	}
	return it, err
}

func (l *Loader) load(e Example, draw *Draw) (*Item, error) {
	it := &Item{}
	var parts []chat.Part
	if e.Image != "" {
		n, err := l.see(it, e.Image)
		if err != nil {
			return nil, err
		}
		parts = append(parts, chat.Part{Type: chat.Image, Tokens: []int{n}})
	}
	if e.Audio != "" {
		n, err := l.hear(it, e.Audio, draw)
		if err != nil {
			return nil, err
		}
		parts = append(parts, chat.Part{Type: chat.Audio, Tokens: []int{n}})
	}
	return it, l.write(it, e, parts)
}

// write lays the tokens out.
func (l *Loader) write(it *Item, e Example, media []chat.Part) error {
	parts := media
	if e.Prompt != "" {
		parts = append(parts, chat.Part{Type: chat.Text, Text: e.Prompt})
	}
	p, err := l.template.Prompt(l.tokenizer, chat.Conversation{Messages: []chat.Message{{Role: chat.User, Parts: parts}}})
	if err != nil {
		return err
	}
	if len(p.Media) != len(media) {
		return fmt.Errorf("%d places for %d media: this model does not take them in a text", len(p.Media), len(media))
	}
	it.Tokens = append(it.Tokens, p.IDs...)
	it.Tokens = append(it.Tokens, tokenizer.IDs(l.tokenizer.Encode(answerOf(e)))...)
	it.Tokens = append(it.Tokens, l.end)
	it.Loss = make([]bool, len(it.Tokens))
	for i := len(p.IDs); i < len(it.Loss); i++ {
		it.Loss[i] = true
	}
	var pictures [][2]int
	for _, m := range p.Media {
		it.Places = append(it.Places, m.Ranges...)
		if m.Type == chat.Image {
			pictures = append(pictures, m.Ranges...)
		}
	}
	it.Together = l.config.Together(pictures, len(it.Tokens))
	return nil
}

// answerOf begins with a space, so that its first piece does not depend on how
// the prompt ends.
func answerOf(e Example) string { return " " + e.Answer }

// see adds a picture and says how many soft tokens it takes.
func (l *Loader) see(it *Item, path string) (int, error) {
	if l.pictures == nil {
		return 0, fmt.Errorf("this %s model takes no pictures", l.config.Family)
	}
	decoded, err := l.keep(path, func(data []byte) (any, int, error) {
		m, err := picture.Decode(data, picture.Limits{})
		if err != nil {
			return nil, 0, err
		}
		return m, len(m.Pix), nil
	})
	if err != nil {
		return 0, err
	}
	f, err := l.pictures.Features(decoded.(*picture.Image))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	it.Pictures = append(it.Pictures, gemma.Picture{Pixels: f.Values, Places: f.Positions})
	return f.SoftTokens, nil
}

// longestSound is in seconds: what the model takes as one sound.
const longestSound = 30

// hear adds a sound and says how many soft tokens it takes, where each of the
// frames is one.
func (l *Loader) hear(it *Item, path string, draw *Draw) (int, error) {
	if l.sounds == nil || l.config.Frames == nil {
		return 0, fmt.Errorf("this %s model cannot be trained with sounds: only one that takes frames of samples can", l.config.Family)
	}
	rate := l.sounds.Params().Rate
	decoded, err := l.keep(path, func(data []byte) (any, int, error) {
		clip, err := sound.DecodeAt(bytes.NewReader(data), rate, sound.Limits{})
		return clip.Samples, 4 * len(clip.Samples), err
	})
	if err != nil {
		return 0, err
	}
	samples := decoded.([]float32)
	if draw != nil {
		samples = l.augment.Apply(samples, rate, *draw)
	}
	if len(samples) > longestSound*rate {
		return 0, fmt.Errorf("%s: %d seconds of sound: at most %d are taken", path, len(samples)/rate, longestSound)
	}
	f, err := l.sounds.Features(samples)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	s := gemma.Sound{Valid: f.Valid(0)}
	for i := range s.Valid {
		s.Frames = append(s.Frames, f.Values[i*f.Size:(i+1)*f.Size])
	}
	it.Sounds = append(it.Sounds, s)
	return s.Valid, nil
}

// mostRead bounds the size of a picture's or a sound's file.
const mostRead = 64 << 20

// keep decodes a file, or finds what it was decoded to before.
func (l *Loader) keep(path string, decode func(data []byte) (any, int, error)) (any, error) {
	l.mu.Lock()
	v, ok := l.known[path]
	l.mu.Unlock()
	if ok {
		return v, nil
	}
	data, err := l.files.read(path, mostRead)
	if err != nil {
		return nil, err
	}
	v, size, err := decode(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bytes+size <= mostKept {
		l.known[path], l.bytes = v, l.bytes+size
	}
	return v, nil
}

package lapidary

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"lapidary/chat"
	"lapidary/gemma"
	"lapidary/generate"
	"lapidary/media/picture"
	"lapidary/media/sound"
	"lapidary/media/video"
)

// Media is a picture, a sound or a video that goes into a prompt. Pictures and
// sounds may be given as bytes; a video is a file. A family that has no place for
// videos sees eight frames of one as pictures.
type Media struct {
	Type string // [chat.Image], [chat.Audio] or [chat.Video]
	Path string
	Data []byte // of the file, instead of Path

	// PanAndScan shows a picture that is long or high in parts too, after the
	// whole (Gemma 3).
	PanAndScan bool
	// SoftTokens is how many a picture, or each frame of a video, may take: 70,
	// 140, 280, 560 or 1120 of Gemma 4. 0 is the model's own budget.
	SoftTokens int
}

// Picture, Sound and Video are media by the path of their file.
func Picture(path string) Media { return Media{Type: chat.Image, Path: path} }

// Sound is a sound by the path of its file.
func Sound(path string) Media { return Media{Type: chat.Audio, Path: path} }

// Video is a video by the path of its file.
func Video(path string) Media { return Media{Type: chat.Video, Path: path} }

// soundSeconds is how long a piece of a recording is at most that a model hears
// at once; longer ones are cut in pauses.
const soundSeconds = 30

// Attachment is media as the model has seen or heard it: soft tokens, and the
// parts of a message that they belong to. One recording may be several parts.
type Attachment struct {
	Parts   []chat.Part
	vectors [][][]float32 // of each part's pieces, rows of the model's width
}

// Attach turns media into soft tokens. The work is that of the model's towers,
// and is done once however often the attachment is asked about.
func (m *Model) Attach(ctx context.Context, media Media) (*Attachment, error) {
	if err := m.enter(); err != nil {
		return nil, err
	}
	defer m.leave()
	var a *Attachment
	var err error
	switch media.Type {
	case chat.Image:
		a, err = m.attachPicture(ctx, media)
	case chat.Audio:
		a, err = m.attachSound(ctx, media)
	case chat.Video:
		a, err = m.attachVideo(ctx, media)
	default:
		err = fmt.Errorf("media of type %q: want %s, %s or %s", media.Type, chat.Image, chat.Audio, chat.Video)
	}
	if err != nil && media.Path != "" {
		return nil, fmt.Errorf("%s: %w", media.Path, err)
	}
	return a, err
}

// read is the file's bytes, at most so many.
func (media Media) read(most int64) ([]byte, error) {
	if media.Data != nil {
		return media.Data, nil
	}
	info, err := os.Stat(media.Path)
	switch {
	case err != nil:
		return nil, reason(err)
	case !info.Mode().IsRegular():
		return nil, errors.New("not a file")
	case info.Size() > most:
		return nil, fmt.Errorf("%d bytes are more than the %d that are read", info.Size(), most)
	}
	data, err := os.ReadFile(media.Path)
	return data, reason(err)
}

// reason is a file error without the path, which the caller says.
func reason(err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		return path.Err
	}
	return err
}

func (m *Model) attachPicture(ctx context.Context, media Media) (*Attachment, error) {
	p, err := m.processors()
	if err != nil {
		return nil, err
	}
	var limits picture.Limits
	data, err := media.read(int64(limits.MaxBytes()))
	if err != nil {
		return nil, err
	}
	img, err := picture.Decode(data, limits)
	if err != nil {
		return nil, err
	}
	if err := media.adjust(&p.Image); err != nil {
		return nil, err
	}
	vectors, err := m.look(ctx, p.Image, []*picture.Image{img})
	if err != nil {
		return nil, err
	}
	return &Attachment{Parts: []chat.Part{{Type: chat.Image, Tokens: m.counts(vectors[0])}}, vectors: vectors}, nil
}

// adjust puts what was asked for into the settings, or says why it cannot be.
func (media Media) adjust(c *picture.Config) error {
	if media.PanAndScan && (c.Layout != picture.Square || c.PanAndScan.MaxCrops == 0) {
		return fmt.Errorf("pan and scan %w: this model takes pictures of any shape", generate.ErrParams)
	}
	c.PanAndScan.Enabled = c.PanAndScan.Enabled || media.PanAndScan
	switch n := media.SoftTokens; {
	case n == 0:
	case n < 0:
		return fmt.Errorf("%d soft tokens %w: want 1 or more, 0 for the model's budget", n, generate.ErrParams)
	case c.Layout == picture.Square:
		return fmt.Errorf("%d soft tokens %w: this model gives each picture as many", n, generate.ErrParams)
	default:
		c.MaxSoftTokens = n
	}
	return nil
}

// processors are the settings for pictures: those of the checkpoint, or of its
// family, with the sizes that the towers have.
func (m *Model) processors() (picture.Processors, error) {
	c := m.core.Config()
	if c.SigLIP == nil && c.MobileNet == nil && c.Patches == nil && c.Pixels == nil {
		_, err := m.core.Pictures(context.Background(), nil) // which says why
		return picture.Processors{}, err
	}
	var p picture.Processors
	var err error
	if folder := m.checkpoint.Folder(); folder != nil {
		p, err = picture.ReadConfig(folder)
	} else {
		p, err = picture.Defaults(c.Family)
	}
	if err != nil {
		return p, err
	}
	for _, each := range []*picture.Config{&p.Image, frames(&p)} {
		switch {
		case each == nil:
		case c.SigLIP != nil:
			each.Width, each.Height = c.SigLIP.Side*c.SigLIP.Patch, c.SigLIP.Side*c.SigLIP.Patch
		case c.Patches != nil:
			each.PatchSize, each.Pooling = c.Patches.Patch, c.Patches.Pool
		}
	}
	return p, nil
}

func frames(p *picture.Processors) *picture.Config {
	if p.Video == nil {
		return nil
	}
	return &p.Video.Config
}

// look is what the model sees in each picture, a slice for each of its pieces:
// the whole and, where it pans and scans, its crops.
func (m *Model) look(ctx context.Context, c picture.Config, images []*picture.Image) ([][][]float32, error) {
	var all []gemma.Picture
	pieces := make([]int, len(images))
	for i, img := range images {
		f, err := c.Features(img)
		if err != nil {
			return nil, err
		}
		pieces[i] = 1
		if c.Layout == picture.Square {
			pieces[i] = 1 + f.Crops
		}
		size := len(f.Values) / pieces[i]
		for j := range pieces[i] {
			all = append(all, gemma.Picture{Pixels: f.Values[j*size : (j+1)*size], Places: f.Positions})
		}
	}
	seen, err := m.core.Pictures(ctx, all)
	if err != nil {
		return nil, err
	}
	out := make([][][]float32, len(images))
	for i, n := range pieces {
		out[i], seen = seen[:n], seen[n:]
	}
	return out, nil
}

// counts are how many soft tokens each of the pieces takes.
func (m *Model) counts(pieces [][]float32) []int {
	var n []int
	for _, v := range pieces {
		n = append(n, len(v)/m.core.Config().Width)
	}
	return n
}

func (m *Model) attachSound(ctx context.Context, media Media) (*Attachment, error) {
	p, err := m.soundParams()
	if err != nil {
		return nil, err
	}
	data, err := media.read(1 << 30)
	if err != nil {
		return nil, err
	}
	clip, err := sound.DecodeAt(bytes.NewReader(data), p.Rate, sound.Limits{})
	if err != nil {
		return nil, err
	}
	return m.hear(ctx, p, clip.Samples)
}

// soundParams are the settings for sounds.
func (m *Model) soundParams() (sound.Params, error) {
	c := m.core.Config()
	if c.Sounds == nil && c.Frames == nil {
		_, err := m.core.Sounds(context.Background(), nil) // which says why
		return sound.Params{}, err
	}
	for _, name := range []string{"processor_config.json", "preprocessor_config.json"} {
		if data, err := m.checkpoint.Sibling(name); err == nil {
			return sound.ParseParams(data)
		}
	}
	family := c.Family
	if family == "embedding_gemma2" {
		family = "gemma4"
	}
	p, ok := sound.Defaults(family)
	if !ok {
		return p, fmt.Errorf("no settings for sound are known for a %s model", c.Family)
	}
	return p, nil
}

// hear is what the model hears in a recording, in pieces that it can take.
func (m *Model) hear(ctx context.Context, p sound.Params, samples []float32) (*Attachment, error) {
	extractor, err := sound.NewExtractor(p)
	if err != nil {
		return nil, err
	}
	pieces, err := sound.Chunks(samples, p.Rate, soundSeconds)
	if err != nil {
		return nil, err
	}
	a := &Attachment{}
	for _, piece := range pieces {
		f, err := extractor.Features(piece)
		if err != nil {
			return nil, err
		}
		heard := gemma.Sound{Valid: f.Valid(0)}
		for i := range f.Frames {
			heard.Frames = append(heard.Frames, f.Values[i*f.Size:(i+1)*f.Size])
		}
		vectors, err := m.core.Sounds(ctx, []gemma.Sound{heard})
		if err != nil {
			return nil, err
		}
		if m.core.Config().Sounds != nil && m.core.Config().Sounds.Hard > 0 {
			if vectors[0], err = m.fillSound(ctx, vectors[0]); err != nil {
				return nil, err
			}
		}
		a.Parts = append(a.Parts, chat.Part{Type: chat.Audio, Tokens: m.counts(vectors)})
		a.vectors = append(a.vectors, vectors)
	}
	return a, nil
}

// hardSoundTokens is how many soft tokens Gemma 3n takes for any sound; what a
// short one leaves is its tower's last token.
const hardSoundTokens = 188

func (m *Model) fillSound(ctx context.Context, v []float32) ([]float32, error) {
	c := m.core.Config()
	missing := hardSoundTokens - len(v)/c.Width
	if missing <= 0 {
		return v[:hardSoundTokens*c.Width], nil
	}
	last, err := m.core.HardSounds(ctx, []int32{int32(c.Sounds.First + c.Sounds.Hard - 1)})
	if err != nil {
		return nil, err
	}
	return slices.Concat(v, slices.Repeat(last, missing)), nil
}

// storyboard is how many frames of a video go in as pictures of their own, where
// a family has no place for videos.
const storyboard = 8

func (m *Model) attachVideo(ctx context.Context, media Media) (*Attachment, error) {
	p, err := m.processors()
	switch {
	case err != nil:
		return nil, err
	case media.Path == "":
		return nil, errors.New("a video is read from a file: give its path")
	}
	each, take := &p.Image, video.Options{Frames: storyboard}
	if p.Video != nil {
		each, take = &p.Video.Config, video.OptionsFor(*p.Video)
	}
	if err := media.adjust(each); err != nil {
		return nil, err
	}
	var images []*picture.Image
	var times []float64
	for f, err := range video.Frames(ctx, media.Path, take) {
		if err != nil {
			return nil, err
		}
		images, times = append(images, f.Image), append(times, f.Time.Seconds())
	}
	seen, err := m.look(ctx, *each, images)
	if err != nil {
		return nil, err
	}
	a := &Attachment{}
	if p.Video != nil {
		frames := slices.Concat(seen...)
		a.Parts, a.vectors = []chat.Part{{Type: chat.Video, Times: times, Tokens: m.counts(frames)}}, [][][]float32{frames}
	} else {
		for _, frame := range seen {
			a.Parts, a.vectors = append(a.Parts, chat.Part{Type: chat.Image, Tokens: m.counts(frame)}), append(a.vectors, frame)
		}
	}
	return a, m.attachTrack(ctx, media.Path, a)
}

// attachTrack adds a video's sound, where there is one and the model hears.
func (m *Model) attachTrack(ctx context.Context, path string, a *Attachment) error {
	p, err := m.soundParams()
	if err != nil {
		return nil // the model is deaf
	}
	samples, err := video.SoundTrack(ctx, path, p.Rate)
	switch {
	case errors.Is(err, video.ErrNoProgram) || errors.Is(err, video.ErrNoSound):
		return nil
	case err != nil:
		return err
	case len(samples) < p.Rate/10:
		return nil
	}
	heard, err := m.hear(ctx, p, samples)
	if err != nil {
		return err
	}
	a.Parts, a.vectors = append(a.Parts, heard.Parts...), append(a.vectors, heard.vectors...)
	return nil
}

// Listen hears the microphone until ctx ends or so much time has passed.
func (m *Model) Listen(ctx context.Context, most time.Duration) (*Attachment, error) {
	p, err := m.soundParams()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(ctx, most)
	defer stop()
	var samples []float32
	err = sound.Microphone(ctx, p.Rate, func(heard []float32) error {
		samples = append(samples, heard...)
		return nil
	})
	if err != nil && ctx.Err() == nil {
		return nil, err
	}
	if err := m.enter(); err != nil {
		return nil, err
	}
	defer m.leave()
	return m.hear(context.WithoutCancel(ctx), p, samples)
}

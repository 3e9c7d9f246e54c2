package chat

import (
	"fmt"
	"slices"
)

// form is how a medium is written into a prompt: around the soft tokens a
// token that opens and one that closes, and text.
type form struct {
	placeholder string // what templates write where the medium stands
	open, close string // "" for none
	soft        string
	around      string // text on both sides
	crops       bool   // pan and scan shows parts of the picture too
	frames      bool   // a video's, with their times
	timeless    bool   // or without
}

// forms are a family's, by a part's type.
type forms map[string]form

// The facts are those of transformers 5.23's processors: processing_gemma3,
// processing_gemma3n, processing_gemma4 and processing_paligemma.
var (
	gemma3Image = form{
		placeholder: "<start_of_image>", open: "<start_of_image>", soft: "<image_soft_token>", close: "<end_of_image>", around: "\n\n", crops: true,
	}
	gemma3Media  = forms{Image: gemma3Image}
	gemma3nMedia = forms{
		Image: {placeholder: "<image_soft_token>", open: "<start_of_image>", soft: "<image_soft_token>", close: "<end_of_image>", around: "\n\n"},
		Audio: {placeholder: "<audio_soft_token>", open: "<start_of_audio>", soft: "<audio_soft_token>", close: "<end_of_audio>", around: "\n\n"},
	}
	gemma4Media = forms{
		Image: {placeholder: "<|image|>", open: "<|image>", soft: "<|image|>", close: "<image|>"},
		Audio: {placeholder: "<|audio|>", open: "<|audio>", soft: "<|audio|>", close: "<audio|>"},
		Video: {placeholder: "<|video|>", open: "<|image>", soft: "<|video|>", close: "<image|>", frames: true},
	}
	// embeddingMedia are EmbeddingGemma 2's: the times of frames may be left out.
	embeddingMedia = forms{
		Image: gemma4Media[Image],
		Audio: gemma4Media[Audio],
		Video: {placeholder: "<|video|>", open: "<|image>", soft: "<|video|>", close: "<image|>", frames: true, timeless: true},
	}
	paligemmaMedia = forms{Image: {placeholder: "<image>", soft: "<image>"}}
)

// tokens are the spellings that only media may have in a prompt.
func (fs forms) tokens() []string {
	var out []string
	for _, f := range fs {
		out = append(out, f.placeholder, f.open, f.close, f.soft)
	}
	return slices.DeleteFunc(out, func(s string) bool { return s == "" })
}

// expand replaces the places of media parts by their soft tokens. A part that
// takes none keeps its placeholder.
func (fs forms) expand(pieces []piece) ([]piece, error) {
	w := &writer{}
	for _, p := range pieces {
		if p.kind != media {
			w.pieces = append(w.pieces, p)
			continue
		}
		if len(p.part.Tokens) == 0 {
			w.markup(p.s)
			continue
		}
		if err := fs[p.part.Type].expand(w, p.part); err != nil {
			return nil, err
		}
	}
	return w.pieces, nil
}

func (f form) expand(w *writer, p *Part) error {
	switch {
	case f.frames && len(p.Times) == 0 && !f.timeless:
		return fmt.Errorf("message %d, part %d: this model wants to know the times of a video's frames", p.message, p.part)
	case f.frames:
		f.film(w, p)
	case len(p.Tokens) == 1:
		f.one(w, p, 0)
	case f.crops:
		f.panAndScan(w, p)
	default:
		return fmt.Errorf("message %d, part %d: this model takes a whole %s and no crops of it", p.message, p.part, p.Type)
	}
	return nil
}

// one writes the i-th group of soft tokens.
func (f form) one(w *writer, p *Part, i int) {
	w.text(f.around)
	if f.open != "" {
		w.markup(f.open)
	}
	w.pieces = append(w.pieces, piece{kind: soft, s: f.soft, n: p.Tokens[i], part: p, open: f.open})
	if f.close != "" {
		w.markup(f.close)
	}
	w.text(f.around)
}

// panAndScan writes a picture and its crops, in the words Gemma 3 was taught.
func (f form) panAndScan(w *writer, p *Part) {
	w.text("Here is the original image ")
	f.one(w, p, 0)
	w.text(" and here are some crops to help you see better ")
	for i := range p.Tokens[1:] {
		if i > 0 {
			w.text(" ")
		}
		f.one(w, p, 1+i)
	}
}

// film writes a video's frames, each after its time; without times there is
// nothing between them.
func (f form) film(w *writer, p *Part) {
	for i := range p.Tokens {
		if len(p.Times) > 0 {
			if i > 0 {
				w.text(" ")
			}
			t := int(p.Times[i])
			w.text(fmt.Sprintf("%02d:%02d ", t/60, t%60))
		}
		f.one(w, p, i)
	}
}

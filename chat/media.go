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
	timed       bool   // frames with their times
}

// forms are a family's, by a part's type.
type forms map[string]form

// The facts are those of transformers 5.23's processors: processing_gemma3,
// processing_gemma3n, processing_gemma4 and processing_paligemma.
var (
	gemma3Media = forms{
		Image: {"<start_of_image>", "<start_of_image>", "<end_of_image>", "<image_soft_token>", "\n\n", true, false},
	}
	gemma3nMedia = forms{
		Image: {"<image_soft_token>", "<start_of_image>", "<end_of_image>", "<image_soft_token>", "\n\n", false, false},
		Audio: {"<audio_soft_token>", "<start_of_audio>", "<end_of_audio>", "<audio_soft_token>", "\n\n", false, false},
	}
	gemma4Media = forms{
		Image: {"<|image|>", "<|image>", "<image|>", "<|image|>", "", false, false},
		Audio: {"<|audio|>", "<|audio>", "<audio|>", "<|audio|>", "", false, false},
		Video: {"<|video|>", "<|image>", "<image|>", "<|video|>", "", false, true},
	}
	paligemmaMedia = forms{
		Image: {"<image>", "", "", "<image>", "", false, false},
	}
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
	case f.timed:
		f.frames(w, p)
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
	w.pieces = append(w.pieces, piece{kind: soft, s: f.soft, n: p.Tokens[i], part: p})
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

func (f form) frames(w *writer, p *Part) {
	for i, t := range p.Times {
		if i > 0 {
			w.text(" ")
		}
		w.text(fmt.Sprintf("%02d:%02d ", int(t)/60, int(t)%60))
		f.one(w, p, i)
	}
}

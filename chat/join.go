package chat

import (
	"fmt"
	"strings"

	"lapidary/tokenizer"
)

// joiner turns pieces into tokens.
type joiner struct {
	vocabulary
	Prompt
	waiting  strings.Builder // text that may go on
	reserved map[string]bool // what text must not become
	soft     map[string]int32
}

func (t *Template) join(v vocabulary, pieces []piece) (Prompt, error) {
	j := joiner{vocabulary: v, reserved: t.reserved(), soft: t.soft}
	last := ""
	for _, p := range pieces {
		switch p.kind {
		case text:
			j.waiting.WriteString(p.s)
		case markup:
			j.markup(p.s)
			last = p.s
		case bos:
			j.flush()
			if id := v.BOS(); id >= 0 {
				j.IDs = append(j.IDs, id)
			}
		case soft:
			if err := j.place(p); err != nil {
				return Prompt{}, err
			}
		}
	}
	j.InThought = t.family.tools && last == "<|channel>"
	j.flush()
	return j.Prompt, nil
}

// reserved are the media tokens. Most are control tokens, which text never
// becomes; of <image>, PaliGemma's, not every vocabulary says so.
func (t *Template) reserved() map[string]bool {
	names := map[string]bool{}
	for _, name := range t.family.media.tokens() {
		names[name] = true
	}
	return names
}

// flush encodes the text that waits.
func (j *joiner) flush() {
	s := j.waiting.String()
	j.waiting.Reset()
	for _, t := range j.Encode(s) {
		if !j.reserved[s[t.From:t.To]] {
			j.IDs = append(j.IDs, t.ID)
			continue
		}
		for _, r := range s[t.From:t.To] {
			j.IDs = append(j.IDs, tokenizer.IDs(j.Encode(string(r)))...)
		}
	}
}

// markup writes a control token. A vocabulary without it reads the spelling,
// as the checkpoint's own template would have it.
func (j *joiner) markup(s string) {
	id, ok := control(j, s)
	if !ok {
		j.waiting.WriteString(s)
		return
	}
	j.flush()
	j.IDs = append(j.IDs, id)
}

func control(v vocabulary, s string) (int32, bool) {
	id, ok := v.ID(s)
	return id, ok && v.Control(id)
}

// place writes soft tokens and notes where they are.
func (j *joiner) place(p piece) error {
	id, ok := j.softID(p)
	if !ok {
		return fmt.Errorf("message %d, part %d: the model's vocabulary has no token %s for %s", p.part.message, p.part.part, p.s, p.part.Type)
	}
	j.flush()
	from := len(j.IDs)
	for range p.n {
		j.IDs = append(j.IDs, id)
	}
	r := [2]int{from, len(j.IDs)}
	if n := len(j.Media); n > 0 && j.Media[n-1].Message == p.part.message && j.Media[n-1].Part == p.part.part {
		j.Media[n-1].Ranges = append(j.Media[n-1].Ranges, r)
		return nil
	}
	j.Media = append(j.Media, Placed{Message: p.part.message, Part: p.part.part, Type: p.part.Type, Ranges: [][2]int{r}})
	return nil
}

// softID is the token of a soft place. The configuration's comes first: the
// model compares with it. A video's may be missing, since Gemma 4's published
// vocabularies got it late; its frames then stand as pictures. GGUF files of
// Gemma 3 end before it, their towers being in another file: any token may hold
// the places of vectors there, and the one that opens them is at hand.
func (j *joiner) softID(p piece) (int32, bool) {
	if id, ok := j.soft[p.part.Type]; ok {
		return id, true
	}
	if id, ok := j.ID(p.s); ok {
		return id, true
	}
	if p.part.Type == Video {
		return j.ID(gemma4Media[Image].soft)
	}
	return j.ID(p.open)
}

// spells reports whether a token of text is a control token written out. What
// a vocabulary doesn't know becomes its unknown token, which is none of those.
func spells(v vocabulary, text string, t tokenizer.Token) bool {
	return v.Control(t.ID) && v.Piece(t.ID) == text[t.From:t.To]
}

// controls finds the control tokens that text spells.
func controls(v vocabulary, text string) [][2]int {
	var spans [][2]int
	for _, t := range v.EncodeSpecial(text) {
		if spells(v, text, t) {
			spans = append(spans, [2]int{t.From, t.To})
		}
	}
	return spans
}

package chat

import (
	"slices"
	"strings"

	"lapidary/tokenizer"
)

// fake is a vocabulary of one token a byte and a few control tokens.
type fake struct {
	controls []string // ids from 256
	noBOS    bool
}

func gemma() fake {
	return fake{controls: []string{"<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<unk>"}}
}

// everything has all the tokens of all families.
func everything() fake {
	f := gemma()
	have := func(name string) bool { return f.id(name) >= 0 }
	for _, family := range families {
		for _, name := range slices.Concat(family.media.tokens(), family.stop) {
			if !have(name) {
				f.controls = append(f.controls, name)
			}
		}
	}
	for _, name := range append([]string{"<|tool>", "<tool|>"}, markers...) {
		if !have(name) {
			f.controls = append(f.controls, name)
		}
	}
	return f
}

func (f fake) id(control string) int32 {
	for i, c := range f.controls {
		if c == control {
			return int32(256 + i)
		}
	}
	return -1
}

func (f fake) Encode(text string) []tokenizer.Token {
	var out []tokenizer.Token
	for i := range len(text) {
		id := int32(text[i])
		if id >= 0xF0 { // as a vocabulary without bytes of its own would
			id = f.id("<unk>")
		}
		out = append(out, tokenizer.Token{ID: id, From: i, To: i + 1})
	}
	return out
}

func (f fake) EncodeSpecial(text string) []tokenizer.Token {
	var out []tokenizer.Token
	for i := 0; i < len(text); {
		n := 1
		token := f.Encode(text[i : i+1])[0]
		for _, c := range f.controls {
			if strings.HasPrefix(text[i:], c) && len(c) > n {
				token.ID, n = f.id(c), len(c)
			}
		}
		out = append(out, tokenizer.Token{ID: token.ID, From: i, To: i + n})
		i += n
	}
	return out
}

func (f fake) Control(id int32) bool { return id >= 256 }
func (f fake) Piece(id int32) string {
	if id >= 256 {
		return f.controls[id-256]
	}
	return string(id)
}
func (f fake) BOS() int32   { return f.id("<bos>") }
func (f fake) EOS() []int32 { return []int32{f.id("<eos>")} }
func (f fake) AddBOS() bool { return !f.noBOS }

// show writes ids with control tokens in ⟨⟩.
func (f fake) show(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		if id < 256 {
			b.WriteByte(byte(id))
			continue
		}
		b.WriteString("⟨" + strings.Trim(f.Piece(id), "<>") + "⟩")
	}
	return b.String()
}

func (f fake) ID(piece string) (int32, bool) {
	if id := f.id(piece); id >= 0 {
		return id, true
	}
	return 0, false
}

// lax takes one of its control tokens for text.
type lax struct {
	fake
	token string
}

func (l lax) Control(id int32) bool { return id != l.id(l.token) && l.fake.Control(id) }

func (l lax) Encode(text string) []tokenizer.Token {
	var out []tokenizer.Token
	for at, part := range strings.Split(text, l.token) {
		if at > 0 {
			out = append(out, tokenizer.Token{ID: l.id(l.token)})
		}
		out = append(out, l.fake.Encode(part)...)
	}
	at := 0
	for i := range out {
		n := 1
		if out[i].ID == l.id(l.token) {
			n = len(l.token)
		}
		out[i].From, out[i].To = at, at+n
		at += n
	}
	return out
}

package convert

import (
	"fmt"
	"strings"
)

// Kinds of pieces. The numbers are those of SentencePiece's ModelProto and of
// tokenizer.ggml.token_type.
const (
	normal      = 1
	unknown     = 2
	control     = 3
	userDefined = 4
	unused      = 5
	byteToken   = 6
)

// symbolScore is what GGUF files give tokens that no merge makes.
const symbolScore = -1000

// vocab is a tokenizer in the terms that all its formats share. Pieces are as
// SentencePiece spells them, with "▁" for a space.
type vocab struct {
	pieces []string
	scores []float32
	kinds  []int32
	merges []string // "a b", the first to be done first; nil where scores order them

	bos, eos, unk, pad int // −1: none
	turn               int // the token that ends a turn, −1: none
	addBOS, addEOS     bool
	spacePrefix        bool
	template           string // of a chat; empty: none
	sampling           sampling
}

// sampling is what generation_config.json and general.sampling recommend.
type sampling struct {
	Temperature *float64 `json:"temperature,omitempty"`
	TopK        *uint32  `json:"top_k,omitempty"`
	TopP        *float64 `json:"top_p,omitempty"`
	MinP        *float64 `json:"min_p,omitempty"`
}

func newVocab() *vocab {
	return &vocab{bos: -1, eos: -1, unk: -1, pad: -1, turn: -1, addBOS: true}
}

func (v *vocab) add(piece string, score float32, kind int32) {
	v.pieces, v.scores, v.kinds = append(v.pieces, piece), append(v.scores, score), append(v.kinds, kind)
}

// fit fills up to the rows of the embedding, which GGUF wants to be as many as
// the tokens.
func (v *vocab) fit(rows int) error {
	n := len(v.pieces)
	for n > rows && (v.kinds[n-1] == control || v.kinds[n-1] == userDefined) {
		n-- // added for pictures, to a model that sees none
	}
	if v.pieces, v.scores, v.kinds = v.pieces[:n], v.scores[:n], v.kinds[:n]; n > rows {
		return fmt.Errorf("the tokenizer has %d tokens and the weights know %d: they do not belong together", len(v.pieces), rows)
	}
	for i := len(v.pieces); i < rows; i++ {
		v.add(fmt.Sprintf("[PAD%d]", i), symbolScore, unused)
	}
	return nil
}

// name finds the markers by the names that all Gemma vocabularies give them.
func (v *vocab) name() {
	for i, p := range v.pieces {
		switch p {
		case "<bos>":
			v.bos = i
		case "<eos>":
			v.eos = i
		case "<unk>":
			v.unk = i
		case "<pad>":
			v.pad = i
		default:
			continue
		}
		if v.kinds[i] != unknown {
			v.kinds[i] = control
		}
	}
}

const spaceMark = "▁"

// metadata adds the keys of tokenizer.ggml. User-defined pieces have plain
// spaces there, since they are cut out of the text before anything else. With
// merges, which files of Gemma 4 have, all is as tokenizer.json has it.
func (v *vocab) metadata(m map[string]any, merges bool) {
	merges = merges && len(v.merges) > 0
	pieces := make([]string, len(v.pieces))
	for i, p := range v.pieces {
		pieces[i] = p
		if v.kinds[i] == userDefined && !merges {
			pieces[i] = strings.ReplaceAll(p, spaceMark, " ")
		}
	}
	const ggml = "tokenizer.ggml."
	m[ggml+"model"], m[ggml+"pre"] = "llama", "default"
	if merges {
		m[ggml+"model"], m[ggml+"merges"] = "gemma4", v.merges
		delete(m, ggml+"pre")
	}
	m[ggml+"tokens"], m[ggml+"scores"], m[ggml+"token_type"] = pieces, v.scores, v.kinds
	m[ggml+"add_bos_token"], m[ggml+"add_eos_token"], m[ggml+"add_space_prefix"] = v.addBOS, v.addEOS, v.spacePrefix
	for key, id := range map[string]int{"bos": v.bos, "eos": v.eos, "unknown": v.unk, "padding": v.pad, "eot": v.turn} {
		if id >= 0 {
			m[ggml+key+"_token_id"] = uint32(id)
		}
	}
	if v.template != "" {
		m["tokenizer.chat_template"] = v.template
	}
	const prefix = "general.sampling."
	if k := v.sampling.TopK; k != nil {
		m[prefix+"top_k"] = int32(*k)
	}
	for key, x := range map[string]*float64{"temp": v.sampling.Temperature, "top_p": v.sampling.TopP, "min_p": v.sampling.MinP} {
		if x != nil {
			m[prefix+key] = float32(*x)
		}
	}
}

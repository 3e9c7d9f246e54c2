package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// naive is the plain tokenizer: SentencePiece's algorithm as the paper tells
// it, looking at every pair of neighbours before each merge.
type naive struct {
	pieces  map[string]naivePiece
	symbols map[string]naivePiece
	bytes   [256]int32
}

type naivePiece struct {
	id      int32
	score   float32
	control bool
}

func newNaive(pieces []testPiece) *naive {
	n := &naive{pieces: map[string]naivePiece{}, symbols: map[string]naivePiece{}}
	for i, p := range pieces {
		id := int32(i)
		plain := strings.ReplaceAll(p.text, "▁", " ")
		switch b, _ := parseByte(p.text); {
		case p.kind == byteToken:
			n.bytes[b] = id
		case p.kind == normal:
			n.pieces[plain] = naivePiece{id: id, score: p.score}
		case p.kind == userDefined && !isMarkup(p.text):
			n.symbols[plain] = naivePiece{id: id}
		default:
			n.symbols[p.text] = naivePiece{id: id, control: true}
		}
	}
	return n
}

type naiveSymbol struct {
	text   string
	symbol int32 // none for what can be merged
}

func (n *naive) cut(text string, special bool) []naiveSymbol {
	var out []naiveSymbol
	for text != "" {
		_, size := utf8.DecodeRuneInString(text)
		best := naiveSymbol{text[:size], none}
		longest := 0
		for s, p := range n.symbols {
			if strings.HasPrefix(text, s) && len(s) > longest && (special || !p.control) {
				best, longest = naiveSymbol{s, p.id}, len(s)
			}
		}
		out = append(out, best)
		text = text[len(best.text):]
	}
	return out
}

func (n *naive) encode(text string, special bool) []int32 {
	symbols := n.cut(unmarked(text), special)
	for {
		best := -1
		var score float32
		for i := 0; i+1 < len(symbols); i++ {
			if symbols[i].symbol != none || symbols[i+1].symbol != none {
				continue
			}
			p, ok := n.pieces[symbols[i].text+symbols[i+1].text]
			if ok && (best < 0 || p.score > score) {
				best, score = i, p.score
			}
		}
		if best < 0 {
			break
		}
		symbols[best].text += symbols[best+1].text
		symbols = append(symbols[:best+1], symbols[best+2:]...)
	}
	var ids []int32
	for _, s := range symbols {
		p, ok := n.pieces[s.text]
		switch {
		case s.symbol != none:
			ids = append(ids, s.symbol)
		case ok:
			ids = append(ids, p.id)
		default:
			for i := range len(s.text) {
				ids = append(ids, n.bytes[s.text[i]])
			}
		}
	}
	return ids
}

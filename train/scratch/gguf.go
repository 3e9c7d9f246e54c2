package scratch

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"lapidary/checkpoint"
)

// fromGGUF is the tokenizer.json of the vocabulary in a GGUF file. The kinds
// are SentencePiece's: 1 normal, 2 unknown, 3 control, 4 user-defined, 5
// unused, 6 a byte.
func fromGGUF(m *checkpoint.Metadata) ([]byte, error) {
	names, ok := m.Strings("tokenizer.ggml.tokens")
	kinds, ok2 := m.Ints("tokenizer.ggml.token_type")
	if !ok || !ok2 || len(kinds) != names.Len() {
		return nil, errors.New("the file has no list of pieces with their kinds (tokenizer.ggml.tokens, token_type)")
	}
	if kind, _ := m.String("tokenizer.ggml.model"); kind != "llama" && kind != "gemma4" {
		return nil, fmt.Errorf("tokenizer.ggml.model is %q, and pieces are taken from Gemma's kind", kind)
	}
	scores, scored := m.Floats("tokenizer.ggml.scores")
	var pieces []piece
	var order []int
	for i, name := range names.All() {
		text := string(name)
		pieces = append(pieces, piece{text: text, control: kinds[i] == 2 || kinds[i] == 3, whole: kinds[i] == 4, byte: kinds[i] == 6})
		if kinds[i] == 1 && utf8.RuneCountInString(text) > 1 {
			order = append(order, i)
		}
	}
	if scored && len(scores) == len(pieces) {
		slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	}
	return writeJSON(pieces, order)
}

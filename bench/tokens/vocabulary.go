package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"

	"lapidary/checkpoint"
)

// Types of a piece in tokenizer.ggml.token_type.
const (
	normal      = 1
	userDefined = 4
	byteToken   = 6
)

// merge is a pair of pieces with the rank and the ids by which pairs are
// ordered.
type merge struct {
	texts       [2]string
	rank        float32 // the falling score of the piece they make
	left, right int
}

// vocabularyFile writes the vocabulary of a GGUF file as the tokenizer.json of
// the same tokenizer: a BPE with the merges that its pieces allow, and added
// tokens for what is cut out before.
func vocabularyFile(m *checkpoint.Metadata, path string) error {
	pieces, ok1 := m.Strings("tokenizer.ggml.tokens")
	types, ok2 := m.Ints("tokenizer.ggml.token_type")
	scores, ok3 := m.Floats("tokenizer.ggml.scores")
	if !ok1 || !ok2 || !ok3 || len(types) != pieces.Len() || len(scores) != pieces.Len() {
		return fmt.Errorf("the file has no vocabulary with types and scores; give a GGUF file of Gemma 1, 2 or 3")
	}
	ids, added := map[string]int{}, []any{}
	mergeable := map[string]int{}
	for id, piece := range pieces.All() {
		text := string(piece)
		switch types[id] {
		case normal:
			mergeable[text] = id
		case userDefined:
			text = strings.ReplaceAll(text, "▁", " ") // matched before spaces are replaced
		}
		ids[text] = id
		if types[id] != normal && types[id] != byteToken {
			added = append(added, map[string]any{"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
				"normalized": false, "special": types[id] != userDefined})
		}
	}
	data, err := json.Marshal(map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "post_processor": nil, "decoder": nil,
		"normalizer":    map[string]any{"type": "Replace", "pattern": map[string]string{"String": " "}, "content": "▁"},
		"pre_tokenizer": map[string]any{"type": "Split", "pattern": map[string]string{"String": " "}, "behavior": "MergedWithPrevious", "invert": false},
		"model": map[string]any{"type": "BPE", "dropout": nil, "unk_token": "<unk>", "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
			"fuse_unk": true, "byte_fallback": true, "ignore_merges": false, "vocab": ids, "merges": merges(mergeable, scores)},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// merges lists the pairs of pieces that make a piece, best first.
func merges(ids map[string]int, scores []float32) [][2]string {
	var all []merge
	for text, id := range ids {
		for i := 1; i < len(text); i++ {
			left, ok1 := ids[text[:i]]
			right, ok2 := ids[text[i:]]
			if ok1 && ok2 {
				all = append(all, merge{[2]string{text[:i], text[i:]}, -scores[id], left, right})
			}
		}
	}
	slices.SortFunc(all, func(x, y merge) int {
		return cmp.Or(cmp.Compare(x.rank, y.rank), cmp.Compare(x.left, y.left), cmp.Compare(x.right, y.right))
	})
	texts := make([][2]string, len(all))
	for i, m := range all {
		texts[i] = m.texts
	}
	return texts
}

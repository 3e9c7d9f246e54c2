package tokenizer

import (
	"cmp"
	"fmt"
	"sync"

	"lapidary/checkpoint"
)

// FromMetadata reads the tokenizer of a GGUF file's metadata (the keys under
// tokenizer.ggml of the GGUF specification). The metadata is not needed
// afterwards.
//
// Merges are ordered by tokenizer.ggml.scores, or by tokenizer.ggml.merges
// where the file has those: Gemma 4's scores are all alike.
func FromMetadata(m *checkpoint.Metadata) (*Tokenizer, error) {
	t, err := fromMetadata(m)
	if err != nil {
		return nil, fmt.Errorf("tokenizer in gguf metadata: %w", err)
	}
	return t, nil
}

func fromMetadata(m *checkpoint.Metadata) (*Tokenizer, error) {
	if m == nil {
		return nil, fmt.Errorf("there is no metadata")
	}
	if model, _ := m.String("tokenizer.ggml.model"); model != "llama" && model != "gemma4" {
		return nil, fmt.Errorf(`tokenizer.ggml.model is %q; Gemma's is "llama" or "gemma4"`, model)
	}
	a, err := ggufPieces(m)
	if err != nil {
		return nil, err
	}
	if merges, ok := m.Strings("tokenizer.ggml.merges"); ok && merges.Len() > 0 {
		r := newRanker(&a.vocab)
		for i, merge := range merges.All() {
			if err := r.addJoined(merge); err != nil {
				return nil, fmt.Errorf("tokenizer.ggml.merges: entry %d: %w", i, err)
			}
		}
		a.ranks, a.ranked = r.finish(), true
	} else if a.scores == nil {
		return nil, fmt.Errorf("there is neither tokenizer.ggml.scores nor tokenizer.ggml.merges")
	}
	if err := ggufSettings(m, a); err != nil {
		return nil, err
	}
	return a.finish()
}

// ggufPieces reads the pieces in two halves at once: a start waits for this.
func ggufPieces(m *checkpoint.Metadata) (*assembler, error) {
	pieces, ok := m.Strings("tokenizer.ggml.tokens")
	if !ok {
		return nil, fmt.Errorf("tokenizer.ggml.tokens is missing or no array of strings")
	}
	types, ok := ggufTypes(m)
	if !ok || len(types) != pieces.Len() {
		return nil, fmt.Errorf("tokenizer.ggml.token_type does not have one integer for each of the %d tokens", pieces.Len())
	}
	a := newAssembler(pieces.Len())
	middle := pieces.Len() / 2
	first, second := a.part(0, middle), a.part(middle, pieces.Len())
	var secondErr error
	var wait sync.WaitGroup
	wait.Go(func() {
		a.scores, ok = m.Floats("tokenizer.ggml.scores")
		secondErr = second.addGGUF(pieces, types)
	})
	firstErr := first.addGGUF(pieces, types)
	wait.Wait()
	if ok && len(a.scores) != pieces.Len() {
		return nil, fmt.Errorf("tokenizer.ggml.scores has %d numbers for %d tokens", len(a.scores), pieces.Len())
	}
	if err := cmp.Or(firstErr, secondErr); err != nil {
		return nil, err
	}
	return a, a.join(first, second)
}

// ggufTypes are 32-bit numbers in every file known; others are taken too.
func ggufTypes(m *checkpoint.Metadata) ([]int32, bool) {
	const key = "tokenizer.ggml.token_type"
	if types, ok := m.Any(key).([]int32); ok {
		return types, true
	}
	wide, ok := m.Ints(key)
	types := make([]int32, len(wide))
	for i, n := range wide {
		types[i] = int32(min(max(n, -1), 256)) // neither is a kind
	}
	return types, ok
}

// addGGUF adds those of a file's pieces that a part of the vocabulary has.
func (a *assembler) addGGUF(pieces checkpoint.StringArray, types []int32) error {
	for i, piece := range pieces.All() {
		switch {
		case i < a.first:
			continue
		case i == a.first+cap(a.kinds):
			return nil
		case types[i] < 0 || types[i] > 255:
			return fmt.Errorf("tokenizer.ggml.token_type: entry %d is %d", i, types[i])
		}
		if err := a.add(piece, kind(types[i])); err != nil {
			return fmt.Errorf("tokenizer.ggml.tokens: %w", err)
		}
	}
	return nil
}

func ggufSettings(m *checkpoint.Metadata, a *assembler) error {
	id := func(key string) int64 {
		if n, ok := m.Uint("tokenizer.ggml." + key); ok {
			return int64(min(n, 1<<62))
		}
		return -1
	}
	if add, ok := m.Bool("tokenizer.ggml.add_bos_token"); ok {
		a.addBOS = add
	}
	a.addEOS, _ = m.Bool("tokenizer.ggml.add_eos_token")
	a.spacePrefix, _ = m.Bool("tokenizer.ggml.add_space_prefix")
	return a.setMarkers(id("bos_token_id"), id("eos_token_id"), id("eot_token_id"), id("eom_token_id"))
}

package convert

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"lapidary/checkpoint"
)

// ggufVocab reads the tokenizer of a GGUF file; nil where it has none.
func ggufVocab(m *checkpoint.Metadata) (*vocab, error) {
	const ggml = "tokenizer.ggml."
	tokens, ok := m.Strings(ggml + "tokens")
	if !ok {
		return nil, nil
	}
	if model, _ := m.String(ggml + "model"); model != "llama" && model != "gemma4" {
		return nil, fmt.Errorf("tokenizer.ggml.model is %q, only \"llama\" and \"gemma4\", which are SentencePiece's, can be converted", model)
	}
	scores, _ := m.Floats(ggml + "scores")
	kinds, _ := m.Ints(ggml + "token_type")
	if len(scores) != tokens.Len() || len(kinds) != tokens.Len() {
		return nil, fmt.Errorf("tokenizer.ggml.scores and token_type have %d and %d entries for %d tokens", len(scores), len(kinds), tokens.Len())
	}
	v := newVocab()
	for i, t := range tokens.All() {
		piece := string(t)
		if kinds[i] == userDefined {
			piece = strings.ReplaceAll(piece, " ", spaceMark)
		}
		v.add(piece, scores[i], int32(kinds[i]))
	}
	if merges, ok := m.Strings(ggml + "merges"); ok && merges.Len() > 0 {
		if err := v.rank(merges); err != nil {
			return nil, err
		}
	}
	for len(v.kinds) > 0 && v.kinds[len(v.kinds)-1] == unused { // fit puts them there
		n := len(v.kinds) - 1
		v.pieces, v.scores, v.kinds = v.pieces[:n], v.scores[:n], v.kinds[:n]
	}
	for key, id := range map[string]*int{"bos": &v.bos, "eos": &v.eos, "unknown": &v.unk, "padding": &v.pad, "eot": &v.turn} {
		if n, ok := m.Uint(ggml + key + "_token_id"); ok && n < uint64(len(v.pieces)) {
			*id = int(n)
		}
	}
	if add, ok := m.Bool(ggml + "add_bos_token"); ok {
		v.addBOS = add
	}
	v.addEOS, _ = m.Bool(ggml + "add_eos_token")
	v.spacePrefix, _ = m.Bool(ggml + "add_space_prefix")
	v.template, _ = m.String("tokenizer.chat_template")
	v.readSampling(m)
	return v, nil
}

// rank gives pieces the place of the merge that makes them as their score:
// SentencePiece orders merges so, and Gemma 4's own scores are all alike.
func (v *vocab) rank(merges checkpoint.StringArray) error {
	ids := make(map[string]int, len(v.pieces))
	for i, p := range v.pieces {
		if ids[p] = i; v.kinds[i] == normal {
			v.scores[i] = 0
		}
	}
	for i, merge := range merges.All() {
		left, right, err := cutMerge(string(merge))
		if err != nil {
			return fmt.Errorf("tokenizer.ggml.merges: entry %d: %w", i, err)
		}
		if id, ok := ids[left+right]; ok && v.kinds[id] == normal && v.scores[id] == 0 {
			v.scores[id] = -float32(i + 1)
		}
	}
	return nil
}

func (v *vocab) readSampling(m *checkpoint.Metadata) {
	const prefix = "general.sampling."
	if k, ok := m.Uint(prefix + "top_k"); ok {
		top := uint32(min(k, math.MaxInt32))
		v.sampling.TopK = &top
	}
	for key, to := range map[string]**float64{"temp": &v.sampling.Temperature, "top_p": &v.sampling.TopP, "min_p": &v.sampling.MinP} {
		if x, ok := m.Float(prefix + key); ok {
			x = shortest(float32(x))
			*to = &x
		}
	}
}

// model is the vocabulary as a tokenizer.model: a ModelProto of
// sentencepiece_model.proto, a BPE without normalisation.
func (v *vocab) model() []byte {
	var out []byte
	for i, piece := range v.pieces {
		kind := v.kinds[i]
		if i == v.unk {
			kind = unknown // SentencePiece wants exactly one
		}
		p := protowire.AppendTag(nil, 1, protowire.BytesType)
		p = protowire.AppendString(p, piece)
		p = protowire.AppendTag(p, 2, protowire.Fixed32Type)
		p = protowire.AppendFixed32(p, math.Float32bits(v.scores[i]))
		p = number(p, 3, int(kind))
		out = message(out, 1, p)
	}
	const bpe = 2
	trainer := number(nil, 3, bpe)
	trainer = number(trainer, 4, len(v.pieces))
	if slices.Contains(v.kinds, byteToken) {
		trainer = number(trainer, 35, 1)
	}
	for i, id := range [...]int{v.unk, v.bos, v.eos, v.pad} {
		trainer = number(trainer, protowire.Number(40+i), id)
		if id >= 0 { // SentencePiece finds them by their names
			trainer = message(trainer, protowire.Number(45+i), []byte(v.pieces[id]))
		}
	}
	out = message(out, 2, trainer)
	normaliser := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "identity")
	prefix := 0
	if v.spacePrefix {
		prefix = 1
	}
	normaliser = number(normaliser, 3, prefix) // add_dummy_prefix
	normaliser = number(normaliser, 4, 0)      // remove_extra_whitespaces
	normaliser = number(normaliser, 5, 1)      // escape_whitespaces
	return message(out, 3, normaliser)
}

func number(b []byte, field protowire.Number, v int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), uint64(int64(v)))
}

func message(b []byte, field protowire.Number, m []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, field, protowire.BytesType), m)
}

// config is tokenizer_config.json.
func (v *vocab) config() map[string]any {
	c := map[string]any{"tokenizer_class": "GemmaTokenizer", "add_bos_token": v.addBOS, "add_eos_token": v.addEOS,
		"clean_up_tokenization_spaces": false}
	for key, id := range map[string]int{"bos": v.bos, "eos": v.eos, "unk": v.unk, "pad": v.pad} {
		if id >= 0 {
			c[key+"_token"] = v.pieces[id]
		}
	}
	added := map[string]any{}
	for i, kind := range v.kinds {
		if kind != control && kind != userDefined && kind != unknown {
			continue
		}
		added[strconv.Itoa(i)] = map[string]any{"content": v.pieces[i], "special": kind != userDefined,
			"lstrip": false, "rstrip": false, "normalized": false, "single_word": false}
	}
	c["added_tokens_decoder"] = added
	if v.template != "" {
		c["chat_template"] = v.template
	}
	return c
}

// generation is generation_config.json.
func (v *vocab) generation() map[string]any {
	c := map[string]any{}
	for key, id := range map[string]int{"bos_token_id": v.bos, "pad_token_id": v.pad, "eos_token_id": v.eos} {
		if id >= 0 {
			c[key] = id
		}
	}
	if v.turn >= 0 && v.turn != v.eos {
		c["eos_token_id"] = []int{v.eos, v.turn}
	}
	if k := v.sampling.TopK; k != nil {
		c["top_k"], c["do_sample"] = *k, true
	}
	for key, x := range map[string]*float64{"temperature": v.sampling.Temperature, "top_p": v.sampling.TopP, "min_p": v.sampling.MinP} {
		if x != nil {
			c[key] = *x
		}
	}
	return c
}

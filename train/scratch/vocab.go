package scratch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"lapidary/checkpoint"
	"lapidary/hub"
	"lapidary/tokenizer"
	"lapidary/train/recipe"
)

// siblings are the files of a folder that make its tokenizer.
var siblings = []string{"tokenizer.model", "added_tokens.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"}

// putTokenizer writes the files of the tokenizer that the recipe asks for.
func putTokenizer(v recipe.Vocab, f form, texts iter.Seq[string], dir string) (*tokenizer.Tokenizer, error) {
	if v.Path != "" {
		return putExisting(v.Path, f, dir)
	}
	if texts == nil {
		return nil, errors.New("from_scratch: a tokenizer is to be learnt, and there are no texts; name one as model.from_scratch.vocab.path")
	}
	text, err := Learn(texts, v.Train, f.special)
	if err != nil {
		return nil, err
	}
	return putOwn(text, f, dir)
}

// putOwn writes a tokenizer.json with the form's settings.
func putOwn(text []byte, f form, dir string) (*tokenizer.Tokenizer, error) {
	t, err := tokenizer.FromJSON(text)
	if err != nil {
		return nil, err
	}
	if err := put(dir, "tokenizer.json", text); err != nil {
		return nil, err
	}
	return t, putTokenizerConfig(f, t, dir)
}

func putTokenizerConfig(f form, t *tokenizer.Tokenizer, dir string) error {
	config := object{
		"tokenizer_class": "PreTrainedTokenizerFast", "add_bos_token": true, "add_eos_token": false, "clean_up_tokenization_spaces": false,
		"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>",
		"model_max_length": 1 << 30,
	}
	if f.media != nil {
		config["extra_special_tokens"] = f.media
	}
	if err := putJSON(dir, "tokenizer_config.json", config); err != nil {
		return err
	}
	if id, ok := t.ID(f.end); !ok || !t.Control(id) {
		return nil // the vocabulary has no turns
	}
	return put(dir, "chat_template.jinja", []byte(f.template))
}

// putExisting takes a tokenizer from a file, a folder or a model that has been
// pulled.
func putExisting(path string, f form, dir string) (*tokenizer.Tokenizer, error) {
	if _, err := os.Stat(path); err != nil {
		found, err := named(path)
		if err != nil {
			return nil, fmt.Errorf("from_scratch: vocab.path: %w", err)
		}
		path = found
	}
	switch filepath.Ext(path) {
	case ".json":
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		return putOwn(text, f, dir)
	case ".model":
		return putModel(path, f, dir)
	}
	return putOpened(path, f, dir)
}

// named is where a model of that name lies.
func named(name string) (string, error) {
	store, err := hub.Default()
	if err != nil {
		return "", err
	}
	local, err := store.Resolve(context.Background(), name)
	return local.Path, err
}

// putModel takes a SentencePiece model.
func putModel(path string, f form, dir string) (*tokenizer.Tokenizer, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := tokenizer.FromModel(data)
	if err != nil {
		return nil, err
	}
	if err := put(dir, "tokenizer.model", data); err != nil {
		return nil, err
	}
	return t, putTokenizerConfig(f, t, dir)
}

// putOpened takes that of a checkpoint.
func putOpened(path string, f form, dir string) (*tokenizer.Tokenizer, error) {
	c, err := checkpoint.Open(path)
	if err != nil {
		return nil, fmt.Errorf("from_scratch: vocab.path: %w", err)
	}
	defer c.Close()
	if m := c.Metadata(); m != nil {
		text, err := fromGGUF(m)
		if err != nil {
			return nil, fmt.Errorf("from_scratch: %s: %w", path, err)
		}
		return putOwn(text, f, dir)
	}
	t, err := tokenizer.Open(c)
	if err != nil {
		return nil, err
	}
	for _, name := range siblings {
		data, err := c.Sibling(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := put(dir, name, data); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// piece is an entry of a vocabulary, spelled as tokenizer.json has it.
type piece struct {
	text    string
	control bool
	whole   bool // cut out of a text before anything is merged
	byte    bool
}

// writeJSON is a tokenizer.json of pieces in the order of their ids. order are
// the merged ones, best first.
//
// Every way to put a merged piece together of two others is a merge, as in
// Gemma's own files: SentencePiece merges by the piece that is made.
func writeJSON(pieces []piece, order []int) ([]byte, error) {
	vocab := make(map[string]int, len(pieces))
	parts := make(map[string]bool, len(pieces))
	added := []object{}
	for i, p := range pieces {
		if _, twice := vocab[p.text]; twice {
			return nil, fmt.Errorf("piece %d, %q, is there twice", i, p.text)
		}
		vocab[p.text] = i
		parts[p.text] = !p.control && !p.whole && !p.byte
		if p.control || p.whole {
			added = append(added, object{"id": i, "content": p.text, "special": p.control, "normalized": false,
				"single_word": false, "lstrip": false, "rstrip": false})
		}
	}
	merges := [][2]string{}
	for _, i := range order {
		text := pieces[i].text
		for at := range text { // each rune's first byte
			if at > 0 && parts[text[:at]] && parts[text[at:]] {
				merges = append(merges, [2]string{text[:at], text[at:]})
			}
		}
	}
	space := object{"type": "Replace", "pattern": object{"String": " "}, "content": "▁"}
	return json.Marshal(object{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added,
		"normalizer":    space,
		"pre_tokenizer": object{"type": "Split", "pattern": object{"String": " "}, "behavior": "MergedWithPrevious", "invert": false},
		"post_processor": object{
			"type":           "TemplateProcessing",
			"single":         []object{{"SpecialToken": object{"id": "<bos>", "type_id": 0}}, {"Sequence": object{"id": "A", "type_id": 0}}},
			"pair":           []object{{"SpecialToken": object{"id": "<bos>", "type_id": 0}}, {"Sequence": object{"id": "A", "type_id": 0}}, {"SpecialToken": object{"id": "<bos>", "type_id": 1}}, {"Sequence": object{"id": "B", "type_id": 1}}},
			"special_tokens": object{"<bos>": object{"id": "<bos>", "ids": []int{vocab["<bos>"]}, "tokens": []string{"<bos>"}}},
		},
		"decoder": object{"type": "Sequence", "decoders": []object{
			{"type": "Replace", "pattern": object{"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}}},
		"model": object{
			"type": "BPE", "dropout": nil, "unk_token": "<unk>", "continuing_subword_prefix": nil, "end_of_word_suffix": nil,
			"fuse_unk": true, "byte_fallback": true, "ignore_merges": false, "vocab": vocab, "merges": merges,
		},
	})
}

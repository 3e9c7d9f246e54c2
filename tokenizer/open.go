package tokenizer

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"lapidary/checkpoint"
)

// Open reads the tokenizer of a checkpoint: from a GGUF file's metadata, or
// from the files beside a safetensors checkpoint. Of those, tokenizer.model (with
// added_tokens.json) goes before tokenizer.json, because it reads eight times
// as fast; tokenizer_config.json and generation_config.json say whether BOS and
// EOS surround a text and which tokens end a generation. The checkpoint may be
// closed afterwards.
func Open(c *checkpoint.Checkpoint) (*Tokenizer, error) {
	var t *Tokenizer
	var err error
	if m := c.Metadata(); m != nil {
		t, err = FromMetadata(m)
	} else {
		t, err = fromFolder(c.Sibling)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Path(), err)
	}
	return t, nil
}

// fromFolder reads the tokenizer of a Hugging Face folder.
func fromFolder(read func(name string) ([]byte, error)) (*Tokenizer, error) {
	a, err := folderPieces(read)
	if err != nil {
		return nil, err
	}
	if err := folderSettings(read, a); err != nil {
		return nil, err
	}
	return a.finish()
}

func folderPieces(read func(string) ([]byte, error)) (*assembler, error) {
	data, err := read("tokenizer.model")
	if err == nil {
		a, err := readModel(data)
		if err == nil {
			err = addFromFolder(read, a)
		}
		if err != nil {
			return nil, fmt.Errorf("tokenizer.model: %w", err)
		}
		return a, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	data, err = read("tokenizer.json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("neither tokenizer.model nor tokenizer.json is there: %w", err)
	}
	if err != nil {
		return nil, err
	}
	var f jsonFile
	if err := f.read(data); err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	a, err := f.assemble()
	if err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	return a, nil
}

// readOptional decodes a JSON file into v, if the file is there.
func readOptional(read func(string) ([]byte, error), name string, v any) error {
	data, err := read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v, jsontext.AllowDuplicateNames(true)); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// addFromFolder appends the tokens that follow a tokenizer.model's pieces. They
// are control tokens if they are spelled like one.
func addFromFolder(read func(string) ([]byte, error), a *assembler) error {
	added := map[string]int64{}
	if err := readOptional(read, "added_tokens.json", &added); err != nil {
		return err
	}
	byID := slices.SortedFunc(maps.Keys(added), func(x, y string) int { return int(added[x] - added[y]) })
	for _, name := range byID {
		if added[name] < int64(a.len()) {
			continue // spelled in the model too
		}
		if added[name] > int64(a.len()) {
			return fmt.Errorf("added_tokens.json: %q has the id %d, the next free one is %d", name, added[name], a.len())
		}
		a.scores = append(a.scores, 0)
		if err := a.add([]byte(name), userDefined); err != nil {
			return fmt.Errorf("added_tokens.json: %w", err)
		}
	}
	return nil
}

// folderSettings applies the settings that other files of the folder hold.
func folderSettings(read func(string) ([]byte, error), a *assembler) error {
	var config struct {
		AddBOS *bool `json:"add_bos_token"`
		AddEOS *bool `json:"add_eos_token"`
	}
	if err := readOptional(read, "tokenizer_config.json", &config); err != nil {
		return err
	}
	if config.AddBOS != nil {
		a.addBOS = *config.AddBOS
	}
	if config.AddEOS != nil {
		a.addEOS = *config.AddEOS
	}
	var generation struct {
		EOS jsonIDs `json:"eos_token_id"`
	}
	if err := readOptional(read, "generation_config.json", &generation); err != nil {
		return err
	}
	if id, ok := a.named["<eos>"]; ok {
		// First, whatever order the configuration has them in.
		if err := a.setMarkers(int64(a.bos), int64(id)); err != nil {
			return err
		}
	}
	if err := a.setMarkers(int64(a.bos), generation.EOS...); err != nil {
		return fmt.Errorf("generation_config.json: %w", err)
	}
	return nil
}

// jsonIDs is one id or a list of them.
type jsonIDs []int64

func (ids *jsonIDs) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() == '[' {
		return json.UnmarshalDecode(d, (*[]int64)(ids))
	}
	var id *int64
	err := json.UnmarshalDecode(d, &id)
	if id != nil {
		*ids = jsonIDs{*id}
	}
	return err
}

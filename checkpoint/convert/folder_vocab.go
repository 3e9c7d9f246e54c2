package convert

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// reader reads a file of a folder whole.
type reader func(name string) ([]byte, error)

// optional decodes a JSON file, if it is there.
func (read reader) optional(name string, v any) error {
	data, err := read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(data, v)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// folderVocab reads the tokenizer of a Hugging Face folder: tokenizer.model
// where it is there, else tokenizer.json. The error is fs.ErrNotExist when
// neither is.
func folderVocab(read reader) (*vocab, error) {
	v, err := modelVocab(read)
	if errors.Is(err, fs.ErrNotExist) {
		v, err = jsonVocab(read)
	}
	if err != nil {
		return nil, err
	}
	if err := v.readConfig(read); err != nil {
		return nil, err
	}
	v.name()
	return v, v.readGeneration(read)
}

// addedToken is a token as tokenizer.json and tokenizer_config.json list it.
type addedToken struct {
	ID      int    `json:"id"`
	Content string `json:"content"`
	Special bool   `json:"special"`
}

// set gives an id to a token beyond or among the pieces.
func (v *vocab) set(t addedToken) error {
	const most = 1 << 20
	if t.ID < 0 || t.ID > most {
		return fmt.Errorf("token %q has the id %d", t.Content, t.ID)
	}
	for len(v.pieces) <= t.ID {
		v.add(fmt.Sprintf("[PAD%d]", len(v.pieces)), symbolScore, unused)
	}
	v.pieces[t.ID], v.scores[t.ID], v.kinds[t.ID] = t.Content, symbolScore, userDefined
	if t.Special {
		v.kinds[t.ID] = control
	}
	return nil
}

// readConfig reads the settings of tokenizer_config.json, the tokens that
// stand in it, and the template that stands there or beside it.
func (v *vocab) readConfig(read reader) error {
	added := map[string]int{}
	if err := read.optional("added_tokens.json", &added); err != nil {
		return err
	}
	for _, name := range slices.SortedFunc(maps.Keys(added), func(a, b string) int { return cmp.Compare(added[a], added[b]) }) {
		if added[name] >= len(v.pieces) {
			if err := v.set(addedToken{added[name], name, false}); err != nil {
				return fmt.Errorf("added_tokens.json: %w", err)
			}
		}
	}
	var config struct {
		AddBOS   *bool                 `json:"add_bos_token"`
		AddEOS   bool                  `json:"add_eos_token"`
		Added    map[string]addedToken `json:"added_tokens_decoder"`
		Template json.RawMessage       `json:"chat_template"` // a text, or a list of named ones
	}
	if err := read.optional("tokenizer_config.json", &config); err != nil {
		return err
	}
	for key, t := range config.Added {
		id, err := strconv.Atoi(key)
		if t.ID = id; err == nil {
			err = v.set(t)
		}
		if err != nil {
			return fmt.Errorf("tokenizer_config.json: added_tokens_decoder: %w", err)
		}
	}
	v.addBOS, v.addEOS = config.AddBOS == nil || *config.AddBOS, config.AddEOS
	_ = json.Unmarshal(config.Template, &v.template) // a list is not one template
	if data, err := read("chat_template.jinja"); err == nil {
		v.template = string(data)
	}
	return nil
}

// readGeneration reads which other token ends an answer, and the sampling.
func (v *vocab) readGeneration(read reader) error {
	const name = "generation_config.json"
	if err := read.optional(name, &v.sampling); err != nil {
		return err
	}
	var ends struct {
		EOS json.RawMessage `json:"eos_token_id"` // a number or a list
	}
	if err := read.optional(name, &ends); err != nil {
		return err
	}
	var ids []int
	_ = json.Unmarshal(ends.EOS, &ids) // one number is <eos>
	for _, id := range ids {
		if id != v.eos && id >= 0 && id < len(v.pieces) {
			v.turn = id
			break
		}
	}
	return nil
}

// modelVocab reads tokenizer.model, a ModelProto of sentencepiece_model.proto.
func modelVocab(read reader) (*vocab, error) {
	data, err := read("tokenizer.model")
	if err != nil {
		return nil, err
	}
	v := newVocab()
	v.spacePrefix = true // the default
	err = fields(data, func(number protowire.Number, message []byte, _ uint64) error {
		switch number {
		case 1:
			return v.readPiece(message)
		case 3:
			return fields(message, func(number protowire.Number, _ []byte, n uint64) error {
				if number == 3 {
					v.spacePrefix = n != 0
				}
				return nil
			})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("tokenizer.model: %w", err)
	}
	return v, nil
}

func (v *vocab) readPiece(message []byte) error {
	piece, score, kind := "", float32(0), int32(normal)
	err := fields(message, func(number protowire.Number, data []byte, n uint64) error {
		switch number {
		case 1:
			piece = string(data)
		case 2:
			score = math.Float32frombits(uint32(n))
		case 3:
			kind = int32(n)
		}
		return nil
	})
	v.add(piece, score, kind)
	return err
}

// fields calls f for each field of a protobuf message: data for those with a
// length, n for the others.
func fields(message []byte, f func(number protowire.Number, data []byte, n uint64) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		var data []byte
		var value uint64
		switch kind {
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(message)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(message)
			value = uint64(v)
		case protowire.BytesType:
			data, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		message = message[n:]
		if err := f(number, data, value); err != nil {
			return err
		}
	}
	return nil
}

// jsonVocab reads tokenizer.json. SentencePiece orders merges by the score of
// what they make, so a piece's score is the place of the merge that makes it.
func jsonVocab(read reader) (*vocab, error) {
	data, err := read("tokenizer.json")
	if err != nil {
		return nil, err
	}
	var file struct {
		Added []addedToken `json:"added_tokens"`
		Model struct {
			Type   string            `json:"type"`
			Vocab  map[string]int    `json:"vocab"`
			Merges []json.RawMessage `json:"merges"`
		} `json:"model"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	if file.Model.Type != "BPE" {
		return nil, fmt.Errorf("tokenizer.json: model.type is %q, only BPE can be converted", file.Model.Type)
	}
	v := newVocab()
	for piece, id := range file.Model.Vocab {
		if err := v.set(addedToken{id, piece, false}); err != nil {
			return nil, fmt.Errorf("tokenizer.json: %w", err)
		}
		v.kinds[id], v.scores[id] = normal, 0
		if isByte(piece) {
			v.kinds[id] = byteToken
		}
	}
	for i, merge := range file.Model.Merges {
		left, right, err := halves(merge)
		if err != nil {
			return nil, fmt.Errorf("tokenizer.json: model.merges: entry %d: %w", i, err)
		}
		v.merges = append(v.merges, left+" "+right)
		if id, ok := file.Model.Vocab[left+right]; ok && v.scores[id] == 0 {
			v.scores[id] = -float32(i + 1)
		}
	}
	for _, t := range file.Added {
		if err := v.set(t); err != nil {
			return nil, fmt.Errorf("tokenizer.json: added_tokens: %w", err)
		}
	}
	return v, nil
}

// halves are what a merge joins: of ["a","b"] or, as older files have it, "a b".
func halves(merge json.RawMessage) (left, right string, err error) {
	var pair []string
	if json.Unmarshal(merge, &pair) == nil && len(pair) == 2 {
		return pair[0], pair[1], nil
	}
	var text string
	if err := json.Unmarshal(merge, &text); err != nil {
		return "", "", err
	}
	return cutMerge(text)
}

func cutMerge(text string) (left, right string, err error) {
	for i := 1; i < len(text)-1; i++ {
		if text[i] == ' ' {
			return text[:i], text[i+1:], nil
		}
	}
	return "", "", fmt.Errorf("%q is not two pieces", text)
}

// isByte: <0x00> to <0xFF>.
func isByte(piece string) bool {
	if len(piece) != 6 || piece[:3] != "<0x" || piece[5] != '>' {
		return false
	}
	_, err := strconv.ParseUint(piece[3:5], 16, 8)
	return err == nil
}

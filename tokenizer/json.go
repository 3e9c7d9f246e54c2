package tokenizer

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// FromJSON reads a tokenizer.json of Hugging Face's tokenizers library: its
// model (a BPE with byte fallback), its added tokens, and whether its
// post-processor puts BOS and EOS around a text. The data is not needed
// afterwards.
//
// The library orders merges by pair, SentencePiece by the piece they make;
// here it is by piece for every source. The two differ only where a repetition
// offers the same piece twice with an overlap.
func FromJSON(data []byte) (*Tokenizer, error) {
	t, err := fromJSON(data)
	if err != nil {
		return nil, fmt.Errorf("tokenizer.json: %w", err)
	}
	return t, nil
}

func fromJSON(data []byte) (*Tokenizer, error) {
	var f jsonFile
	if err := f.read(data); err != nil {
		return nil, err
	}
	a, err := f.assemble()
	if err != nil {
		return nil, err
	}
	return a.finish()
}

// jsonFile is what is read of a tokenizer.json.
type jsonFile struct {
	added         []jsonAdded
	normaliser    *jsonNormaliser
	preTokenizer  *jsonPreTokenizer
	postProcessor *jsonPostProcessor
	model         jsonModel
	hasModel      bool
}

type jsonAdded struct {
	ID         int32  `json:"id"`
	Content    string `json:"content"`
	Special    bool   `json:"special"`
	SingleWord bool   `json:"single_word"`
	LeftStrip  bool   `json:"lstrip"`
	RightStrip bool   `json:"rstrip"`
}

type jsonNormaliser struct {
	Type        string           `json:"type"`
	Pattern     jsonPattern      `json:"pattern"`
	Content     string           `json:"content"`
	Prepend     string           `json:"prepend"`
	Normalisers []jsonNormaliser `json:"normalizers"`
}

type jsonPreTokenizer struct {
	Type    string      `json:"type"`
	Pattern jsonPattern `json:"pattern"`
}

type jsonPattern struct {
	String string `json:"String"`
}

type jsonPostProcessor struct {
	Type   string `json:"type"`
	Single []struct {
		SpecialToken *struct {
			ID string `json:"id"`
		} `json:"SpecialToken"`
		Sequence *struct{} `json:"Sequence"`
	} `json:"single"`
}

// jsonModel is the "model" section. Its vocabulary and merges, 33 MB of text,
// are read token by token and never become Go strings one by one.
type jsonModel struct {
	Type         string  `json:"type"`
	Dropout      float64 `json:"dropout"`
	Prefix       string  `json:"continuing_subword_prefix"`
	Suffix       string  `json:"end_of_word_suffix"`
	ByteFallback bool    `json:"byte_fallback"`
	IgnoreMerges bool    `json:"ignore_merges"`

	names   []byte
	entries []jsonEntry
	// merges is left, right, left, right …, as ends in names after mergesFrom.
	mergesFrom int
	mergeEnds  []uint32
}

// jsonEntry is an entry of the vocabulary: names[from:to].
type jsonEntry struct {
	id       int32
	from, to uint32
}

func (f *jsonFile) read(data []byte) error {
	if len(data) > math.MaxInt32 {
		return fmt.Errorf("the file takes %d bytes, at most 2 GiB are supported", len(data))
	}
	// Checking for duplicate names would take a map of the whole vocabulary.
	d := jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true))
	err := eachMember(d, func(name string) error {
		switch name {
		case "added_tokens":
			return json.UnmarshalDecode(d, &f.added)
		case "normalizer":
			return json.UnmarshalDecode(d, &f.normaliser)
		case "pre_tokenizer":
			return json.UnmarshalDecode(d, &f.preTokenizer)
		case "post_processor":
			return json.UnmarshalDecode(d, &f.postProcessor)
		case "model":
			f.hasModel = true
			return f.model.read(d)
		}
		return d.SkipValue()
	})
	if err != nil {
		return fmt.Errorf("offset %d: %w", d.InputOffset(), err)
	}
	if !f.hasModel {
		return fmt.Errorf("there is no model section")
	}
	return nil
}

// eachMember reads an object, calling f at each of its values.
func eachMember(d *jsontext.Decoder, f func(name string) error) error {
	return each(d, '{', func() error {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		return f(name.String())
	})
}

// each reads an object ('{') or array ('['), calling f while it has members.
func each(d *jsontext.Decoder, open jsontext.Kind, f func() error) error {
	t, err := d.ReadToken()
	if err != nil {
		return err
	}
	if t.Kind() != open {
		return fmt.Errorf("a value begins with %v where %v should be", t.Kind(), open)
	}
	for {
		switch d.PeekKind() {
		case '}', ']':
			_, err := d.ReadToken()
			return err
		case 0:
			_, err := d.ReadToken()
			return cmp.Or(err, fmt.Errorf("the text ends early"))
		}
		if err := f(); err != nil {
			return err
		}
	}
}

func (m *jsonModel) read(d *jsontext.Decoder) error {
	return eachMember(d, func(name string) error {
		switch name {
		case "type":
			return json.UnmarshalDecode(d, &m.Type)
		case "dropout":
			return json.UnmarshalDecode(d, &m.Dropout)
		case "continuing_subword_prefix":
			return json.UnmarshalDecode(d, &m.Prefix)
		case "end_of_word_suffix":
			return json.UnmarshalDecode(d, &m.Suffix)
		case "byte_fallback":
			return json.UnmarshalDecode(d, &m.ByteFallback)
		case "ignore_merges":
			return json.UnmarshalDecode(d, &m.IgnoreMerges)
		case "vocab":
			return m.readVocab(d)
		case "merges":
			return m.readMerges(d)
		}
		return d.SkipValue()
	})
}

// readText appends the next value, a string, to names.
func (m *jsonModel) readText(d *jsontext.Decoder) error {
	v, err := d.ReadValue()
	if err != nil {
		return err
	}
	if v.Kind() != '"' {
		return fmt.Errorf("a value begins with %v where a string should be", v.Kind())
	}
	m.names, err = jsontext.AppendUnquote(m.names, v)
	return err
}

func (m *jsonModel) readVocab(d *jsontext.Decoder) error {
	m.entries = m.entries[:0]
	return each(d, '{', func() error {
		from := len(m.names)
		if err := m.readText(d); err != nil {
			return err
		}
		v, err := d.ReadValue()
		if err != nil {
			return err
		}
		id, err := strconv.ParseUint(string(v), 10, 31)
		if err != nil {
			return fmt.Errorf("the id of piece %q is %.20s", m.names[from:], v)
		}
		m.entries = append(m.entries, jsonEntry{int32(id), uint32(from), uint32(len(m.names))})
		return nil
	})
}

// readMerges reads ["a","b"] or, as older files have it, "a b".
func (m *jsonModel) readMerges(d *jsontext.Decoder) error {
	m.mergesFrom, m.mergeEnds = len(m.names), nil
	return each(d, '[', func() error {
		if d.PeekKind() == '"' {
			return m.readJoined(d)
		}
		before := len(m.mergeEnds)
		err := each(d, '[', func() error {
			err := m.readText(d)
			m.mergeEnds = append(m.mergeEnds, uint32(len(m.names)))
			return err
		})
		if n := len(m.mergeEnds) - before; err == nil && n != 2 {
			return fmt.Errorf("a merge has %d parts, not 2", n)
		}
		return err
	})
}

func (m *jsonModel) readJoined(d *jsontext.Decoder) error {
	from := len(m.names)
	if err := m.readText(d); err != nil {
		return err
	}
	merge := m.names[from:]
	space := bytes.IndexByte(merge, ' ')
	if space <= 0 || space == len(merge)-1 || bytes.IndexByte(merge[space+1:], ' ') >= 0 {
		return fmt.Errorf("the merge %q is not two pieces with a space between", merge)
	}
	m.names = append(m.names[:from+space], merge[space+1:]...)
	m.mergeEnds = append(m.mergeEnds, uint32(from+space), uint32(len(m.names)))
	return nil
}

// assemble puts the sections together.
func (f *jsonFile) assemble() (*assembler, error) {
	a, err := f.pieces()
	if err != nil {
		return nil, err
	}
	if a.spacePrefix, err = f.check(); err != nil {
		return nil, err
	}
	r := newRanker(&a.vocab)
	from := f.model.mergesFrom
	for i := 0; i < len(f.model.mergeEnds); i += 2 {
		middle, end := int(f.model.mergeEnds[i]), int(f.model.mergeEnds[i+1])
		if err := r.add(f.model.names[from:middle], f.model.names[middle:end]); err != nil {
			return nil, fmt.Errorf("model.merges: entry %d: %w", i/2, err)
		}
		from = end
	}
	a.ranks, a.ranked = r.finish(), true
	f.setTemplate(a)
	return a, nil
}

// pieces adds the vocabulary and the added tokens in the order of their ids.
func (f *jsonFile) pieces() (*assembler, error) {
	m := &f.model
	kinds := map[int32]kind{}
	for _, t := range f.added {
		if t.SingleWord || t.LeftStrip || t.RightStrip {
			return nil, fmt.Errorf("added token %q asks for single_word, lstrip or rstrip, which are not supported", t.Content)
		}
		kinds[t.ID] = userDefined
		if t.Special {
			kinds[t.ID] = control
		}
		from := len(m.names)
		m.names = append(m.names, t.Content...)
		m.entries = append(m.entries, jsonEntry{t.ID, uint32(from), uint32(len(m.names))})
	}
	// Stable: an added token may repeat a piece, and stands behind it then.
	slices.SortStableFunc(m.entries, func(x, y jsonEntry) int { return cmp.Compare(x.id, y.id) })
	a := newAssembler(len(m.entries))
	for i, entry := range m.entries {
		if entry.id < 0 || int(entry.id) > 2*len(m.entries)+1024 {
			return nil, fmt.Errorf("id %d is out of place in a vocabulary of %d", entry.id, len(m.entries))
		}
		if i+1 < len(m.entries) && m.entries[i+1].id == entry.id {
			if !bytes.Equal(m.text(entry), m.text(m.entries[i+1])) {
				return nil, fmt.Errorf("id %d is both %q and %q", entry.id, m.text(entry), m.text(m.entries[i+1]))
			}
			continue
		}
		for a.len() < int(entry.id) { // ids that no piece has
			if err := a.add(nil, unused); err != nil {
				return nil, err
			}
		}
		if err := a.add(m.text(entry), m.kind(entry, kinds)); err != nil {
			return nil, err
		}
	}
	return a, nil
}

func (m *jsonModel) text(x jsonEntry) []byte { return m.names[x.from:x.to] }

func (m *jsonModel) kind(x jsonEntry, added map[int32]kind) kind {
	if k, ok := added[x.id]; ok {
		return k
	}
	if _, ok := parseByte(string(m.text(x))); ok && m.ByteFallback {
		return byteToken
	}
	return normal
}

// check refuses what Gemma's tokenizers do not do, and says whether a space is
// put before the text.
func (f *jsonFile) check() (spacePrefix bool, err error) {
	m := &f.model
	switch {
	case m.Type != "BPE":
		return false, fmt.Errorf("model.type is %q, only BPE is supported", m.Type)
	case m.Dropout != 0:
		return false, fmt.Errorf("model.dropout is %g, only 0 is supported", m.Dropout)
	case m.Prefix != "" || m.Suffix != "":
		return false, fmt.Errorf("model.continuing_subword_prefix and end_of_word_suffix are not supported")
	case m.IgnoreMerges:
		return false, fmt.Errorf("model.ignore_merges is set, which is not supported")
	}
	// Gemma's pre-tokenizer cuts at spaces, of which its normaliser leaves none.
	if p := f.preTokenizer; p != nil && (p.Type != "Split" || p.Pattern.String != " ") {
		return false, fmt.Errorf("pre_tokenizer %q is not Gemma's, which splits at \" \"", p.Type)
	}
	if f.normaliser == nil {
		return false, fmt.Errorf("there is no normalizer; Gemma's replaces \" \" by %q", spaceMark)
	}
	steps := []jsonNormaliser{*f.normaliser}
	if f.normaliser.Type == "Sequence" {
		steps = f.normaliser.Normalisers
	}
	if len(steps) == 2 && steps[0].Type == "Prepend" && steps[0].Prepend == spaceMark {
		spacePrefix, steps = true, steps[1:]
	}
	if len(steps) != 1 || steps[0].Type != "Replace" || steps[0].Pattern.String != " " || steps[0].Content != spaceMark {
		return false, fmt.Errorf("normalizer %q is not Gemma's, which replaces \" \" by %q", f.normaliser.Type, spaceMark)
	}
	return spacePrefix, nil
}

// setTemplate takes BOS and EOS from the post-processor's template.
func (f *jsonFile) setTemplate(a *assembler) {
	a.addBOS = false
	if f.postProcessor == nil || f.postProcessor.Type != "TemplateProcessing" {
		return
	}
	text := false
	for _, part := range f.postProcessor.Single {
		switch {
		case part.Sequence != nil:
			text = true
		case part.SpecialToken != nil && text:
			a.addEOS = a.addEOS || part.SpecialToken.ID == "<eos>"
		case part.SpecialToken != nil:
			a.addBOS = a.addBOS || part.SpecialToken.ID == "<bos>"
		}
	}
}

package data

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"

	"lapidary/chat"
	"lapidary/tokenizer"
)

// Tokenizer is what is asked of a tokenizer here. It is used from several
// goroutines at once.
type Tokenizer interface {
	// Encode gives the ids of a text, without special tokens.
	Encode(text string) []int32
	// BOS begins a document and EOS ends it; negative: there is none.
	BOS() int32
	EOS() int32
	// Chat writes a conversation with the chat template, up to the end of the
	// last assistant's turn, and says which tokens the assistant's turns are
	// made of, the tokens that end them included.
	Chat(messages []chat.Message) (ids []int32, loss []bool, err error)
	// Fingerprint changes when any of the above would give other ids.
	Fingerprint() string
}

// NewTokenizer adapts the project's tokenizer and a chat template, which may
// be nil: documents that need one are refused then.
func NewTokenizer(t *tokenizer.Tokenizer, c *chat.Template) Tokenizer {
	a := &adapter{tokenizer: t, template: c}
	a.fingerprint = sync.OnceValue(a.hash)
	return a
}

type adapter struct {
	tokenizer   *tokenizer.Tokenizer
	template    *chat.Template
	fingerprint func() string
}

func (a *adapter) Encode(text string) []int32 { return tokenizer.IDs(a.tokenizer.Encode(text)) }

func (a *adapter) BOS() int32 {
	if !a.tokenizer.AddBOS() {
		return -1
	}
	return a.tokenizer.BOS()
}

func (a *adapter) EOS() int32 {
	if eos := a.tokenizer.EOS(); len(eos) > 0 {
		return eos[0]
	}
	return -1
}

func (a *adapter) Fingerprint() string { return a.fingerprint() }

func (a *adapter) hash() string {
	h := sha256.New()
	var n [4]byte
	for id := range a.tokenizer.Len() {
		p := a.tokenizer.Piece(int32(id))
		binary.LittleEndian.PutUint32(n[:], uint32(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	fmt.Fprintln(h, a.BOS(), a.EOS())
	if a.template != nil {
		name, builtIn := a.template.Family()
		fmt.Fprintln(h, name, builtIn, a.template.Source())
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Chat finds the assistant's turns in the whole conversation: the prompt for a
// turn and the conversation agree up to where the answer begins, and the answer
// ends with the first token that ends answers, since a message's text never
// becomes one.
func (a *adapter) Chat(messages []chat.Message) ([]int32, []bool, error) {
	if a.template == nil {
		return nil, nil, chat.ErrNoTemplate
	}
	last := lastAssistant(messages)
	if last < 0 {
		return nil, nil, errors.New("the conversation has no message of an assistant to learn from")
	}
	messages = messages[:last+1]
	ids, err := a.template.Encode(a.tokenizer, messages)
	if err != nil {
		return nil, nil, err
	}
	stop := a.template.StopTokens(a.tokenizer)
	loss := make([]bool, len(ids))
	end := 0
	for i, m := range messages {
		if m.Role != chat.Assistant {
			continue
		}
		prompt, err := a.template.Encode(a.tokenizer, messages[:i])
		if err != nil {
			return nil, nil, err
		}
		from := max(common(prompt, ids), end)
		length := slices.IndexFunc(ids[from:], func(id int32) bool { return slices.Contains(stop, id) })
		if length < 0 {
			return nil, nil, fmt.Errorf("message %d: the chat template does not end an assistant's turn", i+1)
		}
		end = from + length + 1
		for j := from; j < end; j++ {
			loss[j] = true
		}
	}
	return ids[:end], loss[:end], nil
}

func lastAssistant(messages []chat.Message) int {
	for i := len(messages) - 1; i >= 0; i-- {
		if messages[i].Role == chat.Assistant {
			return i
		}
	}
	return -1
}

// common is how many tokens two sequences begin with.
func common(a, b []int32) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// Document is tokens that belong together.
type Document struct {
	Sequences []Sequence
	Label     int // among [Set.Classes]; -1 for none
}

// Sequence is tokens, and which of them are to be predicted.
type Sequence struct {
	Tokens []int32
	Loss   []bool // Loss[0] says nothing: no token stands before it
}

// encode turns an example's texts into tokens. Prompt and answer become tokens
// separately, so that where one ends does not depend on the other.
func (e *Example) encode(tok Tokenizer) ([]Sequence, error) {
	out := make([]Sequence, len(e.Texts))
	for i, t := range e.Texts {
		if t.Chat != nil {
			ids, loss, err := tok.Chat(t.Chat)
			if err != nil {
				return nil, &Broken{e.File, e.Place, err}
			}
			out[i] = Sequence{ids, loss}
			continue
		}
		var ids []int32
		if bos := tok.BOS(); bos >= 0 {
			ids = append(ids, bos)
		}
		ids = append(ids, tok.Encode(t.Prompt)...)
		from := len(ids)
		ids = append(ids, tok.Encode(t.Answer)...)
		if eos := tok.EOS(); eos >= 0 {
			ids = append(ids, eos)
		}
		loss := make([]bool, len(ids))
		for j := from; j < len(ids); j++ {
			loss[j] = true
		}
		out[i] = Sequence{ids, loss}
	}
	return out, nil
}

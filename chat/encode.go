package chat

import (
	"fmt"
	"slices"

	"lapidary/tokenizer"
)

// vocabulary is what is asked of a tokenizer here.
type vocabulary interface {
	Encode(text string) []tokenizer.Token
	EncodeSpecial(text string) []tokenizer.Token
	Control(id int32) bool
	Piece(id int32) string
	ID(piece string) (int32, bool)
	BOS() int32
	EOS() []int32
	AddBOS() bool
}

// Prompt is a conversation as a model reads it.
type Prompt struct {
	IDs []int32
	// Media are the conversation's pictures, sounds and films, in the order in
	// which they stand in IDs.
	Media []Placed
	// InThought: the prompt ends within a thought that the model is to go on
	// with. [Template.NewParser] wants to know.
	InThought bool
}

// Placed is a media part of a conversation and where its vectors go.
type Placed struct {
	Message, Part int // the part is Messages[Message].Parts[Part]
	Type          string
	// Ranges of IDs, [from, to), that are its soft tokens: one for a picture
	// or sound, one each for the whole picture and its crops or for a video's
	// frames; as many tokens as the part's Tokens say.
	Ranges [][2]int
}

// Render is the conversation as text, for people to read. With prompt the
// model's next turn is opened. It must not be tokenized: a message that spells
// a control token could not be told from markup. That is what Encode is for.
func (t *Template) Render(messages []Message, prompt bool) (string, error) {
	return t.RenderConversation(Conversation{Messages: messages}, prompt)
}

// RenderConversation is [Template.Render] with tools and thinking. Media are
// shown by their placeholders.
func (t *Template) RenderConversation(c Conversation, prompt bool) (string, error) {
	c, err := t.prepare(c.numbered(false))
	if err != nil {
		return "", err
	}
	if t.own != nil {
		return t.execute(c, prompt, "<bos>", keep)
	}
	pieces, err := t.family.pieces(c, prompt)
	return spelled(pieces), err
}

// Encode is the prompt for the model's next turn: the conversation's tokens,
// with the beginning-of-sequence token, up to where the answer starts. Control
// tokens come from the template only: their spellings in a message are
// ordinary text. A media part is one token that holds its place; with soft
// tokens it takes [Template.Prompt].
func (t *Template) Encode(tok *tokenizer.Tokenizer, messages []Message) ([]int32, error) {
	return t.encode(tok, messages)
}

func (t *Template) encode(v vocabulary, messages []Message) ([]int32, error) {
	p, err := t.assemble(v, Conversation{Messages: messages}.numbered(false))
	return p.IDs, err
}

// Prompt is the prompt for the model's next turn with the places of its media.
// Each media part has to say how many soft tokens it takes.
func (t *Template) Prompt(tok *tokenizer.Tokenizer, c Conversation) (Prompt, error) {
	return t.prompt(tok, c)
}

func (t *Template) prompt(v vocabulary, c Conversation) (Prompt, error) {
	for i, m := range c.Messages {
		for j, p := range m.Parts {
			if p.Type != Text && len(p.Tokens) == 0 {
				return Prompt{}, fmt.Errorf("message %d, part %d: %s without its number of soft tokens", i, j, p.Type)
			}
		}
	}
	return t.assemble(v, c.numbered(true))
}

func (t *Template) assemble(v vocabulary, c Conversation) (Prompt, error) {
	c, err := t.prepare(c)
	if err != nil {
		return Prompt{}, err
	}
	var pieces []piece
	if t.own != nil {
		pieces, err = t.ownPieces(v, c)
	} else {
		pieces, err = t.family.pieces(c, true)
	}
	if err != nil {
		return Prompt{}, err
	}
	if pieces, err = t.family.media.expand(withBOS(v, pieces)); err != nil {
		return Prompt{}, err
	}
	return t.join(v, pieces)
}

// withBOS begins the pieces with the token that begins a text, if the model
// wants it and the template has not written it.
func withBOS(v vocabulary, pieces []piece) []piece {
	if !v.AddBOS() {
		return pieces
	}
	for _, p := range pieces {
		if p.kind == bos {
			return pieces
		}
	}
	return append([]piece{{kind: bos}}, pieces...)
}

// StopTokens are the tokens that end an answer: the vocabulary's end tokens
// and the one that the template closes the model's turn with; of Gemma 4 also
// the one by which the model waits for a tool.
func (t *Template) StopTokens(tok *tokenizer.Tokenizer) []int32 { return t.stopTokens(tok) }

func (t *Template) stopTokens(v vocabulary) []int32 {
	stop := v.EOS()
	add := func(id int32, ok bool) {
		if ok && !slices.Contains(stop, id) {
			stop = append(stop, id)
		}
	}
	names := t.family.stop
	if t.own != nil {
		add(t.closing(v))
		names = names[min(1, len(names)):]
	}
	for _, name := range names {
		add(control(v, name))
	}
	return stop
}

package lapidary

import (
	"errors"
	"fmt"

	"lapidary/chat"
	"lapidary/gemma"
	"lapidary/generate"
)

// Prompt is what a model continues or answers: tokens, and the media among them.
// A Prompt belongs to the model that made it.
type Prompt = generate.Prompt

// Conversation is messages, and what a model may do with them.
type Conversation = chat.Conversation

// Prompt writes a conversation out as the model expects it, with attachments in
// the place of its media parts, in order: of each, its Parts follow each other in
// a message. A base model has no chat template and is refused with
// [chat.ErrNoTemplate].
func (m *Model) Prompt(c Conversation, attached ...*Attachment) (Prompt, error) {
	t, err := m.Template()
	if err != nil {
		return Prompt{}, err
	}
	return m.prompt(t, c, attached)
}

// PromptText is Prompt for a base model: a text to be completed and what stands
// in it ([chat.Place]).
func (m *Model) PromptText(parts []chat.Part, attached ...*Attachment) (Prompt, error) {
	if err := m.enter(); err != nil {
		return Prompt{}, err
	}
	defer m.leave()
	return m.prompt(chat.Plain(m.checkpoint), Conversation{Messages: []Message{{Role: chat.User, Parts: parts}}}, attached)
}

// PromptTokens is a prompt of tokens alone, as they are.
func (m *Model) PromptTokens(ids []int32) Prompt {
	return m.finish(Prompt{Tokens: ids}, nil)
}

func (m *Model) prompt(t *chat.Template, c Conversation, attached []*Attachment) (Prompt, error) {
	written, err := t.Prompt(m.tokenizer, c)
	if err != nil {
		return Prompt{}, err
	}
	var vectors [][][]float32
	for _, a := range attached {
		vectors = append(vectors, a.vectors...)
	}
	if len(vectors) != len(written.Media) {
		return Prompt{}, fmt.Errorf("%d pieces of media for %d places in the conversation", len(vectors), len(written.Media))
	}
	p := Prompt{Tokens: written.IDs, InThought: written.InThought}
	var pictures [][2]int
	for i, placed := range written.Media {
		if len(placed.Ranges) != len(vectors[i]) {
			return Prompt{}, fmt.Errorf("%s %d has %d pieces for %d places", placed.Type, i, len(vectors[i]), len(placed.Ranges))
		}
		for j, r := range placed.Ranges {
			if len(vectors[i][j]) != (r[1]-r[0])*m.core.Config().Width {
				return Prompt{}, fmt.Errorf("%s %d does not fit its place: it was made by another model", placed.Type, i)
			}
			p.Soft = append(p.Soft, gemma.Soft{At: r[0], Vectors: vectors[i][j]})
			if placed.Type != chat.Audio {
				pictures = append(pictures, r)
			}
		}
	}
	return m.finish(p, pictures), nil
}

// finish adds what the architecture asks for: who sees whom, and, where there is
// an encoder, that the tokens are its.
func (m *Model) finish(p Prompt, pictures [][2]int) Prompt {
	c := m.core.Config()
	p.Together = c.Together(pictures, len(p.Tokens))
	if c.Encoder == nil {
		return p
	}
	return Prompt{
		Source: &gemma.Step{Tokens: p.Tokens, Soft: p.Soft},
		Tokens: []int32{m.tokenizer.BOS()}, // what a decoder begins with
	}
}

// Parser takes an answer to the prompt apart into thoughts, text and tool calls
// while it comes. A model without a chat template gives text alone.
func (m *Model) Parser(p Prompt) *chat.Parser {
	t, err := m.Template()
	if err != nil {
		t = chat.Plain(m.checkpoint)
	}
	return t.NewParser(m.tokenizer, p.InThought)
}

// Completes reports whether the model completes texts and has no form for a
// conversation.
func (m *Model) Completes() bool {
	_, err := m.Template()
	return errors.Is(err, chat.ErrNoTemplate)
}

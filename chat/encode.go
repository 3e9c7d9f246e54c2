package chat

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"lapidary/tokenizer"
)

// ErrEmpty says that there is no message to answer.
var ErrEmpty = errors.New("the conversation has no message")

// vocabulary is what is asked of a tokenizer here.
type vocabulary interface {
	Encode(text string) []tokenizer.Token
	EncodeSpecial(text string) []tokenizer.Token
	Control(id int32) bool
	Piece(id int32) string
	BOS() int32
	EOS() []int32
	AddBOS() bool
}

// Render is the conversation as text, for people to read. With prompt the
// model's next turn is opened. It must not be tokenized: a message that spells
// a control token could not be told from markup. That is what Encode is for.
func (t *Template) Render(messages []Message, prompt bool) (string, error) {
	messages, err := t.prepare(messages)
	if err != nil {
		return "", err
	}
	out, err := t.execute(messages, prompt, "<bos>", keep)
	if err != nil {
		return "", refusal(err)
	}
	return out, nil
}

// Encode is the prompt for the model's next turn: the conversation's tokens,
// with the beginning-of-sequence token, up to where the answer starts. Control
// tokens come from the template only: their spellings in a message are
// ordinary text.
func (t *Template) Encode(tok *tokenizer.Tokenizer, messages []Message) ([]int32, error) {
	return t.encode(tok, messages)
}

func (t *Template) encode(v vocabulary, messages []Message) ([]int32, error) {
	messages, err := t.prepare(messages)
	if err != nil {
		return nil, err
	}
	guard, ok := pickGuard(texts(messages, t.source))
	if !ok {
		return nil, errors.New("the conversation uses every private-use character: remove one")
	}
	g := &guarder{guard: string(guard), controls: func(s string) [][2]int { return controls(v, s) }}
	text, err := t.execute(messages, true, v.Piece(v.BOS()), g.mark)
	if err != nil {
		return nil, refusal(err)
	}
	ids := encodeGuarded(v, text, g)
	if v.AddBOS() && v.BOS() >= 0 && (len(ids) == 0 || ids[0] != v.BOS()) {
		ids = slices.Insert(ids, 0, v.BOS())
	}
	return ids, nil
}

// StopTokens are the tokens that end an answer: the vocabulary's end tokens
// and the one that the template closes the model's turn with.
func (t *Template) StopTokens(tok *tokenizer.Tokenizer) []int32 { return t.stopTokens(tok) }

func (t *Template) stopTokens(v vocabulary) []int32 {
	stop := slices.Clone(v.EOS())
	mark := string(rune(firstGuard))
	probe := []Message{{Role: User, Content: "u"}, {Role: Assistant, Content: mark}}
	text, err := t.execute(probe, false, "", keep)
	if err != nil {
		return stop
	}
	_, after, _ := strings.Cut(text, mark)
	for _, token := range v.EncodeSpecial(after) {
		if spells(v, after, token) {
			if !slices.Contains(stop, token.ID) {
				stop = append(stop, token.ID)
			}
			break
		}
	}
	return stop
}

// prepare checks the messages and gives the template what it can take.
func (t *Template) prepare(messages []Message) ([]Message, error) {
	if len(messages) == 0 {
		return nil, ErrEmpty
	}
	for i, m := range messages {
		if err := m.check(); err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
	}
	if t.fold && roles[messages[0].Role] == System {
		return fold(messages)
	}
	return messages, nil
}

// fold puts the system text before the first user message's.
func fold(messages []Message) ([]Message, error) {
	if len(messages) < 2 || messages[1].Role != User {
		return nil, errors.New("this model has no system role: a user message must follow the system text")
	}
	system, user := messages[0].Text()+"\n\n", messages[1]
	if user.Parts == nil {
		user.Content = system + user.Content
	} else {
		user.Parts = slices.Insert(slices.Clone(user.Parts), 0, Part{Type: "text", Text: system})
	}
	out := slices.Clone(messages[1:])
	out[0] = user
	return out, nil
}

func refusal(err error) error {
	return fmt.Errorf("the chat template refuses this conversation: %w", err)
}

func texts(messages []Message, more ...string) []string {
	for _, m := range messages {
		more = append(more, m.Content)
		for _, p := range m.Parts {
			more = append(more, p.Text)
		}
	}
	return more
}

// spells reports whether a token of text is a control token written out. What
// a vocabulary doesn't know becomes its unknown token, which is none of those.
func spells(v vocabulary, text string, t tokenizer.Token) bool {
	return v.Control(t.ID) && v.Piece(t.ID) == text[t.From:t.To]
}

// controls finds the control tokens that text spells.
func controls(v vocabulary, text string) [][2]int {
	var spans [][2]int
	for _, t := range v.EncodeSpecial(text) {
		if spells(v, text, t) {
			spans = append(spans, [2]int{t.From, t.To})
		}
	}
	return spans
}

// encodeGuarded encodes what the template made of guarded messages: control
// tokens as such, and the text between them, guards taken out, as ordinary.
func encodeGuarded(v vocabulary, text string, g *guarder) []int32 {
	tokens := v.EncodeSpecial(text)
	ids := make([]int32, 0, len(tokens))
	if !g.used {
		for _, t := range tokens {
			ids = append(ids, t.ID)
		}
		return ids
	}
	plain := func(s string) {
		for _, t := range v.Encode(strings.ReplaceAll(s, g.guard, "")) {
			ids = append(ids, t.ID)
		}
	}
	from := 0
	for _, t := range tokens {
		if spells(v, text, t) {
			plain(text[from:t.From])
			ids = append(ids, t.ID)
			from = t.To
		}
	}
	plain(text[from:])
	return ids
}

package chat

import (
	"errors"
	"fmt"
	"strings"

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
				return Prompt{}, fmt.Errorf("message %d, part %d: a %s part without its number of soft tokens", i, j, p.Type)
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
	add := func(id int32) {
		for _, have := range stop {
			if have == id {
				return
			}
		}
		stop = append(stop, id)
	}
	names := t.family.stop
	if t.own != nil {
		if id, ok := t.closing(v); ok {
			add(id)
		}
		names = names[min(1, len(names)):]
	}
	for _, name := range names {
		if id, ok := control(v, name); ok {
			add(id)
		}
	}
	return stop
}

// closing is the token that the checkpoint's own template writes after what
// an assistant said.
func (t *Template) closing(v vocabulary) (int32, bool) {
	mark := string(rune(firstGuard))
	probe := Conversation{Messages: []Message{{Role: User, Content: "u"}, {Role: Assistant, Content: mark}}}
	text, err := t.execute(probe, false, "", keep)
	if err != nil {
		return 0, false
	}
	_, after, _ := strings.Cut(text, mark)
	for _, token := range v.EncodeSpecial(after) {
		if spells(v, after, token) {
			return token.ID, true
		}
	}
	return 0, false
}

// ownPieces renders with the checkpoint's own template and takes apart what
// it wrote: control tokens, the places of media, and text. Texts of messages
// were guarded, so no token is found in them.
func (t *Template) ownPieces(v vocabulary, c Conversation) ([]piece, error) {
	texts := []string{t.source}
	c.strings(func(s string) { texts = append(texts, s) })
	guard, ok := pickGuard(texts)
	if !ok {
		return nil, errors.New("the conversation uses every private-use character: remove one")
	}
	g := &guarder{guard: string(guard), controls: func(s string) [][2]int { return controls(v, s) }}
	written, err := t.execute(c, true, v.Piece(v.BOS()), g.mark)
	if err != nil {
		return nil, err
	}
	w, queue := &writer{}, newQueue(c)
	plain := func(s string) { w.text(strings.ReplaceAll(s, g.guard, "")) }
	from := 0
	for _, token := range v.EncodeSpecial(written) {
		if !spells(v, written, token) {
			continue
		}
		plain(written[from:token.From])
		from = token.To
		switch s := written[token.From:token.To]; {
		case token.ID == v.BOS():
			w.bos()
		default:
			if p := queue.take(t.family.media, s); p != nil {
				w.media(s, p)
			} else {
				w.markup(s)
			}
		}
	}
	plain(written[from:])
	return w.pieces, queue.left()
}

// queue holds the media of a conversation that wait for their placeholders.
type queue struct{ waiting map[string][]*Part }

func newQueue(c Conversation) queue {
	q := queue{map[string][]*Part{}}
	for i := range c.Messages {
		for j := range c.Messages[i].Parts {
			if p := &c.Messages[i].Parts[j]; p.Type != Text {
				q.waiting[p.Type] = append(q.waiting[p.Type], p)
			}
		}
	}
	return q
}

// take is the next part of the type that has this placeholder.
func (q queue) take(fs forms, placeholder string) *Part {
	for kind, f := range fs {
		if parts := q.waiting[kind]; f.placeholder == placeholder && len(parts) > 0 {
			q.waiting[kind] = parts[1:]
			return parts[0]
		}
	}
	return nil
}

// left refuses media that the template had no place for.
func (q queue) left() error {
	for kind, parts := range q.waiting {
		if len(parts) > 0 {
			return fmt.Errorf("message %d, part %d: the chat template has no place for %s", parts[0].message, parts[0].part, kind)
		}
	}
	return nil
}

package chat

import (
	"errors"
	"fmt"
	"strings"
)

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

package terminal

import (
	"strings"

	"lapidary/chat"
	"lapidary/generate"
)

// Parser takes an answer apart while it comes, as [chat.Parser] does.
type Parser interface {
	Token(id int32, released string) []chat.Event
	Close() []chat.Event
}

// reply is an answer that is coming. Thoughts and answer are shown one below
// the other; only the answer is said.
type reply struct {
	c       *chatter
	parser  Parser
	view    viewer
	kind    chat.EventKind  // of what the view shows
	shown   strings.Builder // in the view: without what commands terminals
	said    strings.Builder // as the model wrote it
	thought bool
	calls   []string // names of the tools that were called
}

// token takes the next token and shows what comes first at once.
func (r *reply) token(t generate.Token) error {
	first := r.shown.Len() == 0
	err := r.take(r.parser.Token(t.ID, t.Text))
	if err == nil && first && r.shown.Len() > 0 {
		err = r.update()
	}
	return err
}

func (r *reply) update() error { return r.view.update(r.shown.String()) }

// end shows all of the answer for good.
func (r *reply) end() error {
	if err := r.take(r.parser.Close()); err != nil {
		return err
	}
	return r.view.end(r.shown.String())
}

func (r *reply) take(events []chat.Event) error {
	for _, e := range events {
		kind := e.Kind
		if kind == chat.Called {
			r.calls = append(r.calls, e.Call.Name)
			kind = chat.Answered
		}
		if kind == chat.Thought {
			r.thought = true
			if !r.c.thoughts {
				r.view.waits("thinking")
				continue
			}
		} else {
			r.said.WriteString(e.Text)
		}
		if kind != r.kind {
			if err := r.turn(kind); err != nil {
				return err
			}
		}
		r.shown.WriteString(clean(e.Text))
	}
	return nil
}

// turn ends what is shown and begins below it, a line apart.
func (r *reply) turn(kind chat.EventKind) error {
	if err := r.view.end(r.shown.String()); err != nil {
		return err
	}
	if r.shown.Len() > 0 {
		r.c.println(line{})
	}
	r.kind, r.view = kind, r.c.viewer("")
	if kind == chat.Thought {
		r.c.note("Thinking:")
		r.view = r.c.thoughtViewer()
	}
	r.shown.Reset()
	return nil
}

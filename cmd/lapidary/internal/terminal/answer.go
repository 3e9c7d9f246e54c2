package terminal

import (
	"context"
	"fmt"
	"strings"
	"time"

	"lapidary"
	"lapidary/chat"
	"lapidary/generate"
)

// How often what is shown of an answer is brought up to date. Painting takes
// under a millisecond, which would add up at a hundred tokens a second.
const repaint = 50 * time.Millisecond

// How long there is silence before the wait for the first token is shown.
const patience = 400 * time.Millisecond

// unsent is the error of a message that the model never got.
type unsent struct{ error }

// answer sends a message, shows the answer as it comes, and keeps both. When it
// fails before the first word of the answer the message is not kept either.
func (c *chatter) answer(ctx context.Context, text string, attached []*attachment) (kept bool, err error) {
	asked := message{chat.Message{Role: chat.User, Content: text}, attached}
	messages := append(c.messages[:len(c.messages):len(c.messages)], asked)
	p, err := c.prompt(messages)
	if err != nil {
		return false, unsent{err}
	}
	if n, room := size(p), c.model.Context(); n >= room {
		return false, unsent{fmt.Errorf("that makes %d tokens and the model's context holds %d; nothing was sent: shorten it, or %s", n, room, c.shorter(attached))}
	}
	r, err := c.generate(ctx, p)
	said := r.said.String()
	if said != "" {
		c.messages = append(messages, message{Message: chat.Message{Role: chat.Assistant, Content: said}})
	}
	halted := err != nil
	remark := "stopped" // what was said until then counts
	if said == "" {
		remark = "stopped before an answer; the message isn't kept"
	}
	if err = c.stopped(ctx, err, remark); err != nil {
		return said != "", err
	}
	if said == "" && !halted && c.last != nil {
		c.note("The model ended its answer before saying anything; the message isn't kept.")
	}
	if r.thought {
		c.recount() // the next prompt has no thoughts
	}
	if len(r.calls) > 0 {
		c.note("The model asks for a tool (%s), and there are none here.", strings.Join(r.calls, ", "))
	}
	c.remark()
	return said != "", nil
}

// shorter is what may make room for a message.
func (c *chatter) shorter(attached []*attachment) string {
	if len(attached) > 0 {
		return "/forget, /undo or /clear"
	}
	return "/undo or /clear"
}

// size is the number of tokens that the model is given to read.
func size(p lapidary.Prompt) int {
	if p.Source != nil {
		return len(p.Source.Tokens) + len(p.Tokens)
	}
	return len(p.Tokens)
}

// prompt is what the model continues.
func (c *chatter) prompt(messages []message) (lapidary.Prompt, error) {
	if !c.model.Chats() {
		return c.promptText(messages)
	}
	conversation := lapidary.Conversation{Thinking: c.think}
	if c.system != "" {
		conversation.Messages = []chat.Message{{Role: chat.System, Content: c.system}}
	}
	var attached []*lapidary.Attachment
	for _, m := range messages {
		out := m.Message
		if len(m.attached) > 0 {
			parts, seen, err := m.parts()
			if err != nil {
				return lapidary.Prompt{}, err
			}
			out.Content, out.Parts = "", parts
			attached = append(attached, seen...)
		}
		conversation.Messages = append(conversation.Messages, out)
	}
	return c.model.Prompt(conversation, attached...)
}

// promptText is the pieces of a text as one.
func (c *chatter) promptText(messages []message) (lapidary.Prompt, error) {
	var parts []chat.Part
	var attached []*lapidary.Attachment
	for _, m := range messages {
		more, seen, err := m.parts()
		if err != nil {
			return lapidary.Prompt{}, err
		}
		for _, p := range more {
			if n := len(parts); n > 0 && p.Type == chat.Text && parts[n-1].Type == chat.Text {
				parts[n-1].Text += p.Text
				continue
			}
			parts = append(parts, p)
		}
		attached = append(attached, seen...)
	}
	return c.model.PromptText(parts, attached...)
}

// generate runs the model on the prompt and shows what comes until it ends or
// Ctrl-C is pressed.
func (c *chatter) generate(ctx context.Context, p lapidary.Prompt) (r *reply, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.last, c.used = nil, size(p)
	r = &reply{c: c, parser: c.model.Parser(p), view: c.viewer(fmt.Sprintf("reading %d tokens", c.used))}
	check := func(e error) {
		if err == nil && e != nil {
			err = e
			cancel() // nobody could read what follows
		}
	}
	events, keys := c.events(ctx, p), c.in.events()
	tick := time.NewTicker(repaint)
	defer tick.Stop()
	for {
		select {
		case ev, more := <-keys:
			if !more {
				keys = nil // the terminal is gone
				cancel()
			} else if c.in.hold(ev) {
				cancel()
			}
		case <-tick.C:
			check(r.update())
		case e, more := <-events:
			switch {
			case !more:
				check(r.end())
				return r, err
			case e.err != nil:
				check(e.err)
			default:
				c.count(e.token)
				check(r.token(e.token))
			}
		}
	}
}

// events runs the model beside the screen, so that neither waits for the other.
func (c *chatter) events(ctx context.Context, p lapidary.Prompt) <-chan event {
	events := make(chan event, 64)
	go func() {
		defer close(events)
		for token, err := range c.model.Generate(ctx, p, c.params) {
			events <- event{token, err}
			if err != nil {
				return
			}
		}
	}()
	return events
}

// count keeps the numbers of the answer that is coming.
func (c *chatter) count(t generate.Token) {
	c.used++
	if t.End != nil {
		c.last = t.End
		c.used = t.End.PromptTokens + t.End.Tokens
	}
}

type event struct {
	token generate.Token
	err   error
}

// remark tells what one has to know after an answer: that it was cut, that the
// context is nearly full, and how fast it went if that was asked for.
func (c *chatter) remark() {
	room := c.model.Context()
	switch r := c.last; {
	case r != nil && r.ContextFull:
		c.note("The answer is cut: the context of %d tokens is full. /undo makes room, /clear starts anew.", room)
	case c.used*10 >= room*9:
		c.note("The context is nearly full: %d of %d tokens. /undo makes room, /clear starts anew.", c.used, room)
	case r != nil && r.Reason == generate.Length && !c.model.Chats():
		c.note("Cut at %d tokens: /more goes on.", r.Tokens)
	case r != nil && r.Reason == generate.Length:
		c.note("The answer is cut at %d tokens: /set max_tokens 0 sets no limit.", r.Tokens)
	}
	if c.stats && c.last != nil {
		c.showSpeed()
	}
}

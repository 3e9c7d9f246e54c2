package terminal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"lapidary/chat"
	"lapidary/generate"
)

// How often what is shown of an answer is brought up to date. Painting takes
// under a millisecond, which would add up at a hundred tokens a second.
const repaint = 50 * time.Millisecond

// How long there is silence before the wait for the first token is shown.
const patience = 400 * time.Millisecond

// answer sends a message, shows the answer as it comes, and keeps both. When it
// fails before the first token the message is not kept either.
func (c *chatter) answer(ctx context.Context, message string) error {
	messages := append(c.messages[:len(c.messages):len(c.messages)], chat.Message{Role: chat.User, Content: message})
	ids, err := c.prompt(messages)
	if err != nil {
		return err
	}
	if n, room := len(ids), c.model.Context(); n >= room {
		return fmt.Errorf("that makes %d tokens and the model's context holds %d; nothing was sent: shorten it, or /undo or /clear", n, room)
	}
	said, err := c.generate(ctx, ids)
	if said != "" {
		c.messages = append(messages, chat.Message{Role: chat.Assistant, Content: said})
	}
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		err = nil // Ctrl-C; what was said until then counts
		c.note("stopped")
	}
	if err != nil {
		return err
	}
	if said == "" && c.last != nil {
		c.note("The model ended its answer before saying anything; the message isn't kept.")
	}
	c.remark()
	return nil
}

// prompt is the tokens that the model continues.
func (c *chatter) prompt(messages []chat.Message) ([]int32, error) {
	if !c.model.Chats() {
		var b strings.Builder
		for _, m := range messages {
			b.WriteString(m.Content)
		}
		return c.model.Text(b.String())
	}
	if c.system != "" {
		messages = append([]chat.Message{{Role: chat.System, Content: c.system}}, messages...)
	}
	return c.model.Prompt(messages)
}

// generate runs the model on the prompt and shows what comes until it ends or
// Ctrl-C is pressed.
func (c *chatter) generate(ctx context.Context, ids []int32) (said string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.last, c.used = nil, len(ids)
	var raw, shown strings.Builder // as the model wrote it, and without what commands terminals
	show := c.viewer(len(ids))
	check := func(e error) {
		if err == nil && e != nil {
			err = e
			cancel() // nobody could read what follows
		}
	}
	events, keys := c.events(ctx, ids), c.in.events()
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
			check(show.update(shown.String()))
		case e, more := <-events:
			if !more {
				check(show.end(shown.String()))
				return raw.String(), err
			}
			first := shown.Len() == 0
			if e.err != nil {
				check(e.err)
				continue
			}
			c.count(e.token)
			raw.WriteString(e.token.Text)
			shown.WriteString(clean(e.token.Text))
			if first {
				check(show.update(shown.String()))
			}
		}
	}
}

// events runs the model beside the screen, so that neither waits for the other.
func (c *chatter) events(ctx context.Context, ids []int32) <-chan event {
	events := make(chan event, 64)
	go func() {
		defer close(events)
		for token, err := range c.model.Generate(ctx, ids, c.params) {
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

package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	var b strings.Builder
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
			check(show.update(b.String()))
		case e, more := <-events:
			if !more {
				check(show.end(b.String()))
				return b.String(), err
			}
			first := b.Len() == 0
			if e.err != nil {
				check(e.err)
				continue
			}
			c.count(e.token)
			b.WriteString(e.token.Text)
			if first {
				check(show.update(b.String()))
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
	case r != nil && r.Reason == generate.Length:
		c.note("The answer is cut at %d tokens: /set max_tokens 0 sets no limit.", r.Tokens)
	}
	if c.stats && c.last != nil {
		c.showSpeed()
	}
}

// viewer shows an answer while it grows.
type viewer interface {
	update(answer string) error // what there is so far
	end(answer string) error
}

func (c *chatter) viewer(promptTokens int) viewer {
	if c.tty.dumb {
		return &plainView{out: c.out}
	}
	s := c.tty.screen()
	w := waiting{screen: s, since: time.Now(), tokens: promptTokens}
	if c.markdown && c.model.Chats() {
		return &markdownView{screen: s, markdown: newMarkdown(), waiting: w}
	}
	return &plainView{out: c.out, waiting: &w}
}

// waiting shows that the prompt is being read, once that takes a while.
type waiting struct {
	screen *screen
	since  time.Time
	tokens int
}

func (w *waiting) update() error {
	if time.Since(w.since) < patience {
		return nil
	}
	dots := int(time.Since(w.since)/patience) % 4
	w.screen.paint([]line{{{fmt.Sprintf("reading %d tokens%s", w.tokens, strings.Repeat(".", dots)), faintStyle}}}, true)
	return w.screen.flush()
}

func (w *waiting) end() error {
	w.screen.paint(nil, false)
	return w.screen.flush()
}

// plainView writes the answer as it is and leaves it to the terminal to break
// lines.
type plainView struct {
	out     io.Writer
	waiting *waiting
	written int
}

func (v *plainView) update(answer string) error {
	if v.written == len(answer) {
		if v.waiting != nil {
			return v.waiting.update()
		}
		return nil
	}
	if v.waiting != nil {
		if err := v.waiting.end(); err != nil {
			return err
		}
		v.waiting = nil
	}
	_, err := io.WriteString(v.out, clean(answer[v.written:]))
	v.written = len(answer)
	return err
}

func (v *plainView) end(answer string) error {
	err := v.update(answer)
	if v.waiting != nil {
		return errors.Join(err, v.waiting.end())
	}
	if !strings.HasSuffix(answer, "\n") {
		_, e := io.WriteString(v.out, "\n")
		err = errors.Join(err, e)
	}
	return err
}

// markdownView shows the answer formatted. Blocks that are complete are
// written for good, and the one that grows is painted again.
type markdownView struct {
	screen   *screen
	markdown *markdown
	waiting  waiting
	length   int // of the answer that is shown
	done     int // blocks that are written for good
}

func (v *markdownView) update(answer string) error {
	if answer == "" {
		return v.waiting.update()
	}
	if len(answer) == v.length {
		return nil
	}
	// The line being written may still turn the block before it into another
	// (a heading by the dashes below it), so what is complete is found without.
	whole := answer[:strings.LastIndexByte(answer, '\n')+1]
	v.show(answer, len(v.render(whole))-1)
	return v.screen.flush()
}

func (v *markdownView) render(answer string) []block {
	width, _ := v.screen.size()
	return v.markdown.render(clean(answer), width)
}

// show brings the screen up to date with an answer of which so many blocks are
// complete.
func (v *markdownView) show(answer string, complete int) {
	v.length = len(answer)
	blocks := v.render(answer)
	for ; v.done < min(complete, len(blocks)); v.done++ {
		v.screen.paint(v.spaced(blocks[v.done].lines), false)
		v.screen.commit()
	}
	var open []line
	settled := true
	for i, b := range blocks[min(v.done, len(blocks)):] {
		if i > 0 {
			open = append(open, line{})
		}
		open = append(open, b.lines...)
		settled = settled && b.settled
	}
	if open != nil {
		v.screen.paint(v.spaced(open), !settled)
	}
}

// spaced puts an empty line before every block but the first.
func (v *markdownView) spaced(lines []line) []line {
	if v.done == 0 {
		return lines
	}
	return append([]line{{}}, lines...)
}

func (v *markdownView) end(answer string) error {
	if answer == "" {
		return v.waiting.end()
	}
	v.show(answer, len(v.render(answer)))
	v.screen.commit()
	return v.screen.flush()
}

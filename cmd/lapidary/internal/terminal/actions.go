package terminal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"lapidary/chat"
)

func (c *chatter) cmdHelp(context.Context, string) error {
	for _, e := range commandList() {
		c.row("/"+strings.Join(e.names, " /")+pad(e.args), e.help)
	}
	c.println(line{})
	c.row(`""" … """`, "a message of several lines")
	c.row("Alt-Enter, Ctrl-J", `a new line in the message; so are Shift-Enter in some terminals and a \ at the end`)
	c.row("Ctrl-C", "stops the answer, or empties the line")
	c.row("Ctrl-R, Up", "find and repeat what was typed before")
	c.row("Tab", "completes commands, settings and names of conversations and files")
	c.row("<image> <audio> <video>", "in a message: where what is attached stands; else it stands before the words")
	return nil
}

func pad(s string) string {
	if s == "" {
		return ""
	}
	return " " + s
}

// row shows a thing and what there is to say about it, side by side where the
// terminal is wide enough.
func (c *chatter) row(left, right string) {
	const column = 30
	width, _ := c.tty.size()
	about := []span{{clean(right), faintStyle}}
	if width < 2*column {
		c.println(text("  " + left))
		c.println(indent(wrap(about, width-4), text("    "), text("    "))...)
		return
	}
	first := text(fmt.Sprintf("  %-*s", column-2, left))
	if len(left) > column-3 {
		c.println(text("  " + left))
		first = text(strings.Repeat(" ", column))
	}
	c.println(indent(wrap(about, width-column), first, text(strings.Repeat(" ", column)))...)
}

func (c *chatter) cmdBye(context.Context, string) error {
	c.bye = true
	return nil
}

func (c *chatter) cmdSet(ctx context.Context, args string) error {
	name, value, _ := strings.Cut(args, " ")
	value = strings.TrimSpace(value)
	switch name {
	case "":
		c.showSettings(true)
		return nil
	case "parameter": // as Ollama has it
		return c.cmdSet(ctx, value)
	case "verbose":
		name, value = "stats", "on"
	case "quiet":
		name, value = "stats", "off"
	}
	s, known := settingNamed(name)
	switch {
	case known && value == "":
		c.row(s.name+" "+s.get(&c.settings), s.help)
		return nil
	case known && s.name == "system" && !c.model.Chats():
		return errNoSystem
	case known && s.name == "think" && value != "off" && !c.model.Thinks():
		return errNoThoughts
	case known && s.name == "markdown" && value != "off" && c.tty.dumb:
		return errors.New("this terminal (TERM=dumb) can't show formatted answers")
	case known && s.name == "markdown" && value != "off" && !c.model.Chats():
		return errors.New("this model completes text, which is shown as it is")
	}
	if err := c.change(name, unfence(value)); err != nil {
		return err
	}
	c.note("%s is %s", s.name, s.get(&c.settings))
	return nil
}

func (c *chatter) showSettings(help bool) {
	for _, s := range settingList() {
		if help {
			c.row(s.name+" "+brief(s.get(&c.settings), 16), s.help)
			continue
		}
		c.row(s.name, s.get(&c.settings))
	}
}

// brief is the start of s, on one line.
func brief(s string, limit int) string {
	s = strings.Join(strings.Fields(clean(s)), " ")
	if r := []rune(s); len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return s
}

func (c *chatter) cmdShow(_ context.Context, what string) error {
	switch what {
	case "":
		kind := "answers messages"
		if !c.model.Chats() {
			kind = "completes text (a base model)"
		}
		c.row("model", c.model.Name())
		c.row("kind", kind)
		c.row("context", fmt.Sprintf("%d tokens, %d used", c.model.Context(), c.used))
		c.row("messages", fmt.Sprint(len(c.messages)))
		if len(c.pending) > 0 {
			c.row("attached", names(c.pending))
		}
		c.showSettings(false)
	case "settings":
		c.showSettings(false)
	case "messages":
		c.showMessages()
	default:
		return fmt.Errorf("/show %s: there is only /show, /show settings and /show messages", what)
	}
	return nil
}

func (c *chatter) showMessages() {
	if len(c.messages) == 0 {
		c.note("nothing was said yet")
	}
	for _, m := range c.messages {
		prefix := ""
		if m.Role == chat.User && c.model.Chats() {
			prefix = prompt
		}
		for l := range strings.Lines(strings.TrimRight(m.Text(), "\n")) {
			c.println(line{{prefix, faintStyle}, {text: clean(strings.TrimRight(l, "\n"))}})
			prefix = strings.Repeat(" ", len(prefix))
		}
		if len(m.attached) > 0 {
			c.note("%s[%s]", prefix, names(m.attached))
		}
	}
}

func (c *chatter) kind() string {
	if c.model.Chats() {
		return kindChat
	}
	return kindText
}

func (c *chatter) cmdSave(_ context.Context, name string) error {
	if name == "" {
		return errors.New("/save NAME: the conversation needs a name")
	}
	if len(c.messages) == 0 {
		return errors.New("nothing was said yet: there is nothing to save")
	}
	x := session{
		Format: sessionFormat, Version: sessionVersion, Kind: c.kind(),
		Model: c.model.Name(), Saved: time.Now().UTC().Truncate(time.Second),
		Settings: map[string]string{},
	}
	if err := x.keep(c.messages); err != nil {
		return fmt.Errorf("not saved: %w", err)
	}
	for _, s := range settingList() {
		x.Settings[s.name] = s.get(&c.settings)
	}
	replaced, err := c.store.save(name, x)
	if err != nil {
		return fmt.Errorf("not saved: %w", err)
	}
	verb := "saved"
	if replaced {
		verb = "saved over the former"
	}
	c.note("%s %s, %d messages: /load %s goes on with it", verb, name, len(c.messages), name)
	if len(x.Attached) > 0 {
		c.note("Files that were attached are not in it: it says where they are.")
	}
	return nil
}

func (c *chatter) cmdLoad(ctx context.Context, name string) error {
	if name == "" {
		names := c.store.names()
		if names == nil {
			c.note("no conversation was saved yet: /save NAME does")
			return nil
		}
		c.note("/load NAME goes on with one of: %s", strings.Join(names, ", "))
		return nil
	}
	x, err := c.store.load(name)
	if err != nil {
		return err
	}
	if x.Kind != c.kind() {
		return fmt.Errorf("session %s is a %s, which this model doesn't take: load it with %s", name, x.Kind, x.Model)
	}
	next := c.settings
	for key, value := range x.Settings {
		if err := next.change(key, value); err != nil {
			return fmt.Errorf("session %s: damaged: %w", name, err)
		}
	}
	messages, err := c.lookAgain(ctx, name, x)
	if err != nil || messages == nil {
		return err
	}
	next.markdown = next.markdown && !c.tty.dumb
	next.think = next.think && c.model.Thinks()
	c.settings, c.messages = next, messages
	c.last = nil
	c.recount()
	c.note("loaded %s, %d messages, saved %s with %s", name, len(x.Messages), x.Saved.Local().Format("2006-01-02 15:04"), x.Model)
	return nil
}

// lookAgain has the model look at the files of a kept conversation; no messages
// if that was stopped.
func (c *chatter) lookAgain(ctx context.Context, name string, x session) ([]message, error) {
	messages := make([]message, len(x.Messages))
	for i, m := range x.Messages {
		messages[i].Message = chat.Message{Role: m.Role, Content: m.Text()}
	}
	for _, f := range x.Attached {
		a, err := c.look(ctx, f.Type, f.Path)
		if errors.Is(err, context.Canceled) && ctx.Err() == nil {
			c.note("stopped; the conversation is what it was")
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("session %s: %w", name, err)
		}
		if a.sum != f.SHA256 {
			c.note("%s is not what it was when the conversation was saved.", a.name())
		}
		messages[f.Message].attached = append(messages[f.Message].attached, a)
	}
	return messages, nil
}

func (c *chatter) cmdClear(context.Context, string) error {
	c.messages = nil
	c.last = nil
	c.recount()
	c.note("cleared")
	if len(c.pending) > 0 {
		c.notePending()
	}
	return nil
}

// recount finds out what the context holds after the conversation changed.
func (c *chatter) recount() {
	c.used = 0
	if len(c.messages) == 0 {
		return
	}
	if p, err := c.prompt(c.messages); err == nil {
		c.used = size(p)
	}
}

// takeBack removes the last exchange and gives its message.
func (c *chatter) takeBack() (message, error) {
	if len(c.messages) == 0 {
		return message{}, errors.New("nothing was said yet")
	}
	n := len(c.messages) - 2
	last := c.messages[n]
	c.messages = c.messages[:n]
	return last, nil
}

func (c *chatter) cmdUndo(context.Context, string) error {
	last, err := c.takeBack()
	if err != nil {
		return err
	}
	c.last = nil
	c.recount()
	c.note("took back “%s”; %d messages are left", brief(last.Content, 50), len(c.messages))
	if len(last.attached) > 0 {
		c.pending = append(last.attached[:len(last.attached):len(last.attached)], c.pending...)
		c.notePending()
		c.note("/forget drops it.")
	}
	return nil
}

func (c *chatter) cmdRetry(ctx context.Context, _ string) error {
	before := c.messages
	last, err := c.takeBack()
	if err != nil {
		return err
	}
	if c.params.Seed != nil || c.params.Temperature == 0 {
		c.note("The answer will be the same: /set seed random and a temperature above 0 give another.")
	}
	kept, err := c.answer(ctx, last.Content, last.attached)
	if !kept {
		c.messages = before // nothing came; the old answer stays
	}
	return err
}

func (c *chatter) cmdMore(ctx context.Context, more string) error {
	if c.model.Chats() {
		return errors.New("/more is for models that complete text: send a message")
	}
	if len(c.messages) == 0 {
		return errors.New("there is no text yet: type how it begins")
	}
	if more != "" {
		more = unfence(more)
		last := c.messages[len(c.messages)-1].Content
		if !strings.HasSuffix(last, " ") && !strings.HasSuffix(last, "\n") {
			more = " " + more
		}
	}
	kept, err := c.answer(ctx, more, c.pending)
	if kept {
		c.pending = nil
	}
	return err
}

func (c *chatter) cmdStats(context.Context, string) error {
	if c.last == nil {
		c.note("no answer yet; %d of the context's %d tokens are used", c.used, c.model.Context())
		return nil
	}
	c.showSpeed()
	return nil
}

// showSpeed tells what the last answer took.
func (c *chatter) showSpeed() {
	r := c.last
	fresh := r.PromptTokens - r.CachedTokens
	rate := func(tokens int, d time.Duration) string {
		if d <= 0 {
			return "–"
		}
		return fmt.Sprintf("%.1f", float64(tokens)/d.Seconds())
	}
	room := c.model.Context()
	c.row("prompt", fmt.Sprintf("%d tokens, %d already read; %d in %.2f s: %s tok/s", r.PromptTokens, r.CachedTokens, fresh, r.Prefill.Seconds(), rate(fresh, r.Prefill)))
	c.row("answer", fmt.Sprintf("%d tokens in %.2f s: %s tok/s", r.Tokens, r.Decode.Seconds(), rate(r.Tokens, r.Decode)))
	if r.Drafted > 0 {
		c.row("guesses", fmt.Sprintf("%d of %d tokens right", r.Accepted, r.Drafted))
	}
	c.row("context", fmt.Sprintf("%d of %d tokens, %.0f %%", c.used, room, 100*float64(c.used)/float64(room)))
}

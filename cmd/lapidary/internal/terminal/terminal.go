package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"
	"time"

	"lapidary"
	"lapidary/chat"
	"lapidary/generate"
)

// Model is what is talked to.
type Model interface {
	// Name is how the user calls it.
	Name() string
	// Context is the number of tokens that prompt and answer may have together.
	Context() int
	// Chats reports whether the model answers messages. One that doesn't
	// completes text.
	Chats() bool
	// Thinks reports whether it can be let think before it answers.
	Thinks() bool
	// Attach has the model see or hear a file, Listen the microphone until ctx
	// ends or so much time has passed.
	Attach(ctx context.Context, media lapidary.Media) (*lapidary.Attachment, error)
	Listen(ctx context.Context, most time.Duration) (*lapidary.Attachment, error)
	// Prompt is a conversation up to where the next answer starts, and
	// PromptText a text to be continued, with attachments in the places of
	// their parts.
	Prompt(c lapidary.Conversation, attached ...*lapidary.Attachment) (lapidary.Prompt, error)
	PromptText(parts []chat.Part, attached ...*lapidary.Attachment) (lapidary.Prompt, error)
	// Generate continues the prompt. It knows the tokens that end an answer,
	// and keeps what it evaluated for the next call.
	Generate(ctx context.Context, prompt lapidary.Prompt, p generate.Params) iter.Seq2[generate.Token, error]
	// Parser takes an answer to the prompt apart.
	Parser(prompt lapidary.Prompt) Parser
}

// Options is what a chat starts from.
type Options struct {
	Home     string          // the folder of history and sessions
	Params   generate.Params // what /set changes
	System   string          // the system text
	Markdown bool            // show answers formatted, where the terminal can
	Stats    bool            // tell the speed after each answer
	Think    bool            // let the model think before it answers
}

// chatter is one chat: what was said and how to go on.
type chatter struct {
	model Model
	tty   *tty
	out   io.Writer
	store store
	settings
	// messages are user and assistant in turns, the last one answered. With a
	// model that completes text, they are the pieces of one text, typed and
	// completed in turns.
	messages []message
	pending  []*attachment    // that go with the next message
	last     *generate.Result // of the last answer
	used     int              // tokens in the context after it
	in       input
	bye      bool
}

// Run chats on standard input and output, which are a terminal, until the user
// leaves or ctx is cancelled. Ctrl-C stops an answer and not the program: it is
// a key here and no signal, except where TERM=dumb, for which reason ctx isn't
// heeded there.
func Run(ctx context.Context, m Model, o Options) error {
	switch {
	case o.System != "" && !m.Chats():
		return errNoSystem
	case o.Think && !m.Thinks():
		return errNoThoughts
	}
	t, err := openTTY()
	if err != nil {
		return err
	}
	defer t.close()
	c := &chatter{
		model: m, tty: t, out: t.out,
		store:    store{filepath.Join(o.Home, "sessions")},
		settings: settings{params: o.Params, system: o.System, markdown: o.Markdown && !t.dumb && m.Chats(), stats: o.Stats, think: o.Think, thoughts: true},
	}
	if t.dumb {
		ctx = context.WithoutCancel(ctx)
	}
	c.greet()
	c.in = c.input(o.Home)
	return c.loop(ctx)
}

// input chooses how to read from the terminal. A history that can't be read
// costs the history only.
func (c *chatter) input(home string) input {
	if c.tty.dumb {
		return newLines()
	}
	h, err := openHistory(filepath.Join(home, "history"))
	if err != nil {
		c.complain(fmt.Errorf("history: %w", err))
	}
	return &editor{keys: c.tty.keys, screen: c.tty.screen(), history: h, complete: c.completions, report: c.complain}
}

var (
	errNoSystem   = errors.New("this model completes text: it has no system text")
	errNoThoughts = errors.New("this model has no form for thoughts: it can't be let think before it answers")
)

func (c *chatter) greet() {
	if c.model.Chats() {
		c.note("%s, context of %d tokens. /help lists the commands, Ctrl-D leaves.", c.model.Name(), c.model.Context())
		return
	}
	c.note("%s is a base model: it completes text rather than chats.", c.model.Name())
	c.note("Type how a text begins, or /more to go on with it. /help lists the commands, Ctrl-D leaves.")
}

// loop reads and carries out one input after another.
func (c *chatter) loop(ctx context.Context) error {
	for !c.bye {
		input, err := c.in.read(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errInterrupt):
			if strings.TrimSpace(input) == "" {
				c.note("Ctrl-D or /bye leaves.")
			}
			continue
		case err != nil:
			return err
		}
		if err := c.do(ctx, input); err != nil {
			c.complain(err)
		}
	}
	return nil
}

// do carries out one input. Whatever its error, the chat goes on.
func (c *chatter) do(ctx context.Context, input string) error {
	if cmd, ok := parseCommand(input); ok {
		return c.run(ctx, cmd)
	}
	text := strings.TrimSpace(unfence(input))
	if text == "" && !c.speaks() {
		return nil
	}
	before := c.messages
	if !c.model.Chats() {
		// How a text begins is kept as it is: a space at its end matters.
		c.messages = nil
		text = strings.TrimRight(unfence(input), "\n")
	}
	kept, err := c.answer(ctx, text, c.pending)
	if _, not := errors.AsType[unsent](err); not {
		c.messages = before
		c.in.refill(input)
	}
	if kept {
		c.pending = nil
	}
	return err
}

// note tells something that isn't part of the conversation.
func (c *chatter) note(format string, args ...any) {
	c.println(line{{clean(fmt.Sprintf(format, args...)), faintStyle}})
}

func (c *chatter) complain(err error) {
	c.println(line{{"error: ", style{}.in(red)}, {text: clean(err.Error())}})
}

func (c *chatter) println(lines ...line) {
	width, _ := c.tty.size()
	for _, long := range lines {
		for _, l := range wrap(long, width) {
			s := l.plain()
			if !c.tty.dumb {
				s = l.ansi(c.tty.colours)
			}
			fmt.Fprintln(c.out, s)
		}
	}
}

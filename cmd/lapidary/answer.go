package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"lapidary"
	"lapidary/chat"
)

// answer is what run knows of one generation.
type answer struct {
	load   time.Duration
	prompt lapidary.Prompt
	tokens []lapidary.Token
	parser *chat.Parser // nil with --raw: the answer as it comes
	text   strings.Builder
	think  strings.Builder
	calls  []chat.ToolCall
}

// take gives back the text of the answer among what a token brought, and keeps
// the rest.
func (a *answer) take(t lapidary.Token) (text string) {
	if a.parser == nil {
		return t.Text
	}
	events := a.parser.Token(t.ID, t.Text)
	if t.End != nil {
		events = append(events, a.parser.Close()...)
	}
	for _, e := range events {
		switch e.Kind {
		case chat.Thought:
			a.think.WriteString(e.Text)
		case chat.Called:
			a.calls = append(a.calls, e.Call)
			text += e.Text
		default:
			text += e.Text
		}
	}
	return text
}

// encode makes the prompt's tokens: as they are with --raw, in the chat
// template of a model that has one, as the beginning of a text otherwise.
func (f *runFlags) encode(ctx context.Context, m *lapidary.Model, a *answer, prompt string, p *lapidary.Params) error {
	if f.raw {
		a.prompt = m.PromptTokens(m.EncodeSpecial(prompt))
		return nil
	}
	parts, attached, err := f.attach(ctx, m, prompt)
	if err != nil {
		return err
	}
	t, err := m.Template()
	switch {
	case errors.Is(err, chat.ErrNoTemplate) && f.system != "":
		return misuse("--system: %s completes text and has no place for it: write it into the prompt", m.Name())
	case errors.Is(err, chat.ErrNoTemplate) && f.think:
		return misuse("--think: %s completes text and does not think before", m.Name())
	case errors.Is(err, chat.ErrNoTemplate):
		a.prompt, err = m.PromptText(parts, attached...)
		return err
	case err != nil:
		return err
	case f.think && !t.Thinks():
		return misuse("--think: %s has no form for thoughts", m.Name())
	}
	p.StopTokens = append(p.StopTokens, t.StopTokens(m.Tokenizer())...)
	if a.prompt, err = m.Prompt(lapidary.Conversation{Messages: f.messages(parts), Thinking: f.think}, attached...); err != nil {
		return err
	}
	a.parser = m.Parser(a.prompt)
	if p.ContextShift && f.system != "" {
		p.Keep, err = f.systemLength(m, a.prompt.Tokens)
	}
	return err
}

func (f *runFlags) messages(parts []chat.Part) []lapidary.Message {
	message := lapidary.Message{Role: chat.User, Parts: parts}
	if len(parts) == 1 && parts[0].Type == chat.Text { // as templates that know no parts expect it
		message = lapidary.Message{Role: chat.User, Content: parts[0].Text}
	}
	messages := []lapidary.Message{message}
	if f.system != "" {
		messages = slices.Insert(messages, 0, lapidary.Message{Role: chat.System, Content: f.system})
	}
	return messages
}

// systemLength is how far the prompt is the same whatever the user says: the
// part with the system text, which a context shift keeps.
func (f *runFlags) systemLength(m *lapidary.Model, prompt []int32) (int, error) {
	other, err := m.ChatTokens(f.messages([]chat.Part{{Type: chat.Text, Text: "\x00"}}))
	n := 0
	for n < min(len(prompt), len(other)) && prompt[n] == other[n] {
		n++
	}
	return n, err
}

// print generates and prints, as it comes or as one document at the end.
func (f *runFlags) print(c *cobra.Command, m *lapidary.Model, a *answer, p lapidary.Params) error {
	out := newStream(c.OutOrStdout())
	var end *lapidary.Result
	for t, err := range m.GeneratePrompt(c.Context(), a.prompt, p) {
		if err != nil {
			if out.last != 0 {
				out.endLine()
			}
			return interruption(c.Context(), err)
		}
		if f.json {
			a.tokens = append(a.tokens, t)
			a.text.WriteString(a.take(t))
		} else if err := out.write(a.take(t)); err != nil {
			return err
		}
		end = t.End
	}
	if !f.json {
		out.endLine()
	}
	warn(c.ErrOrStderr(), m, end)
	if f.stats {
		stats(c.ErrOrStderr(), a, end)
	}
	if f.json {
		return printJSON(c.OutOrStdout(), a.document(m, p, end))
	}
	return nil
}

// warn tells what a reader of the answer would not see.
func warn(w io.Writer, m *lapidary.Model, end *lapidary.Result) {
	if end.Dropped > 0 {
		fmt.Fprintf(w, "lapidary: the context of %d tokens was full: %d tokens were forgotten\n", m.Context(), end.Dropped)
	}
	if end.ContextFull {
		fmt.Fprintf(w, "lapidary: the answer ends here because the context of %d tokens is full; --context-shift forgets the older half and goes on\n", m.Context())
	}
}

func stats(w io.Writer, a *answer, end *lapidary.Result) {
	t := timing(a, end)
	fmt.Fprintf(w, "load %.3f s; prompt %d tokens in %.3f s, %.1f tokens/s; answer %d tokens in %.3f s, %.1f tokens/s",
		t.Load, end.PromptTokens, t.Prefill, t.PrefillRate, end.Tokens, t.Decode, t.DecodeRate)
	if t.Drafted > 0 {
		fmt.Fprintf(w, "; %d of %d guesses right", t.Accepted, t.Drafted)
	}
	fmt.Fprintln(w)
}

// interruption is the error that an interrupted command ends with.
func interruption(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return &interrupted{err}
	}
	return err
}

type interrupted struct{ cause error }

func (i *interrupted) Error() string { return "interrupted" }
func (i *interrupted) Unwrap() error { return i.cause }

// stream prints an answer as it comes. What a model says must not steer the
// terminal, so control characters stay out of one.
type stream struct {
	w        io.Writer
	terminal bool
	last     byte
}

func newStream(w io.Writer) *stream { return &stream{w: w, terminal: isTerminal(w)} }

func (s *stream) write(text string) error {
	if s.terminal {
		text = strings.Map(printable, text)
	}
	if text == "" {
		return nil
	}
	s.last = text[len(text)-1]
	_, err := io.WriteString(s.w, text)
	return err
}

func printable(r rune) rune {
	if unicode.IsControl(r) && r != '\n' && r != '\t' {
		return -1
	}
	return r
}

// endLine leaves the cursor at the start of a line.
func (s *stream) endLine() {
	if s.last != '\n' {
		_ = s.write("\n") // the answer itself was written or its failure told
	}
}

// runJSON is the document of run --json.
type runJSON struct {
	Model        string          `json:"model"`
	PromptTokens []int32         `json:"prompt_tokens"`
	Tokens       []int32         `json:"tokens"`
	Text         string          `json:"text"`
	Thoughts     string          `json:"thoughts,omitempty"`
	ToolCalls    []chat.ToolCall `json:"tool_calls,omitempty"`
	StopReason   string          `json:"stop_reason"`
	StopString   string          `json:"stop_string,omitempty"`
	Dropped      int             `json:"dropped_tokens,omitempty"`
	Seed         *uint64         `json:"seed,omitempty"`
	LogProbs     []scoredJSON    `json:"logprobs,omitempty"`
	Timing       timingJSON      `json:"timing"`
}

type timingJSON struct {
	Load        float64 `json:"load_s"`
	Prefill     float64 `json:"prefill_s"`
	PrefillRate float64 `json:"prefill_tps"`
	Decode      float64 `json:"decode_s"`
	DecodeRate  float64 `json:"decode_tps"`
	Drafted     int     `json:"drafted"`  // tokens that were guessed and verified
	Accepted    int     `json:"accepted"` // those of them that were right
}

// scoredJSON is a token with its log-probability, alternativeJSON another that
// could have stood there.
type scoredJSON struct {
	ID      int32             `json:"id"`
	Text    string            `json:"text"`
	LogProb float32           `json:"logprob"`
	Top     []alternativeJSON `json:"top"`
}

type alternativeJSON struct {
	ID      int32   `json:"id"`
	Text    string  `json:"text"`
	LogProb float32 `json:"logprob"`
}

func scored(m *lapidary.Model, t lapidary.Token) scoredJSON {
	s := scoredJSON{ID: t.ID, Text: m.Text(t.ID), LogProb: t.LogProb, Top: []alternativeJSON{}}
	for _, a := range t.Top {
		s.Top = append(s.Top, alternativeJSON(a))
	}
	return s
}

// read are the tokens that the model was given to read.
func (a *answer) read() []int32 {
	if a.prompt.Source != nil {
		return a.prompt.Source.Tokens
	}
	return a.prompt.Tokens
}

func (a *answer) document(m *lapidary.Model, p lapidary.Params, end *lapidary.Result) runJSON {
	d := runJSON{Model: m.Name(), PromptTokens: a.read(), Tokens: []int32{}, Text: a.text.String(), Thoughts: a.think.String(), ToolCalls: a.calls,
		StopReason: string(end.Reason), StopString: end.StopString, Dropped: end.Dropped, Timing: timing(a, end)}
	if p.Temperature > 0 {
		d.Seed = &end.Seed
	}
	for _, t := range a.tokens {
		d.Tokens = append(d.Tokens, t.ID)
		if p.LogProbs != 0 {
			d.LogProbs = append(d.LogProbs, scored(m, t))
		}
	}
	return d
}

// timing: the first token of an answer comes with the prompt, so the rate of
// the others is that of one token less.
func timing(a *answer, end *lapidary.Result) timingJSON {
	return timingJSON{
		Load: a.load.Seconds(), Prefill: end.Prefill.Seconds(), Decode: end.Decode.Seconds(),
		PrefillRate: rate(end.PromptTokens-end.CachedTokens, end.Prefill), DecodeRate: rate(end.Tokens-1, end.Decode),
		Drafted: end.Drafted, Accepted: end.Accepted,
	}
}

func rate(n int, d time.Duration) float64 {
	if n <= 0 || d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

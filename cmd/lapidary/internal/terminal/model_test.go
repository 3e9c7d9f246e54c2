package terminal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"lapidary"
	"lapidary/chat"
	"lapidary/generate"
)

// helper is set when the test's program is to be the chat itself.
const helper = "LAPIDARY_TEST_CHAT"

func TestMain(m *testing.M) {
	if os.Getenv(helper) == "" {
		os.Exit(m.Run())
	}
	o := Options{Home: os.Getenv("LAPIDARY_HOME"), Params: generate.Defaults(), Markdown: true}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM) // as the command does
	defer stop()
	if err := Run(ctx, &scripted{base: os.Getenv("BASE") != "", dull: os.Getenv("DULL") != ""}, o); err != nil {
		fmt.Println("Run:", err)
		os.Exit(1)
	}
	fmt.Println("left")
}

// scripted is a model whose words are its tokens, and whose answers follow
// from the message.
type scripted struct {
	base     bool
	dull     bool // neither hears nor thinks
	last     []chat.Message
	thinking bool
	text     string
	looked   int // how often it was given something to look at
}

const scriptedContext = 400

func (s *scripted) Name() string { return "scripted:1b" }
func (s *scripted) Context() int { return scriptedContext }
func (s *scripted) Chats() bool  { return !s.base }

func (s *scripted) Thinks() bool { return !s.base && !s.dull }

func (s *scripted) Prompt(c lapidary.Conversation, attached ...*lapidary.Attachment) (lapidary.Prompt, error) {
	s.last, s.thinking = c.Messages, c.Thinking
	n := 0
	for _, m := range c.Messages {
		n += 2 + length(m)
	}
	if err := fit(c.Messages, attached); err != nil {
		return lapidary.Prompt{}, err
	}
	return lapidary.Prompt{Tokens: make([]int32, n)}, nil
}

func (s *scripted) PromptText(parts []chat.Part, attached ...*lapidary.Attachment) (lapidary.Prompt, error) {
	m := chat.Message{Parts: parts}
	s.text = spoken(m)
	if err := fit([]chat.Message{m}, attached); err != nil {
		return lapidary.Prompt{}, err
	}
	return lapidary.Prompt{Tokens: make([]int32, 1+length(m))}, nil
}

// spoken is a message with its attachments by type and size.
func spoken(m chat.Message) string {
	out := m.Content
	for _, p := range m.Parts {
		if out += p.Text; p.Type != chat.Text {
			out += fmt.Sprint("[", p.Type, p.Tokens, "]")
		}
	}
	return out
}

func length(m chat.Message) int {
	n := len(strings.Fields(m.Content))
	for _, p := range m.Parts {
		n += len(strings.Fields(p.Text))
		for _, t := range p.Tokens {
			n += t
		}
	}
	return n
}

// fit checks that attachments are in the order of their places.
func fit(messages []chat.Message, attached []*lapidary.Attachment) error {
	var want, got []string
	for _, m := range messages {
		for _, p := range m.Parts {
			if p.Type != chat.Text {
				want = append(want, fmt.Sprint(p.Type, p.Tokens))
			}
		}
	}
	for _, a := range attached {
		for _, p := range a.Parts {
			got = append(got, fmt.Sprint(p.Type, p.Tokens))
		}
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("attached %v for the places %v", got, want)
	}
	return nil
}

// Attach sees as many tokens as the file has bytes; a video has a sound track.
func (s *scripted) Attach(ctx context.Context, media lapidary.Media) (*lapidary.Attachment, error) {
	if s.dull && media.Type == chat.Audio {
		return nil, fmt.Errorf("%s: this scripted model takes no sound", media.Path)
	}
	data, err := os.ReadFile(media.Path)
	if err != nil {
		return nil, err
	}
	if string(data) == "slow" {
		<-ctx.Done()
		return nil, fmt.Errorf("%s: %w", media.Path, ctx.Err())
	}
	s.looked++
	a := &lapidary.Attachment{Parts: []chat.Part{{Type: media.Type, Tokens: []int{len(data)}}}}
	if media.Type == chat.Video {
		a.Parts = append(a.Parts, chat.Part{Type: chat.Audio, Tokens: []int{3}})
	}
	return a, nil
}

func (s *scripted) Listen(ctx context.Context, most time.Duration) (*lapidary.Attachment, error) {
	if s.dull {
		return nil, errors.New("this scripted model takes no sound")
	}
	ctx, stop := context.WithTimeout(ctx, most)
	defer stop()
	<-ctx.Done()
	return &lapidary.Attachment{Parts: []chat.Part{{Type: chat.Audio, Tokens: []int{7}}}}, nil
}

// Parser knows the marks of thoughts and calls where they are spelled out.
func (s *scripted) Parser(lapidary.Prompt) Parser {
	if s.base {
		return spelled{chat.BuiltIn("gemma3").NewSpelled(false)}
	}
	return spelled{chat.BuiltIn("gemma4").NewSpelled(false)}
}

type spelled struct{ *chat.Spelled }

func (s spelled) Token(_ int32, released string) []chat.Event { return s.Write(released) }

const sheet = "# Ores\n\nA **table** and `code`:\n\n| Stone | Mohs |\n|---|--:|\n| talc | 1 |\n| diamond | 10 |\n\n```go\nfunc cut() int {\n\treturn 57 // facets\n}\n```\n\n1. first\n2. second\n"

func (s *scripted) reply() (reply string, delay time.Duration) {
	if s.base {
		return " and [" + s.text + "] went on", 0
	}
	message := spoken(s.last[len(s.last)-1])
	system := ""
	if s.last[0].Role == chat.System {
		system = s.last[0].Content + ": "
	}
	switch message {
	case "sheet":
		return sheet, 0
	case "slow":
		return strings.Repeat("tick ", 10000), 2 * time.Millisecond
	case "long":
		return strings.TrimSpace(strings.Repeat("word ", 60)), 0
	case "list":
		var b strings.Builder
		for i := range 40 {
			fmt.Fprintf(&b, "- item %d\n", i)
		}
		return b.String(), 100 * time.Microsecond
	case "escape":
		return "\x1b]0;owned\a\x1b[2Jsafe", 0
	case "think":
		return "<|channel>thought\nFirst \x1b[2Jthis or this,\nthen that.\n<channel|>So it *is*.", 0
	case "ponder":
		return "<|channel>thought\n" + strings.Repeat("hmm ", 10000), 2 * time.Millisecond
	case "ponder briefly":
		return "<|channel>thought\nhmm", 0
	case "tool":
		return `<|tool_call>call:weather{city:<|"|>Oslo<|"|>}<tool_call|>`, 0
	case "report":
		var all []string
		for _, m := range s.last {
			all = append(all, spoken(m))
		}
		return fmt.Sprintf("looked %d times, thinking %v: %s", s.looked, s.thinking, strings.Join(all, " / ")), 0
	case "nothing":
		return "", 0
	case "full":
		return strings.Repeat("word ", 330), 0
	}
	return fmt.Sprintf("%s%d messages, the last: %s", system, len(s.last), strings.ReplaceAll(message, "\n", "/")), 0
}

func (s *scripted) Generate(ctx context.Context, prompted lapidary.Prompt, p generate.Params) iter.Seq2[generate.Token, error] {
	return func(yield func(generate.Token, error) bool) {
		reply, delay := s.reply()
		prompt := prompted.Tokens
		if reply == "failed" {
			yield(generate.Token{}, errors.New("no"))
			return
		}
		words := strings.SplitAfter(reply, " ")
		end := &generate.Result{Reason: generate.Stop, PromptTokens: len(prompt), Drafted: 4, Accepted: 3, Prefill: time.Second, Decode: 2 * time.Second}
		for i, w := range words {
			if ctx.Err() != nil {
				yield(generate.Token{}, ctx.Err())
				return
			}
			time.Sleep(delay)
			t := generate.Token{Text: w}
			end.Tokens = i + 1
			switch {
			case len(prompt)+i+1 >= scriptedContext:
				end.Reason, end.ContextFull = generate.Length, true
				t.End = end
			case p.MaxTokens == i+1 && i+1 < len(words):
				end.Reason = generate.Length
				t.End = end
			case i+1 == len(words):
				t.End = end
			}
			if !yield(t, nil) || t.End != nil {
				return
			}
		}
	}
}

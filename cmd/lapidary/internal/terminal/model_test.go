package terminal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

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
	if err := Run(ctx, &scripted{base: os.Getenv("BASE") != ""}, o); err != nil {
		fmt.Println("Run:", err)
		os.Exit(1)
	}
	fmt.Println("left")
}

// scripted is a model whose words are its tokens, and whose answers follow
// from the message.
type scripted struct {
	base bool
	last []chat.Message
	text string
}

const scriptedContext = 400

func (s *scripted) Name() string { return "scripted:1b" }
func (s *scripted) Context() int { return scriptedContext }
func (s *scripted) Chats() bool  { return !s.base }

func (s *scripted) Prompt(messages []chat.Message) ([]int32, error) {
	s.last = messages
	n := 0
	for _, m := range messages {
		n += 2 + len(strings.Fields(m.Content))
	}
	return make([]int32, n), nil
}

func (s *scripted) Text(text string) ([]int32, error) {
	s.text = text
	return make([]int32, 1+len(strings.Fields(text))), nil
}

const sheet = "# Ores\n\nA **table** and `code`:\n\n| Stone | Mohs |\n|---|--:|\n| talc | 1 |\n| diamond | 10 |\n\n```go\nfunc cut() int {\n\treturn 57 // facets\n}\n```\n\n1. first\n2. second\n"

func (s *scripted) reply() (reply string, delay time.Duration) {
	if s.base {
		return " and [" + s.text + "] went on", 0
	}
	message := s.last[len(s.last)-1].Content
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
	case "nothing":
		return "", 0
	case "full":
		return strings.Repeat("word ", 330), 0
	}
	return fmt.Sprintf("%s%d messages, the last: %s", system, len(s.last), strings.ReplaceAll(message, "\n", "/")), 0
}

func (s *scripted) Generate(ctx context.Context, prompt []int32, p generate.Params) iter.Seq2[generate.Token, error] {
	return func(yield func(generate.Token, error) bool) {
		reply, delay := s.reply()
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

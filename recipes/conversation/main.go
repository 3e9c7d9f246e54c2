// Command conversation measures how well a pretrained model chats on the prompts of
// prompts.txt: with an adapter, and without one behind a prompt with solved
// examples. A chat stops before 160 tokens, does not repeat itself, answers in the
// language it was asked in, and is right where that can be told.
//
//	go run ./recipes/conversation [-adapter FOLDER] [-v]
package main

import (
	"bufio"
	"context"
	_ "embed"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"lapidary"
	"lapidary/generate"
)

//go:embed prompts.txt
var prompts string

const longest = 160

// examples are the good prompt for the model without an adapter.
const examples = `A helpful assistant answers in one or two sentences, in the language of the question.

Question: What is the largest ocean?
Answer: The largest ocean is the Pacific Ocean.

Question: Wie viele Beine hat eine Spinne?
Answer: Eine Spinne hat acht Beine.

Question: Quelle est la couleur de l'herbe ?
Answer: L'herbe est verte.

Question: `

// words tell languages apart.
var words = map[string][]string{
	"en": {"the", "is", "a", "of", "to", "and", "you", "it", "i"},
	"de": {"die", "der", "das", "ist", "und", "ein", "eine", "ich", "nicht"},
	"fr": {"le", "la", "est", "les", "une", "un", "et", "de", "vous"},
	"es": {"el", "la", "es", "los", "una", "un", "y", "de", "que"},
}

type score struct{ prompts, stops, fresh, language, known, right int }

func main() {
	model := flag.String("model", "gemma3:270m-pt", "the pretrained model")
	adapter := flag.String("adapter", "", "the adapter; empty for the one that is built in")
	verbose := flag.Bool("v", false, "print the answers")
	flag.Parse()
	if err := run(context.Background(), *model, *adapter, *verbose); err != nil {
		fmt.Fprintln(os.Stderr, "chat:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run(ctx context.Context, model, adapter string, verbose bool) error {
	with := lapidary.WithChat()
	if adapter != "" {
		with = lapidary.WithAdapter(adapter, 1)
	}
	for _, side := range []struct {
		name    string
		options []lapidary.Option
		plain   bool
	}{{"a prompt with examples", nil, true}, {"the adapter", []lapidary.Option{with}, false}} {
		m, err := lapidary.Open(ctx, model, side.options...)
		if err != nil {
			return err
		}
		s, err := measure(ctx, m, side.plain, verbose)
		if closed := m.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return err
		}
		fmt.Printf("%-24s %d prompts: stops %d, does not repeat itself %d, in the language asked %d, right %d of %d\n", side.name, s.prompts, s.stops, s.fresh, s.language, s.right, s.known)
	}
	return nil
}

func measure(ctx context.Context, m *lapidary.Model, plain, verbose bool) (s score, err error) {
	lines := bufio.NewScanner(strings.NewReader(prompts))
	for lines.Scan() {
		fields := strings.SplitN(lines.Text(), "\t", 3)
		if len(fields) < 3 {
			continue
		}
		answer, stopped, err := ask(ctx, m, fields[2], plain)
		if err != nil {
			return s, err
		}
		if verbose {
			fmt.Printf("%s\n\t%q\n", fields[2], answer)
		}
		s.add(fields[0], fields[1], answer, stopped)
	}
	return s, lines.Err()
}

func (s *score) add(language, want, answer string, stopped bool) {
	s.prompts++
	if stopped && strings.TrimSpace(answer) != "" {
		s.stops++
	}
	if !repeats(answer) {
		s.fresh++
	}
	if guess(answer) == language {
		s.language++
	}
	if want != "-" {
		s.known++
		if regexp.MustCompile("(?i)" + want).MatchString(answer) {
			s.right++
		}
	}
}

// ask is the answer without chance, and whether it ended by itself.
func ask(ctx context.Context, m *lapidary.Model, prompt string, plain bool) (string, bool, error) {
	p, err := m.Params()
	if err != nil {
		return "", false, err
	}
	p.Temperature, p.MaxTokens = 0, longest
	var text strings.Builder
	stopped := false
	collect := func(t lapidary.Token, err error) error {
		if err != nil {
			return err
		}
		text.WriteString(t.Text)
		if t.End != nil {
			stopped = t.End.Reason != generate.Length
		}
		return nil
	}
	if plain {
		p.Stop = []string{"\n"}
		for t, err := range m.Generate(ctx, examples+prompt+"\nAnswer:", p) {
			if err := collect(t, err); err != nil {
				return "", false, err
			}
		}
		return text.String(), stopped, nil
	}
	for t, err := range m.Chat(ctx, []lapidary.Message{{Role: "user", Content: prompt}}, p) {
		if err := collect(t, err); err != nil {
			return "", false, err
		}
	}
	return text.String(), stopped, nil
}

// repeats says that some six words stand in the answer three times.
func repeats(answer string) bool {
	all := strings.Fields(strings.ToLower(answer))
	seen := map[string]int{}
	for i := 0; i+6 <= len(all); i++ {
		key := strings.Join(all[i:i+6], " ")
		if seen[key]++; seen[key] == 3 {
			return true
		}
	}
	return false
}

// guess is the language with the most words in the answer; "en" of none, since
// an answer may be a name.
func guess(answer string) string {
	all := strings.FieldsFunc(strings.ToLower(answer), func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzäöüßéèêàçñíóúá'", r)
	})
	best, most := "en", 0
	for _, language := range []string{"en", "de", "fr", "es"} {
		n := 0
		for _, w := range all {
			if slices.Contains(words[language], w) {
				n++
			}
		}
		if n > most {
			best, most = language, n
		}
	}
	return best
}

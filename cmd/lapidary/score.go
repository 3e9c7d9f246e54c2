package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"lapidary"
)

// scoreFlags are the flags of score.
type scoreFlags struct {
	modelFlags
	ids           string
	top           int
	special, json bool
}

func newScoreCmd() *cobra.Command {
	f := &scoreFlags{}
	c := &cobra.Command{
		Use:   "score MODEL [TEXT]",
		Short: "Tell how likely a model finds a text",
		Long: `Tell how likely a model finds a text: the natural logarithm of the probability of
each token, given those before it. Without TEXT and --ids the text is read from
standard input, to the last byte. The token that begins a text is put first; with
--ids the tokens are taken as they are, and the model needs no tokenizer. The first
token has no score.`,
		Example: `  lapidary score gemma3:270m-pt "The capital of France is Paris"
  lapidary score gemma3:270m-pt --ids '[2,818,5279,529,7001,563]' --top 5 --json`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			return asMisuse(interruption(c.Context(), f.run(c, args)))
		},
	}
	f.register(c.Flags())
	c.Flags().StringVar(&f.ids, "ids", "", "score these tokens, a JSON list, in place of a text")
	c.Flags().IntVar(&f.top, "top", 0, "tell so many of the likeliest tokens in each place")
	c.Flags().BoolVar(&f.special, "special", false, "recognise control tokens in the text")
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON document")
	return c
}

func (f *scoreFlags) run(c *cobra.Command, args []string) error {
	encode, err := f.input(c, args[1:])
	if err != nil {
		return err
	}
	var more []lapidary.Option
	if c.Flags().Changed("ids") {
		more = append(more, lapidary.WithoutTokenizer())
	}
	m, err := f.open(c.Context(), args[0], more...)
	if err != nil {
		return err
	}
	defer m.Close()
	scores, err := m.ScoreTokens(c.Context(), encode(m), f.top)
	if err != nil {
		return err
	}
	return f.print(c.OutOrStdout(), m, scores)
}

// input finds what to score before the model is opened, so that a mistake
// costs no time.
func (f *scoreFlags) input(c *cobra.Command, args []string) (func(*lapidary.Model) []int32, error) {
	if !c.Flags().Changed("ids") {
		text, err := textArgument(c, args)
		return func(m *lapidary.Model) []int32 {
			if f.special {
				return m.EncodeSpecial(text)
			}
			return m.Encode(text)
		}, err
	}
	if len(args) > 0 || f.special {
		return nil, misuse("--ids takes the place of TEXT and --special: give one of them")
	}
	var ids []int32
	if err := json.Unmarshal([]byte(f.ids), &ids); err != nil {
		return nil, misuse("--ids %q is no JSON list of tokens such as [2,818]: %w", f.ids, err)
	}
	return func(*lapidary.Model) []int32 { return ids }, nil
}

func (f *scoreFlags) print(w io.Writer, m *lapidary.Model, scores []lapidary.Token) error {
	if f.json {
		tokens := []scoredJSON{}
		for _, t := range scores {
			tokens = append(tokens, scored(m, t))
		}
		return printJSON(w, map[string]any{"tokens": tokens})
	}
	sum := 0.0
	for _, t := range scores {
		sum += float64(t.LogProb)
		fmt.Fprintf(w, "%9.4f  %q", t.LogProb, t.Text)
		for _, a := range t.Top {
			fmt.Fprintf(w, "  %.4f %q", a.LogProb, a.Text)
		}
		fmt.Fprintln(w)
	}
	_, err := fmt.Fprintf(w, "%9.4f  in all, %d tokens\n", sum, len(scores))
	return err
}

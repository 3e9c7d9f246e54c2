package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"lapidary"
	"lapidary/tokenizer"
)

func newTokenizeCmd() *cobra.Command {
	var bos, special, asJSON bool
	c := &cobra.Command{
		Use:   "tokenize MODEL [TEXT]",
		Short: "Split text into a model's tokens",
		Long: `Split text into a model's tokens. Without TEXT it is read from standard input, to the
last byte. The weights are not touched. A span bounds the bytes of the text that a
token stands for; together they cover it.`,
		Example: `  lapidary tokenize gemma3:270m-pt "The capital of France"
  lapidary tokenize gemma3:270m-pt --json < report.txt
  lapidary tokenize gemma3:270m-pt --special "<start_of_turn>user"`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(c *cobra.Command, args []string) error {
			text, err := textArgument(c, args[1:])
			if err != nil {
				return err
			}
			t, err := lapidary.OpenTokenizer(c.Context(), args[0])
			if err != nil {
				return err
			}
			return printTokens(c.OutOrStdout(), t, split(t, text, bos, special), asJSON)
		},
	}
	c.Flags().BoolVar(&bos, "bos", false, "put the token that begins a text first")
	c.Flags().BoolVar(&special, "special", false, "recognise control tokens in the text")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return c
}

// textArgument is TEXT, or else what is piped in, unchanged.
func textArgument(c *cobra.Command, args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	if isTerminal(c.InOrStdin()) {
		return "", misuse("there is no text: give TEXT or pipe it in")
	}
	return readPipe(c)
}

func split(t *tokenizer.Tokenizer, text string, bos, special bool) []tokenizer.Token {
	encode := t.Encode
	if special {
		encode = t.EncodeSpecial
	}
	tokens := encode(text)
	if bos && t.BOS() >= 0 {
		tokens = slices.Insert(tokens, 0, tokenizer.Token{ID: t.BOS()})
	}
	return tokens
}

func printTokens(w io.Writer, t *tokenizer.Tokenizer, tokens []tokenizer.Token, asJSON bool) error {
	if !asJSON {
		for _, x := range tokens {
			if _, err := fmt.Fprintf(w, "%d\t%q\t%d\t%d\n", x.ID, t.Piece(x.ID), x.From, x.To); err != nil {
				return err
			}
		}
		return nil
	}
	d := struct {
		IDs    []int32  `json:"ids"`
		Pieces []string `json:"pieces"`
		Spans  [][2]int `json:"spans"`
	}{[]int32{}, []string{}, [][2]int{}}
	for _, x := range tokens {
		d.IDs = append(d.IDs, x.ID)
		d.Pieces = append(d.Pieces, t.Piece(x.ID))
		d.Spans = append(d.Spans, [2]int{x.From, x.To})
	}
	return printJSON(w, d)
}

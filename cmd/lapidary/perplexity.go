package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"lapidary"
)

// maxText bounds a text for perplexity, which is held in memory as a whole.
const maxText = 1 << 30

type perplexityFlags struct {
	modelFlags
	size int
	json bool
}

func newPerplexityCmd() *cobra.Command {
	f := &perplexityFlags{}
	c := &cobra.Command{
		Use:   "perplexity MODEL FILE",
		Short: "Measure how well a model foretells a text",
		Long: `Measure how well a model foretells a text: e to the mean negative log-likelihood of a
token. The text is cut into chunks of --context tokens, each begins with the token
that begins a text, and the second half of each is scored, as llama-perplexity does;
what is left over is not used. The figures of other chunk sizes cannot be compared.
FILE is - for standard input.`,
		Example: `  lapidary perplexity gemma3:270m-pt wiki.test.raw
  lapidary perplexity ./model.gguf book.txt --context 2048 --json`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return asMisuse(interruption(c.Context(), f.run(c, args[0], args[1])))
		},
	}
	f.register(c.Flags())
	c.Flags().IntVar(&f.size, "context", 512, "tokens of a chunk")
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON document")
	return c
}

func (f *perplexityFlags) run(c *cobra.Command, model, file string) error {
	text, err := readText(c, file)
	if err != nil {
		return err
	}
	m, err := f.open(c.Context(), model)
	if err != nil {
		return err
	}
	defer m.Close()
	r, err := m.Perplexity(c.Context(), text, f.size, progressOf(c.ErrOrStderr()))
	if err != nil {
		return err
	}
	if f.json {
		return printJSON(c.OutOrStdout(), map[string]any{"perplexity": r.Perplexity, "stderr": r.StdErr, "tokens": r.Tokens})
	}
	_, err = fmt.Fprintf(c.OutOrStdout(), "perplexity %.4f ± %.5f over %d tokens in %d chunks of %d\n",
		r.Perplexity, r.StdErr, r.Tokens, r.Chunks, f.size)
	return err
}

func readText(c *cobra.Command, file string) (string, error) {
	in := c.InOrStdin()
	if file != "-" {
		opened, err := os.Open(file)
		if err != nil {
			return "", err
		}
		defer opened.Close()
		in = opened
	}
	text, err := io.ReadAll(io.LimitReader(in, maxText+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	if len(text) > maxText {
		return "", fmt.Errorf("%s has more than %d MB: measure a part of it", file, maxText>>20)
	}
	return string(text), nil
}

// progressOf shows the figure so far where a person is looking.
func progressOf(w io.Writer) func(lapidary.PerplexityResult, int) {
	if !isTerminal(w) {
		return nil
	}
	return func(r lapidary.PerplexityResult, chunks int) {
		fmt.Fprintf(w, "\rchunk %d of %d: %.4f ", r.Chunks, chunks, r.Perplexity)
		if r.Chunks == chunks {
			fmt.Fprintln(w)
		}
	}
}

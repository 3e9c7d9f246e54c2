package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapidary"
)

type embedFlags struct {
	modelFlags
	prompt                       string
	dimensions                   int
	truncate, json, stats, force bool
	input, field, output         string
}

func newEmbedCmd() *cobra.Command {
	f := &embedFlags{}
	c := &cobra.Command{
		Use:   "embed MODEL [TEXT…]",
		Short: "Turn texts into vectors that tell how alike they are",
		Long: `Turn texts into vectors of length 1: the scalar product of two tells how alike the
texts are. Each TEXT is one; without TEXT and --input standard input is one, but for a
line feed at its end. Printed is a line of JSON for each text; a file (JSON lines, or
an array for NumPy with a row for each text) is written by --output.

Models are told what a vector is for by a prompt before the text. --prompt takes its
name (query, document, STS, Clustering, Classification, …) or, where there is a space
or a colon in it, the text itself: 'title: On bees | text: '.

--input reads JSON lines: a string each, or an object with the text in "text" (or
the field that --field names) and, if you like, an "id", which is written beside
the vector. The file is read as its vectors are written, so it may be of any length;
- is standard input.`,
		Example: `  lapidary embed embeddinggemma:300m --prompt query "Which planet is red?"
  lapidary embed embeddinggemma:300m --prompt document --dimensions 256 --json < page.txt
  lapidary embed embeddinggemma:300m --prompt document --input pages.jsonl --output pages.npy`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return asMisuse(interruption(c.Context(), f.run(c, args[0], args[1:])))
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.engine, "engine", lapidary.DefaultEngine, "what computes: "+strings.Join(lapidary.Engines(), " or "))
	fs.IntVar(&f.threads, "threads", 0, "threads that compute (default one for each core)")
	registerAdapters(fs, &f.adapters)
	fs.StringVar(&f.prompt, "prompt", "", "put the prompt of this `NAME|TEXT` before each text")
	fs.IntVar(&f.dimensions, "dimensions", 0, "keep the first `N` numbers of a vector (default all)")
	fs.BoolVar(&f.truncate, "truncate", false, "embed what fits the context of a longer text, which is an error otherwise")
	fs.StringVar(&f.input, "input", "", "read texts from a `FILE` of JSON lines; - is standard input")
	fs.StringVar(&f.field, "field", "text", "the `NAME` of the field with the text in --input")
	fs.StringVar(&f.output, "output", "", "write the vectors to a `FILE` that ends in .jsonl or .npy")
	fs.BoolVar(&f.force, "force", false, "replace the file of --output if it is there")
	fs.BoolVar(&f.json, "json", false, "print one JSON document")
	fs.BoolVar(&f.stats, "stats", false, "tell on standard error how fast it was")
	return c
}

func (f *embedFlags) run(c *cobra.Command, model string, texts []string) error {
	if err := f.check(c, texts); err != nil {
		return err
	}
	source, err := f.source(c, texts)
	if err != nil {
		return err
	}
	defer source.close()
	began := time.Now()
	m, err := f.open(c.Context(), model)
	if err != nil {
		return err
	}
	defer m.Close()
	e := &embedding{f: f, model: m, load: time.Since(began), dimensions: cmp.Or(f.dimensions, m.EmbeddingWidth())}
	if e.opts, err = f.options(c, m); err != nil {
		return err
	}
	if f.output == "" {
		return e.print(c, source)
	}
	return e.save(c, source)
}

// check refuses flags that make no sense together before anything is opened.
func (f *embedFlags) check(c *cobra.Command, texts []string) error {
	switch changed := c.Flags().Changed; {
	case f.input != "" && len(texts) > 0:
		return misuse("--input takes the place of TEXT: give one of them")
	case f.input == "" && changed("field"):
		return misuse("--field is about the objects of --input, which is missing")
	case f.output == "" && f.force:
		return misuse("--force is about the file of --output, which is missing")
	case changed("dimensions") && f.dimensions < 1:
		return misuse("--dimensions %d: want 1 or more", f.dimensions)
	case f.output != "":
		return checkOutput(f.output, f.force)
	}
	return nil
}

// options are what the library is told of each batch.
func (f *embedFlags) options(c *cobra.Command, m *lapidary.Model) ([]lapidary.EmbedOption, error) {
	prompts, err := m.Prompts()
	if err != nil {
		return nil, err
	}
	var opts []lapidary.EmbedOption
	if c.Flags().Changed("prompt") {
		_, named := prompts[f.prompt]
		if text := f.prompt == "" || strings.ContainsAny(f.prompt, " :"); text && !named {
			opts = append(opts, lapidary.EmbedPrefix(f.prompt))
		} else {
			opts = append(opts, lapidary.EmbedPrompt(f.prompt))
		}
	}
	if f.dimensions > 0 {
		opts = append(opts, lapidary.EmbedDimensions(f.dimensions))
	}
	if f.truncate {
		opts = append(opts, lapidary.EmbedTruncate())
	}
	// What the model refuses is said before a long file is begun.
	_, err = m.Embeddings(c.Context(), nil, opts...)
	return opts, err
}

// embedding is the work of one command.
type embedding struct {
	f     *embedFlags
	model *lapidary.Model
	opts  []lapidary.EmbedOption

	texts, tokens, cut int
	dimensions         int
	load, took         time.Duration
}

// vectorSink takes vectors as they come.
type vectorSink interface {
	add(text textLine, e lapidary.Embedding) error
}

// each embeds all of a source, a batch at a time.
func (e *embedding) each(c *cobra.Command, source *textSource, to vectorSink) error {
	began := time.Now()
	b := newBars(c.ErrOrStderr())
	if e.f.input != "" {
		b.File("embedding", source.size)
	}
	err := e.batches(c.Context(), source, to, b)
	b.close(err == nil)
	if e.took = time.Since(began); err != nil {
		return err
	}
	if e.cut > 0 {
		fmt.Fprintf(c.ErrOrStderr(), "lapidary: %d of %d texts were longer than the context and truncated\n", e.cut, e.texts)
	}
	if t := e.timing(); e.f.stats {
		fmt.Fprintf(c.ErrOrStderr(), "load %.3f s; %d texts, %d tokens in %.3f s, %.1f texts/s, %.1f tokens/s\n",
			t.Load, e.texts, e.tokens, t.Embed, t.TextRate, t.TokenRate)
	}
	return nil
}

func (e *embedding) batches(ctx context.Context, source *textSource, to vectorSink, b *bars) error {
	for {
		batch, err := source.next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		vectors, err := e.model.Embeddings(ctx, batch.texts(), e.opts...)
		if err != nil {
			return batch.place(source, err)
		}
		for i, v := range vectors {
			e.count(v)
			if err := to.add(batch.lines[i], v); err != nil {
				return err
			}
		}
		b.At(batch.read)
	}
}

func (e *embedding) count(v lapidary.Embedding) {
	e.texts++
	e.tokens += v.Tokens
	if v.Cut {
		e.cut++
	}
}

// embedTiming is part of what --json prints.
type embedTiming struct {
	Load      float64 `json:"load_s"`
	Embed     float64 `json:"embed_s"`
	TextRate  float64 `json:"texts_per_s"`
	TokenRate float64 `json:"tokens_per_s"`
}

func (e *embedding) timing() embedTiming {
	s := max(e.took.Seconds(), 1e-9)
	return embedTiming{e.load.Seconds(), e.took.Seconds(), float64(e.texts) / s, float64(e.tokens) / s}
}

// embedJSON is what --json prints.
type embedJSON struct {
	Model      string            `json:"model"`
	Dimensions int               `json:"dimensions"`
	Output     string            `json:"output,omitempty"`
	Texts      int               `json:"texts"`
	Embeddings any               `json:"embeddings,omitempty"` // none of what went to a file
	IDs        []json.RawMessage `json:"ids,omitempty"`
	Tokens     any               `json:"tokens"` // of each text, or all
	Truncated  int               `json:"truncated,omitempty"`
	Timing     embedTiming       `json:"timing"`
}

func (e *embedding) document() embedJSON {
	return embedJSON{Model: e.model.Name(), Dimensions: e.dimensions, Texts: e.texts, Truncated: e.cut, Timing: e.timing()}
}

// print prints vectors as lines, or all as one document.
func (e *embedding) print(c *cobra.Command, source *textSource) error {
	if !e.f.json {
		return e.each(c, source, newLineSink(c.OutOrStdout()))
	}
	all := &documentSink{vectors: [][]float32{}, tokens: []int{}}
	if err := e.each(c, source, all); err != nil {
		return err
	}
	d := e.document()
	d.Embeddings, d.Tokens, d.IDs = all.vectors, all.tokens, all.ids
	return newLineSink(c.OutOrStdout()).to.Encode(d) // not indented: a number a line helps nobody
}

// save writes the file of --output.
func (e *embedding) save(c *cobra.Command, source *textSource) error {
	err := saveVectors(e.f.output, e.f.force, e.dimensions, func(to vectorSink) error { return e.each(c, source, to) })
	if err != nil || !e.f.json {
		return err
	}
	d := e.document()
	d.Output, d.Tokens = e.f.output, e.tokens
	return printJSON(c.OutOrStdout(), d)
}

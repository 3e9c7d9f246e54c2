package main

import (
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"lapidary/checkpoint"
	"lapidary/checkpoint/convert"
	"lapidary/checkpoint/quantize"
	"lapidary/engine/cpu"
	"lapidary/hub"
	"lapidary/tokenizer"
)

type quantizeFlags struct {
	kind, calibrate string
	json            bool
}

func newQuantizeCmd() *cobra.Command {
	f := &quantizeFlags{}
	c := &cobra.Command{
		Use:   "quantize MODEL FILE --type TYPE",
		Short: "Write a model with its weights in fewer bits",
		Long: `Write a model as a GGUF file with its weights in fewer bits, or in more. MODEL is
whatever the other commands take; start from the weights as they were trained
where there is a choice, since what one quantisation has lost the next does not
bring back. The file is there as a whole or not at all.

--calibrate runs the model over a text first (a few thousand words of what it will
be used for) to learn which columns of its weights matter, and spares those. It
costs nothing in the file, and matters the more the fewer bits there are.

` + mixtureList(),
		Example: `  lapidary quantize ./gemma-3-1b gemma-3-1b-q4.gguf --type Q4_K_M
  lapidary quantize ./gemma-3-1b gemma-3-1b-q4.gguf --type Q4_0 --calibrate letters.txt
  lapidary quantize gemma3:270m-pt small.gguf --type Q4_0 --json`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return interruption(c.Context(), f.run(c, args[0], args[1]))
		},
	}
	c.Flags().StringVar(&f.kind, "type", "", "the formats of the weights, one of the list above")
	c.Flags().StringVar(&f.calibrate, "calibrate", "", "a text file that shows which weights matter; - is standard input")
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON document")
	return c
}

// mixtureList is a table for --help.
func mixtureList() string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, m := range quantize.Mixtures() {
		fmt.Fprintf(t, "  %s\t%s\n", m.Name, m.About)
	}
	_ = t.Flush() // into memory
	return strings.TrimRight(b.String(), "\n")
}

func (f *quantizeFlags) run(c *cobra.Command, model, file string) error {
	if f.kind == "" {
		return misuse("--type is missing: say which formats the weights get")
	}
	mix, err := quantize.Find(f.kind)
	if err != nil {
		return misuse("%w", err)
	}
	ck, err := openCheckpoint(c, model)
	if err != nil {
		return err
	}
	defer ck.Close()
	m, err := convert.ToGGUF(ck)
	if err != nil {
		return err
	}
	o := quantize.Options{}
	if f.calibrate != "" && mix.Main.Quantised() {
		if o.Importance, err = f.importance(c, ck); err != nil {
			return err
		}
	}
	return f.write(c, file, m, mix, o)
}

// calibrationRows is how many tokens of a text the model sees together: the
// context that perplexity is measured with too.
const calibrationRows = 512

// importance runs the model over the text.
func (f *quantizeFlags) importance(c *cobra.Command, ck *checkpoint.Checkpoint) (map[string][]float32, error) {
	text, err := readText(c, f.calibrate)
	if err != nil {
		return nil, err
	}
	t, err := tokenizer.Open(ck)
	if err != nil {
		return nil, err
	}
	var texts [][]int32
	for part := range slices.Chunk(t.Encode(text), calibrationRows-1) {
		tokens := []int32{t.BOS()}
		for _, token := range part {
			tokens = append(tokens, token.ID)
		}
		texts = append(texts, tokens)
	}
	if len(texts) == 0 {
		return nil, fmt.Errorf("%s is empty: nothing can be learnt from it", f.calibrate)
	}
	e, err := cpu.New(cpu.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = e.Close() }() // its threads have nothing left to report
	b := newBars(c.ErrOrStderr())
	importance, err := quantize.Calibrate(c.Context(), ck, e, texts, b.of("calibrating"))
	b.close(err == nil)
	return importance, err
}

// openCheckpoint opens the files of a model that is on this machine.
func openCheckpoint(c *cobra.Command, model string) (*checkpoint.Checkpoint, error) {
	store, err := hub.Default()
	if err != nil {
		return nil, err
	}
	l, err := store.Resolve(c.Context(), model)
	if err != nil {
		return nil, err
	}
	return checkpoint.Open(l.Path)
}

// of is the progress of one file.
func (b *bars) of(name string) func(done, total int64) {
	started := false
	return func(done, total int64) {
		if !started {
			b.File(name, total)
			started = true
		}
		b.At(done)
	}
}

// writtenJSON is what --json prints of a file that was written.
type writtenJSON struct {
	Path    string         `json:"path"`
	Type    string         `json:"type"`
	Size    int64          `json:"size"`
	Formats map[string]int `json:"tensor_formats"`
}

// write writes the file with a bar where a person is looking.
func (f *quantizeFlags) write(c *cobra.Command, file string, m *convert.Model, mix quantize.Mixture, o quantize.Options) error {
	b := newBars(c.ErrOrStderr())
	o.Progress = b.of(filepath.Base(file))
	r, err := quantize.Write(c.Context(), file, m, mix, o)
	b.close(err == nil)
	if err != nil {
		return err
	}
	out := writtenJSON{file, mix.Name, r.Bytes, map[string]int{}}
	for t, n := range r.Formats {
		out.Formats[t.String()] = n
	}
	return out.print(c.OutOrStdout(), f.json)
}

func (j writtenJSON) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return printJSON(w, j)
	}
	names := slices.SortedFunc(maps.Keys(j.Formats), func(a, b string) int {
		if j.Formats[a] != j.Formats[b] {
			return j.Formats[b] - j.Formats[a]
		}
		return strings.Compare(a, b)
	})
	for i, name := range names {
		names[i] = fmt.Sprintf("%d %s", j.Formats[name], name)
	}
	_, err := fmt.Fprintf(w, "%s  %s  %s  (tensors: %s)\n", j.Path, hub.HumanSize(j.Size), j.Type, strings.Join(names, ", "))
	return err
}

package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"lapidary/checkpoint"
	"lapidary/checkpoint/convert"
	"lapidary/checkpoint/quantize"
)

type convertFlags struct {
	dtype string
	json  bool
}

func newConvertCmd() *cobra.Command {
	f := &convertFlags{}
	c := &cobra.Command{
		Use:   "convert MODEL OUT",
		Short: "Turn a Hugging Face folder into a GGUF file, or the other way round",
		Long: `Turn a Hugging Face folder (safetensors, config.json, the tokenizer's files) into a
GGUF file, or a GGUF file into such a folder. OUT is a file when its name ends in
.gguf, and a folder otherwise, which must not hold anything yet. What is written is
there as a whole or not at all. Converted is every Gemma that llama.cpp has a form
for (1, 2, 3, 3n, 4, its drafting assistants, EmbeddingGemma); of one that sees or
hears, the language model.
For fewer bits than 16 use: lapidary quantize`,
		Example: `  lapidary convert ./gemma-3-1b gemma-3-1b.gguf
  lapidary convert gemma3:270m-pt ./gemma-3-270m --dtype F32`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return interruption(c.Context(), f.run(c, args[0], args[1]))
		},
	}
	c.Flags().StringVar(&f.dtype, "dtype", "BF16", "the format of the weights: F32, F16 or BF16")
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON document")
	return c
}

func (f *convertFlags) run(c *cobra.Command, model, out string) error {
	mix, err := quantize.Find(f.dtype)
	if err != nil || mix.Main.Quantised() {
		return misuse("--dtype %q is not one of F32, F16, BF16; fewer bits are the business of: lapidary quantize", f.dtype)
	}
	ck, err := openCheckpoint(c, model)
	if err != nil {
		return err
	}
	defer ck.Close()
	if !strings.EqualFold(filepath.Ext(out), ".gguf") {
		return f.folder(c, ck, out, mix.Main)
	}
	m, err := convert.ToGGUF(ck)
	if err != nil {
		return err
	}
	q := quantizeFlags{json: f.json}
	return q.write(c, out, m, mix, quantize.Options{})
}

// folder writes a Hugging Face folder.
func (f *convertFlags) folder(c *cobra.Command, ck *checkpoint.Checkpoint, out string, dtype checkpoint.Type) error {
	b := newBars(c.ErrOrStderr())
	err := convert.WriteFolder(c.Context(), out, ck, dtype, b.of(filepath.Base(out)))
	b.close(err == nil)
	if err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(out, "model.safetensors"))
	if err != nil {
		return err
	}
	j := writtenJSON{out, dtype.String(), info.Size(), map[string]int{dtype.String(): len(ck.Tensors())}}
	return j.print(c.OutOrStdout(), f.json)
}

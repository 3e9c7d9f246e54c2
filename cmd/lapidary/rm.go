package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"lapidary/hub"
)

func newRmCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "rm MODEL…",
		Short: "Remove models from the store",
		Long: `Remove models from the store, and what interrupted pulls left of them. Nothing is
asked. Files that another program put on this machine stay.`,
		Example: `  lapidary rm gemma3:270m-pt
  lapidary rm mine:q4 hf:org/repo`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, names []string) error {
			store, err := hub.Default()
			if err != nil {
				return err
			}
			type removed struct {
				Name  string `json:"name"`
				Freed int64  `json:"freed"`
			}
			var all []removed
			for _, name := range names {
				n, err := store.Remove(c.Context(), name)
				if err != nil {
					return err
				}
				all = append(all, removed{name, n})
				if !asJSON {
					fmt.Fprintf(c.OutOrStdout(), "removed %s: %s freed\n", name, hub.HumanSize(n))
				}
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), map[string]any{"removed": all})
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return c
}

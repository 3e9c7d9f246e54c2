package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"lapidary/hub"
)

func newCpCmd() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "cp MODEL NAME",
		Short: "Give a model another name",
		Long: `Give a model another name in the store. MODEL may also be a file or folder of
your own, which the store then keeps. No disk space is taken where the file
system can share it.`,
		Example: `  lapidary cp gemma3:270m-pt mine
  lapidary cp ./finetuned.gguf mine:v2`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			store, err := hub.Default()
			if err != nil {
				return err
			}
			l, err := store.Copy(c.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), describe(l))
			}
			fmt.Fprintf(c.OutOrStdout(), "%s  %s  %s\n", l.Name, hub.HumanSize(l.Size), l.Path)
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return c
}

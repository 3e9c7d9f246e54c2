package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"lapidary/eval"
)

func newEvalTasksCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "tasks [NAME]",
		Short: "List the tasks that come with the program, or print one",
		Long: `List the tasks that come with the program, or print one as YAML, to be changed and
given to lapidary eval --task. They describe public data sets, which are not part of
the program.`,
		Example: `  lapidary eval tasks
  lapidary eval tasks gsm8k >mine.yaml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 {
				text, err := eval.BuiltinText(args[0])
				if err != nil {
					return evalMisuse(err)
				}
				_, err = fmt.Fprint(c.OutOrStdout(), text)
				return err
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, name := range eval.Builtins() {
				t, err := eval.Builtin(name)
				if err != nil {
					return err
				}
				fmt.Fprintf(w, "%s\t%s\n", name, t.About)
			}
			return w.Flush()
		},
	}
}

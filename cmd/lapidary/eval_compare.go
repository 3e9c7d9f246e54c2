package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"lapidary/eval"
)

func newEvalCompareCmd() *cobra.Command {
	var (
		seed   uint64
		asJSON bool
	)
	c := &cobra.Command{
		Use:   "compare A.jsonl B.jsonl",
		Short: "Compare two runs over the same examples",
		Long: `Compare two runs over the same examples, records that lapidary eval --out wrote. The
difference of each metric has an interval that holds it 95 times of 100: the
examples of both are drawn again together, 10,000 times (paired bootstrap). What
leaves out 0 is marked with a star. Examples that one run lacks or skipped are left
out of both.`,
		Example: `  lapidary eval compare before.jsonl after.jsonl
  lapidary eval compare before.jsonl after.jsonl --json`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			ha, a, err := eval.ReadLog(args[0])
			if err != nil {
				return err
			}
			hb, b, err := eval.ReadLog(args[1])
			if err != nil {
				return err
			}
			result, err := eval.Compare(ha, a, hb, b, seed)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), result)
			}
			return printComparison(c.OutOrStdout(), result)
		},
	}
	c.Flags().Uint64Var(&seed, "seed", 0, "draws the resamples")
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	return c
}

func printComparison(w io.Writer, r eval.Comparison) error {
	fmt.Fprintf(w, "%s, A: %s %s, B: %s %s: %d examples in both, %d in one\n", r.Task, r.A.Model, r.A.Mode, r.B.Model, r.B.Mode, r.Examples, r.Alone)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "metric\tA\t95 % interval\tB\t95 % interval\tB − A\t95 % interval\t")
	for _, c := range r.Results {
		mark := ""
		if c.Significant {
			mark = " *"
		}
		fmt.Fprintf(tw, "%s\t%.4f\t%.4f to %.4f\t%.4f\t%.4f to %.4f\t%+.4f\t%+.4f to %+.4f%s\t\n", c.Metric,
			c.A.Value, c.A.Low, c.A.High, c.B.Value, c.B.Low, c.B.High, c.Difference.Value, c.Difference.Low, c.Difference.High, mark)
	}
	return tw.Flush()
}

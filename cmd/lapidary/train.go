package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"lapidary/train"
	"lapidary/train/journal"
	"lapidary/train/recipe"
)

type trainFlags struct {
	resume, check, json bool
}

func newTrainCmd() *cobra.Command {
	f := &trainFlags{}
	c := &cobra.Command{
		Use:   "train RECIPE",
		Short: "Train or adapt a model as a recipe says",
		Long: `Train a model, or an adapter beside one, as a recipe says: one YAML file, checked
completely before anything starts. The run's folder (out: in the recipe) holds its
configuration, log, metrics, TensorBoard events, checkpoints, a report to look at
(report.html) and at last the model or the adapter. A run that was killed goes on
with --resume as if it had not been.
What computes is XLA where a plugin is installed (lapidary engine), and GoMLX's own
Go code otherwise, slowly.`,
		Example: `  lapidary train recipes/chat.yaml
  lapidary train recipes/chat.yaml --resume
  lapidary train recipes/chat.yaml --check`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return interruption(c.Context(), f.run(c, args[0]))
		},
	}
	c.Flags().BoolVar(&f.resume, "resume", false, "go on with the run in the recipe's folder")
	c.Flags().BoolVar(&f.check, "check", false, "check the recipe and print it with its defaults filled in")
	c.Flags().BoolVar(&f.json, "json", false, "print one JSON document")
	return c
}

func (f *trainFlags) run(c *cobra.Command, path string) error {
	r, err := recipe.Load(path)
	if err != nil {
		return err
	}
	if f.check {
		text, err := r.YAML()
		if err != nil {
			return err
		}
		_, err = c.OutOrStdout().Write(text)
		return err
	}
	shown := &trainProgress{out: c.ErrOrStderr()}
	o := train.Options{Resume: f.resume, Say: shown.say}
	if isTerminal(c.ErrOrStderr()) {
		o.Progress = shown.at
	}
	result, err := train.Run(c.Context(), r, o)
	shown.end()
	if err != nil {
		return err
	}
	return f.print(c.OutOrStdout(), r, result)
}

type trainJSON struct {
	Out        string   `json:"out"`
	Model      string   `json:"model"`
	Steps      int      `json:"steps"`
	Loss       float64  `json:"loss"`
	Validation *float64 `json:"validation_loss,omitempty"`
}

func (f *trainFlags) print(w io.Writer, r *recipe.Recipe, result train.Result) error {
	j := trainJSON{Out: r.Out, Model: result.Model, Steps: result.Steps, Loss: result.Loss}
	if !math.IsNaN(result.Validation) {
		j.Validation = &result.Validation
	}
	if f.json {
		return json.NewEncoder(w).Encode(j)
	}
	fmt.Fprintf(w, "%s: %d steps, loss %.4f", j.Model, j.Steps, j.Loss)
	if j.Validation != nil {
		fmt.Fprintf(w, ", held-out %.4f", *j.Validation)
	}
	_, err := fmt.Fprintf(w, "\nreport: %s/report.html\n", r.Out)
	return err
}

// trainProgress is a line that is written over.
type trainProgress struct {
	out   io.Writer
	width int
}

func (p *trainProgress) at(now journal.Progress) {
	line := fmt.Sprintf("step %d of %d  loss %.4f  %.0f tok/s", now.Step, now.Steps, now.Loss, now.TokensPerSecond)
	if now.MFU > 0 {
		line += fmt.Sprintf("  MFU %.0f %%", 100*now.MFU)
	}
	if now.Memory > 0 {
		line += fmt.Sprintf("  %.1f GB", float64(now.Memory)/1e9)
	}
	if now.Left > 0 {
		line += "  " + now.Left.Round(time.Second).String() + " left"
	}
	fmt.Fprint(p.out, "\r", line, strings.Repeat(" ", max(0, p.width-len(line))))
	p.width = len(line)
}

func (p *trainProgress) end() {
	if p.width > 0 {
		fmt.Fprintln(p.out)
		p.width = 0
	}
}

func (p *trainProgress) say(text string) {
	p.end()
	fmt.Fprintln(p.out, text)
}

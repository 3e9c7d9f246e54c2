package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lapidary/eval"
)

// evalFlags are the flags of eval. Those that change the task win over it.
type evalFlags struct {
	modelFlags
	task, out   string
	data, shots []string
	command     bool
	json        bool
	set         eval.Task
	verifier    string
	chat, raw   bool
	choices     []string
	each        []string
}

func newEvalCmd() *cobra.Command {
	f := &evalFlags{}
	c := &cobra.Command{
		Use:   "eval MODEL --task TASK --data FILE…",
		Short: "Measure how well a model does on data with known answers",
		Long: `Measure how well a model does on data with known answers. TASK is one of those that
come with the program (lapidary eval tasks) or a YAML file that says how examples
become prompts and what is measured; flags change what it says, and are enough for
simple cases.

Metrics are accuracy, accuracy_norm (by the length of a choice) and balanced_accuracy,
of choices by log-likelihood; perplexity and bits_per_byte of given answers; exact, f1,
rouge1, rouge2, rougeL and pass of answers that the model writes. Intervals hold a figure
95 times of 100 (bootstrap over the examples).

With --out every example's record is a line of JSON in FILE.part as soon as it is there,
and FILE when all are: the same command goes on with what was interrupted.

A model with a chat template is asked through it, unless --raw says otherwise.`,
		Example: `  lapidary eval gemma3:270m-pt --task gsm8k --data test.jsonl --limit 100 --out a.jsonl
  lapidary eval gemma3:270m-pt --task legalbench --data legalbench/hearsay
  lapidary eval ./m.gguf --data qa.csv --prompt 'Q: {question}' --answer '{answer}' --metric exact,f1
  lapidary eval compare a.jsonl b.jsonl`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return evalMisuse(asMisuse(f.interruption(c.Context(), f.run(c, args[0]))))
		},
	}
	f.register(c.Flags())
	c.AddCommand(newEvalCompareCmd(), newEvalTasksCmd())
	return c
}

// evalMisuse tells a task that cannot be obeyed from a failure.
func evalMisuse(err error) error {
	if errors.Is(err, eval.ErrTask) {
		return misuse("%w", err)
	}
	if errors.Is(err, eval.ErrCommand) {
		return misuse("%w: add --allow-command if you trust it", err)
	}
	return err
}

// interruption says how to go on with what was interrupted.
func (f *evalFlags) interruption(ctx context.Context, err error) error {
	err = interruption(ctx, err)
	var stopped *interrupted
	if errors.As(err, &stopped) && f.out != "" {
		if _, missing := os.Stat(f.out + ".part"); missing == nil {
			return fmt.Errorf("%w; the same command goes on from %s.part", err, f.out)
		}
	}
	return err
}

func (f *evalFlags) register(fs *pflag.FlagSet) {
	f.modelFlags.register(fs)
	t := &f.set
	fs.IntVar(&f.context, "context", 0, "tokens of prompt and answer together (default what the model was made for)")
	fs.StringVar(&f.task, "task", "", "the `TASK`: a name of lapidary eval tasks, or a YAML file")
	fs.StringArrayVar(&f.data, "data", nil, "a `FILE` of examples, or a folder of them; may be given several times")
	fs.StringArrayVar(&f.shots, "shots-data", nil, "a `FILE` that worked examples are from (default the data)")
	fs.StringVar(&f.out, "out", "", "write a record of each example to `FILE`, and go on with an interrupted run")
	fs.BoolVar(&f.command, "allow-command", false, "let the task's verifier run its command")
	fs.BoolVar(&f.json, "json", false, "print one JSON document")
	fs.BoolVar(&f.chat, "chat", false, "ask through the model's chat template")
	fs.BoolVar(&f.raw, "raw", false, "no chat template")
	fs.StringVar(&t.Data.Format, "format", "", "of the data: jsonl, json, csv, tsv, txt (default by the file's name)")
	fs.StringSliceVar(&f.each, "each", nil, "the `PATH` of the lists that examples are in")
	fs.StringVar(&t.Instruction, "instruction", "", "text before everything else")
	fs.StringVar(&t.Prompt, "prompt", "", "a template over an example's {fields}")
	fs.StringVar(&t.Answer, "answer", "", "the template of the right answer")
	fs.StringSliceVar(&f.choices, "choices", nil, "the answers to choose from, or labels for those of the data")
	fs.StringSliceVar(&t.Extract, "extract", nil, "what counts of an answer: all, first_line, last_number, letter or /regexp/")
	fs.StringVar(&t.Normalise, "normalise", "", "how answers are compared: squad, plain or numbers (default squad)")
	fs.StringSliceVar(&t.Metrics, "metric", nil, "what is measured: "+strings.Join(eval.Metrics(), ", "))
	fs.StringVar(&f.verifier, "verifier", "", "what passes: numeric, boolean, regexp=PATTERN or schema=FILE")
	fs.IntVar(&t.Shots, "shots", 0, "worked examples before each prompt")
	fs.IntVar(&t.Limit, "limit", 0, "evaluate so many examples, drawn by the seed; 0 evaluates all")
	fs.Uint64Var(&t.Seed, "seed", 0, "draws examples, shots, tokens and resamples")
	fs.IntVar(&t.MaxTokens, "max-tokens", 0, "of an answer (default what the task says, or 128)")
	fs.StringArrayVar(&t.Stop, "stop", nil, "end an answer before this text; may be given several times")
	fs.Float32Var(&t.Temperature, "temperature", 0, "0 always takes the likeliest token")
}

func (f *evalFlags) run(c *cobra.Command, model string) error {
	t, err := f.read(c.Flags())
	if err != nil {
		return err
	}
	source, shots, err := f.sources(t)
	if err != nil {
		return err
	}
	m, err := f.open(c.Context(), model)
	if err != nil {
		return err
	}
	defer m.Close()
	e, err := eval.New(m, t, source, eval.Options{Shots: shots, AllowCommand: f.command, Opened: f.opened(c.Flags())})
	if err != nil {
		return err
	}
	began := time.Now()
	records, err := f.evaluate(c, e)
	if err != nil {
		return err
	}
	s, err := eval.Summarise(e.Header(), records)
	if err != nil {
		return err
	}
	took := time.Since(began).Seconds()
	if f.json {
		return printJSON(c.OutOrStdout(), map[string]any{"summary": s, "out": f.out,
			"timing": map[string]float64{"total_s": took, "examples_per_s": float64(len(records)) / took}})
	}
	return printSummary(c.OutOrStdout(), s, took)
}

// opened says how the model is opened other than by default, so that a run is
// not gone on with in another way.
func (f *evalFlags) opened(fs *pflag.FlagSet) string {
	common, set := pflag.NewFlagSet("", pflag.ContinueOnError), []string{}
	(&modelFlags{}).register(common)
	fs.Visit(func(flag *pflag.Flag) {
		if common.Lookup(flag.Name) != nil || flag.Name == "context" {
			set = append(set, flag.Name+"="+flag.Value.String())
		}
	})
	return strings.Join(set, " ")
}

func (f *evalFlags) evaluate(c *cobra.Command, e *eval.Evaluation) ([]eval.Record, error) {
	kept, err := eval.OpenLog(f.out, e.Header())
	if err != nil {
		return nil, err
	}
	records, err := e.Run(c.Context(), kept, evalProgress(c.ErrOrStderr()))
	if err != nil {
		_ = kept.Close() // what went wrong before it matters more
	}
	return records, err
}

// read takes the task and what flags change of it.
func (f *evalFlags) read(fs *pflag.FlagSet) (*eval.Task, error) {
	t := &eval.Task{}
	var err error
	switch {
	case f.task == "":
		t.Name = "flags"
	case strings.ContainsAny(f.task, `./\`):
		t, err = eval.ReadTask(f.task)
	default:
		t, err = eval.Builtin(f.task)
	}
	if err != nil {
		return nil, err
	}
	if f.chat && f.raw {
		return nil, misuse("--chat and --raw contradict each other: leave one out")
	}
	if len(f.data) == 0 {
		return nil, misuse("there is nothing to evaluate: name a file by --data")
	}
	f.apply(fs, t)
	if t.Data.Format == "" {
		t.Data.Format = evalFormat(f.data[0])
	}
	return t, t.Check()
}

// apply puts the flags that were given into the task.
func (f *evalFlags) apply(fs *pflag.FlagSet, t *eval.Task) {
	for name, apply := range map[string]func(){
		"format":      func() { t.Data.Format = f.set.Data.Format },
		"each":        func() { t.Data.Each = f.each },
		"instruction": func() { t.Instruction = f.set.Instruction },
		"prompt":      func() { t.Prompt, t.PromptFile = f.set.Prompt, "" },
		"answer":      func() { t.Answer = f.set.Answer },
		"choices":     func() { t.Choices = choicesOf(f.choices) },
		"extract":     func() { t.Extract = f.set.Extract },
		"normalise":   func() { t.Normalise = f.set.Normalise },
		"metric":      func() { t.Metrics = f.set.Metrics },
		"verifier":    func() { t.Verifier = verifierOf(f.verifier) },
		"shots":       func() { t.Shots = f.set.Shots },
		"limit":       func() { t.Limit = f.set.Limit },
		"seed":        func() { t.Seed = f.set.Seed },
		"max-tokens":  func() { t.MaxTokens = f.set.MaxTokens },
		"stop":        func() { t.Stop = f.set.Stop },
		"temperature": func() { t.Temperature = f.set.Temperature },
		"chat":        func() { t.Mode = "chat" },
		"raw":         func() { t.Mode = "raw" },
	} {
		if fs.Changed(name) {
			apply()
		}
	}
}

func choicesOf(texts []string) eval.Choices {
	if len(texts) == 1 && texts[0] == "labels" {
		return eval.Choices{Labels: true}
	}
	return eval.Choices{Texts: texts}
}

func verifierOf(s string) *eval.Verifier {
	kind, value, _ := strings.Cut(s, "=")
	v := &eval.Verifier{Kind: kind}
	switch kind {
	case "regexp":
		v.Pattern = value
	case "schema":
		v.Schema = value
	}
	return v
}

// evalFormat guesses by a file's name; what is no data is text.
func evalFormat(path string) string {
	for _, format := range []string{"jsonl", "json", "csv", "tsv"} {
		if strings.HasSuffix(strings.ToLower(path), "."+format) {
			return format
		}
	}
	return "txt"
}

func (f *evalFlags) sources(t *eval.Task) (data, shots *eval.Source, err error) {
	if data, err = eval.ReadData(t.Data, f.data); err != nil || len(f.shots) == 0 {
		return data, nil, err
	}
	shots, err = eval.ReadData(t.Data, f.shots)
	return data, shots, err
}

// evalProgress shows how far it is where a person is looking.
func evalProgress(w io.Writer) func(done, all int) {
	if !isTerminal(w) {
		return nil
	}
	began := time.Now()
	return func(done, all int) {
		left := time.Duration(float64(time.Since(began)) / float64(done) * float64(all-done))
		fmt.Fprintf(w, "\r%d of %d examples, %s left   ", done, all, left.Round(time.Second))
		if done == all {
			fmt.Fprintln(w)
		}
	}
}

func printSummary(w io.Writer, s eval.Summary, took float64) error {
	fmt.Fprintf(w, "%s with %s, %s: %d examples, %d skipped, %.1f s\n", s.Task, s.Model, s.Mode, s.Examples, s.Skipped, took)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(tw, "metric\tvalue\t95 % interval\t")
	if len(s.Groups) > 0 {
		fmt.Fprint(tw, "mean over groups\t")
	}
	fmt.Fprintln(tw)
	for _, r := range s.Results {
		fmt.Fprintf(tw, "%s\t%.4f\t%.4f to %.4f\t", r.Metric, r.Value, r.Low, r.High)
		if len(s.Groups) > 0 {
			fmt.Fprintf(tw, "%.4f\t", r.OverGroups)
		}
		fmt.Fprintln(tw)
	}
	if err := tw.Flush(); err != nil || len(s.Groups) == 0 {
		return err
	}
	fmt.Fprint(tw, "\ngroup\texamples\t")
	for _, r := range s.Results {
		fmt.Fprint(tw, r.Metric, "\t")
	}
	fmt.Fprintln(tw)
	for _, g := range s.Groups {
		fmt.Fprintf(tw, "%s\t%d\t", g.Group, g.Examples)
		for _, v := range g.Values {
			fmt.Fprintf(tw, "%.4f\t", v)
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

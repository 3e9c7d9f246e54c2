package train

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"lapidary"
	"lapidary/train/journal"
)

// finish writes what was made, and the report.
func (s *session) finish(ctx context.Context) (Result, error) {
	if err := s.save(true); err != nil {
		return Result{}, err
	}
	to, err := s.export(ctx)
	if err != nil {
		return Result{}, err
	}
	r := Result{Model: to, Loss: s.loss, Validation: s.validation, Steps: s.place.Step}
	report := s.report(r)
	if report.Samples, err = s.samples(ctx, to); err != nil {
		s.options.Say("eval.prompts: " + err.Error())
	}
	return r, errors.Join(ctx.Err(), s.journal.Report(report))
}

// samples are what the model that was made goes on with after the recipe's
// prompts, by its likeliest tokens.
func (s *session) samples(ctx context.Context, made string) (texts []journal.Text, err error) {
	if len(s.recipe.Eval.Prompts) == 0 {
		return nil, nil
	}
	name, options := made, []lapidary.Option(nil)
	if s.base.adapter != nil {
		name, options = s.base.checkpoint.Path(), append(options, lapidary.WithAdapter(made, 1))
	}
	m, err := lapidary.Open(ctx, name, options...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	p := lapidary.Defaults()
	p.Temperature, p.MaxTokens = 0, s.recipe.Eval.MaxTokens
	for _, prompt := range s.recipe.Eval.Prompts {
		var text strings.Builder
		for token, err := range m.Generate(ctx, prompt, p) {
			if err != nil {
				return texts, err
			}
			text.WriteString(token.Text)
		}
		texts = append(texts, journal.Text{Step: s.place.Step, Prompt: prompt, Text: text.String()})
	}
	return texts, nil
}

func (s *session) report(r Result) journal.Report {
	out := journal.Report{Title: s.recipe.Out, Summary: fmt.Sprintf("%d steps, %d tokens.", r.Steps, s.place.Tokens)}
	out.Scores = append(out.Scores, journal.Fact{Name: "loss of the last step", Value: strconv.FormatFloat(r.Loss, 'f', 4, 64)})
	if r.Validation == r.Validation {
		out.Scores = append(out.Scores, journal.Fact{Name: "held-out loss", Value: strconv.FormatFloat(r.Validation, 'f', 4, 64)})
	}
	out.Environment = []journal.Fact{
		{Name: "device", Value: s.base.engine.Device()}, {Name: "model", Value: s.base.checkpoint.Path()},
		{Name: "trained numbers", Value: strconv.Itoa(s.machine.size())}, {Name: "Go", Value: runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH},
	}
	return out
}

// size is how many numbers are trained.
func (m *machine) size() int {
	n := 0
	for _, t := range m.weights {
		n += size(t.Dims)
	}
	return n
}

// memory is what this process has resident, 0 where the system does not say.
func memory() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

package train

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

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
	return r, s.journal.Report(s.report(r))
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

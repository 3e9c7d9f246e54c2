package media

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"lapidary"
)

// Score is how many answers were right.
type Score struct {
	Right, Total int
	// Wrong are the first of those that were not.
	Wrong []Miss
}

// Share is the part that was right, 0 to 1.
func (s Score) Share() float64 { return float64(s.Right) / float64(max(s.Total, 1)) }

// Miss is a wrong answer.
type Miss struct {
	Example Example
	Got     string
}

// Bounds of an evaluation: an answer is cut there, and so many misses are kept.
const (
	longestAnswer = 16
	mostMisses    = 20
)

// Accuracy asks the model about each example and counts the answers that are the
// example's, but for white space around them. The answer is the likeliest token,
// one after the other. The model sees and hears what it would if a person asked
// it: nothing is varied. Progress, if given, is told what was found so far.
func Accuracy(ctx context.Context, m *lapidary.Model, examples []Example, progress func(Score)) (s Score, err error) {
	a := asker{model: m}
	defer func() { err = errors.Join(err, a.files.close()) }()
	for _, e := range examples {
		got, err := a.ask(ctx, e)
		if err != nil {
			return s, fmt.Errorf("%s: %w", e.Place, err)
		}
		s.Total++
		if strings.TrimSpace(got) == strings.TrimSpace(e.Answer) {
			s.Right++
		} else if len(s.Wrong) < mostMisses {
			s.Wrong = append(s.Wrong, Miss{e, got})
		}
		if progress != nil {
			progress(s)
		}
	}
	return s, nil
}

package train

import (
	"errors"
	"fmt"
	"io"
	"math"

	"lapidary/train/data"
	"lapidary/train/recipe"
)

// errEnd is what a stream says at its end.
var errEnd = io.EOF

// halve makes micro-batches half as large, before the first step and where the
// recipe leaves their size open.
func (s *session) halve() bool {
	if s.place.Step > 0 || s.recipe.Batch.Micro != 0 || s.place.Micro%2 != 0 {
		return false
	}
	s.place.Micro /= 2
	s.options.Say(fmt.Sprintf("not enough memory: %d sequences at a time", s.place.Micro))
	return true
}

// trouble is a step that was not taken.
type trouble struct {
	text   string
	action recipe.Action
}

func (t *trouble) Error() string { return t.text }

// sound refuses a loss that is no number, or far above the mean of the last ones.
func (s *session) sound(loss float64) error {
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return &trouble{"the loss is not a number", s.recipe.OnNaN}
	}
	spike, recent := s.recipe.Spike, s.place.Recent
	if spike.Action == recipe.Ignore || spike.Window == 0 || len(recent) < spike.Window {
		return nil
	}
	var mean float64
	for _, l := range recent {
		mean += l / float64(len(recent))
	}
	if loss > mean*spike.Factor {
		return &trouble{fmt.Sprintf("a loss of %.4g where the last %d were %.4g", loss, len(recent), mean), spike.Action}
	}
	return nil
}

// watch keeps the losses that a spike is measured by.
func (s *session) watch(loss float64) {
	all := append(s.place.Recent, loss)
	s.place.Recent = all[max(0, len(all)-s.recipe.Spike.Window):]
}

// recover does what a recipe says about a step that was not taken.
func (s *session) recover(t *trouble, step int, end data.Position) error {
	text := fmt.Sprintf("step %d: %s", step, t.text)
	if err := s.journal.Log("%s: %s", text, t.action); err != nil {
		return err
	}
	s.options.Say(text + ": " + string(t.action))
	switch t.action {
	case recipe.Skip:
		s.place.Step, s.place.Data = step, end
		return s.journal.Metrics(step, map[string]float64{"skipped": 1})
	case recipe.Rollback:
		return s.rollback(end)
	default:
		return fmt.Errorf("%s; the checkpoints in %s are whole: set on_nan or spike.action to rollback or skip to go on", text, s.recipe.Out)
	}
}

// mostRollbacks to one checkpoint are enough to see that other data do not help.
const mostRollbacks = 3

// rollback goes back to the newest checkpoint, and on with the data that has not
// been seen yet.
func (s *session) rollback(end data.Position) error {
	saved, err := s.journal.Rewind()
	if err != nil {
		return err
	}
	if saved == nil {
		return errors.New("there is no checkpoint to go back to yet: set checkpoint.every lower")
	}
	if s.backTo != saved.Step {
		s.backTo, s.times = saved.Step, 0
	}
	if s.times++; s.times > mostRollbacks {
		return fmt.Errorf("the run went back to step %d %d times and went wrong each time: set optimizer.lr lower", saved.Step, mostRollbacks)
	}
	if err := saved.State(&s.place); err != nil {
		return err
	}
	s.place.Data = end
	return errors.Join(s.leave(end), s.restore(saved))
}

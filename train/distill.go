package train

import (
	"context"
	"fmt"

	. "github.com/gomlx/gomlx/core/graph" //nolint:revive,staticcheck // formulas of graph operations read like formulas

	"lapidary/checkpoint"
	"lapidary/engine"
	"lapidary/engine/graph"
	"lapidary/gemma"
	"lapidary/tokenizer"
	"lapidary/train/data"
)

// distill is learning from another model's distributions (Hinton et al. 2015,
// arXiv:1503.02531): mix · T² · KL(teacher ‖ student), both at temperature T, and
// 1 − mix of the cross-entropy, over the tokens that count.
type distill struct {
	nextToken
	temperature, mix float64
	teacher          *teacher
}

// teacher is a model that is only read.
type teacher struct {
	checkpoint *checkpoint.Checkpoint
	model      *gemma.Model
	weights    map[engine.Weight]bool
}

// noting is an engine that notes which weights it was given.
type noting struct {
	*graph.Engine
	given map[engine.Weight]bool
}

// Load is the engine's.
func (n noting) Load(t checkpoint.Tensor) (engine.Weight, error) {
	w, err := n.Engine.Load(t)
	if err == nil {
		n.given[w] = true
	}
	return w, err
}

func newTeacher(e *graph.Engine, path string) (*teacher, error) {
	c, err := checkpoint.Open(path)
	if err != nil {
		return nil, err
	}
	t := &teacher{checkpoint: c, weights: map[engine.Weight]bool{}}
	if t.model, err = gemma.Load(c, noting{e, t.weights}); err != nil {
		_ = c.Close() // what went wrong before it matters more
		return nil, err
	}
	return t, nil
}

// newDistill opens the teacher beside the student.
func (s *session) newDistill(ctx context.Context) (objective, error) {
	o := s.recipe.Objective
	path, err := located(ctx, o.Teacher)
	if err != nil {
		return nil, fmt.Errorf("objective.teacher: %w", err)
	}
	t, err := newTeacher(s.base.engine, path)
	if err != nil {
		return nil, fmt.Errorf("objective.teacher: %w", err)
	}
	if err := s.fits(t); err != nil {
		_ = t.checkpoint.Close() // what went wrong before it matters more
		return nil, err
	}
	return &distill{temperature: o.Temperature, mix: o.Mix, teacher: t}, nil
}

// fits refuses a teacher whose distributions are not over the student's
// vocabulary.
func (s *session) fits(t *teacher) error {
	theirs, err := tokenizer.Open(t.checkpoint)
	if err != nil {
		return fmt.Errorf("objective.teacher: %w", err)
	}
	a, b := s.subject.model.Config(), t.model.Config()
	switch {
	case a.Encoder != nil || b.Encoder != nil:
		return fmt.Errorf("objective distill: a %s model and a %s teacher: both must be models that go on with a text", a.Family, b.Family)
	case a.Vocab != b.Vocab:
		return fmt.Errorf("objective.teacher: its logits are of %d tokens, and the model's of %d: they must have one vocabulary", b.Vocab, a.Vocab)
	}
	mine := s.base.tokenizer
	for id := range int32(max(mine.Len(), theirs.Len())) {
		if mine.Piece(id) != theirs.Piece(id) {
			return fmt.Errorf("objective.teacher: its token %d is %q, and the model's is %q: they must have one vocabulary", id, theirs.Piece(id), mine.Piece(id))
		}
	}
	return nil
}

// Close gives the teacher back.
func (d *distill) Close() error { return d.teacher.checkpoint.Close() }

// fixed says that a weight is the teacher's.
func (d *distill) fixed(w *graph.Weight) bool { return d.teacher.weights[w] }

func (d *distill) trace(ctx context.Context, s subject, b data.Batch, by float64) (micro, error) {
	t := s.engine.Trace(b.Length)
	steps, want := next(b, s.adapter, by)
	x, err := s.states(ctx, t, steps)
	if err != nil {
		return nil, err
	}
	for i := range steps {
		steps[i].Adapter = nil
	}
	better := subject{model: d.teacher.model}
	y, err := better.states(ctx, t, steps)
	if err != nil {
		return nil, fmt.Errorf("teacher: %w", err)
	}
	knows := better.head()
	l := s.head().loss(t, graph.Operation{
		Key: keyed("distill", d.temperature, d.mix, knows.softCap), In: []engine.Tensor{x, y}, Weights: []engine.Weight{knows.weight},
		Ints: [][]int32{want.ids}, Floats: [][]float32{want.weights},
	}, 2, func(l *graph.Lowering, from, to int, logits *Node) (each, slope *Node) {
		theirs := StopGradient(SliceAxis(l.In[1], 0, AxisRange(from, to)))
		known := softCapped(wide(Dot(theirs, StopGradient(l.Weights[1])).EinsumAxes([][2]int{{1, 1}}, nil)), float64(knows.softCap))
		each, slope = d.divergence(logits, known)
		if d.mix < 1 {
			plain, down := surprise(logits, SliceAxis(l.Data[0], 0, AxisRange(from, to)))
			each, slope = Add(each, times(plain, 1-d.mix)), Add(slope, times(down, 1-d.mix))
		}
		return each, slope
	})
	return t.Record(l.value, l.slope)
}

// divergence is mix · T² · KL of each row [n, V] → [n], and its derivatives by
// the student's logits.
func (d *distill) divergence(student, teacher *Node) (each, slope *Node) {
	mine, theirs := logSoftmax(times(student, 1/d.temperature)), logSoftmax(times(teacher, 1/d.temperature))
	p := Exp(theirs)
	each = times(ReduceSum(Mul(p, Sub(theirs, mine)), 1), d.mix*d.temperature*d.temperature)
	return each, times(Sub(Exp(mine), p), d.mix*d.temperature)
}

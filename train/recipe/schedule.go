package recipe

import "math"

// Curve is a schedule with its numbers of steps: the learning rate as a
// function of the step alone, so that a resumed run has the same rates.
type Curve struct {
	Kind ScheduleKind
	Peak float64
	// Floor is where it ends, as a part of Peak.
	Floor                float64
	Warmup, Decay, Total int // steps
	Shape                Shape
}

// Curve is the schedule of a run of total steps with the optimiser's rate as
// its peak. Parts of the run become steps, rounded up.
func (r *Recipe) Curve(total int) Curve {
	s := r.Schedule
	return Curve{
		Kind: s.Kind, Peak: r.Optimizer.LR, Floor: s.Floor, Shape: s.Shape,
		Warmup: span(s.Warmup, total), Decay: span(s.Decay, total), Total: total,
	}
}

// span is a number of steps, or of what part of total it is.
func span(x float64, total int) int {
	if x < 1 {
		x = math.Ceil(x * float64(total))
	}
	return int(min(x, float64(total)))
}

// LR is the learning rate of a step, which counts from 0. It rises in a
// straight line from 0 at step 0 to Peak at step Warmup. Then, p being the part
// of the fall that is behind,
//
//	cosine   ½(1 + cos πp)   of Peak, p from Warmup to Total
//	linear   1 − p           of Peak, p from Warmup to Total
//	wsd      by Shape        of Peak, p over the last Decay steps
//
// shrunk so that it ends at Floor·Peak, where it stays. The formulas are those
// of transformers' schedules (version 5.23), whose numbers are in testdata; its
// wsd rises from the floor, this one from 0 as all others.
func (c Curve) LR(step int) float64 {
	if step < c.Warmup {
		return c.Peak * float64(step) / float64(c.Warmup)
	}
	part := 1.0
	switch c.Kind {
	case CosineSchedule:
		part = CosineShape.fall(c.behind(step, c.Warmup))
	case LinearSchedule:
		part = LinearShape.fall(c.behind(step, c.Warmup))
	case WSDSchedule:
		part = c.Shape.fall(c.behind(step, max(c.Warmup, c.Total-c.Decay)))
	case ConstantSchedule:
		return c.Peak
	}
	return c.Peak * (c.Floor + (1-c.Floor)*part)
}

// behind is how much of the way from a step to the end is done, 0 to 1.
func (c Curve) behind(step, from int) float64 {
	if step >= c.Total {
		return 1
	}
	return max(0, float64(step-from)/float64(max(1, c.Total-from)))
}

// fall goes from 1 to 0 while p goes from 0 to 1.
func (s Shape) fall(p float64) float64 {
	switch s {
	case CosineShape:
		return 0.5 * (1 + math.Cos(math.Pi*p))
	case SqrtShape:
		return 1 - math.Sqrt(p)
	}
	return 1 - p
}

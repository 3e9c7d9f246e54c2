package enginetest

import (
	"context"
	"math/rand/v2"
	"testing"

	"lapidary/checkpoint"
	"lapidary/engine"
	"lapidary/engine/ref"
)

// fault is what an engine may get wrong, and the part of the suite that has to
// find it.
type fault struct {
	part       func(l *lab)
	span       func(s *engine.Span)
	norm       func(n *engine.Norm)
	cumulative func(n *engine.CumulativeNorm)
	heads      func(h *engine.Heads)
	attend     func(a *engine.Attend)
	conv1D     func(c *engine.Conv1D)
	conv2D     func(c *engine.Conv2D)
	experts    func(e *engine.Experts)
	rows       func(p engine.Pass, x engine.Tensor) engine.Tensor
	discard    func(p engine.Pass)
}

// apply makes a change, if there is one to make.
func apply[T any](change func(*T), v *T) {
	if change != nil {
		change(v)
	}
}

// faulty is the plain engine with a fault.
type faulty struct {
	engine.Engine
	fault fault
}

func (e faulty) Begin(ctx context.Context, spans []engine.Span) engine.Pass {
	for i := range spans {
		apply(e.fault.span, &spans[i])
	}
	return faultyPass{e.Engine.Begin(ctx, spans), e.fault}
}

type faultyPass struct {
	engine.Pass
	fault fault
}

func (p faultyPass) Norm(x engine.Tensor, n engine.Norm) engine.Tensor {
	apply(p.fault.norm, &n)
	return p.Pass.Norm(x, n)
}

func (p faultyPass) CumulativeNorm(x engine.Tensor, n engine.CumulativeNorm) engine.Tensor {
	apply(p.fault.cumulative, &n)
	return p.Pass.CumulativeNorm(x, n)
}

func (p faultyPass) Heads(x engine.Tensor, h engine.Heads) engine.Tensor {
	apply(p.fault.heads, &h)
	return p.Pass.Heads(x, h)
}

func (p faultyPass) Attend(q, k, v engine.Tensor, a engine.Attend) engine.Tensor {
	apply(p.fault.attend, &a)
	return p.Pass.Attend(q, k, v, a)
}

func (p faultyPass) Recur(x, in, forget engine.Tensor, r engine.Recurrence) engine.Tensor {
	return p.row(p.Pass.Recur(x, in, forget, r))
}

func (p faultyPass) Conv1D(x engine.Tensor, c engine.Conv1D) engine.Tensor {
	apply(p.fault.conv1D, &c)
	return p.Pass.Conv1D(x, c)
}

func (p faultyPass) Conv2D(x engine.Tensor, c engine.Conv2D) engine.Tensor {
	apply(p.fault.conv2D, &c)
	return p.Pass.Conv2D(x, c)
}

func (p faultyPass) Experts(x, scores engine.Tensor, e engine.Experts) engine.Tensor {
	apply(p.fault.experts, &e)
	return p.Pass.Experts(x, scores, e)
}

// row is a result with the fault.
func (p faultyPass) row(x engine.Tensor) engine.Tensor {
	if p.fault.rows != nil {
		return p.fault.rows(p.Pass, x)
	}
	return x
}

func (p faultyPass) Sparse(x engine.Tensor, deviations float32) engine.Tensor {
	return p.row(p.Pass.Sparse(x, deviations))
}

func (p faultyPass) Match(x, like engine.Tensor) engine.Tensor {
	return p.row(p.Pass.Match(x, like))
}

func (p faultyPass) Expect(x engine.Tensor, table engine.Weight, scale float32) engine.Tensor {
	return p.row(p.Pass.Expect(x, table, scale))
}

func (p faultyPass) BlockLinear(x engine.Tensor, w engine.Weight, n int) engine.Tensor {
	return p.row(p.Pass.BlockLinear(x, w, n))
}

func (p faultyPass) Mean(x engine.Tensor, groups [][]int) engine.Tensor {
	return p.row(p.Pass.Mean(x, groups))
}

func (p faultyPass) Mix(xs []engine.Tensor, by engine.Tensor) []engine.Tensor {
	ys := p.Pass.Mix(xs, by)
	ys[0] = p.row(ys[0])
	return ys
}

func (p faultyPass) Gate(gate, up engine.Tensor, act engine.Activation) engine.Tensor {
	return p.row(p.Pass.Gate(gate, up, act))
}

func (p faultyPass) Discard() {
	if p.fault.discard != nil {
		p.fault.discard(p.Pass)
		return
	}
	p.Pass.Discard()
}

// off is a result that is a little off, by more than float32 is.
func off(p engine.Pass, x engine.Tensor) engine.Tensor { return p.Scale(x, 1+2e-4) }

// commits is a pass that was given up and counts all the same.
func commits(p engine.Pass) { _ = p.End() }

// recorder counts what would have been reported.
type recorder struct {
	testing.TB
	reports int
}

func (r *recorder) Errorf(string, ...any) { r.reports++ }

// TestFaultsAreFound: a suite that an engine passes with a fault is worth
// nothing.
func TestFaultsAreFound(t *testing.T) {
	for name, f := range map[string]fault{
		"a norm that is not centred":                {part: norms, norm: func(n *engine.Norm) { n.Centred = false }},
		"a norm without its bias":                   {part: norms, norm: func(n *engine.Norm) { n.Bias = nil }},
		"clips that run into each other":            {part: cumulativeNorms, cumulative: func(n *engine.CumulativeNorm) { n.Lengths = joined(n.Lengths) }},
		"the first rope alone":                      {part: headParts, heads: func(h *engine.Heads) { h.Ropes = h.Ropes[:1] }},
		"a rope of all angles":                      {part: headParts, heads: func(h *engine.Heads) { h.Ropes = everyRope(h.Ropes, func(r *engine.Rope) { r.Turn = 0 }) }},
		"a rope of columns in place of lines":       {part: headParts, heads: func(h *engine.Heads) { h.Ropes = everyRope(h.Ropes, func(r *engine.Rope) { r.Axis = min(r.Axis, 1) }) }},
		"ropes that are not shifted":                {part: headParts, heads: func(h *engine.Heads) { h.Ropes = everyRope(h.Ropes, func(r *engine.Rope) { r.Shift = 0 }) }},
		"rows that stand one place earlier":         {part: behinds, span: func(s *engine.Span) { s.Behind += s.Behind / 40 }},
		"rows that see one ahead less":              {part: aheads, attend: func(a *engine.Attend) { a.Ahead = max(a.Ahead-1, engine.All) }},
		"windows of each row in place of the first": {part: anchors, attend: func(a *engine.Attend) { a.Anchored = false }},
		"groups that see their past":                {part: groups, attend: func(a *engine.Attend) { a.Groups = false }},
		"groups of the sequence before":             {part: groups, span: func(s *engine.Span) { s.Groups = shifted(s.Groups) }},
		"places one too far":                        {part: relatives, attend: func(a *engine.Attend) { a.Far++ }},
		"a window one too wide":                     {part: behinds, attend: func(a *engine.Attend) { a.Window += a.Window / 70 }},
		"a decoder that does not see its source":    {part: sources, attend: func(a *engine.Attend) { a.Beside = 0 }},
		"a source that was given up":                {part: sourceFailures, discard: commits},
		"states of what was given up":               {part: recurrentFailures, discard: commits},
		"a convolution without its bias":            {part: recurs, conv1D: func(c *engine.Conv1D) { c.Bias = nil }},
		"zeros at the wrong end":                    {part: conv2Ds, conv2D: func(c *engine.Conv2D) { c.Before, c.After = c.After, c.Before }},
		"one expert less":                           {part: fewExperts, experts: func(e *engine.Experts) { e.Top = max(1, e.Top-1) }},
		"experts without their scales":              {part: fewExperts, experts: func(e *engine.Experts) { e.Scale = nil }},
		"experts of another activation":             {part: fewExperts, experts: func(e *engine.Experts) { e.Activation = engine.SiLU }},
		"recurrent rows":                            {part: recurs, rows: off},
		"sparse rows":                               {part: sparses, rows: off},
		"matched rows":                              {part: matches, rows: off},
		"expected rows":                             {part: expects, rows: off},
		"blocks":                                    {part: blockLinears, rows: off},
		"mixed rows":                                {part: mixes, rows: off},
		"means of rows":                             {part: means, rows: off},
		"gates":                                     {part: gates, rows: off},
	} {
		t.Run(name, func(t *testing.T) {
			found := &recorder{TB: t}
			e := faulty{ref.New(), f}
			f.part(&lab{T: t, Engine: Compare(found, e), tested: e, rng: rand.New(rand.NewPCG(1, 2))})
			if found.reports == 0 {
				t.Error("nothing was reported")
			}
		})
	}
}

// fewExperts is the quickest of what experts tries.
func fewExperts(l *lab) {
	e := engine.Experts{GateUp: l.weight(checkpoint.F32, 5*2*20, 12), Down: l.weight(checkpoint.F32, 5*12, 20), Scale: l.vector(5), Count: 5, Top: 2}
	l.mixture(e, 9, 12)
}

// joined is one clip of as many rows.
func joined(lengths []int) []int {
	rows := 0
	for _, n := range lengths {
		rows += n
	}
	return []int{rows}
}

func everyRope(ropes []engine.Rope, change func(r *engine.Rope)) []engine.Rope {
	var all []engine.Rope
	for _, r := range ropes {
		change(&r)
		all = append(all, r)
	}
	return all
}

// shifted numbers each row as the one before it.
func shifted(groups []int32) []int32 {
	if len(groups) == 0 {
		return nil
	}
	return append([]int32{0}, groups[:len(groups)-1]...)
}

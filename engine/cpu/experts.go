package cpu

import (
	"cmp"
	"math"
	"slices"

	"lapidary/engine"
)

// routed are the rows that take an expert.
type routed struct {
	expert int
	rows   []int
}

// taken is an expert's result for a row, and what it counts.
type taken struct {
	routed, row int // which of the routed, which of its rows
	share       float32
}

// Experts multiplies the weights of each expert by all the rows that take it.
func (p *pass) Experts(x, scores engine.Tensor, e engine.Experts) engine.Tensor {
	in := p.read(x)
	all, takes := route(p.read(scores), e)
	gateUp, down := e.GateUp.(*weight).parts(2*e.Count), e.Down.(*weight).parts(e.Count)

	hidden := make([]product, 0, 2*len(all))
	for i, rows := range p.gatherRows(in, all) {
		for _, w := range gateUp[2*all[i].expert:][:2] {
			hidden = append(hidden, p.plan(rows, w, w.sums))
		}
	}
	p.multiply(hidden)
	results := make([]product, len(all))
	for i, r := range all {
		h := p.Gate(hidden[2*i].y, hidden[2*i+1].y, e.Activation).(*tensor)
		results[i] = p.plan(h, down[r.expert], down[r.expert].sums)
	}
	p.multiply(results)

	y := p.tensor(in.rows, in.width)
	p.eachRows(y, func(from, to int) {
		for r := from; r < to; r++ {
			clear(y.row(r))
			for _, t := range takes[r] {
				term := results[t.routed].y.row(t.row)
				p.scale(term, term, t.share)
				p.loops(in.width).Add(&y.row(r)[0], &term[0], in.width)
			}
		}
	})
	return y
}

// gatherRows are the rows of x for each expert; x itself where that is all.
func (p *pass) gatherRows(x *tensor, all []routed) []*tensor {
	some, total := make([]*tensor, len(all)), 0
	for i, r := range all {
		if some[i] = x; len(r.rows) < x.rows {
			some[i] = p.tensor(len(r.rows), x.width)
			total += len(some[i].data)
		}
	}
	p.parallel(len(all), total, func(i int, _ *scratch) {
		for j, r := range all[i].rows {
			if some[i] != x {
				copy(some[i].row(j), x.row(r))
			}
		}
	})
	return some
}

// route finds the rows of each expert that has some, and what each row takes, in
// the order of the experts: a row's sum is the same whichever rows there are.
func route(scores *tensor, e engine.Experts) (all []routed, takes [][]taken) {
	scales := []float32(nil)
	if e.Scale != nil {
		scales = e.Scale.(*weight).norm(0)
	}
	picked, of := make([][]chosen, scores.rows), make([]routed, e.Count)
	for r := range picked {
		picked[r] = choose(scores.row(r), e.Top)
		for _, c := range picked[r] {
			of[c.expert].rows = append(of[c.expert].rows, r)
		}
	}
	place := make([]int, e.Count) // of an expert among those that have rows
	for i := range of {
		if of[i].expert = i; len(of[i].rows) > 0 {
			place[i] = len(all)
			all = append(all, of[i])
		}
	}
	next := make([]int, e.Count)
	takes = make([][]taken, scores.rows)
	for r, best := range picked {
		slices.SortFunc(best, func(a, b chosen) int { return cmp.Compare(a.expert, b.expert) })
		for _, c := range best {
			if scales != nil {
				c.share *= float64(scales[c.expert])
			}
			takes[r] = append(takes[r], taken{place[c.expert], next[c.expert], float32(c.share)})
			next[c.expert]++
		}
	}
	return all, takes
}

// chosen is an expert and its share.
type chosen struct {
	expert int
	share  float64
}

// choose is the best of a row's experts. Of equals, the first.
func choose(scores []float32, top int) []chosen {
	all := make([]chosen, len(scores))
	for i, v := range scores {
		all[i] = chosen{i, float64(v)}
	}
	slices.SortStableFunc(all, func(a, b chosen) int { return cmp.Compare(b.share, a.share) })
	best, total := all[:top], 0.0
	greatest := all[0].share
	for i := range best {
		best[i].share = math.Exp(best[i].share - greatest)
		total += best[i].share
	}
	for i := range best {
		best[i].share /= total
	}
	return best
}

package cpu

import (
	"cmp"
	"math"
	"slices"

	"lapidary/engine"
)

// routed are the rows that take an expert, and what its result counts for each.
type routed struct {
	expert int
	rows   []int
	shares []float32
}

// Experts multiplies the weights of each expert by all the rows that take it.
func (p *pass) Experts(x, scores engine.Tensor, e engine.Experts) engine.Tensor {
	in := p.read(x)
	all := route(p.read(scores), e)
	gateUp, down := e.GateUp.(*weight).parts(2*e.Count), e.Down.(*weight).parts(e.Count)

	hidden := make([]product, 0, 2*len(all))
	for _, r := range all {
		rows := in
		if len(r.rows) < in.rows {
			rows = p.Pick(in, r.rows).(*tensor)
		}
		for _, w := range gateUp[2*r.expert:][:2] {
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
	clear(y.data)
	for i, r := range all { // in the order of experts, whichever rows there are
		for j, row := range r.rows {
			term := results[i].y.row(j)
			p.scale(term, term, r.shares[j])
			p.loops(in.width).Add(&y.row(row)[0], &term[0], in.width)
		}
	}
	return y
}

// route finds the rows of each expert that has some.
func route(scores *tensor, e engine.Experts) (all []routed) {
	var scales []float32
	if e.Scale != nil {
		scales = e.Scale.(*weight).norm(0)
	}
	of := make([]routed, e.Count)
	for r := range scores.rows {
		for _, c := range choose(scores.row(r), e.Top) {
			share := c.share
			if scales != nil {
				share *= float64(scales[c.expert])
			}
			to := &of[c.expert]
			to.rows, to.shares = append(to.rows, r), append(to.shares, float32(share))
		}
	}
	for i := range of {
		if of[i].expert = i; len(of[i].rows) > 0 {
			all = append(all, of[i])
		}
	}
	return all
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

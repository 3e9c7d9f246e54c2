package gemma

import (
	"math"

	"lapidary/engine"
)

// Logits receives rows of unnormalised log-probabilities. Its storage is
// reused by the next Forward that is given it.
type Logits struct {
	rows, vocab int
	data        []float32
	// finite are the places of a row that are not −Inf, where all the others
	// are; nil for a row of which nothing is known.
	finite [][]int32
}

// Rows is the number of rows, in the order of the steps that asked for them.
func (l *Logits) Rows() int { return l.rows }

// Row is the logits [V] of row i. It must be left as it was found.
func (l *Logits) Row(i int) []float32 { return l.data[i*l.vocab : (i+1)*l.vocab] }

// Known are the places of row i that are not −Inf, in ascending order, if the
// engine left out others ([Step.Best]); nil if it left out none.
func (l *Logits) Known(i int) []int32 { return l.finite[i] }

// Likeliest is the place of the greatest logit of row i, the first of equals.
func (l *Logits) Likeliest(i int) int32 {
	row, best := l.Row(i), int32(0)
	if known := l.Known(i); known != nil {
		for _, id := range known {
			if row[id] > row[best] {
				best = id
			}
		}
		return best
	}
	for id, v := range row {
		if v > row[best] {
			best = int32(id)
		}
	}
	return best
}

// reset empties l for rows of so many logits.
func (l *Logits) reset(vocab int) {
	if vocab != l.vocab {
		clear(l.finite)
	}
	l.rows, l.vocab = 0, vocab
}

// add appends room for n rows and returns it.
func (l *Logits) add(n int) []float32 {
	from := l.rows
	l.grow(n)
	clear(l.finite[from:l.rows])
	return l.data[from*l.vocab:]
}

func (l *Logits) grow(n int) {
	held := l.data[:l.rows*l.vocab]
	l.rows += n
	if need := l.rows * l.vocab; need > cap(l.data) {
		l.data = append(held, make([]float32, need-len(held))...)
		clear(l.finite[min(len(l.finite), l.rows-n):])
	} else {
		l.data = l.data[:need]
	}
	for len(l.finite) < l.rows {
		l.finite = append(l.finite, nil)
	}
}

// addRanked appends a row of which some logits are known.
func (l *Logits) addRanked(r engine.Ranked) {
	i := l.rows
	l.grow(1)
	row := l.Row(i)
	minusInf := float32(math.Inf(-1))
	if known := l.finite[i]; known != nil {
		for _, id := range known {
			row[id] = minusInf
		}
	} else {
		for id := range row {
			row[id] = minusInf
		}
	}
	for j, id := range r.Outputs {
		row[id] = r.Values[j]
	}
	l.finite[i] = r.Outputs
}

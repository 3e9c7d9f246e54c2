package graph

import (
	"slices"

	"github.com/gomlx/compute/shapes"

	"lapidary/engine"
)

func intShape(dims ...int) shapes.Shape { return shapes.Make(index, dims...) }

// layout is where the rows of a pass lie in lines of equal length, one span a
// line or several that fill it.
type layout struct {
	lines, length int
	first         []int // row of each span
	line, column  []int // of each row
	span          []int // of each row
	full          bool  // rows are the lines as they come
	packed        bool  // several spans a line
}

func newLayout(spans []engine.Span, line int) layout {
	l := layout{packed: line > 0, length: line}
	rows := 0
	for i, s := range spans {
		l.first = append(l.first, rows)
		for j := range s.Rows {
			l.span = append(l.span, i)
			if l.packed {
				l.line, l.column = append(l.line, (rows+j)/line), append(l.column, (rows+j)%line)
			} else {
				l.line, l.column = append(l.line, i), append(l.column, j)
			}
		}
		rows += s.Rows
		if !l.packed {
			l.length = max(l.length, s.Rows)
		}
	}
	l.lines = len(spans)
	if l.packed {
		l.lines = rows / line
	}
	l.full = l.lines*l.length == rows
	return l
}

// spread is how some rows of a pass lie in lines: slot is the row of each place
// in them, 0 where there is none, and place where each row lies.
type spread struct {
	lines, length int
	row           []int // of the pass, at each place; −1 where there is none
	slot, place   []int
	full          bool
}

// spread lays out the given rows of the pass, or all.
func (l *layout) spread(rows []int) spread {
	if rows == nil {
		rows = make([]int, len(l.line))
		for i := range rows {
			rows[i] = i
		}
	}
	counts := make([]int, l.lines)
	place := make([]int, len(rows))
	for i, r := range rows {
		place[i] = counts[l.line[r]]
		counts[l.line[r]]++
	}
	s := spread{lines: l.lines, length: slices.Max(append(counts, 1)), place: place}
	s.full = s.lines*s.length == len(rows)
	s.row, s.slot = slices.Repeat([]int{-1}, s.lines*s.length), make([]int, s.lines*s.length)
	for i, r := range rows {
		place[i] += l.line[r] * s.length
		s.row[place[i]], s.slot[place[i]] = r, i
	}
	return s
}

// position is the place of a row in its sequence.
func (p *Pass) position(row int) int {
	s := p.layout.span[row]
	return start(p.spans[s]) + row - p.layout.first[s]
}

// start is the position of a span's first row.
func start(s engine.Span) int {
	if s.Cache == nil || s.Source {
		return 0
	}
	return s.Cache.Len() - s.Behind
}

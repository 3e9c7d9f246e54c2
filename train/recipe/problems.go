package recipe

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a recipe.
type Problem struct {
	Line int // from 1; 0 where it is about something that is not there
	Text string
}

// Problems is all that is wrong with a recipe, in the order of the file.
type Problems struct {
	File string
	List []Problem
}

// Error has a line for each problem: file:line: what is wrong and what to do.
func (p *Problems) Error() string {
	lines := make([]string, len(p.List))
	for i, q := range p.List {
		if q.Line > 0 {
			lines[i] = fmt.Sprintf("%s:%d: %s", p.File, q.Line, q.Text)
		} else {
			lines[i] = fmt.Sprintf("%s: %s", p.File, q.Text)
		}
	}
	return strings.Join(lines, "\n")
}

func (p *Problems) add(line int, format string, values ...any) {
	p.List = append(p.List, Problem{line, fmt.Sprintf(format, values...)})
}

func (p *Problems) err() error {
	if len(p.List) == 0 {
		return nil
	}
	slices.SortStableFunc(p.List, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	return p
}

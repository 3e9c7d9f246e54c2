package terminal

import (
	"strings"

	"github.com/clipperhouse/displaywidth"
)

// cell is a character as people count them, with its style.
type cell struct {
	text  string
	width int
	style
}

func cells(spans []span) []cell {
	var out []cell
	for _, s := range spans {
		g := displaywidth.StringGraphemes(strings.ReplaceAll(s.text, "\t", "    "))
		for g.Next() {
			out = append(out, cell{g.Value(), g.Width(), s.style})
		}
	}
	return out
}

// wrap breaks spans into lines of at most width columns: at spaces, beside
// characters that are two columns wide (Chinese, Japanese, Korean), or within
// a word that is longer than a line. A newline breaks in any case.
func wrap(spans []span, width int) []line {
	width = max(width, 1)
	var lines []line
	var current []cell
	column, breakAt := 0, -1 // breakAt: the line may end before current[breakAt]
	flush := func(to int) {
		lines = append(lines, joinCells(current[:to]))
		current = append([]cell(nil), trimLeft(current[to:])...)
		column, breakAt = 0, -1
		for _, c := range current {
			column += c.width
		}
	}
	for _, c := range cells(spans) {
		if c.text == "\n" {
			flush(len(current))
			continue
		}
		if column+c.width > width && len(current) > 0 && c.text != " " {
			if breakAt <= 0 || c.width == 2 {
				breakAt = len(current)
			}
			flush(breakAt)
		}
		if c.width == 2 {
			breakAt = len(current)
		}
		current = append(current, c)
		column += c.width
		if c.text == " " || c.width == 2 {
			breakAt = len(current)
		}
	}
	return append(lines, joinCells(current))
}

func trimLeft(cells []cell) []cell {
	for len(cells) > 0 && cells[0].text == " " {
		cells = cells[1:]
	}
	return cells
}

func joinCells(cells []cell) line {
	for len(cells) > 0 && cells[len(cells)-1].text == " " {
		cells = cells[:len(cells)-1]
	}
	var out line
	for _, c := range cells {
		if n := len(out); n > 0 && out[n-1].style == c.style {
			out[n-1].text += c.text
			continue
		}
		out = append(out, span{c.text, c.style})
	}
	return out
}

// indent puts first before the first line and rest before the others.
func indent(lines []line, first, rest line) []line {
	out := make([]line, len(lines))
	for i, l := range lines {
		prefix := rest
		if i == 0 {
			prefix = first
		}
		out[i] = append(append(line(nil), prefix...), l...)
	}
	return out
}

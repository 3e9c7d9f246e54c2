package terminal

import (
	"slices"
	"strings"

	extast "github.com/yuin/goldmark/extension/ast"
)

// The narrowest that a column is made before a table is written as a list.
const minColumn = 4

// table renders rows and columns; cells are wrapped where the terminal is too
// narrow for them, and where it is much too narrow each row becomes a list.
func (m *markdown) table(n *extast.Table, width int) []line {
	var rows [][][]span
	for r := n.FirstChild(); r != nil; r = r.NextSibling() {
		var row [][]span
		st := style{}
		if _, ok := r.(*extast.TableHeader); ok {
			st = st.with(bold)
		}
		for c := r.FirstChild(); c != nil; c = c.NextSibling() {
			row = append(row, m.inline(c, st))
		}
		rows = append(rows, row)
	}
	if len(rows) == 0 || len(rows[0]) == 0 {
		return nil
	}
	columns := len(rows[0])
	room := width - 3*(columns-1)
	if room < columns*minColumn {
		return listOfRows(rows, width)
	}
	widths := columnWidths(rows, columns, room)
	var out []line
	for i, row := range rows {
		out = append(out, tableRow(row, widths, n.Alignments)...)
		if i == 0 {
			out = append(out, tableRule(widths))
		}
	}
	return out
}

// columnWidths gives each column what its widest cell needs, and takes from
// the widest columns first what isn't there.
func columnWidths(rows [][][]span, columns, room int) []int {
	widths := make([]int, columns)
	for _, row := range rows {
		for i, c := range row[:min(len(row), columns)] {
			for _, l := range wrap(c, 1<<20) {
				widths[i] = max(widths[i], l.width())
			}
		}
	}
	for {
		total, widest := 0, 0
		for i, w := range widths {
			total += w
			if w > widths[widest] {
				widest = i
			}
		}
		if total <= room {
			return widths
		}
		widths[widest]--
	}
}

func tableRow(row [][]span, widths []int, align []extast.Alignment) []line {
	cells := make([][]line, len(widths))
	height := 1
	for i := range widths {
		if i < len(row) {
			cells[i] = wrap(row[i], widths[i])
		}
		height = max(height, len(cells[i]))
	}
	out := make([]line, height)
	for y := range out {
		for i, w := range widths {
			var c line
			if y < len(cells[i]) {
				c = cells[i][y]
			}
			if i > 0 {
				out[y] = append(out[y], span{" │ ", faintStyle})
			}
			left, right := padding(w-c.width(), align[i])
			if i == len(widths)-1 {
				right = "" // nothing follows, and copied lines should end with their text
			}
			out[y] = append(append(append(out[y], span{text: left}), c...), span{text: right})
		}
	}
	return out
}

func padding(n int, a extast.Alignment) (left, right string) {
	l := 0
	switch a {
	case extast.AlignRight:
		l = n
	case extast.AlignCenter:
		l = n / 2
	}
	return strings.Repeat(" ", max(0, l)), strings.Repeat(" ", max(0, n-l))
}

func tableRule(widths []int) line {
	parts := make([]string, len(widths))
	for i, w := range widths {
		parts[i] = strings.Repeat("─", w)
	}
	return line{{strings.Join(parts, "─┼─"), faintStyle}}
}

// listOfRows writes "column: cell" lines.
func listOfRows(rows [][][]span, width int) []line {
	var out []line
	for i, row := range rows[1:] {
		if i > 0 {
			out = append(out, line{})
		}
		for j, c := range row {
			var label []span
			if j < len(rows[0]) {
				label = append(slices.Clone(rows[0][j]), span{text: ": "})
			}
			out = append(out, wrap(append(label, c...), width)...)
		}
	}
	return out
}

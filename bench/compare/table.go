package main

import (
	"fmt"
	"math"
	"strings"
)

// table is a table of Markdown, its first row the heads. All columns but the
// first hold numbers.
type table [][]string

func (t *table) add(cells ...string) { *t = append(*t, cells) }

func (t table) String() string {
	var b strings.Builder
	for i, row := range t {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			fmt.Fprintf(&b, "|---|%s\n", strings.Repeat("---:|", len(row)-1))
		}
	}
	return b.String()
}

// number has three digits or more; what could not be had is a dash.
func number(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "–"
	case math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// unit is a number with what it counts.
func unit(v float64, of string) string {
	if n := number(v); n != "–" {
		return n + " " + of
	}
	return "–"
}

func ratio(v float64) string {
	if n := number(v); n != "–" {
		return "**" + n + "**"
	}
	return "–"
}

func percent(part, whole float64) string {
	if v := part / whole; !math.IsNaN(v) && !math.IsInf(v, 0) {
		return fmt.Sprintf("%.0f %%", 100*v)
	}
	return "–"
}

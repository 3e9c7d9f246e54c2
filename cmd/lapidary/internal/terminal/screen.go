package terminal

import (
	"bytes"
	"fmt"
	"io"
	"slices"
)

// screen paints the part of the terminal that still changes: the lines of the
// block that is being answered. Everything above belongs to the terminal, its
// scrollback and its selection.
//
// The cursor stands at the end of the last painted line, where place puts it,
// or at the start of an empty row when nothing is painted.
type screen struct {
	out     io.Writer
	size    func() (width, height int)
	colours bool
	// reflows: the terminal breaks painted lines anew when it gets narrower,
	// as all do but xterm and the Linux console.
	reflows bool

	shown  []line
	width  int   // of the terminal when shown was painted
	cursor *spot // nil at the end of shown
	buf    bytes.Buffer
}

// spot is a place in what is shown: a line and a column of it.
type spot struct{ line, column int }

// paint shows lines where the last painted ones are, and leaves the cursor at
// their end. Lines that have scrolled off the top stay as they were. With clip
// only as many of the last lines are shown as can be repainted; paint them all
// with the final call.
func (s *screen) paint(lines []line, clip bool) {
	width, height := s.size()
	if clip {
		lines = tail(lines, width, height-1)
	}
	s.descend(width)
	keep := s.same(lines, width)
	if keep == len(s.shown) && keep == len(lines) {
		return
	}
	if keep == len(lines) && keep > 0 {
		keep-- // the cursor has to end up on a painted line
	}
	for keep < len(s.shown) && s.above(keep, width) > height-1 {
		keep++
	}
	switch {
	case keep < len(s.shown):
		s.up(s.above(keep, width))
	case keep > 0 && keep < len(lines):
		s.buf.WriteString("\r\n")
	}
	for i, l := range lines[min(keep, len(lines)):] {
		if i > 0 {
			s.buf.WriteString("\r\n")
		}
		s.buf.WriteString(l.ansi(s.colours))
	}
	s.shown, s.width = slices.Clone(lines), width
}

// same is the number of lines at the top that needn't be painted again. None
// is when the width changed: a terminal that doesn't break lines anew may have
// cut them off.
func (s *screen) same(lines []line, width int) int {
	if width != s.width {
		return 0
	}
	n := 0
	for n < min(len(s.shown), len(lines)) && slices.Equal(s.shown[n], lines[n]) {
		n++
	}
	return n
}

// place puts the cursor somewhere in what was painted.
func (s *screen) place(at spot) {
	if rows := len(s.shown) - 1 - at.line; rows > 0 { // painted lines are rows here
		fmt.Fprintf(&s.buf, "\x1b[%dA", rows)
	}
	s.buf.WriteByte('\r')
	if at.column > 0 {
		fmt.Fprintf(&s.buf, "\x1b[%dC", at.column)
	}
	s.cursor = &at
}

// descend takes the cursor from where it was placed to the last row.
func (s *screen) descend(width int) {
	if s.cursor == nil {
		return
	}
	if !s.reflows {
		width = s.width
	}
	if rows := s.above(s.cursor.line, width) - s.cursor.column/max(width, 1); rows > 0 {
		fmt.Fprintf(&s.buf, "\x1b[%dB", rows)
	}
	s.cursor = nil
}

// above is how many rows up from the last one line i begins.
func (s *screen) above(i, width int) int {
	if !s.reflows {
		width = s.width
	}
	rows := -1
	for _, l := range s.shown[i:] {
		rows += l.rows(width)
	}
	return rows
}

// up moves to the start of the row so many rows up and clears from there.
func (s *screen) up(rows int) {
	s.buf.WriteByte('\r')
	if rows > 0 {
		fmt.Fprintf(&s.buf, "\x1b[%dA", rows)
	}
	s.buf.WriteString("\x1b[J")
}

// clear empties the terminal.
func (s *screen) clear() {
	s.buf.WriteString("\x1b[H\x1b[2J")
	s.shown, s.cursor = nil, nil
}

// tail is the last lines that fit into so many rows.
func tail(lines []line, width, rows int) []line {
	for i := len(lines) - 1; i >= 0; i-- {
		if rows -= lines[i].rows(width); rows < 0 {
			return lines[min(i+1, len(lines)-1):]
		}
	}
	return lines
}

// commit leaves what is painted as it is and goes on below.
func (s *screen) commit() {
	if len(s.shown) > 0 {
		s.buf.WriteString("\r\n")
		s.shown, s.cursor = nil, nil
	}
}

// flush sends what was painted since the last flush in one write, so that the
// terminal doesn't show a state in between.
func (s *screen) flush() error {
	if s.buf.Len() == 0 {
		return nil
	}
	_, err := s.out.Write(s.buf.Bytes())
	s.buf.Reset()
	return err
}

package terminal

import (
	"context"
	"fmt"
	"io"
	"strings"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/clipperhouse/displaywidth"
)

const prompt = ">>> "

// editor reads inputs from a terminal that can move its cursor. It has the
// keys of Emacs and of shells. What is typed while an answer is written waits
// for the next prompt.
type editor struct {
	keys     <-chan uv.Event
	pending  []uv.Event // that came while an answer was written
	screen   *screen
	history  *history
	complete func(line string) (string, []choice) // its last word, and what that may become
	report   func(error)                          // that the history can't be written
	begun    string                               // what the next input begins with

	buffer
	place  int       // in the history; its length for what is being typed
	draft  string    // what was being typed before the history was looked at
	search *searcher // nil unless Ctrl-R was pressed
	hints  []string  // shown below until the next key
}

// searcher is an incremental search back through the history.
type searcher struct {
	query string
	found int // entry, or -1
	saved state
}

// outcome is what a key did to the input as a whole.
type outcome int

const (
	goesOn outcome = iota
	accepted
	interrupted
	ended
)

func (e *editor) refill(input string) { e.begun = input }

func (e *editor) events() <-chan uv.Event { return e.keys }

// hold keeps an event for the next prompt. It reports Ctrl-C, which also
// drops what was typed before it, as terminals do.
func (e *editor) hold(ev uv.Event) bool {
	if k, ok := ev.(uv.KeyPressEvent); ok && k.Keystroke() == "ctrl+c" {
		e.pending = nil
		return true
	}
	e.pending = append(e.pending, ev)
	return false
}

func (e *editor) next(ctx context.Context) (uv.Event, error) {
	if len(e.pending) > 0 {
		ev := e.pending[0]
		e.pending = e.pending[1:]
		return ev, nil
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case ev, more := <-e.keys:
		if !more {
			return nil, io.EOF
		}
		return ev, nil
	}
}

// read lets the user edit one input.
func (e *editor) read(ctx context.Context) (string, error) {
	e.set(e.begun)
	e.begun = ""
	e.place, e.draft, e.search, e.hints = e.history.Len(), "", nil, nil
	for {
		e.show()
		ev, err := e.next(ctx)
		if err != nil {
			e.leave()
			return "", err
		}
		switch e.handle(ev) {
		case accepted:
			e.leave()
			if err := e.history.add(e.text); err != nil && e.report != nil {
				e.report(fmt.Errorf("history: %w", err))
				e.report = nil // once is enough
			}
			return e.text, nil
		case interrupted:
			e.leave()
			return e.text, errInterrupt
		case ended:
			e.leave()
			return "", io.EOF
		}
	}
}

func (e *editor) handle(ev uv.Event) outcome {
	switch ev := ev.(type) {
	case uv.PasteEvent:
		e.search, e.hints = nil, nil
		s := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(ev.Content)
		e.insert(strings.ReplaceAll(clean(s), "\t", "    "))
	case uv.KeyPressEvent:
		e.hints = nil
		if e.search != nil && e.searchKey(ev) {
			return goesOn
		}
		return e.key(ev)
	}
	return goesOn // a resize is answered by painting
}

// key carries out one key. What isn't listed here is text or nothing.
func (e *editor) key(k uv.KeyPressEvent) outcome {
	stroke := k.Keystroke()
	switch stroke {
	case "enter", "kpenter":
		return e.enter()
	case "ctrl+c":
		return interrupted
	case "ctrl+d":
		if e.text == "" {
			return ended
		}
		e.remove(e.right())
	case "tab":
		e.completion()
	case "ctrl+r":
		e.search = &searcher{found: -1, saved: state{e.text, e.at}}
	case "ctrl+l":
		e.screen.clear()
	case "up", "ctrl+p":
		e.vertically(-1)
	case "down", "ctrl+n":
		e.vertically(1)
	default:
		if !e.move(stroke) && !e.change(stroke) && k.Text != "" {
			e.typed(clean(k.Text))
		}
	}
	return goesOn
}

// move carries out the keys that move the cursor.
func (e *editor) move(stroke string) bool {
	switch stroke {
	case "left", "ctrl+b":
		e.to(e.left())
	case "right", "ctrl+f":
		e.to(e.right())
	case "home", "ctrl+a":
		e.to(e.lineStart())
	case "end", "ctrl+e":
		e.to(e.lineEnd())
	case "alt+b", "alt+left", "ctrl+left":
		e.to(e.wordLeft())
	case "alt+f", "alt+right", "ctrl+right":
		e.to(e.wordRight())
	case "ctrl+home", "alt+<":
		e.to(0)
	case "ctrl+end", "alt+>":
		e.to(len(e.text))
	default:
		return false
	}
	return true
}

// change carries out the keys that change the text.
func (e *editor) change(stroke string) bool {
	switch stroke {
	case "alt+enter", "shift+enter", "ctrl+j", "ctrl+enter":
		e.insert("\n")
	case "backspace", "ctrl+h", "shift+backspace":
		e.remove(e.left())
	case "delete":
		e.remove(e.right())
	case "ctrl+k":
		e.cut(max(e.lineEnd(), min(e.at+1, len(e.text)))) // at its end, the line break
	case "ctrl+u":
		e.cut(e.lineStart())
	case "ctrl+w":
		e.cut(e.spaceLeft())
	case "alt+backspace", "ctrl+backspace":
		e.cut(e.wordLeft())
	case "alt+d", "alt+delete", "ctrl+delete":
		e.cut(e.wordRight())
	case "ctrl+y":
		e.insert(e.killed)
	case "ctrl+t":
		e.transpose()
	case "ctrl+_", "ctrl+/", "ctrl+z":
		e.undo()
	default:
		return false
	}
	return true
}

// enter ends the input, or begins a line of one that goes on.
func (e *editor) enter() outcome {
	if e.at == len(e.text) && strings.HasSuffix(e.text, `\`) && !strings.HasPrefix(e.text, fence) {
		e.replace(e.at-1, e.at, "\n")
		return goesOn
	}
	if !complete(e.text) {
		e.insert("\n")
		return goesOn
	}
	e.at = len(e.text)
	return accepted
}

// vertically moves a line up or down, and from the first and last line on
// through the history.
func (e *editor) vertically(by int) {
	if at, ok := e.vertical(by); ok {
		e.to(at)
		return
	}
	place := e.place + by
	if place < 0 || place > e.history.Len() {
		return
	}
	if e.place == e.history.Len() {
		e.draft = e.text
	}
	e.place = place
	if place == e.history.Len() {
		e.set(e.draft)
		return
	}
	e.set(e.history.entries[place])
}

// searchKey takes the keys that matter to a search. Any other ends it, keeps
// what was found, and means what it always does.
func (e *editor) searchKey(k uv.KeyPressEvent) bool {
	s := e.search
	switch k.Keystroke() {
	case "ctrl+r":
		e.find(s.found - 1)
	case "backspace", "ctrl+h":
		if s.query != "" {
			r := []rune(s.query)
			s.query = string(r[:len(r)-1])
			e.find(e.history.Len() - 1)
		}
	case "esc", "ctrl+g", "ctrl+c":
		e.text, e.at, e.search = s.saved.text, s.saved.at, nil
	default:
		if k.Text == "" {
			e.search = nil
			return false
		}
		s.query += clean(k.Text)
		e.find(max(s.found, -1))
		if s.found < 0 {
			e.find(e.history.Len() - 1)
		}
	}
	return true
}

// find looks for the query from an entry backwards.
func (e *editor) find(from int) {
	if from < 0 && e.search.found >= 0 {
		return // the oldest one was found already
	}
	for i := min(from, e.history.Len()-1); i >= 0; i-- {
		if strings.Contains(e.history.entries[i], e.search.query) {
			e.search.found, e.place = i, i
			e.set(e.history.entries[i])
			return
		}
	}
	if from == e.history.Len()-1 {
		e.search.found = -1
	}
}

// show paints the input as it is, or as much of it as the screen holds around
// the cursor.
func (e *editor) show() {
	width, height := e.screen.size()
	lines, at := e.layout(width)
	below := e.below(width)
	if room := max(height-1-len(below), 1); len(lines) > room {
		top := min(max(at.line-room/2, 0), len(lines)-room)
		lines = lines[top : top+room]
		at.line -= top
	}
	e.screen.paint(append(lines, below...), false)
	e.screen.place(at)
	_ = e.screen.flush() // a terminal that is gone ends the input as well
}

// below is what stands under the input: what a search looks for, or what a
// word could become.
func (e *editor) below(width int) []line {
	var out []line
	if s := e.search; s != nil {
		status := "search: " + s.query
		if s.found < 0 && s.query != "" {
			status = "nothing found: " + s.query
		}
		out = append(out, tail(wrap([]span{{status, faintStyle}}, width), width, 1)...)
	}
	for _, h := range e.hints {
		out = append(out, wrap([]span{{h, faintStyle}}, width)[0])
	}
	return out
}

// leave paints the whole input for good.
func (e *editor) leave() {
	width, _ := e.screen.size()
	lines, _ := e.layout(width)
	e.screen.paint(lines, false)
	e.screen.commit()
	_ = e.screen.flush()
}

// layout breaks the input into rows of the terminal and finds the cursor.
func (e *editor) layout(width int) ([]line, spot) {
	var out []line
	var at spot
	done := 0
	for i, l := range strings.Split(e.text, "\n") {
		margin := strings.Repeat(" ", len(prompt))
		if i == 0 {
			margin = prompt
		}
		rows, cursor := layoutLine(margin, l, width, e.at-done)
		if cursor != nil {
			at = spot{len(out) + cursor.line, cursor.column}
		}
		out = append(out, rows...)
		done += len(l) + 1
	}
	return out, at
}

// layoutLine breaks one line, and finds the cursor if it is so many bytes into
// it. A line that fills its last row is followed by an empty one for the
// cursor.
func layoutLine(margin, s string, width, cursor int) (rows []line, at *spot) {
	var row strings.Builder
	row.WriteString(margin)
	column, offset := len(margin), 0
	end := func() {
		rows = append(rows, text(row.String()))
		row.Reset()
		column = 0
	}
	g := displaywidth.StringGraphemes(s)
	for g.Next() {
		w := g.Width()
		if column+w > width && column > 0 {
			end()
		}
		if offset == cursor {
			at = &spot{len(rows), column}
		}
		row.WriteString(g.Value())
		column += w
		offset += len(g.Value())
	}
	if offset == cursor {
		if column >= width {
			end()
		}
		at = &spot{len(rows), column}
	}
	end()
	return rows, at
}

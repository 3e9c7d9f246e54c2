package terminal

import (
	"errors"
	"io"
	"strings"
	"time"
)

// viewer shows an answer while it grows. The answer is clean.
type viewer interface {
	update(answer string) error // what there is so far
	end(answer string) error
	waits(label string) // says what is waited for while there is nothing
}

// viewer shows the answer, and while there is none what is waited for.
func (c *chatter) viewer(label string) viewer {
	if c.tty.dumb {
		return &rawView{out: c.out}
	}
	s := c.tty.screen()
	w := waiting{screen: s, since: time.Now(), label: label}
	if c.markdown {
		return &markdownView{screen: s, markdown: newMarkdown(), waiting: w}
	}
	return &plainView{screen: s, waiting: w}
}

// thoughtViewer shows what precedes an answer: as it is, and faint.
func (c *chatter) thoughtViewer() viewer {
	if c.tty.dumb {
		return &rawView{out: c.out}
	}
	s := c.tty.screen()
	return &plainView{screen: s, waiting: waiting{screen: s, since: time.Now()}, style: faintStyle}
}

// waiting shows what is being done, such as reading the prompt, once that takes
// a while.
type waiting struct {
	screen *screen
	since  time.Time
	label  string
}

func (w *waiting) update() error {
	if time.Since(w.since) < patience {
		return nil
	}
	dots := int(time.Since(w.since)/patience) % 4
	w.screen.paint([]line{{{w.label + strings.Repeat(".", dots), faintStyle}}}, true)
	return w.screen.flush()
}

// grew reports whether the answer is longer than what is shown, and notes its
// length. The wait is over with its first letter.
func (w *waiting) grew(answer string, shown *int) (bool, error) {
	if answer == "" {
		return false, w.update()
	}
	if len(answer) == *shown {
		return false, nil
	}
	if *shown == 0 {
		w.screen.paint(nil, false) // though spaces show nothing
	}
	*shown = len(answer)
	return true, nil
}

func (w *waiting) end() error {
	w.screen.paint(nil, false)
	return w.screen.flush()
}

func (w *waiting) waits(label string) { w.label = label }

// rawView writes the answer as it comes.
type rawView struct {
	out     io.Writer
	written int
}

func (v *rawView) update(answer string) error {
	_, err := io.WriteString(v.out, answer[v.written:])
	v.written = len(answer)
	return err
}

func (v *rawView) waits(string) {}

func (v *rawView) end(answer string) error {
	err := v.update(answer)
	if answer != "" && !strings.HasSuffix(answer, "\n") {
		_, e := io.WriteString(v.out, "\n")
		err = errors.Join(err, e)
	}
	return err
}

// plainView shows the answer as it is, its lines broken between words.
type plainView struct {
	screen  *screen
	waiting waiting
	from    int // of the line that grows; those before it are written for good
	length  int // of the answer that is shown
	style   style
}

func (v *plainView) waits(label string) { v.waiting.waits(label) }

func (v *plainView) update(answer string) error {
	if grew, err := v.waiting.grew(answer, &v.length); !grew {
		return err
	}
	width, _ := v.screen.size()
	for {
		l, _, whole := strings.Cut(answer[v.from:], "\n")
		if !whole && l == "" {
			return v.screen.flush()
		}
		v.screen.paint(wrap([]span{{l, v.style}}, width), false)
		if !whole {
			return v.screen.flush()
		}
		v.screen.commit()
		v.from += len(l) + 1
	}
}

func (v *plainView) end(answer string) error {
	if answer == "" {
		return v.waiting.end()
	}
	err := v.update(answer)
	v.screen.commit()
	return errors.Join(err, v.screen.flush())
}

// markdownView shows the answer formatted. Blocks that are complete are
// written for good, and the one that grows is painted again.
type markdownView struct {
	screen   *screen
	markdown *markdown
	waiting  waiting
	from     int  // of the block that grows
	whole    int  // of the answer that was looked through for complete blocks
	spaced   bool // a block was written, so the next one has an empty line before it
	length   int  // of the answer that is shown
}

func (v *markdownView) waits(label string) { v.waiting.waits(label) }

func (v *markdownView) update(answer string) error {
	if grew, err := v.waiting.grew(answer, &v.length); !grew {
		return err
	}
	width, _ := v.screen.size()
	// The line being written may still turn the block before it into another
	// (a heading by the dashes below it), so what is complete is found without.
	if whole := strings.LastIndexByte(answer, '\n') + 1; whole > v.whole {
		v.whole = whole
		blocks := v.markdown.render(answer[v.from:whole], width)
		if last := len(blocks) - 1; last > 0 && blocks[last].start > 0 {
			v.finish(blocks[:last])
			v.from += blocks[last].start
		}
	}
	v.paint(v.markdown.render(answer[v.from:], width))
	return v.screen.flush()
}

// finish writes blocks for good.
func (v *markdownView) finish(blocks []block) {
	for _, b := range blocks {
		v.screen.paint(v.space(b.lines), false)
		v.screen.commit()
		v.spaced = true
	}
}

// paint shows the block that grows, and any that may have begun after it.
func (v *markdownView) paint(blocks []block) {
	var open []line
	settled := true
	for i, b := range blocks {
		if i > 0 {
			open = append(open, line{})
		}
		open = append(open, b.lines...)
		settled = settled && b.settled
	}
	if open != nil {
		v.screen.paint(v.space(open), !settled)
	}
}

func (v *markdownView) space(lines []line) []line {
	if !v.spaced {
		return lines
	}
	return append([]line{{}}, lines...)
}

func (v *markdownView) end(answer string) error {
	if answer == "" {
		return v.waiting.end()
	}
	width, _ := v.screen.size()
	v.finish(v.markdown.render(answer[v.from:], width))
	return v.screen.flush()
}

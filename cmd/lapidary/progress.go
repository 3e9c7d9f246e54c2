package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"lapidary/hub"
)

// isTerminal says whether a person is looking at w.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// bars shows a pull as one bar for each file, with its rate and the time that
// is left. Where nobody is looking it keeps silent.
type bars struct {
	w    io.Writer
	show bool

	mu   sync.Mutex
	all  *mpb.Progress
	bar  *mpb.Bar
	file string
	seen *window
}

func newBars(w io.Writer) *bars { return &bars{w: w, show: isTerminal(w)} }

func (b *bars) File(name string, size int64) {
	if !b.show {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar != nil && b.file == name {
		b.bar.SetTotal(size, false) // its size has become known, or it began again
		return
	}
	b.finishBar()
	if b.all == nil {
		b.all = mpb.New(mpb.WithOutput(b.w), mpb.WithWidth(40))
	}
	seen := &window{}
	b.file, b.seen = name, seen
	b.bar = b.all.AddBar(max(size, 0),
		mpb.PrependDecorators(decor.Name(name+" ")),
		mpb.AppendDecorators(
			decor.Counters(decor.SizeB1000(0), "% .1f / % .1f"),
			decor.Any(func(s decor.Statistics) string { return seen.line(s.Total - s.Current) })))
}

func (b *bars) At(done int64) {
	if !b.show {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bar == nil {
		return
	}
	if b.seen.add(time.Now(), done) {
		b.bar.SetRefill(done) // of an earlier pull
	}
	b.bar.SetCurrent(done)
}

func (b *bars) Note(text string) {
	if !b.show {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.w
	if b.all != nil {
		w = b.all // above the bars
	}
	fmt.Fprintln(w, "lapidary:", text)
}

func (b *bars) finishBar() {
	if b.bar != nil {
		b.bar.SetTotal(-1, true)
		b.bar = nil
	}
}

// close leaves the bars on the screen as they are.
func (b *bars) close(ok bool) {
	if b.all == nil {
		return
	}
	b.mu.Lock()
	if ok {
		b.finishBar()
	} else if b.bar != nil {
		b.bar.Abort(false)
	}
	b.mu.Unlock()
	b.all.Wait()
}

// window is the rate over the last ten seconds. Bytes come in bursts, a wheel
// or a megabyte at a time: averages of single rates swing by a factor of ten.
type window struct {
	mu    sync.Mutex
	marks []mark
}

type mark struct {
	when time.Time
	done int64
}

const (
	windowSpan = 10 * time.Second
	windowStep = 200 * time.Millisecond
)

// add notes how much is here; first says that nothing had been noted before.
func (w *window) add(now time.Time, done int64) (first bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.marks)
	if n > 1 && now.Sub(w.marks[n-2].when) < windowStep {
		w.marks[n-1] = mark{now, done}
		return false
	}
	if n > 0 && done < w.marks[n-1].done {
		w.marks = w.marks[:0] // it was started again
	}
	for len(w.marks) > 2 && now.Sub(w.marks[0].when) > windowSpan {
		w.marks = w.marks[1:]
	}
	w.marks = append(w.marks, mark{now, done})
	return n == 0
}

// rate is in bytes a second, 0 while too little is known.
func (w *window) rate() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.marks) < 2 {
		return 0
	}
	first, last := w.marks[0], w.marks[len(w.marks)-1]
	seconds := last.when.Sub(first.when).Seconds()
	if seconds < windowStep.Seconds() {
		return 0
	}
	return float64(last.done-first.done) / seconds
}

func (w *window) line(left int64) string {
	rate := w.rate()
	if rate <= 0 {
		return ""
	}
	line := fmt.Sprintf("  %s/s", hub.HumanSize(int64(rate)))
	if left > 0 {
		line += fmt.Sprintf("  %s left", (time.Duration(float64(left)/rate) * time.Second).Round(time.Second))
	}
	return line
}

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
)

// isTerminal says whether a person is looking at w.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// bars shows a pull as one bar for each file, with its rate and the time that
// is left. Where nobody is looking it keeps silent, except for notes.
type bars struct {
	w    io.Writer
	show bool

	mu    sync.Mutex
	all   *mpb.Progress
	bar   *mpb.Bar
	file  string
	last  int64     // bytes that are here
	begun bool      // what was here before is known
	start time.Time // of the stretch that the next rate is over
}

// rateAge is the number of samples that a rate is averaged over. At 30 the
// library's average shows from the first sample on; at others, from the tenth.
const rateAge = 30

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
	b.file, b.last, b.begun, b.start = name, 0, false, time.Now()
	b.bar = b.all.AddBar(max(size, 0),
		mpb.PrependDecorators(decor.Name(name+" ", decor.WC{C: decor.DindentRight})),
		mpb.AppendDecorators(
			decor.Counters(decor.SizeB1000(0), "% .1f / % .1f"),
			decor.EwmaSpeed(decor.SizeB1000(0), "  % .1f", rateAge),
			decor.EwmaETA(decor.ET_STYLE_GO, rateAge, decor.WC{W: 8})))
}

func (b *bars) At(done int64) {
	if !b.show {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = done
	switch spent := time.Since(b.start); {
	case b.bar == nil:
	case !b.begun:
		b.bar.SetCurrent(done) // of an earlier pull: it says nothing of the rate
		b.bar.SetRefill(done)
		b.begun, b.start = true, time.Now()
	case spent > 100*time.Millisecond: // rates over less are noise
		b.bar.EwmaSetCurrent(done, spent)
		b.start = time.Now()
	}
}

func (b *bars) Note(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all != nil {
		fmt.Fprintln(b.all, "lapidary:", text)
		return
	}
	if b.show {
		fmt.Fprintln(b.w, "lapidary:", text)
	}
}

func (b *bars) finishBar() {
	if b.bar != nil {
		b.bar.SetCurrent(b.last)
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

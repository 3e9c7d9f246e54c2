package terminal

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	uv "github.com/charmbracelet/ultraviolet"
)

// tty is the terminal and what it can do.
type tty struct {
	dumb    bool // cannot move its cursor
	colours bool
	reflows bool
	console uv.Console
	out     io.Writer       // text with plain line ends
	keys    <-chan uv.Event // closed when the terminal is gone; nil if dumb
	close   func()
}

// What is turned on while chatting: bracketed paste, and the first level of
// the Kitty keyboard protocol, with which Shift-Enter differs from Enter.
// Terminals pass over what they don't know.
const (
	modesOn  = "\x1b[?2004h\x1b[>1u"
	modesOff = "\x1b[<u\x1b[?2004l"
)

// openTTY takes over the terminal. TERM=dumb turns off everything but text,
// NO_COLOR (no-color.org) turns off colours.
func openTTY() (*tty, error) {
	name := os.Getenv("TERM")
	t := &tty{
		dumb: name == "dumb", colours: os.Getenv("NO_COLOR") == "",
		reflows: name != "linux" && os.Getenv("XTERM_VERSION") == "",
		console: uv.DefaultConsole(), out: os.Stdout, close: func() {},
	}
	if t.dumb {
		return t, nil
	}
	if _, err := t.console.MakeRaw(); err != nil {
		return nil, fmt.Errorf("the terminal can't be taken over: %w", err)
	}
	in, err := uv.NewCancelReader(os.Stdin)
	if err != nil {
		_ = t.console.Restore()
		return nil, fmt.Errorf("the keyboard can't be read: %w", err)
	}
	t.out = newlines{os.Stdout}
	_, _ = io.WriteString(os.Stdout, modesOn)
	ctx, cancel := context.WithCancel(context.Background())
	t.keys = listen(ctx, in, name)
	t.close = func() {
		cancel()
		in.Cancel()
		_, _ = io.WriteString(os.Stdout, modesOff)
		_ = t.console.Restore()
	}
	return t, nil
}

// listen decodes what the keyboard sends, and tells when the size changes.
func listen(ctx context.Context, in io.Reader, name string) <-chan uv.Event {
	keys := make(chan uv.Event, 16)
	decoded := make(chan uv.Event)
	go func() {
		defer close(decoded)
		_ = uv.NewTerminalReader(in, name).StreamEvents(ctx, decoded) // its end is all that matters
	}()
	go func() {
		defer close(keys)
		resized := make(chan os.Signal, 1)
		uv.NotifyWinch(resized)
		defer signal.Stop(resized)
		for {
			var ev uv.Event
			select {
			case <-ctx.Done():
				for range decoded { // the decoder must not wait for a reader
				}
				return
			case ev = <-resized:
			case e, more := <-decoded:
				if !more {
					return
				}
				ev = e
			}
			select {
			case keys <- ev:
			case <-ctx.Done():
			}
		}
	}()
	return keys
}

// size is the terminal's, or 80 × 24 where it doesn't tell.
func (t *tty) size() (width, height int) {
	width, height, err := t.console.GetSize()
	if err != nil || width < 1 || height < 1 {
		return 80, 24
	}
	return width, height
}

func (t *tty) screen() *screen {
	return &screen{out: os.Stdout, size: t.size, colours: t.colours, reflows: t.reflows}
}

// newlines returns the carriage at line ends, which the terminal no longer does
// by itself.
type newlines struct{ w io.Writer }

func (n newlines) Write(p []byte) (int, error) {
	if _, err := io.WriteString(n.w, strings.ReplaceAll(string(p), "\n", "\r\n")); err != nil {
		return 0, err
	}
	return len(p), nil
}

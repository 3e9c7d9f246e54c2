package terminal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	uv "github.com/charmbracelet/ultraviolet"
)

// errInterrupt says that Ctrl-C was pressed at the prompt.
var errInterrupt = errors.New("interrupted")

// input is where the user's words come from.
type input interface {
	// read gives one input: io.EOF at the end, errInterrupt for Ctrl-C with
	// what was typed until then.
	read(context.Context) (string, error)
	// events are what happens while an answer is written. Each is given to
	// hold, which tells whether it is to stop the answer.
	events() <-chan uv.Event
	hold(uv.Event) (stop bool)
	// refill gives an input that was not taken back to be edited, where that
	// can be done.
	refill(input string)
}

// fence opens and closes an input of several lines.
const fence = `"""`

// complete tells whether Enter ends the input or begins another line: a fence
// that was opened has to be closed.
func complete(input string) bool {
	start := strings.TrimLeft(input, " ")
	if !strings.HasPrefix(start, fence) && !strings.HasPrefix(start, "/set ") {
		return true
	}
	return strings.Count(input, fence)%2 == 0
}

// unfence is the text between fences, or the text itself.
func unfence(s string) string {
	inner, ok := strings.CutPrefix(strings.TrimSpace(s), fence)
	if !ok {
		return s
	}
	return strings.Trim(strings.TrimSuffix(inner, fence), "\n")
}

// lines reads from a terminal that can't move its cursor (TERM=dumb), and
// leaves editing to it.
type lines struct {
	in     *bufio.Reader
	out    io.Writer
	breaks chan uv.Event
}

// newLines gives the signals back what they do by default, but for interrupts.
func newLines() *lines {
	signal.Reset(syscall.SIGTERM, syscall.SIGHUP)
	l := &lines{in: bufio.NewReader(os.Stdin), out: os.Stdout, breaks: make(chan uv.Event, 1)}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt)
	go func() {
		for s := range signals {
			select {
			case l.breaks <- s:
			default:
			}
		}
	}()
	return l
}

func (l *lines) events() <-chan uv.Event { return l.breaks }
func (l *lines) hold(uv.Event) bool      { return true }
func (l *lines) refill(string)           {}

func (l *lines) read(context.Context) (string, error) {
	select {
	case <-l.breaks: // of an answer that had ended
	default:
	}
	fmt.Fprint(l.out, prompt)
	var input strings.Builder
	for {
		s, err := l.in.ReadString('\n')
		input.WriteString(s)
		if err != nil {
			if input.Len() > 0 && errors.Is(err, io.EOF) {
				return input.String(), nil
			}
			return "", err
		}
		got := strings.TrimRight(input.String(), "\r\n")
		more, backslash := strings.CutSuffix(got, `\`)
		switch {
		case backslash && !strings.HasPrefix(got, fence):
			input.Reset()
			input.WriteString(more + "\n")
		case complete(got):
			return got, nil
		}
		fmt.Fprint(l.out, strings.Repeat(" ", len(prompt)))
	}
}

//go:build unix

package terminal

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
)

// The keys of the tests.
const (
	enter    = "\r"
	altEnter = "\x1b\r"
	ctrlC    = "\x03"
	ctrlD    = "\x04"
	ctrlR    = "\x12"
	keyUp    = "\x1b[A"
	keyLeft  = "\x1b[D"
)

// limit is how long a test waits for what has to come. It isn't a measure: it
// ends tests that would never end.
const limit = 60 * time.Second

// window is a terminal with a chat in it: the test's own program, run again on
// a pseudo-terminal whose output an emulator draws.
type window struct {
	t      *testing.T
	pty    *os.File
	mu     sync.Mutex // held to touch the screen
	screen *vt.Emulator
	cmd    *exec.Cmd
	home   string
	exited chan error
}

func open(t *testing.T, home string, width, height int, env ...string) *window {
	t.Helper()
	w := &window{t: t, screen: vt.NewEmulator(width, height), home: home, exited: make(chan error, 1)}
	w.cmd = exec.Command(os.Args[0])
	w.cmd.Env = append([]string{
		"TERM=xterm-256color", "PATH=" + os.Getenv("PATH"), "HOME=" + home, "INPUTRC=/dev/null",
		"LAPIDARY_HOME=" + home, "GORACE=atexit_sleep_ms=0", helper + "=1"}, env...)
	var err error
	if w.pty, err = pty.StartWithSize(w.cmd, &pty.Winsize{Rows: uint16(height), Cols: uint16(width)}); err != nil {
		t.Fatal(err)
	}
	drawn := make(chan struct{})
	go func() { // ends when the program does: the pseudo-terminal reports EIO
		defer close(drawn)
		_, _ = io.Copy(drawer{w}, w.pty)
	}()
	go func() { _, _ = io.Copy(w.pty, w.screen) }() // what the terminal answers
	go func() {
		err := w.cmd.Wait()
		<-drawn
		w.exited <- err
	}()
	t.Cleanup(func() {
		if s := w.text(); strings.Contains(s, "DATA RACE") || strings.Contains(s, "panic:") {
			t.Errorf("the program failed:\n%s", s)
		}
		_ = w.cmd.Process.Kill() // it may have ended
		_ = w.pty.Close()
		if p, ok := w.screen.InputPipe().(io.Closer); ok {
			_ = p.Close() // ends the copying; the emulator's own Close races with it
		}
	})
	return w
}

// drawer draws what the program writes.
type drawer struct{ *window }

func (d drawer) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.screen.Write(p)
}

// lines are the rows on the screen without trailing spaces, with those that
// scrolled off before them.
func (w *window) lines() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	row := func(cell func(x int) string) {
		var b strings.Builder
		for x := range w.screen.Width() {
			b.WriteString(cell(x))
		}
		out = append(out, strings.TrimRight(b.String(), " "))
	}
	for y := range w.screen.ScrollbackLen() {
		row(func(x int) string {
			if c := w.screen.ScrollbackCellAt(x, y); c != nil {
				return c.Content
			}
			return " "
		})
	}
	for y := range w.screen.Height() {
		row(func(x int) string {
			if c := w.screen.CellAt(x, y); c != nil {
				return c.Content
			}
			return " "
		})
	}
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	return out
}

func (w *window) text() string { return strings.Join(w.lines(), "\n") }

func (w *window) send(keys string) {
	w.t.Helper()
	if _, err := io.WriteString(w.pty, keys); err != nil {
		w.t.Fatal(err)
	}
}

// until waits for the screen to be as wanted.
func (w *window) until(what string, ok func(lines []string) bool) {
	w.t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		lines := w.lines()
		if ok(lines) {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("no %s on the screen:\n%s", what, strings.Join(lines, "\n"))
		}
	}
}

// see waits for text anywhere on the screen.
func (w *window) see(text string) {
	w.t.Helper()
	w.until(text, func(lines []string) bool { return strings.Contains(strings.Join(lines, "\n"), text) })
}

// prompt waits for an empty prompt on the last line.
func (w *window) prompt() {
	w.t.Helper()
	w.until("empty prompt", func(lines []string) bool { return len(lines) > 0 && lines[len(lines)-1] == ">>>" })
}

// say types a message and waits for its answer to end.
func (w *window) say(message string) {
	w.t.Helper()
	w.prompt()
	w.send(message)
	last := message[strings.LastIndexByte(message, '\n')+1:]
	w.until("typed message", func(lines []string) bool { return strings.HasSuffix(lines[len(lines)-1], last) })
	w.send(enter)
	w.until("end of the answer", func(lines []string) bool {
		return lines[len(lines)-1] == ">>>" && strings.Contains(strings.Join(lines, "\n"), ">>> "+message[:min(len(message), 20)])
	})
}

// exit waits for the program to end and gives its code.
func (w *window) exit() int {
	w.t.Helper()
	select {
	case err := <-w.exited:
		var e *exec.ExitError
		if errors.As(err, &e) {
			return e.ExitCode()
		}
		if err != nil {
			w.t.Fatal(err)
		}
		return 0
	case <-time.After(limit):
		w.t.Fatalf("the program did not end:\n%s", w.text())
		return -1
	}
}

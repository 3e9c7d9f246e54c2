//go:build unix

package terminal

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
)

func TestChat(t *testing.T) {
	w := open(t, t.TempDir(), 80, 24)
	w.see("scripted:1b, context of 400 tokens")
	w.say("hello")
	w.see("1 messages, the last: hello")
	w.say("again")
	w.see("3 messages, the last: again")
	w.send("/bye" + enter)
	if code := w.exit(); code != 0 || !strings.HasSuffix(w.text(), "left") {
		t.Errorf("exit %d:\n%s", code, w.text())
	}
}

func TestLeaving(t *testing.T) {
	w := open(t, t.TempDir(), 80, 24)
	w.prompt()
	w.send(ctrlC)
	w.see("Ctrl-D or /bye leaves.")
	w.prompt()
	w.send("half a line")
	w.see(">>> half a line")
	w.send(ctrlC)
	w.prompt()
	if n := strings.Count(w.text(), "Ctrl-D or /bye leaves."); n != 1 {
		t.Errorf("Ctrl-C on a line that wasn't empty gave the hint:\n%s", w.text())
	}
	w.send(ctrlD)
	if code := w.exit(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

func TestInterruptStopsTheAnswerOnly(t *testing.T) {
	w := open(t, t.TempDir(), 80, 24)
	w.prompt()
	w.send("slow" + enter)
	w.see("tick tick tick")
	w.send("typed ahead")
	w.send(ctrlC)
	w.see("stopped")
	// Ctrl-C discards what was typed ahead, as terminals do.
	w.say("next")
	w.see("3 messages, the last: next") // what was said until then is kept
	w.send("slow" + enter)
	w.until("second answer", func(lines []string) bool { return strings.HasPrefix(lines[len(lines)-1], "tick") })
	w.send("ahead") // not shown while the answer is written
	w.send(ctrlC)
	w.until("second stop", func([]string) bool { return strings.Count(w.text(), "stopped") == 2 })
	w.prompt()
}

func TestTypingAhead(t *testing.T) {
	w := open(t, t.TempDir(), 80, 24)
	w.prompt()
	w.send("list" + enter)
	w.see("item 3")
	w.send("ahead" + enter)
	w.see("3 messages, the last: ahead")
	if i := slices.Index(w.lines(), "• item 39"); i < 0 || !slices.Contains(w.lines()[i:], ">>> ahead") {
		t.Errorf("the message isn't after the answer:\n%s", w.text())
	}
}

func TestSeveralLines(t *testing.T) {
	w := open(t, t.TempDir(), 80, 24)
	w.prompt()
	w.send(`"""one` + enter)
	w.send("two" + enter)
	w.send(`three"""` + enter)
	w.see("1 messages, the last: one/two/three")
	w.prompt()
	w.send(`four\` + enter + "five" + enter)
	w.see("3 messages, the last: four/five")
	for i, key := range []string{altEnter, "\n", "\x1b[13;2u", "\x1b[27;2;13~"} {
		w.prompt()
		w.send("six" + key)
		w.until("second line", func(lines []string) bool { return lines[len(lines)-1] == ">>> six" && w.column() == 4 })
		w.send("seven" + string(rune('a'+i)) + enter)
		w.see("the last: six/seven" + string(rune('a'+i)))
	}
}

func TestPaste(t *testing.T) {
	w := open(t, t.TempDir(), 80, 24)
	w.prompt()
	w.paste("alpha\nbeta\x1b[31m\ngamma")
	w.see("gamma")
	if strings.Contains(w.text(), "messages") {
		t.Fatalf("the paste was sent before Enter:\n%s", w.text())
	}
	w.send(enter)
	w.see("1 messages, the last: alpha/beta/gamma") // without the escape sequence
}

func (w *window) paste(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.screen.Paste(s)
}

func TestHistory(t *testing.T) {
	home := t.TempDir()
	w := open(t, home, 80, 24)
	w.say("first thing")
	w.prompt()
	w.send(`"""two` + enter + `lines"""` + enter)
	w.see("two/lines")
	w.prompt()
	w.send(ctrlD)
	w.exit()

	info, err := os.Stat(filepath.Join(home, "history"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("history file: %v, %v", info.Mode(), err)
	}
	w = open(t, home, 80, 24)
	w.prompt()
	w.send(keyUp)
	w.see(`lines"""`)
	w.send(enter)
	w.see("1 messages, the last: two/lines")
	w.prompt()
	w.send(ctrlR)
	w.send("thing")
	w.see("first thing")
	w.send(enter)
	w.send(enter)
	w.see("the last: first thing")
}

func TestWideCharacters(t *testing.T) {
	w := open(t, t.TempDir(), 30, 24)
	w.prompt()
	w.send("日本語日本語日本語日本語日本語日本語" + keyLeft + keyLeft + "X")
	w.see("X本語")
	w.send(enter)
	w.until("the message", func(lines []string) bool {
		return strings.Contains(strings.Join(lines, ""), "日本語日本語日本語日本語日本語日X本語")
	})
}

func TestMarkdown(t *testing.T) {
	w := open(t, t.TempDir(), 60, 40)
	w.say("sheet")
	want := `>>> sheet
Ores

A table and code:

Stone   │ Mohs
────────┼─────
talc    │    1
diamond │   10

── go ──────────────────────────────────
func cut() int {
    return 57 // facets
}
────────────────────────────────────────

1. first
2. second
>>>`
	if got := w.text(); !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	w.say("/set markdown off")
	w.say("sheet")
	w.see("| diamond | 10 |")
}

func TestColours(t *testing.T) {
	coloured := func(env ...string) (colour, boldface bool) {
		w := open(t, t.TempDir(), 60, 40, env...)
		w.say("sheet")
		colour, _ = w.cell(0, slices.Index(w.lines(), "func cut() int {"))
		_, boldface = w.cell(0, slices.Index(w.lines(), "Ores"))
		return colour, boldface
	}
	if colour, boldface := coloured(); !colour || !boldface {
		t.Errorf("keyword coloured %v, heading bold %v", colour, boldface)
	}
	if colour, boldface := coloured("NO_COLOR=1"); colour || !boldface {
		t.Errorf("with NO_COLOR: keyword coloured %v, heading bold %v", colour, boldface)
	}
}

func TestDumbTerminal(t *testing.T) {
	w := open(t, t.TempDir(), 60, 40, "TERM=dumb")
	w.prompt()
	w.send("sheet" + enter)
	w.see("| diamond | 10 |")
	w.prompt()
	w.send("/set markdown on" + enter)
	w.see("TERM=dumb")
	w.prompt()
	w.send(`"""one` + enter + `two\` + enter + `three"""` + enter)
	w.see(`3 messages, the last: one/two\/three`)
	w.prompt()
	w.send(`one\` + enter + "two" + enter)
	w.see("5 messages, the last: one/two")
	w.prompt()
	w.send("slow" + enter)
	w.see("tick tick tick")
	w.send(ctrlC)
	w.see("stopped")
	w.prompt()
	w.send(ctrlD)
	if code := w.exit(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// An answer longer than the screen has every line once in the scrollback.
func TestAnswerLongerThanTheScreen(t *testing.T) {
	w := open(t, t.TempDir(), 40, 10)
	w.say("list")
	var items []string
	for _, l := range w.lines() {
		if strings.HasPrefix(l, "• item") {
			items = append(items, l)
		}
	}
	if len(items) != 40 || items[0] != "• item 0" || items[39] != "• item 39" || !slices.IsSortedFunc(items, byNumber) {
		t.Errorf("%d items:\n%s", len(items), w.text())
	}
}

func byNumber(a, b string) int { return len(a) - len(b) } // item 9 before item 10

func TestResize(t *testing.T) {
	w := open(t, t.TempDir(), 80, 24)
	w.say("long")
	w.resize(30, 24)
	w.say("again")
	w.say("long")
	w.until("short lines", func(lines []string) bool {
		return slices.Contains(lines, "word word word word word word") // 29 columns of 30
	})
	w.prompt()
	w.send("slow" + enter)
	w.until("answer", func(lines []string) bool { return strings.HasPrefix(lines[len(lines)-1], "tick") })
	w.resize(50, 12)
	w.until("longer lines", func(lines []string) bool {
		return slices.Contains(lines, strings.TrimSpace(strings.Repeat("tick ", 10)))
	})
	w.send(ctrlC)
	w.see("stopped")
	w.say("still here")
}

func (w *window) resize(width, height int) {
	w.t.Helper()
	w.mu.Lock()
	w.screen.Resize(width, height)
	w.mu.Unlock()
	if err := pty.Setsize(w.pty, &pty.Winsize{Rows: uint16(height), Cols: uint16(width)}); err != nil {
		w.t.Fatal(err)
	}
}

func TestEveryWidth(t *testing.T) {
	for _, width := range []int{8, 12, 20, 200} {
		w := open(t, t.TempDir(), width, 50)
		w.prompt()
		w.send("sheet" + enter)
		w.until("end of the answer", func(lines []string) bool {
			return lines[len(lines)-1] == ">>>" && strings.Contains(strings.Join(lines, ""), "1. first2. secon")
		})
	}
}

func TestSaveAndLoad(t *testing.T) {
	home := t.TempDir()
	w := open(t, home, 80, 24)
	w.say("hello")
	w.say("/set temperature 0.25")
	w.say(`/set system "Be brief"`)
	w.say("/save stones")
	w.see("saved stones, 2 messages")
	w.say("/save stones")
	w.see("saved over the former stones")
	w.send(ctrlD)
	w.exit()

	w = open(t, home, 80, 24)
	w.say("/load")
	w.see("one of: stones")
	w.say("/load ston")
	w.see(`no session "ston", did you mean stones?`)
	w.say("/load stones")
	w.see("loaded stones, 2 messages")
	w.say("/set temperature")
	w.see("temperature 0.25")
	w.say("more")
	w.see("Be brief: 4 messages, the last: more") // system, hello, its answer, more
	w.say("/show messages")
	w.see("1 messages, the last: hello")

	if err := os.WriteFile(filepath.Join(home, "sessions", "stones.json"), []byte(`{"format":"lapidary session","version":1,"kin`), 0o600); err != nil {
		t.Fatal(err)
	}
	w.say("/load stones")
	w.see("damaged: unexpected end of JSON input")
	w.say("on")
	w.see("Be brief: 6 messages") // what was being said goes on
}

func TestUndoRetryClear(t *testing.T) {
	w := open(t, t.TempDir(), 80, 24)
	w.say("/undo")
	w.see("error: nothing was said yet")
	w.say("one")
	w.say("two")
	w.say("/undo")
	w.see("took back “two”; 2 messages are left")
	w.say("/retry")
	w.until("second answer", func([]string) bool { return strings.Count(w.text(), "1 messages, the last: one") == 2 })
	w.say("three")
	w.see("3 messages, the last: three")
	w.say("/clear")
	w.say("four")
	w.see("1 messages, the last: four")
}

func TestStats(t *testing.T) {
	w := open(t, t.TempDir(), 90, 24)
	w.say("/stats")
	w.see("no answer yet")
	w.say("/set stats on")
	w.say("hello there")
	w.see("4 tokens, 0 already read; 4 in 1.00 s: 4.0 tok/s")
	w.see("6 tokens in 2.00 s: 3.0 tok/s")
	w.see("3 of 4 tokens right")
	w.see("10 of 400 tokens, 2 %")
}

func TestContextIsNeverCutSilently(t *testing.T) {
	w := open(t, t.TempDir(), 200, 30)
	w.say("full")
	w.say("x" + strings.Repeat(" x", 10)) // 345 and an answer of 18
	w.see("The context is nearly full: 363 of 400 tokens.")
	w.prompt()
	w.send("y" + strings.Repeat(" y", 60) + enter)
	w.see("makes 428 tokens and the model's context holds 400; nothing was sent")
	w.until("the message to be edited", func(lines []string) bool { return strings.HasSuffix(lines[len(lines)-1], " y y y") })
	w.send(ctrlC)
	w.say("slow")
	w.see("The answer is cut: the context of 400 tokens is full.")
	w.say("/clear")
	w.say("/set max_tokens 3")
	w.say("hello")
	w.see("The answer is cut at 3 tokens")
	w.say("nothing")
	w.see("before saying anything; the message isn't kept")
}

func TestModelCannotCommandTheTerminal(t *testing.T) {
	for _, setting := range []string{"on", "off"} {
		w := open(t, t.TempDir(), 80, 24)
		w.say("/set markdown " + setting)
		w.say("escape")
		w.see("]0;owned[2Jsafe")
		w.see("context of 400 tokens") // the screen was not cleared
	}
}

func TestBaseModel(t *testing.T) {
	w := open(t, t.TempDir(), 100, 24, "BASE=1")
	w.see("scripted:1b is a base model: it completes text rather than chats.")
	w.say("/more")
	w.see("there is no text yet")
	w.say("Once")
	w.see(" and [Once] went on")
	w.say("/more")
	w.see(" and [Once and [Once] went on] went on")
	w.say("Twice")
	w.see(" and [Twice] went on")
	w.say("/more upon")
	w.see("[Twice and [Twice] went on upon] went on")
	w.say("/undo")
	w.say("/more now")
	w.see("[Twice and [Twice] went on now] went on")
	w.say("/set system x")
	w.see("error: this model completes text: it has no system text")
	w.say("/set markdown on")
	w.see("error: this model completes text, which is shown as it is")
	w.say("/set max_tokens 2")
	w.say("/more")
	w.see("Cut at 2 tokens: /more goes on.")
	w.say("/undo")
	w.say("/save tale")
	w.say("/load tale")
	w.see("loaded tale, 4 messages")
}

func TestEditing(t *testing.T) {
	w := open(t, t.TempDir(), 80, 24)
	for _, c := range []struct{ keys, want string }{
		{"one two three" + "\x17\x17" + "2", "one 2"},             // Ctrl-W
		{"abc" + "\x01" + "x" + "\x05" + "y", "xabcy"},            // Ctrl-A, Ctrl-E
		{"one two" + "\x1bb" + "\x0b" + "\x19\x19", "one twotwo"}, // Alt-B, Ctrl-K, Ctrl-Y
		{"ab" + "\x14", "ba"},                                     // Ctrl-T
		{"hello" + "\x15" + "\x1f", "hello"},                      // Ctrl-U, Ctrl-_
		{"a👩‍👩‍👧‍👦e\u0301" + "\x7f\x7f" + "b", "ab"},              // Backspace takes what people count as one
		{"x\x1b[3~" + keyLeft + "\x1b[3~" + "y", "y"},             // Delete
	} {
		w.prompt()
		w.send(c.keys)
		w.until(c.want, func(lines []string) bool { return lines[len(lines)-1] == ">>> "+c.want })
		w.send(ctrlC)
	}
	w.prompt()
	w.send("/se\tmi\t0.5" + enter)
	w.see("min_p is 0.5")
	w.prompt()
	w.send("/s\t")
	w.see("keep this conversation")
	w.send("\x0c") // Ctrl-L
	w.until("a clear screen", func(lines []string) bool {
		return lines[len(lines)-1] == ">>> /s" && !strings.Contains(w.shown(), "min_p")
	})
}

func (w *window) shown() string {
	lines := w.lines()
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(lines[min(len(lines), w.screen.ScrollbackLen()):], "\n")
}

func (w *window) column() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.screen.CursorPosition().X
}

// cell is how one character looks.
func (w *window) cell(x, y int) (coloured, attributed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.screen.CellAt(x, y)
	return c != nil && c.Style.Fg != nil, c != nil && c.Style.Attrs != 0
}

func TestUnknownCommand(t *testing.T) {
	w := open(t, t.TempDir(), 120, 24)
	w.say("/sett")
	w.see("unknown command /sett, did you mean /set?")
	w.say("/set temprature 1")
	w.see(`no setting "temprature", did you mean temperature?`)
	w.say("/set top_p 2")
	w.see("error: top-p 2 cannot be obeyed")
	w.say(" /help me") // a message
	w.see("the last: /help me")
	w.say("/etc/hosts is a file")
	w.see("the last: /etc/hosts is a file")
	w.say("/help")
	w.see("keep this conversation and its settings")
}

func TestTerminate(t *testing.T) {
	w := open(t, t.TempDir(), 80, 24)
	w.prompt()
	if err := w.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := w.exit(); code != 1 || !strings.HasSuffix(w.text(), "Run: context canceled") {
		t.Errorf("exit %d:\n%s", code, w.text())
	}
}

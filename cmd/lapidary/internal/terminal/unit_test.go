package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/clipperhouse/displaywidth"
	"pgregory.net/rapid"

	"lapidary/chat"
	"lapidary/generate"
)

func TestParseCommand(t *testing.T) {
	for input, want := range map[string]*command{
		"/set temperature 1": {"set", "temperature 1"},
		"/SAVE  x ":          {"save", "x"},
		"/?":                 {"?", ""},
		"/":                  {"", ""},
		"/set system\none":   {"set", "system\none"},
		"hello":              nil,
		" /help":             nil,
		"/usr/bin is there":  nil,
		"//":                 nil,
		"":                   nil,
	} {
		got, ok := parseCommand(input)
		if ok != (want != nil) || (ok && got != *want) {
			t.Errorf("%q: %v, %v", input, got, ok)
		}
	}
	if runtime.GOOS != "windows" {
		if _, ok := parseCommand("/tmp is full"); ok {
			t.Error("an existing path was taken as a command")
		}
	}
}

func TestSuggestion(t *testing.T) {
	for word, want := range map[string]string{
		"sett": "/set", "hlep": "/help", "clera": "/clear", "sav": "/save", "undp": "/undo", "zzzzzz": "", "": "",
	} {
		got := suggestion(word, commandNames(), "/")
		if (want == "" && got != "") || !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
	if got := suggestion("temp", settingNames(), ""); got != ", did you mean temperature?" {
		t.Errorf("temp: %q", got)
	}
}

func TestSettings(t *testing.T) {
	for _, c := range []struct{ name, value, want, err string }{
		{"temperature", "0.25", "0.25", ""},
		{"temperature", "hot", "", `temperature: "hot" is not a number`},
		{"temperature", "-1", "", "temperature -1 cannot be obeyed"},
		{"temperature", "NaN", "", "cannot be obeyed"},
		{"top-k", "10", "10", ""},
		{"top_k", "1.5", "", "not a whole number"},
		{"top_k", "99999999999", "", "not a whole number"},
		{"seed", "18446744073709551615", "18446744073709551615", ""},
		{"seed", "random", "random", ""},
		{"seed", "-1", "", "neither a whole number nor random"},
		{"stop", "###", `"###"`, ""},
		{"stop", `"a b" "\n"`, `"a b" "\n"`, ""},
		{"stop", `"a`, "", "not a quoted text"},
		{"stop", `""`, "", "empty stop string"},
		{"stop", "off", "off", ""},
		{"system", `"Be brief."`, `"Be brief."`, ""},
		{"system", `"say "yes""`, `"say \"yes\""`, ""},
		{"system", `""`, "off", ""},
		{"system", "off", "off", ""},
		{"markdown", "on", "on", ""},
		{"stats", "maybe", "", "neither on nor off"},
		{"temprature", "1", "", "did you mean temperature?"},
	} {
		s := settings{params: generate.Defaults()}
		before := fmt.Sprintf("%+v", s)
		err := s.change(c.name, c.value)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) || fmt.Sprintf("%+v", s) != before {
				t.Errorf("%s %s: %v, want %s; settings %+v", c.name, c.value, err, c.err, s)
			}
			continue
		}
		entry, ok := settingNamed(c.name)
		if err != nil || !ok || entry.get(&s) != c.want {
			t.Errorf("%s %s: %v, %v; want %s", c.name, c.value, entry.get(&s), err, c.want)
		}
	}
}

// What /save writes of settings, /load reads back.
func TestSettingsAsText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := generate.Defaults()
		p.Temperature = rapid.Float32Range(0, 10).Draw(t, "temperature")
		p.TopP = rapid.Float32Range(0.001, 1).Draw(t, "top_p")
		p.Stop = rapid.SliceOfN(rapid.StringN(1, 10, 40), 0, 3).Draw(t, "stop")
		if rapid.Bool().Draw(t, "seeded") {
			seed := rapid.Uint64().Draw(t, "seed")
			p.Seed = &seed
		}
		want := settings{params: p, system: rapid.String().Draw(t, "system"), stats: rapid.Bool().Draw(t, "stats")}
		if want.system == "off" {
			t.Skip()
		}
		got := settings{params: generate.Defaults()}
		for _, s := range settingList() {
			if err := got.change(s.name, s.get(&want)); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range settingList() {
			if s.get(&got) != s.get(&want) {
				t.Fatalf("%s: %s became %s", s.name, s.get(&want), s.get(&got))
			}
		}
		if got.system != want.system || !slices.Equal(got.params.Stop, want.params.Stop) {
			t.Fatalf("%q became %q, %q became %q", want.system, got.system, want.params.Stop, got.params.Stop)
		}
	})
}

func exampleSession() session {
	return session{
		Format: sessionFormat, Version: sessionVersion, Kind: kindChat, Model: "gemma3:1b",
		Saved: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Settings: map[string]string{"temperature": "1"},
		Messages: []chat.Message{{Role: chat.User, Content: "Hi <b>"}, {Role: chat.Assistant, Content: "Hello"}},
	}
}

func TestStore(t *testing.T) {
	s := store{filepath.Join(t.TempDir(), "sessions")}
	if names := s.names(); names != nil {
		t.Errorf("names without a folder: %v", names)
	}
	want := exampleSession()
	for _, again := range []bool{false, true} {
		if replaced, err := s.save("one.2-x_Y", want); err != nil || replaced != again {
			t.Fatalf("save: %v, %v", replaced, err)
		}
	}
	got, err := s.load("one.2-x_Y")
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, %v; want %v", got, err, want)
	}
	info, err := os.Stat(s.path("one.2-x_Y"))
	if err != nil || (runtime.GOOS != "windows" && info.Mode().Perm() != 0o600) {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if names := s.names(); !slices.Equal(names, []string{"one.2-x_Y"}) { // and no temporary file
		t.Errorf("names: %v", names)
	}
	for _, bad := range []string{"", "../x", "a/b", `a\b`, ".x", "-x", "a b", "ä", strings.Repeat("x", 65), "a\x00"} {
		if _, err := s.save(bad, want); err == nil {
			t.Errorf("name %q was taken", bad)
		}
		if _, err := s.load(bad); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("loading %q: %v", bad, err)
		}
	}
}

func TestWrongSessions(t *testing.T) {
	good, err := json.Marshal(exampleSession())
	if err != nil {
		t.Fatal(err)
	}
	edit := func(old, new string) string { return strings.Replace(string(good), old, new, 1) }
	for want, file := range map[string]string{
		"damaged: unexpected end of JSON input":        string(good[:len(good)/2]),
		"damaged: invalid character":                   "\x00" + string(good),
		`not a session file: its format is "recipe"`:   edit(sessionFormat, "recipe"),
		`not a session file: its format is ""`:         "{}",
		"of version 7, and this program reads up to 2": edit(`"version":2`, `"version":7`),
		"damaged: version -1":                          edit(`"version":2`, `"version":-1`),
		"damaged: json: cannot unmarshal":              edit(`"messages":[`, `"messages":3,"x":[`),
		`unknown field "mesages"`:                      edit(`"messages"`, `"mesages"`),
		`kind "poem" is neither`:                       edit(`"chat"`, `"poem"`),
		`message 1 is of "user", not of "assistant"`:   edit(`"assistant"`, `"user"`),
		`attachment 0 is to message 1, which is no`:    edit(`"messages":`, `"attached":[{"message":1,"type":"image","path":"/a.png"}],"messages":`),
		`attachment 0 is to message -2, which is no`:   edit(`"messages":`, `"attached":[{"message":-2,"type":"image","path":"/a.png"}],"messages":`),
		`attachment 0 is the "smell" of path "/a"`:     edit(`"messages":`, `"attached":[{"message":0,"type":"smell","path":"/a"}],"messages":`),
		`attachment 0 is the "image" of path "a.png"`:  edit(`"messages":`, `"attached":[{"message":0,"type":"image","path":"a.png"}],"messages":`),
		`message 0 has a part of type "image"`:         edit(`"Hi \u003cb\u003e"`, `[{"type":"image"}]`),
		"the last of 1 messages has no answer":         edit(`,{"role":"assistant","content":"Hello"}`, ""),
	} {
		_, err := readSession(strings.NewReader(file))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func FuzzReadSession(f *testing.F) {
	good, err := json.MarshalIndent(exampleSession(), "", " ")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte(`{"format":"lapidary session","version":1,"kind":"text","messages":[{"role":"user","content":[{"type":"text"}]},{"role":"assistant"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := readSession(bytes.NewReader(data))
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("error of several lines: %q", err)
			}
			return
		}
		if len(x.Messages)%2 != 0 || x.Version < 1 || x.Version > sessionVersion {
			t.Fatalf("accepted %+v", x)
		}
		again, err := json.Marshal(x)
		if err != nil {
			t.Fatal(err)
		}
		y, err := readSession(bytes.NewReader(again))
		if err != nil || fmt.Sprint(x) != fmt.Sprint(y) {
			t.Fatalf("%v became %v, %v", x, y, err)
		}
	})
}

func TestHistoryFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "history")
	h, err := openHistory(path)
	if err != nil || h.Len() != 0 {
		t.Fatal(h.entries, err)
	}
	for _, s := range []string{"one", "two\nlines", "two\nlines", "  ", strings.Repeat("x", historyEntry+1), "three\t\"ü\""} {
		if err := h.add(s); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"one", "two\nlines", "three\t\"ü\""}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("\x00 not JSON\n\"four\"\n\"cut o"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if h, err = openHistory(path); err != nil || !slices.Equal(h.entries, append(want, "four")) {
		t.Errorf("%q, %v", h.entries, err)
	}
}

func TestHistoryIsCutBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	var b strings.Builder
	for i := range 2*historyLimit + 1 {
		fmt.Fprintf(&b, "\"entry %d\"\n", i)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := openHistory(path)
	if err != nil || h.Len() != historyLimit || h.entries[0] != "entry 1001" {
		t.Fatalf("%d entries, %v", h.Len(), err)
	}
	if h, err = openHistory(path); err != nil || h.Len() != historyLimit {
		t.Errorf("the file has %d entries, %v", h.Len(), err)
	}
}

func TestComplete(t *testing.T) {
	for input, want := range map[string]bool{
		"hello": true, `say """`: true, `"""`: false, `"""one`: false, "\"\"\"one\ntwo\"\"\"": true, `  """x`: false,
		`/set system """You`: false, "/set system \"\"\"You\nare\"\"\"": true, "/help": true,
	} {
		if complete(input) != want {
			t.Errorf("%q: %v", input, !want)
		}
	}
	for input, want := range map[string]string{`"""a"""`: "a", "\"\"\"\na\n  b\n\"\"\"": "a\n  b", "plain": "plain", `"""open`: "open", `say """x"""`: `say """x"""`} {
		if got := unfence(input); got != want {
			t.Errorf("%q: %q, want %q", input, got, want)
		}
	}
}

func TestClean(t *testing.T) {
	if got := clean("a\x1b[31mb\x07\r\nc\td\u009b2Je\x7f日本\u200d"); got != "a[31mb\nc\td2Je日本\u200d" {
		t.Errorf("%q", got)
	}
}

// A wrapped text has all its words, and no line is too wide but for a
// character that is wider than the line.
func TestWrap(t *testing.T) {
	alphabet := []rune("abc   日本é👩")
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOfN(rapid.SampledFrom(alphabet), 0, 60).Draw(t, "text"))
		width := rapid.IntRange(2, 20).Draw(t, "width")
		var all strings.Builder
		half := len(string([]rune(s)[:len([]rune(s))/2]))
		for i, l := range wrap([]span{{text: s[:half]}, {text: s[half:], style: style{}.with(bold)}}, width) {
			if w := displaywidth.String(l.plain()); w > width {
				t.Fatalf("line %d %q has %d columns of %d", i, l.plain(), w, width)
			}
			all.WriteString(l.plain())
		}
		letters := func(s string) string { return strings.ReplaceAll(s, " ", "") }
		if letters(all.String()) != letters(s) {
			t.Fatalf("%q became %q", s, all.String())
		}
	})
}

func TestWrapAtWords(t *testing.T) {
	for s, want := range map[string]string{
		"one two three":      "one two|three",
		"onetwothreefour":    "onetwoth|reefour",
		"a onetwothree":      "a|onetwoth|ree",
		"one\ntwo":           "one|two",
		"日本語日本語":             "日本語日|本語",
		"    four and three": "    four|and|three",
		"":                   "",
		"exactly8 x":         "exactly8|x",
	} {
		var got []string
		for _, l := range wrap([]span{{text: s}}, 8) {
			got = append(got, l.plain())
		}
		if strings.Join(got, "|") != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

// The buffer against plain strings: whatever is done, the cursor stands
// between characters, and taking all changes back gives the first text.
func TestBuffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b buffer
		b.set(rapid.StringOfN(rapid.SampledFrom([]rune("ab \n日é́👩‍")), 0, 12, -1).Draw(t, "text"))
		first := b.text
		t.Repeat(map[string]func(*rapid.T){
			"insert": func(t *rapid.T) {
				b.insert(rapid.SampledFrom([]string{"x", "\n", "日", "\u0301", "\u200d👩"}).Draw(t, "s"))
			},
			"left":  func(*rapid.T) { b.to(b.left()) },
			"right": func(*rapid.T) { b.to(b.right()) },
			"start": func(*rapid.T) { b.to(b.lineStart()) },
			"end":   func(*rapid.T) { b.to(b.lineEnd()) },
			"word":  func(*rapid.T) { b.to(b.wordLeft()) },
			"ahead": func(*rapid.T) { b.to(b.wordRight()) },
			"up": func(*rapid.T) {
				if at, ok := b.vertical(-1); ok {
					b.to(at)
				}
			},
			"down": func(*rapid.T) {
				if at, ok := b.vertical(1); ok {
					b.to(at)
				}
			},
			"delete":    func(*rapid.T) { b.remove(b.right()) },
			"backspace": func(*rapid.T) { b.remove(b.left()) },
			"kill":      func(*rapid.T) { b.cut(b.lineEnd()) },
			"killWord":  func(*rapid.T) { b.cut(b.spaceLeft()) },
			"yank":      func(*rapid.T) { b.insert(b.killed) },
			"transpose": func(*rapid.T) { b.transpose() },
			"": func(t *rapid.T) {
				if b.at < 0 || b.at > len(b.text) || !slices.Contains(boundaries(b.text), b.at) {
					t.Fatalf("cursor at %d of %q", b.at, b.text)
				}
			},
		})
		for len(b.undos) > 0 {
			b.undo()
		}
		if b.text != first {
			t.Fatalf("undone to %q, want %q", b.text, first)
		}
	})
}

// boundaries are the places between characters, line by line.
func boundaries(s string) []int {
	out := []int{0}
	at := 0
	for l := range strings.SplitAfterSeq(s, "\n") {
		g := displaywidth.StringGraphemes(strings.TrimSuffix(l, "\n"))
		for g.Next() {
			at += len(g.Value())
			out = append(out, at)
		}
		if strings.HasSuffix(l, "\n") {
			at++
			out = append(out, at)
		}
	}
	return out
}

func TestHighlight(t *testing.T) {
	lines := highlight("go", []string{"func f() { /* a", "b */ return \"x\\\"y\" + `raw", "` // end", "}"})
	var got []string
	for _, l := range lines {
		for _, s := range l {
			if s.style != (style{}) {
				got = append(got, s.text)
			}
		}
	}
	want := []string{"func", "/* a", "b */", "return", `"x\"y"`, "`raw", "`", "// end"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, language := range []string{"python", "sql", "diff", "nonesuch", ""} {
		source := []string{"SELECT 1 -- x", "+ added", `s = """a`, `b""" # c`, "@@ 'q"}
		for i, l := range highlight(language, source) {
			if l.plain() != source[i] {
				t.Errorf("%s: %q became %q", language, source[i], l.plain())
			}
		}
	}
}

// A model may write anything at all.
func FuzzMarkdown(f *testing.F) {
	for _, s := range []string{sheet, "> > - 1. ```\n", "| a |\n|-|\n| \x1b |", "[x](y \"z\")![]()<b>&#27;[2J", strings.Repeat("> ", 50) + "x"} {
		f.Add(s, 20)
	}
	f.Fuzz(func(t *testing.T, s string, width int) {
		s, last := clean(s), -1
		for _, b := range newMarkdown().render(s, width%200) {
			if b.start > 0 && b.start <= last || b.start > len(s) {
				t.Fatalf("block starts at %d of %d, the one before at %d", b.start, len(s), last)
			}
			last = max(last, b.start)
			for _, l := range b.lines {
				if p := l.plain(); p != clean(p) || strings.Contains(p, "\n") {
					t.Fatalf("line %q", p)
				}
			}
		}
	})
}

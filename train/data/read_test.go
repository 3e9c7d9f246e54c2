package data_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"

	"lapidary/train/data"
)

// TestFormats reads one document's worth of every format and form.
func TestFormats(t *testing.T) {
	tests := []struct {
		name, file, content string
		source              data.Source
		want                []string
	}{
		{"text", "a.txt", "one\r\n\r\ntwo\n", data.Source{}, []string{"^[one\n\ntwo\n$]"}},
		{"paragraphs", "a.txt", "\none\nmore\n \t\n\ntwo", data.Source{Blank: true}, []string{"^[one\nmore$]", "^[two$]"}},
		{"lines", "a.jsonl", "{\"t\": \"one\"}\n\n{\"t\": \"two\"}", data.Source{Text: "t"}, []string{"^[one$]", "^[two$]"}},
		{"byte order mark", "a.jsonl", "\ufeff{\"t\": \"one\"}", data.Source{Text: "t"}, []string{"^[one$]"}},
		{"array", "a.json", " [{\"t\": 1.50}, {\"t\": true}]", data.Source{Text: "t"}, []string{"^[1.50$]", "^[true$]"}},
		{"each", "a.json", `{"n": "x", "e": [{"q": "one"}, {"q": "two"}]}`, data.Source{Each: "e", Text: "{n}: {q}"}, []string{"^[x: one$]", "^[x: two$]"}},
		{"each in each", "a.json", `[{"a": [{"b": [{"q": 1}, {"q": 2}]}, {"b": [{"q": 3}]}]}]`, data.Source{Each: "a.b", Text: "q"}, []string{"^[1$]", "^[2$]", "^[3$]"}},
		{"csv", "a.csv", "q,a\n\"one,\n\"\"1\"\"\",two\n", data.Source{Prompt: "Q: {q}\nA:", Answer: " {a}"}, []string{"^Q: one,\n\"1\"\nA:[ two$]"}},
		{"tsv without a header", "a.tsv", "1\tone \"quoted\"\n", data.Source{Columns: []string{"n", "t"}, Text: "{t} {n}"}, []string{"^[one \"quoted\" 1$]"}},
		{"labels", "a.csv", "c,t\n2,bad\n1,good\n", data.Source{Text: "t", Label: "c", Classes: map[string]string{"1": "yes", "2": "no"}}, []string{"^[bad$] = no", "^[good$] = yes"}},
		{"preferences", "a.jsonl", `{"p": "q", "c": "good", "r": "bad"}`, data.Source{Prompt: "p", Chosen: "c", Rejected: "r"}, []string{"^q[good$] ~ ^q[bad$]"}},
		{"contrasts", "a.jsonl", `{"a": "x", "p": "y", "n": ["z", "w"]}` + "\n" + `{"a": "x2", "p": "y2", "n": []}`,
			data.Source{Anchor: "a", Positive: "p", Negative: "n"}, []string{"^[x$] ~ ^[y$] ~ ^[z$] ~ ^[w$]", "^[x2$] ~ ^[y2$]"}},
		{"messages", "a.jsonl", `{"m": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}, {"role": "user", "content": "u"}, {"role": "assistant", "content": "v"}]}`,
			data.Source{Messages: "m", System: "be"}, []string{"^be|hi|[yo|]u|[v|]"}},
		{"other names of roles", "a.jsonl", `{"m": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "yo"}]}`, data.Source{Messages: "m"}, []string{"^hi|[yo|]"}},
		{"prompt as chat", "a.jsonl", `{"q": "hi", "a": "yo"}`, data.Source{Prompt: "q", Answer: "a", Chat: true}, []string{"^hi|[yo|]"}},
		{"where", "a.jsonl", "{\"t\": \"one\", \"k\": 1}\n{\"t\": \"two\", \"k\": 2}\n{\"t\": \"three\", \"k\": 3}", data.Source{Text: "t", Where: map[string][]string{"k": {"1", "3"}}}, []string{"^[one$]", "^[three$]"}},
		{"limit", "a.jsonl", "{\"t\": \"one\"}\n{\"t\": \"two\"}", data.Source{Text: "t", Limit: 1}, []string{"^[one$]"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.source.Path = write(t, t.TempDir(), test.file, test.content)
			set := prepare(t, data.Settings{}, test.source)
			if got := documents(t, set, data.Train); !slices.Equal(got, test.want) {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestParquet(t *testing.T) {
	type turn struct {
		Role    string `parquet:"role"`
		Content string `parquet:"content"`
	}
	type row struct {
		Question string   `parquet:"question"`
		Answers  []string `parquet:"answers,list"`
		Score    *int32   `parquet:"score,optional"`
		Turns    []turn   `parquet:"turns,list"`
	}
	score := int32(7)
	path := filepath.Join(t.TempDir(), "a.parquet")
	rows := []row{
		{"one", []string{"a", "b"}, &score, []turn{{"user", "hi"}, {"assistant", "yo"}}},
		{"two", nil, nil, []turn{{"user", "ho"}, {"assistant", "ya"}}},
	}
	if err := parquet.WriteFile(path, rows, parquet.Compression(&parquet.Zstd)); err != nil {
		t.Fatal(err)
	}
	set := prepare(t, data.Settings{}, data.Source{Path: path, Text: "{question}[[: {answers} {score}]]"}, data.Source{Path: path, Messages: "turns"})
	want := []string{"^[one: a, b 7$]", "^[two$]", "^hi|[yo|]", "^ho|[ya|]"}
	if got := documents(t, set, data.Train); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 10, len(whole) / 2, len(whole) - 9} {
		cut := write(t, t.TempDir(), "cut.parquet", string(whole[:n]))
		_, err := data.Prepare(context.Background(), []data.Source{{Path: cut, Text: "question"}}, bytesTokenizer{}, data.Settings{Folder: t.TempDir()})
		if err == nil || !strings.Contains(err.Error(), cut) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
}

func TestCompressed(t *testing.T) {
	dir := t.TempDir()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	fmt.Fprintln(w, `{"t": "one"}`)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "a.jsonl.gz", z.String())
	write(t, dir, "b.jsonl.zst", string(enc.EncodeAll([]byte(`{"t": "two"}`), nil)))
	set := prepare(t, data.Settings{}, data.Source{Path: dir, Text: "t"})
	if got := documents(t, set, data.Train); !slices.Equal(got, []string{"^[one$]", "^[two$]"}) {
		t.Errorf("%q", got)
	}
}

func TestFilesOfAPattern(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a/x.jsonl", "a/b/y.jsonl", "z.jsonl", "a/skip.txt", "a/.hidden.jsonl"} {
		write(t, dir, name, `{"t": "x"}`)
	}
	for pattern, want := range map[string][]string{
		"*.jsonl":    {"z.jsonl"},
		"a/*.jsonl":  {"a/x.jsonl"},
		"**/*.jsonl": {"a/b/y.jsonl", "a/x.jsonl", "z.jsonl"},
		"a/**":       {"a/b/y.jsonl", "a/skip.txt", "a/x.jsonl"},
		"?.jsonl":    {"z.jsonl"},
	} {
		s := data.Source{Path: filepath.Join(dir, pattern), Text: "t"}
		got, err := s.Files(context.Background())
		if err != nil {
			t.Errorf("%s: %v", pattern, err)
		}
		for i := range want {
			want[i] = filepath.Join(dir, filepath.FromSlash(want[i]))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", pattern, got, want)
		}
	}
}

func TestPromptFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "one/p.txt", "Say it.\r\n\r\nQ: solved\nA: yes\n\nQ: {{ text }}\nA:\n")
	write(t, dir, "two/p.txt", "{{text}}?")
	write(t, dir, "one/t.tsv", "text\tanswer\nhi\tyo\n")
	write(t, dir, "two/t.tsv", "text\tanswer\nho\tya\n")
	source := data.Source{Path: filepath.Join(dir, "*/t.tsv"), PromptFile: "p.txt", Answer: " {answer}"}
	got := documents(t, prepare(t, data.Settings{}, source), data.Train)
	if want := []string{"^Say it.\n\nQ: solved\nA: yes\n\nQ: hi\nA:[ yo$]", "^ho?[ ya$]"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	source.PromptBrief = true
	got = documents(t, prepare(t, data.Settings{}, source), data.Train)
	if want := []string{"^Say it.\n\nQ: hi\nA:[ yo$]", "^ho?[ ya$]"}; !slices.Equal(got, want) {
		t.Errorf("brief: %q", got)
	}
}

// TestBroken: one line that says file, place and reason; or a count.
func TestBroken(t *testing.T) {
	tests := []struct {
		name, file, content string
		source              data.Source
		place, reason       string
	}{
		{"syntax", "a.jsonl", "{\"t\": \"x\"}\n{\"t\": }\n{\"t\": \"y\"}", data.Source{Text: "t"}, "line 2", "byte 7"},
		{"cut off", "a.jsonl", "{\"t\": \"x\"}\n{\"t\": \"y\"}\n{\"t\": ", data.Source{Text: "t"}, "line 3", "ends in the middle"},
		{"two values", "a.jsonl", "{\"t\": \"x\"}\n{\"t\": \"y\"} }\n{\"t\": \"y\"}", data.Source{Text: "t"}, "line 2", "follows"},
		{"no field", "a.jsonl", "{\"t\": \"x\"}\n{\"s\": 1, \"u\": 2}\n{\"t\": \"y\"}", data.Source{Text: "t"}, "line 2", `no field "t" among s, u`},
		{"empty", "a.jsonl", "{\"t\": \"x\"}\n{\"t\": \"\"}\n{\"t\": \"y\"}", data.Source{Text: "t"}, "line 2", "text is empty"},
		{"no array", "a.json", `[{"e": [{"t": "x"}, {"t": "y"}]}, {"f": 1}]`, data.Source{Each: "e", Text: "t"}, "record 2", `no field "e"`},
		{"cells", "a.csv", "t,u\nx,1\nz\ny,1\n", data.Source{Text: "t"}, "line 3", "1 cells where the table has 2 columns"},
		{"quote", "a.csv", "t,u\nx,1\nz\"z,1\ny,1\n", data.Source{Text: "t"}, "line 3", "bare \""},
		{"class", "a.csv", "t,c\nx,1\ny,1\nz,9\n", data.Source{Text: "t", Label: "c", Classes: map[string]string{"1": "one"}}, "line 4", `"9"`},
		{"role", "a.jsonl", `{"m": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}` + "\n" + `{"m": [{"role": "cook", "content": "x"}]}` + "\n" +
			`{"m": [{"role": "user", "content": "z"}, {"role": "assistant", "content": "y"}]}`, data.Source{Messages: "m"}, "line 2", "message 1"},
		{"the template refuses", "a.jsonl", `{"m": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]}` + "\n" + `{"m": [{"role": "assistant", "content": "x"}]}` + "\n" +
			`{"m": [{"role": "user", "content": "z"}, {"role": "assistant", "content": "y"}]}`, data.Source{Messages: "m"}, "line 2", "the user begins"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.source.Path = write(t, t.TempDir(), test.file, test.content)
			folder := t.TempDir()
			_, err := data.Prepare(context.Background(), []data.Source{test.source}, bytesTokenizer{}, data.Settings{Folder: folder})
			var broken *data.Broken
			if !errors.As(err, &broken) || broken.File != test.source.Path || !strings.HasPrefix(broken.Place, test.place) || !strings.Contains(broken.Reason.Error(), test.reason) {
				t.Errorf("got %v, want %s: %s", err, test.place, test.reason)
			}
			if strings.Contains(fmt.Sprint(err), "\n") {
				t.Errorf("more than one line: %q", err)
			}
			if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
				t.Errorf("%d files are left, %v", len(left), err)
			}
			test.source.SkipBroken = true
			r := prepare(t, data.Settings{}, test.source).Report()
			if r.Total.Documents != 2 || r.Total.Skipped != 1 || !strings.Contains(r.Total.Broken, test.place) {
				t.Errorf("skipping: %+v", r.Total)
			}
		})
	}
}

// TestBrokenFar: a broken line far down is named by its number.
func TestBrokenFar(t *testing.T) {
	var b strings.Builder
	b.WriteString(strings.Repeat("{}\n\n\n\n", 249_999) + "{}\n\n\n")
	b.WriteString("{\"t\": \"x\"\n")
	path := write(t, t.TempDir(), "a.jsonl", b.String())
	source := data.Source{Path: path, Text: "t?", Where: map[string][]string{"{t?}": {"x"}}}
	for _, err := range source.Examples(context.Background()) {
		if err == nil || !strings.HasPrefix(err.Error(), path+", line 1000000: not JSON") {
			t.Errorf("got %v", err)
		}
	}
}

func TestSettingsAreChecked(t *testing.T) {
	tests := []struct {
		source data.Source
		reason string
	}{
		{data.Source{}, "needs a path"},
		{data.Source{Path: "a.jsonl"}, "say what a document is"},
		{data.Source{Path: "a.jsonl", Text: "t", Format: "xml"}, `unknown format "xml"`},
		{data.Source{Path: "a.jsonl", Prompt: "p"}, "answer needs answer"},
		{data.Source{Path: "a.jsonl", Answer: "p"}, "answer needs prompt"},
		{data.Source{Path: "a.jsonl", Text: "t", Answer: "a", Prompt: "p"}, "text does not go with answer"},
		{data.Source{Path: "a.jsonl", Chosen: "t"}, "needs rejected"},
		{data.Source{Path: "a.jsonl", Anchor: "t"}, "needs positive"},
		{data.Source{Path: "a.jsonl", Label: "t"}, "needs text"},
		{data.Source{Path: "a.jsonl", Text: "{t"}, "not closed"},
		{data.Source{Path: "a.jsonl", Text: "t}"}, "without {"},
		{data.Source{Path: "a.jsonl", Text: "[[t"}, "[[ is not closed"},
		{data.Source{Path: "a.jsonl", Text: "{a}]] "}, ""},
		{data.Source{Path: "a.jsonl", Text: "a..b"}, "no field path"},
		{data.Source{Path: "a.jsonl", Text: "t", Split: 2}, "split 2"},
		{data.Source{Path: "a.jsonl", Text: "t", Weight: -1}, "weight -1"},
		{data.Source{Path: "a.jsonl", Text: "t", System: "s"}, "system does not go with text"},
		{data.Source{Path: "a.jsonl", Prompt: "t", Answer: "a", System: "s"}, "chat: true"},
		{data.Source{Path: "a.jsonl", Messages: "{m}"}, "without braces"},
		{data.Source{Path: "[a.jsonl", Text: "t"}, "no valid pattern"},
	}
	for _, test := range tests {
		err := test.source.Check()
		if test.reason == "" && err != nil || test.reason != "" && (err == nil || !strings.Contains(err.Error(), test.reason)) {
			t.Errorf("%+v: got %v, want %q", test.source, err, test.reason)
		}
	}
}

func TestTemplate(t *testing.T) {
	record := &data.Record{Value: map[string]any{
		"q": "why", "empty": "", "list": []any{"a", "b"}, "table": []any{[]any{"1", "2"}, []any{"3"}},
		"items": []any{map[string]any{"t": "x"}, map[string]any{"t": "y"}}, "deep": map[string]any{"er": []any{"z"}}, "none": nil,
	}}
	for template, want := range map[string]string{
		"q":                          "why",
		"deep.er.0":                  "z",
		"items.1.t":                  "y",
		"{q}? {{q}}":                 "why? {q}",
		"{list}/{list|;}":            "a, b/a;b",
		"{table}":                    "1 | 2\n3",
		"{items.t|\n}":               "x\ny",
		"{gone?}{none?}-":            "-",
		"{q}[[ ({empty})]][[, {q}]]": "why, why",
		"{q}[[{gone}]]":              "why",
		"a]]b{q}":                    "a]]bwhy",
	} {
		parsed, err := data.ParseTemplate(template)
		if err != nil {
			t.Errorf("%s: %v", template, err)
			continue
		}
		if got, err := parsed.Execute(record); err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", template, got, err, want)
		}
	}
	for _, template := range []string{"gone", "{none}", "{list.7}", "{items.u}"} {
		parsed, err := data.ParseTemplate(template)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parsed.Execute(record); err == nil {
			t.Errorf("%s: %q and no error", template, got)
		}
	}
}

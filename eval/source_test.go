package eval

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// files writes files into a new folder.
func files(t testing.TB, content map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range content {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestReadData(t *testing.T) {
	for name, c := range map[string]struct {
		data    Data
		content string
		want    string
	}{
		"jsonl":           {Data{Format: "jsonl"}, "{\"a\":1}\n\n{\"a\":\"x\"}\n", "f:1 map[a:1], f:2 map[a:x]"},
		"json list":       {Data{Format: "json"}, `[{"a":1},{"a":2}]`, "f:1 map[a:1], f:2 map[a:2]"},
		"json object":     {Data{Format: "json", Each: []string{"ex"}}, `{"ex":[{"a":1}]}`, "f:1 map[a:1 ex:[map[a:1]]]"},
		"json values":     {Data{Format: "json", Each: []string{"*"}}, `{"b":{"a":2},"a":{"a":1}}`, "f:1 map[a:1], f:2 map[a:2]"},
		"csv":             {Data{Format: "csv"}, "\uFEFFa,b\n1,\"x, \"\"y\"\"\nz\"\n", `f:1 map[a:1 b:x, "y"` + "\nz]"},
		"csv, no header":  {Data{Format: "csv", Columns: []string{"p", "q"}}, "1,2\n3,4\n", "f:1 map[p:1 q:2], f:2 map[p:3 q:4]"},
		"tsv, bare quote": {Data{Format: "tsv"}, "a\tb\nit's 5\" long\tx\n", `f:1 map[a:it's 5" long b:x]`},
		"txt":             {Data{Format: "txt"}, "a\nb", "f:1 map[text:a\nb]"},
		"lines":           {Data{Format: "lines", Pattern: `^(?P<l>\d) (?P<t>.*)$`}, "0 bad\r\n1 good", "f:1 map[l:0 t:bad], f:2 map[l:1 t:good]"},
		"where":           {Data{Format: "csv", Where: map[string]string{"s": "test"}}, "a,s\n1,train\n2,test\n", "f:2 map[a:2 s:test]"},
		"no own field wins": {Data{Format: "json", Each: []string{"q"}}, `[{"id":1,"t":"T","q":[{"id":2}]}]`,
			"f:1 map[id:2 q:[map[id:2]] t:T]"},
	} {
		dir := files(t, map[string]string{"f.x": c.content})
		s, err := ReadData(c.data, []string{filepath.Join(dir, "f.x")})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, e := range s.Examples {
			got = append(got, fmt.Sprint(e.ID, " ", e.Fields))
		}
		if g := strings.Join(got, ", "); g != c.want {
			t.Errorf("%s: %s, want %s", name, g, c.want)
		}
	}
}

func TestReadDataRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		data          Data
		content, want string
	}{
		"broken line":    {Data{Format: "jsonl"}, "{\"a\":1}\n{\"a\":\n", "f.x: line 2 is no JSON"},
		"two values":     {Data{Format: "jsonl"}, "{} {}\n", "line 1 is no JSON: there is more than one JSON value"},
		"broken json":    {Data{Format: "json"}, "[{},\n\n}", "line 3 is no JSON"},
		"no object":      {Data{Format: "json"}, "[1]", "example 1 is no object"},
		"nothing":        {Data{Format: "jsonl"}, "", "no example in"},
		"no list":        {Data{Format: "json", Each: []string{"q"}}, `{"q":1}`, `each: field "q" is no list`},
		"no field":       {Data{Format: "json", Each: []string{"qq"}}, `{"q":[]}`, `each: no field "qq": is q meant?`},
		"short row":      {Data{Format: "csv"}, "a,b\n1\n", "record on line 2: wrong number of fields"},
		"no such line":   {Data{Format: "lines", Pattern: `^\d`}, "1\nx\n", `line 2 "x" does not fit`},
		"no such column": {Data{Format: "csv", Where: map[string]string{"x": "1"}}, "a\n1\n", `where: no field "x"`},
		"no text":        {Data{Format: "txt"}, "\xff", "not UTF-8"},
	} {
		dir := files(t, map[string]string{"f.x": c.content})
		if _, err := ReadData(c.data, []string{filepath.Join(dir, "f.x")}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := ReadData(Data{Format: "txt"}, []string{filepath.Join(t.TempDir(), "none")}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestReadFolder(t *testing.T) {
	dir := files(t, map[string]string{"a/train.txt": "x", "a/test.txt": "y", "b/train.txt": "z"})
	d := Data{Format: "txt", Files: []string{"test.txt", "train.txt"}}
	s, err := ReadData(d, []string{filepath.Join(dir, "b"), filepath.Join(dir, "a")})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Examples) != 2 || s.Examples[0].ID != "test:1" || s.Examples[1].ID != "train:1" || s.Folders["train"] != filepath.Join(dir, "b") {
		t.Errorf("found %v in %v", s.Examples, s.Folders)
	}
	s, err = ReadData(Data{Format: "txt", Files: []string{"train*"}}, []string{filepath.Join(dir, "b"), filepath.Join(dir, "a")})
	if err != nil || len(s.Examples) != 2 || s.Examples[0].Group != "a/train" || s.Examples[1].Group != "b/train" {
		t.Errorf("files of one name: %v, %v", s, err)
	}
	if _, err := ReadData(Data{Format: "txt"}, []string{dir}); err == nil || !strings.Contains(err.Error(), "is a folder: name its files") {
		t.Errorf("a folder without patterns: %v", err)
	}
	if _, err := ReadData(d, []string{dir}); err == nil || !strings.Contains(err.Error(), "has no test.txt or train.txt") {
		t.Errorf("a folder without such files: %v", err)
	}
}

func FuzzReadData(f *testing.F) {
	f.Add("jsonl", "{\"a\":1}\n", "")
	f.Add("json", `{"a":[{"b":1}]}`, "a")
	f.Add("json", `{"a":{"b":1}}`, "*")
	f.Add("csv", "a,b\n\"1\",2\n", "")
	f.Add("tsv", "a\tb\n1\t2\n", "")
	f.Add("lines", "0 x\n", "")
	f.Fuzz(func(t *testing.T, format, content, path string) {
		d := Data{Format: format, Pattern: `^(?P<a>.) (?P<b>.*)$`}
		if path != "" {
			d.Each = strings.Split(path, ".")
		}
		items, err := d.parse([]byte(content))
		if err != nil {
			return
		}
		for _, fields := range items {
			_ = text(fields)
		}
	})
}

func FuzzTemplate(f *testing.F) {
	f.Add("{a} {b.c|, } {{x}} {d?}")
	f.Add("{{a}}")
	f.Fuzz(func(t *testing.T, s string) {
		for _, parse := range []func(string) (template, error){parseTemplate, parseMustache} {
			tmpl, err := parse(s)
			if err != nil {
				continue
			}
			_, _ = tmpl(map[string]any{"a": "x", "b": []any{map[string]any{"c": "y"}}})
		}
		_, _, _ = parsePromptFile(s)
	})
}

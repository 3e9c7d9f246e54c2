//go:build unix

package terminal

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPaths(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Chdir(home)
	if err := os.WriteFile(filepath.Join(home, "a b"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string][]string{
		"cat.png":                     {"cat.png"},
		"cat.png  dog.png ":           {"cat.png", "dog.png"},
		"a b":                         {"a b"}, // there is one of that name
		"a c":                         {"a", "c"},
		"~/a b":                       {home + "/a b"},
		`a\ b\\ 'c "d' "e 'f"`:        {`a b\`, `c "d`, `e 'f`},
		`'it'\''s here'`:              {"it's here"},
		"file:///tmp/a%20b":           {"/tmp/a b"},
		"file://elsewhere/a":          {"file://elsewhere/a"},
		"~":                           {home},
		"~other/x":                    {"~other/x"},
		`"~/x y"`:                     {home + "/x y"},
		"日本/猫\u3000犬":                 {"日本/猫", "犬"},
		"''":                          nil,
		"https://example.org/cat.png": {"https://example.org/cat.png"},
	} {
		got, err := paths(args)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", args, got, err, want)
		}
	}
}

// What completion writes is read back as the name it stands for.
func TestNamesAsTyped(t *testing.T) {
	alphabet := []rune(`ab '"\é日().$&`)
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringOfN(rapid.SampledFrom(alphabet), 1, 12, -1).Draw(t, "name")
		for _, q := range []string{"", "'", `"`} {
			var quote rune
			if q != "" {
				quote = rune(q[0])
			}
			typed := q + typedAs(name, quote) + q
			if got := words("x " + typed); len(got) != 2 || got[1].text != name || got[1].from != 2 || got[1].quote != 0 {
				t.Fatalf("%q as %s became %+v", name, typed, got)
			}
		}
	})
}

func TestCommonStart(t *testing.T) {
	for want, names := range map[string][]string{
		"a":    {"aé", "aè"}, // which begin with the same byte
		"my":   {`my\ a`, `my\'b`},
		`my\\`: {`my\\a`, `my\\b`},
		"":     {"x", "y"},
	} {
		var all []choice
		for _, n := range names {
			all = append(all, choice{text: n})
		}
		if got := commonStart(all); got != want {
			t.Errorf("%q: %q, want %q", names, got, want)
		}
	}
}

package eval

import (
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestNumber(t *testing.T) {
	for s, want := range map[string]float64{
		"18": 18, "-12.6": -12.6, "−3": -3, "$1,496.5": 1496.5, "$ 1,496.5 million": 1496.5e6, "(12.6)": -12.6, "22.22%": 0.2222, "-22.22 percent": -0.2222,
		" 5 thousand. ": 5000, "-$5": -5, "$-5": -5, ".5": 0.5, "1e3": 1000, "2 billion": 2e9, "+4": 4, "1000000": 1e6,
	} {
		if got, ok := Number(s); !ok || math.Abs(got-want) > 1e-9*math.Abs(want) {
			t.Errorf("%q is %v (%v), want %v", s, got, ok, want)
		}
	}
	for _, s := range []string{"", "x", "5 apples", "1,23", "(5", "5)", "5 5", "$", "-", "1.2.3", "percent"} {
		if got, ok := Number(s); ok {
			t.Errorf("%q is taken for %v", s, got)
		}
	}
}

func TestNormalise(t *testing.T) {
	if got := Squad(" The  Quick, brown-fox: A (an) $ theme "); got != "quick brownfox theme" {
		t.Errorf("SQuAD makes %q", got)
	}
	for _, c := range []struct {
		n     normaliser
		a, b  string
		equal bool
		f1    float64
	}{
		{"", "The answer.", "answer", true, 1},
		{"", "big red dog", "red dog", false, 0.8},
		{"", "", "the", true, 1},
		{"", "x", "the", false, 0},
		{"plain", "(A)", "(A)", true, 1},
		{"plain", "(A)", "(B)", false, 0},
		{"plain", "the  end", "the end", true, 1},
		{"numbers", "$1.5 million", "1,500,000", true, 1},
		{"numbers", "1.5", "1.5 million", false, 0},
		{"numbers", "none", "5", false, 0},
		{"numbers", "red dog", "the red dog", true, 1},
	} {
		if got := c.n.equal(c.a, c.b); got != c.equal {
			t.Errorf("%s: %q equals %q: %v", c.n, c.a, c.b, got)
		}
		if got := c.n.f1(c.a, c.b); math.Abs(got-c.f1) > 1e-12 {
			t.Errorf("%s: f1 of %q and %q is %v, want %v", c.n, c.a, c.b, got, c.f1)
		}
	}
}

func TestExtract(t *testing.T) {
	const text = "\n First line is 3.\nThe answer is (B), since $1,000 - 4 = 996\n#### 996 \n"
	for steps, want := range map[string]string{
		"":                         strings.TrimSpace(text),
		"all":                      strings.TrimSpace(text),
		"first_line":               "First line is 3.",
		"last_number":              "996",
		"letter":                   "B",
		`/#### *(\d+)/`:            "996",
		`/nowhere/ first_line`:     "First line is 3.",
		`/answer/`:                 "answer",
		`/(no)where/ /or (there)/`: "",
	} {
		e, err := newExtractor(split(steps))
		if err != nil {
			t.Fatal(err)
		}
		if got := e.from(text); got != want {
			t.Errorf("%s takes %q, want %q", steps, got, want)
		}
	}
}

// split takes steps apart at spaces before a slash or a letter.
func split(steps string) []string {
	if steps == "" {
		return nil
	}
	return strings.Split(strings.ReplaceAll(strings.ReplaceAll(steps, "/ /", "/\x00/"), "/ f", "/\x00f"), "\x00")
}

func TestVerify(t *testing.T) {
	dir := files(t, map[string]string{"s.json": `{"type":"object","required":["a"],"properties":{"a":{"type":"integer"}}}`, "broken.json": "{"})
	schema := filepath.Join(dir, "s.json")
	for _, c := range []struct {
		v                Verifier
		answer, expected string
		pass             bool
	}{
		{Verifier{Kind: "numeric"}, "1,000", "1000.0", true},
		{Verifier{Kind: "numeric"}, "1001", "1000", false},
		{Verifier{Kind: "numeric"}, "many", "1000", false},
		{Verifier{Kind: "boolean"}, "Yes, it is", "true", true},
		{Verifier{Kind: "boolean"}, "nope", "no", false},
		{Verifier{Kind: "boolean"}, "no", "yes", false},
		{Verifier{Kind: "regexp", Pattern: "^a+$"}, "aaa", "", true},
		{Verifier{Kind: "regexp", Pattern: "^a+$"}, "ab", "", false},
		{Verifier{Kind: "schema", Schema: schema}, `{"a":1}`, "", true},
		{Verifier{Kind: "schema", Schema: schema}, `{"a":"x"}`, "", false},
		{Verifier{Kind: "schema", Schema: schema}, `{"a":1`, "", false},
	} {
		verify, err := c.v.open(false)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := verify(context.Background(), c.answer, c.expected); err != nil || got != c.pass {
			t.Errorf("%s: %q against %q: %v (%v)", c.v.Kind, c.answer, c.expected, got, err)
		}
	}
	verify, err := (&Verifier{Kind: "numeric"}).open(false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify(context.Background(), "1", "one"); err == nil {
		t.Error("a given answer that is no number is verified")
	}
	for _, v := range []Verifier{{Kind: "regexp", Pattern: "("}, {Kind: "schema", Schema: filepath.Join(dir, "broken.json")}, {Kind: "schema", Schema: "none.json"}} {
		if _, err := v.open(false); err == nil {
			t.Errorf("%+v opens", v)
		}
	}
}

// TestMain lets tests run this very binary as a verifier's command.
func TestMain(m *testing.M) {
	switch os.Getenv("LAPIDARY_EVAL_VERIFIER") {
	case "":
		os.Exit(m.Run())
	case "hang":
		time.Sleep(time.Minute)
	}
	answer, err := io.ReadAll(os.Stdin)
	if err != nil || string(answer) != os.Getenv("LAPIDARY_EXPECTED") {
		os.Exit(1)
	}
	os.Exit(0)
}

func TestVerifyByCommand(t *testing.T) {
	v := Verifier{Kind: "command", Command: []string{os.Args[0]}}
	if _, err := v.open(false); !errors.Is(err, ErrCommand) {
		t.Fatalf("a command runs unasked: %v", err)
	}
	verify, err := v.open(true)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LAPIDARY_EVAL_VERIFIER", "1")
	for answer, want := range map[string]bool{"right": true, "wrong": false} {
		if got, err := verify(context.Background(), answer, "right"); err != nil || got != want {
			t.Errorf("%s: %v (%v)", answer, got, err)
		}
	}
	t.Setenv("LAPIDARY_EVAL_VERIFIER", "hang")
	v.Timeout = 50 * time.Millisecond
	if got, err := v.runCommand(context.Background(), "right", "right"); err != nil || got {
		t.Errorf("a command that hangs: %v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := v.runCommand(ctx, "right", "right"); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled command: %v", err)
	}
	v.Command = []string{filepath.Join(t.TempDir(), "none")}
	if _, err := v.runCommand(context.Background(), "", ""); err == nil {
		t.Error("a command that is not there fails nobody")
	}
}

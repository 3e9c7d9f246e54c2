package eval

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestBuiltinsAreInOrder(t *testing.T) {
	if len(Builtins()) < 10 {
		t.Fatalf("only %v", Builtins())
	}
	for _, name := range Builtins() {
		task, err := Builtin(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := task.Check(); err != nil || task.About == "" || len(task.Data.Files) == 0 {
			t.Errorf("%s: %v, about %q, files %v", name, err, task.About, task.Data.Files)
		}
	}
	if _, err := Builtin("gsm"); !errors.Is(err, ErrTask) || !strings.Contains(err.Error(), "want one of") {
		t.Errorf("gsm: %v", err)
	}
	if _, err := Builtin("gsm9k"); err == nil || !strings.Contains(err.Error(), "is gsm8k meant?") {
		t.Errorf("gsm9k: %v", err)
	}
}

func TestTaskRefuses(t *testing.T) {
	const good = "data: {format: jsonl}\nprompt: '{q}'\nanswer: '{a}'\nmetrics: [exact]\n"
	task, err := ParseTask([]byte(good))
	if err != nil || task.Check() != nil {
		t.Fatalf("%v, %v", err, task.Check())
	}
	for text, want := range map[string]string{
		"promt: x":                        `line 1: key "promt" is none: is prompt meant?`,
		"data: {formt: json}":             `key "formt" is none: is format meant?`,
		"data: 3":                         "eval.Data",
		"prompt: [":                       "no such evaluation",
		"verifier: {kind: command, x: 1}": `key "x" is none`,
		good + "mode: talk":               `mode "talk" is none`,
		good + "normalise: squat":         "is squad meant?",
		good + "shots: -1":                "shots -1: want 0 to",
		good + "temperature: .nan":        "temperature NaN",
		good + "extract: [last]":          `extract "last" is none`,
		good + "extract: ['/(/']":         "extract /(/",
		good + "verifier: {kind: magic}":  `verifier kind "magic" is none`,
		good + "verifier: {kind: schema}": "verifier schema needs schema",
		"data: {format: jsonl}\nprompt: '{'\nanswer: x\nmetrics: [exact]": "not closed",
		"data: {format: jsonl}\nmetrics: [exact]\nprompt: x":              "metric exact needs answer",
		"data: {format: jsonl}\nmetrics: [exact]\nanswer: x":              "metric exact needs prompt",
		"data: {format: jsonl}\nmetrics: [accuracy]\nanswer: x":           "metric accuracy needs choices",
		"data: {format: jsonl}\nmetrics: [perplexity]":                    "metric perplexity needs answer",
		"data: {format: jsonl}\nmetrics: [pass]\nanswer: x\nprompt: x":    "metric pass needs verifier",
		"data: {format: jsonl}\nmetrics: [acuracy]":                       "is accuracy meant?",
		"data: {format: xml}\nmetrics: [exact]":                           `format "xml" is none`,
		"data: {format: jsonl}":                                           "no metric",
		"data: {format: jsonl}\nmetrics: [accuracy]\nchoices: {a: b}":     "choices need answer",
		"choices: anything": "choices",
	} {
		task, err := ParseTask([]byte(text))
		if err == nil {
			err = task.Check()
		}
		if !errors.Is(err, ErrTask) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestChoices(t *testing.T) {
	for text, want := range map[string]Choices{
		"choices: ['yes', b]":       {Texts: []string{"yes", "b"}},
		"choices: {'1': a, '0': b}": {Texts: []string{"a", "b"}, Values: map[string]string{"1": "a", "0": "b"}},
		"choices: labels":           {Labels: true},
		"choices: field opts.text":  {Field: "opts.text"},
	} {
		task, err := ParseTask([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if g := task.Choices; !slices.Equal(g.Texts, want.Texts) || len(g.Values) != len(want.Values) || g.Labels != want.Labels || g.Field != want.Field {
			t.Errorf("%s: %+v, want %+v", text, g, want)
		}
	}
}

func FuzzParseTask(f *testing.F) {
	for _, name := range Builtins() {
		text, err := BuiltinText(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if task, err := ParseTask([]byte(text)); err == nil {
			_ = task.Check()
		}
	})
}

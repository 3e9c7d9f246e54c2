package eval

import (
	"strings"
	"testing"
)

func TestTemplate(t *testing.T) {
	v, err := decode([]byte(`{"q": "why", "n": 1.50, "none": null, "yes": true, "list": ["a", "b"], "table": [["x", 1], ["y", 2]],
		"deep": {"er": {"est": "down"}}, "paras": [{"text": "one"}, {"text": "two"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	fields := v.(map[string]any)
	for text, want := range map[string]string{
		"Q: {q}?":             "Q: why?",
		"{n} {none?} {yes}":   "1.50  true",
		"{list}":              "a, b",
		"{list|; }":           "a; b",
		"{list.1}":            "b",
		"{table}":             "x | 1\ny | 2",
		"{deep.er.est}":       "down",
		"{deep.er}":           `{"est":"down"}`,
		"{paras.text| }":      "one two",
		"{paras.text|\n}":     "one\ntwo",
		"[[{none}, ]]{q}":     "why",
		"q":                   "why",
		"":                    "",
		"{{{q}}}":             "{why}",
		"{missing?}{q}":       "why",
		"{paras.nothing?}end": "end",
	} {
		tmpl, err := parseTemplate(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got, err := tmpl(fields); err != nil || got != want {
			t.Errorf("%q gives %q (%v), want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"{deep.errr}": `no field "deep.errr" among deep`,
		"{list.2}":    `no field "list.2"`,
		"{q.x}":       `no field "q.x"`,
	} {
		tmpl, err := parseTemplate(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tmpl(fields); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	for _, text := range []string{"{", "a } b", "{}", "{unclosed"} {
		if _, err := parseTemplate(text); err == nil {
			t.Errorf("%q is taken for a template", text)
		}
	}
}

func TestPromptFile(t *testing.T) {
	for name, c := range map[string]struct{ file, instruction, prompt string }{
		"instruction and examples": {"Decide.\n\nQ: one\nA: Yes\n\nQ: two\nA: No\n\nQ: {{text}}\nA:", "Decide.", "Q: X\nA:"},
		"examples alone":           {"Q: one\nA: Yes\n\nQ: {{ text }}\nA:\n", "", "Q: X\nA:"},
		"a prompt alone":           {"{{text}}\n\nIs it?\nAnswer:", "", "X\n\nIs it?\nAnswer:"},
	} {
		instruction, prompt, err := parsePromptFile(c.file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := prompt(map[string]any{"text": "X"})
		if err != nil || got != c.prompt || instruction != c.instruction {
			t.Errorf("%s: %q and %q (%v), want %q and %q", name, instruction, got, err, c.instruction, c.prompt)
		}
	}
	for _, file := range []string{"no place", "Q: {{text"} {
		if _, _, err := parsePromptFile(file); err == nil {
			t.Errorf("%q is taken for a prompt", file)
		}
	}
}

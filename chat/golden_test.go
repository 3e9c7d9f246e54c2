package chat

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"lapidary/tokenizer"
)

// goldenCase is a conversation and what transformers renders it to.
type goldenCase struct {
	Name     string
	Messages []Message
	Tools    []Function
	Prompt   bool `json:"add_generation_prompt"`
	Options  struct {
		Thinking bool `json:"enable_thinking"`
	}
	Rendered json.RawMessage // a text, or one for each of two templates
	Error    string
}

func (c goldenCase) conversation() Conversation {
	return Conversation{Messages: c.Messages, Tools: c.Tools, Thinking: c.Options.Thinking}
}

func goldens(t *testing.T, name string, want int) []goldenCase {
	t.Helper()
	var g struct{ Cases []goldenCase }
	if err := json.Unmarshal([]byte(read(t, name)), &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Cases) != want {
		t.Fatalf("%s: %d cases, want %d", name, len(g.Cases), want)
	}
	return g.Cases
}

func TestGemma3AsTransformers(t *testing.T) {
	templates := map[string]*Template{"own": parse(t, "gemma3.jinja"), "built in": BuiltIn("gemma3")}
	for i, c := range goldens(t, "gemma3.json", 8) {
		for which, tmpl := range templates {
			t.Run(fmt.Sprint(i, " ", c.Name, " ", which), func(t *testing.T) { c.compare(t, tmpl, c.Rendered) })
		}
	}
}

func TestGemma4AsTransformers(t *testing.T) {
	for i, c := range goldens(t, "gemma4.json", 18) {
		var rendered map[string]json.RawMessage
		if err := json.Unmarshal(c.Rendered, &rendered); err != nil {
			t.Fatal(err)
		}
		for model, name := range map[string]string{"e2b": "gemma4", "31b": "gemma4-large"} {
			t.Run(fmt.Sprint(i, " ", c.Name, " ", model), func(t *testing.T) { c.compare(t, BuiltIn(name), rendered[model]) })
		}
	}
}

// compare renders and encodes.
func (c goldenCase) compare(t *testing.T, tmpl *Template, rendered json.RawMessage) {
	got, err := tmpl.RenderConversation(c.conversation(), c.Prompt)
	if c.Error != "" {
		if err == nil || !strings.HasSuffix(err.Error(), c.Error) {
			t.Fatalf("error %v, want %s", err, c.Error)
		}
		return
	}
	var want string
	if err := json.Unmarshal(rendered, &want); err != nil {
		t.Fatal(err)
	}
	if err != nil || got != want {
		t.Fatalf("got %q, %v\nwant %q", got, err, want)
	}
	if !c.Prompt {
		return
	}
	f := everything()
	p, err := tmpl.assemble(f, c.conversation().numbered(false))
	if want := f.show(tokenizer.IDs(f.EncodeSpecial(want))); err != nil || f.show(p.IDs) != want {
		t.Fatalf("tokens %q, %v\nwant %q", f.show(p.IDs), err, want)
	}
}

package chat

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
)

func openGGUF(t *testing.T, metadata map[string]any) *checkpoint.Checkpoint {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := checkpointtest.WriteGGUF(path, metadata, []checkpoint.Tensor{checkpointtest.FloatTensor("t", []float32{1}, 1)}); err != nil {
		t.Fatal(err)
	}
	return openPath(t, path)
}

func openFolder(t *testing.T, name string, files map[string]string) *checkpoint.Checkpoint {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	header := `{"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`
	files["model.safetensors"] = string([]byte{byte(len(header)), 0, 0, 0, 0, 0, 0, 0}) + header + "\x00\x00\x80\x3f"
	for file, content := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return openPath(t, dir)
}

func openPath(t *testing.T, path string) *checkpoint.Checkpoint {
	t.Helper()
	c, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestOpenChooses(t *testing.T) {
	gguf := func(pairs ...string) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	small := gguf("general.architecture", "gemma4", "general.name", "Gemma 4 E2B It")
	small["gemma4.embedding_length_per_layer_input"] = uint32(256)
	for name, c := range map[string]struct {
		metadata map[string]any
		family   string // "" for none
		builtIn  bool
	}{
		"the family's template":      {gguf("general.architecture", "gemma3", "tokenizer.chat_template", read(t, "gemma3.jinja")), "gemma3", true},
		"Gemma 2's":                  {gguf("general.architecture", "gemma2", "tokenizer.chat_template", read(t, "gemma2.jinja")), "gemma", true},
		"another family's":           {gguf("general.architecture", "gemma3n", "tokenizer.chat_template", read(t, "gemma3.jinja")), "gemma3n", false},
		"one with a difference":      {gguf("general.architecture", "gemma3", "tokenizer.chat_template", strings.Replace(read(t, "gemma3.jinja"), "| trim", "", 1)), "gemma3", false},
		"one of another kind":        {gguf("general.architecture", "gemma4", "tokenizer.chat_template", read(t, "tools.jinja")), "gemma4", false},
		"an unknown model":           {gguf("general.architecture", "other", "tokenizer.chat_template", read(t, "gemma3.jinja")), "gemma3", false},
		"a base model":               {gguf("general.architecture", "gemma3", "general.name", "Gemma 3 270m", "general.basename", "gemma-3"), "", false},
		"tuned, no template":         {gguf("general.architecture", "gemma3", "general.finetune", "it"), "gemma3", true},
		"tuned, says its name":       {gguf("general.architecture", "gemma2", "general.name", "gemma-2-2b-it"), "gemma", true},
		"tuned, small Gemma 4":       {small, "gemma4", true},
		"tuned, large Gemma 4":       {gguf("general.architecture", "gemma4", "general.name", "gemma-4-31B-it"), "gemma4-large", true},
		"always in a form":           {gguf("general.architecture", "paligemma"), "paligemma", true},
		"tuned, but of unknown kind": {gguf("general.architecture", "other", "general.finetune", "it"), "", false},
	} {
		tmpl, err := Open(openGGUF(t, c.metadata))
		if c.family == "" {
			if !errors.Is(err, ErrNoTemplate) {
				t.Errorf("%s: %v, want no template", name, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		source, _ := c.metadata["tokenizer.chat_template"].(string)
		if family, builtIn := tmpl.Family(); family != c.family || builtIn != c.builtIn || tmpl.Source() != source {
			t.Errorf("%s: %s, built in: %v; want %s, %v", name, family, builtIn, c.family, c.builtIn)
		}
	}
}

func TestOpenFolders(t *testing.T) {
	config := `{"model_type":"gemma4","image_token_id":9,"audio_token_index":8,"text_config":{"hidden_size_per_layer_input":256}}`
	tmpl, err := Open(openFolder(t, "gemma-4-E2B-it", map[string]string{"config.json": config}))
	if err != nil {
		t.Fatal(err)
	}
	if family, _ := tmpl.Family(); family != "gemma4" || tmpl.soft[Image] != 9 || tmpl.soft[Audio] != 8 {
		t.Errorf("%s, soft tokens %v", family, tmpl.soft)
	}
	if _, err := Open(openFolder(t, "gemma-4-E2B", map[string]string{"config.json": config})); !errors.Is(err, ErrNoTemplate) {
		t.Errorf("a base model: %v", err)
	}
	tmpl, err = Open(openFolder(t, "x", map[string]string{"config.json": `{"model_type":"gemma3"}`, "chat_template.jinja": read(t, "gemma3.jinja")}))
	if err != nil {
		t.Fatal(err)
	}
	if family, builtIn := tmpl.Family(); family != "gemma3" || !builtIn {
		t.Errorf("%s, built in: %v", family, builtIn)
	}
}

// A base model's prompt is the text, with pictures where they stand; the
// configuration's soft token counts, whatever the vocabulary says.
func TestPlain(t *testing.T) {
	for _, kind := range []string{"gemma3", "t5gemma2"} {
		tmpl := Plain(openFolder(t, "base", map[string]string{"config.json": `{"model_type":"` + kind + `","image_token_index":42}`}))
		f := everything()
		p, err := tmpl.prompt(f, Conversation{Messages: []Message{{Role: User, Parts: []Part{words(" see "), {Type: Image, Tokens: []int{2}}, words(" <eos>")}}}})
		if got, want := f.show(p.IDs), "⟨bos⟩ see \n\n⟨start_of_image⟩**⟨end_of_image⟩\n\n <eos>"; err != nil || got != want {
			t.Errorf("%s: got %q, %v; want %q", kind, got, err, want)
		}
		if got := tmpl.stopTokens(f); !slices.Equal(got, f.EOS()) {
			t.Errorf("%s: stop tokens %v", kind, got)
		}
		if _, err := tmpl.Render([]Message{{Role: System, Content: "x"}}, true); err == nil || !strings.Contains(err.Error(), "one user message") {
			t.Errorf("%s: a system message: %v", kind, err)
		}
	}
}

func TestFramesWithoutTimes(t *testing.T) {
	f := everything()
	tmpl := Plain(openFolder(t, "x", map[string]string{"config.json": `{"model_type":"embedding_gemma2"}`}))
	p, err := tmpl.prompt(f, Conversation{Messages: []Message{{Role: User, Parts: []Part{{Type: Video, Tokens: []int{1, 2}}}}}})
	if got, want := f.show(p.IDs), "⟨bos⟩⟨|image⟩⟨|video|⟩⟨image|⟩⟨|image⟩⟨|video|⟩⟨|video|⟩⟨image|⟩"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestBuiltIn(t *testing.T) {
	for _, name := range Families() {
		tmpl := BuiltIn(name)
		if family, builtIn := tmpl.Family(); family != name || !builtIn || tmpl.Source() != "" {
			t.Errorf("%s: %s, %v", name, family, builtIn)
		}
		if gemma4 := strings.HasPrefix(name, "gemma4"); tmpl.Tools() != gemma4 || tmpl.Thinks() != gemma4 || tmpl.Takes(Video) != gemma4 {
			t.Errorf("%s: tools %v, thinks %v, video %v", name, tmpl.Tools(), tmpl.Thinks(), tmpl.Takes(Video))
		}
	}
	if BuiltIn("other") != nil {
		t.Error("a family that there isn't has a template")
	}
	if tmpl := parse(t, "gemma2.jinja"); tmpl.Tools() || tmpl.Thinks() || tmpl.Takes(Image) {
		t.Error("Gemma 2's template has no tools, thoughts or pictures")
	}
	if tmpl := parse(t, "tools.jinja"); !tmpl.Tools() || !tmpl.Thinks() || !tmpl.Takes(Image) {
		t.Error("the template with tools, thoughts and pictures hasn't")
	}
}

func TestStopTokensOfGemma4(t *testing.T) {
	f := everything()
	want := []int32{f.id("<eos>"), f.id("<turn|>"), f.id("<|tool_response>")}
	for which, tmpl := range forgers(t) {
		if got := tmpl.stopTokens(f); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", which, got, want)
		}
	}
}

func TestRefusedConversations(t *testing.T) {
	user := []Message{{Role: User, Content: "x"}}
	tool := Function{Name: "f"}
	called := func(c ToolCall) []Message { return append(user, Message{Role: Assistant, ToolCalls: []ToolCall{c}}) }
	for _, c := range []struct {
		tmpl *Template
		c    Conversation
		want string
	}{
		{BuiltIn("gemma3"), Conversation{Messages: user, Tools: []Function{tool}}, "no form for tools"},
		{BuiltIn("gemma3"), Conversation{Messages: append(user, Message{Role: Tool, Content: "y"})}, "no form for tools"},
		{BuiltIn("gemma3"), Conversation{Messages: user, Thinking: true}, "does not think"},
		{parse(t, "gemma3.jinja"), Conversation{Messages: user, Tools: []Function{tool}}, "has no tools"},
		{parse(t, "gemma3.jinja"), Conversation{Messages: user, Thinking: true}, "cannot turn thinking on"},
		{BuiltIn("gemma4"), Conversation{Messages: user, Tools: []Function{{}}}, "a tool has no name"},
		{BuiltIn("gemma4"), Conversation{Messages: user, Tools: []Function{{Name: "f", Parameters: json.RawMessage(`[]`)}}}, "parameters of the tool f: not a JSON object"},
		{BuiltIn("gemma4"), Conversation{Messages: called(ToolCall{Name: "f", Arguments: json.RawMessage(`{}{}`)})}, "more than one"},
		{BuiltIn("gemma4"), Conversation{Messages: called(ToolCall{})}, "names no function"},
		{BuiltIn("gemma4"), Conversation{Messages: []Message{{Role: User, Thinking: "x"}}}, "only an assistant's has"},
		{BuiltIn("paligemma"), Conversation{Messages: append(user, user...)}, "one user message"},
	} {
		_, err := c.tmpl.prompt(everything(), c.c)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}

func TestToolJSON(t *testing.T) {
	for in, want := range map[string]string{
		`{"role":"assistant","content":"","reasoning_content":"why","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}`: "",
		`{"role":"assistant","content":null,"tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]}`:                                                        `{"role":"assistant","content":"","tool_calls":[{"type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}`,
		`{"role":"tool","content":"5","tool_call_id":"1","name":"f"}`:                                                                                             "",
	} {
		var m Message
		if err := json.Unmarshal([]byte(in), &m); err != nil {
			t.Fatal(err)
		}
		if want == "" {
			want = in
		}
		if out, err := json.Marshal(m); err != nil || string(out) != want {
			t.Errorf("%s\n got %s, %v\nwant %s", in, out, err, want)
		}
	}
	const full = `{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}`
	for _, in := range []string{full, `{"name":"f","description":"d","parameters":{"type":"object"}}`} {
		var f Function
		if err := json.Unmarshal([]byte(in), &f); err != nil {
			t.Fatal(err)
		}
		if out, err := json.Marshal(f); err != nil || string(out) != full {
			t.Errorf("%s became %s, %v", in, out, err)
		}
	}
	if err := json.Unmarshal([]byte(`{"type":"retrieval"}`), &Function{}); err == nil {
		t.Error("a tool of another type was taken")
	}
}

func BenchmarkChoose(b *testing.B) {
	source := read(b, "gemma3.jinja")
	for b.Loop() {
		t, err := Parse(source)
		if err != nil {
			b.Fatal(err)
		}
		if t.choose(candidates("gemma3")); t.own != nil {
			b.Fatal("not the built-in template")
		}
	}
}

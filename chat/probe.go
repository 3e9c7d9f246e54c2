package chat

import "encoding/json"

// agrees reports whether the checkpoint's own template writes every probe as
// the family's built-in form does. A difference that no probe shows would go
// unnoticed, so they use each thing the family has a form for.
func (t *Template) agrees(f *family) bool {
	for _, c := range f.probes() {
		for _, prompt := range []bool{true, false} {
			if f.always && !prompt {
				continue // these forms are questions and always invite an answer
			}
			want, err := f.pieces(c.numbered(false), prompt)
			if err != nil {
				return false
			}
			own, err := t.prepare(c)
			if err != nil {
				return false
			}
			got, err := t.execute(own, prompt, "<bos>", keep)
			if err != nil || got != spelled(want) {
				return false
			}
		}
	}
	return true
}

// probes are the conversations that templates are compared by.
func (f *family) probes() []Conversation {
	user := Message{Role: User, Content: " one \n<b> 'q' "}
	seen := Message{Role: User}
	for _, kind := range []string{Image, Audio, Video} {
		if _, ok := f.media[kind]; ok {
			seen.Parts = append(seen.Parts, Part{Type: kind})
		}
	}
	seen.Parts = append(seen.Parts, Part{Type: Text, Text: " what is it? "})
	if f.always {
		return []Conversation{{Messages: []Message{{Role: User, Parts: []Part{{Type: Image}, {Type: Text, Text: "rule"}}}}}}
	}
	probes := []Conversation{
		{Messages: []Message{user}},
		{Messages: []Message{{Role: System, Content: "be brief"}, {Role: User, Content: "one"}}},
		{Messages: []Message{user, {Role: Assistant, Content: " two "}, {Role: User, Content: "three"}}},
	}
	if len(f.media) > 0 {
		probes = append(probes, Conversation{Messages: []Message{seen}})
	}
	if f.tools {
		probes = append(probes, toolProbes()...)
	}
	return probes
}

func toolProbes() []Conversation {
	tool := Function{Name: "f", Description: "d", Parameters: json.RawMessage(`{"type":"object","properties":{
		"s":{"type":"string","description":"e","enum":["a","b"]},"n":{"type":"integer","nullable":true},
		"l":{"type":"array","items":{"type":"object","properties":{"x":{"type":"number"}},"required":["x"]}},
		"o":{"type":"object","properties":{"y":{"type":"boolean","description":"g"}},"required":["y"]}},"required":["s","n"]}`)}
	asked := Message{Role: User, Content: "one"}
	call := Message{Role: Assistant, Thinking: "why", ToolCalls: []ToolCall{
		{ID: "1", Name: "f", Arguments: json.RawMessage(`{"s":"a","n":null,"l":[{"x":1.5}],"o":{"y":true}}`)},
		{ID: "2", Name: "f"},
	}}
	results := []Message{{Role: Tool, ToolCallID: "1", Content: "r"}, {Role: Tool, ToolCallID: "2", Content: "s"}}
	answered := append([]Message{asked, call}, results...)
	finished := append(answered[:len(answered):len(answered)], Message{Role: Assistant, Content: "two"}, asked)
	var out []Conversation
	for _, thinking := range []bool{false, true} {
		for _, messages := range [][]Message{{asked}, {asked, call}, answered, finished} {
			out = append(out, Conversation{Messages: messages, Tools: []Function{tool}, Thinking: thinking})
		}
		out = append(out, Conversation{Messages: []Message{asked}, Thinking: thinking})
	}
	return out
}

package chat

import (
	"encoding/json"
	"strings"
	"testing"
)

// What the goldens have not: JSON schema that Gemma's templates don't know,
// numbers, and answers without ids.
func TestDeclarations(t *testing.T) {
	for schema, want := range map[string]string{
		`{}`: "",
		`{"properties":{"a":{"type":["null","string"]}}}`:                                          "properties:{a:{nullable:true,type:<S>}},type:<O>",
		`{"type":"object","properties":{"B":{"type":"number"},"a":{}}}`:                            "properties:{a:{type:<>},B:{type:<N>}},type:<O>",
		`{"properties":{"o":{"type":"object","required":["x"],"x":{"type":"string"}}}}`:            "properties:{o:{properties:{x:{type:<S>}},required:[<x>],type:<O>}},type:<O>",
		`{"properties":{"l":{"type":"array","items":{"type":"string","enum":["p"],"k":{"q":1}}}}}`: "properties:{l:{items:{enum:[<p>],k:{<q>:1},type:<S>},type:<A>}},type:<O>",
	} {
		w := &writer{}
		if err := declare(w, Function{Name: "f", Description: "d", Parameters: json.RawMessage(schema)}); err != nil {
			t.Fatal(err)
		}
		got := spelled(w.pieces)
		for long, short := range map[string]string{"STRING": "S", "OBJECT": "O", "NUMBER": "N", "ARRAY": "A", "": ""} {
			got = strings.ReplaceAll(got, quoteMark+long+quoteMark, "<"+short+">")
		}
		for _, name := range []string{"x", "p", "q", "d"} {
			got = strings.ReplaceAll(got, quoteMark+name+quoteMark, "<"+name+">")
		}
		if want != "" {
			want = ",parameters:{" + want + "}"
		}
		if want = "<|tool>declaration:f{description:<d>" + want + "}<tool|>"; got != want {
			t.Errorf("%s\n got %s\nwant %s", schema, got, want)
		}
	}
	w := &writer{}
	if err := declare(w, Function{Name: "f", Response: json.RawMessage(`{"type":"object","description":"r"}`)}); err != nil {
		t.Fatal(err)
	}
	if got := strings.ReplaceAll(spelled(w.pieces), quoteMark, "'"); got != "<|tool>declaration:f{description:'',response:{description:'r',type:'OBJECT'}}<tool|>" {
		t.Error(got)
	}
}

func TestNumbers(t *testing.T) {
	for in, want := range map[json.Number]string{
		"3": "3", "1.50": "1.5", "1e3": "1000.0", "2.0": "2.0", "-0.00001": "-1e-05", "1e16": "1e+16", "12345678901234567890": "12345678901234567890", "1e999": "1e999",
	} {
		if got := number(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestWhoAnswers(t *testing.T) {
	calls := []ToolCall{{ID: "1", Name: "f"}, {ID: "2", Name: "g"}}
	for _, c := range []struct {
		m    Message
		n    int
		want string
	}{
		{Message{ToolCallID: "2"}, 0, "g"},
		{Message{ToolCallID: "3"}, 0, "unknown"},
		{Message{ToolCallID: "3", ToolName: "h"}, 0, "h"},
		{Message{}, 1, "g"},
		{Message{}, 2, "unknown"},
		{Message{ToolName: "h"}, 0, "h"},
	} {
		if got := c.m.answering(calls, c.n); got != c.want {
			t.Errorf("%+v: %s, want %s", c.m, got, c.want)
		}
	}
	_, err := BuiltIn("gemma4").Render([]Message{{Role: User, Content: "x"}, {Role: Tool, Content: "lost"}}, true)
	if err == nil || !strings.Contains(err.Error(), "answers no call") {
		t.Errorf("an answer to no call: %v", err)
	}
}

package chat

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ardanlabs/jinja"
)

// A template longer than this is refused; Gemma 4's has 19 kB.
const maxSource = 1 << 20

// A template that counts further than this is refused: none needs to, and
// the list would take 32 bytes a number.
const maxRange = 1 << 16

func compile(source string) (t *jinja.Template, err error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("chat template of %d bytes is longer than %d", len(source), maxSource)
	}
	defer caught(&err)
	if t, err = jinja.Compile(source); err != nil {
		return nil, fmt.Errorf("chat template: %w", err)
	}
	return t, nil
}

// caught turns a panic of the template engine into an error: a template is
// part of a model file, which may be anybody's.
func caught(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("chat template cannot be evaluated: %v", p)
	}
}

func refusal(err error) error {
	return fmt.Errorf("the chat template refuses this conversation: %w", err)
}

func keep(s string) string { return s }

// execute renders the conversation with the checkpoint's own template; every
// text of it goes through mark first.
func (t *Template) execute(c Conversation, prompt bool, bos string, mark func(string) string) (out string, err error) {
	v := c.values(mark)
	variables := map[string]jinja.Value{
		"messages":              jinja.FromGoValue(v.messages),
		"add_generation_prompt": jinja.NewBool(prompt),
		"bos_token":             jinja.NewString(bos),
		"enable_thinking":       jinja.NewBool(c.Thinking),
		"range":                 jinja.NewCallable("range", boundedRange),
	}
	variables["tools"] = jinja.None() // as transformers has it, where templates ask whether it is none
	if len(v.tools) > 0 {
		variables["tools"] = jinja.FromGoValue(v.tools)
	}
	defer caught(&err)
	if out, err = t.own.RenderValues(variables); err != nil {
		return "", refusal(err)
	}
	return out, nil
}

// values are a conversation as a template sees it.
type values struct{ messages, tools []any }

func (c Conversation) values(mark func(string) string) values {
	v := values{make([]any, len(c.Messages)), make([]any, len(c.Tools))}
	for i, m := range c.Messages {
		v.messages[i] = m.value(mark)
	}
	for i, f := range c.Tools {
		v.tools[i] = f.value(mark)
	}
	return v
}

func (m Message) value(mark func(string) string) map[string]any {
	v := map[string]any{"role": roles[m.Role], "content": mark(m.Content)}
	if m.Parts != nil {
		v["content"] = partValues(m.Parts, mark)
	}
	for key, s := range map[string]string{"reasoning_content": m.Thinking, "tool_call_id": m.ToolCallID, "name": m.ToolName} {
		if s != "" {
			v[key] = mark(s)
		}
	}
	var calls []any
	for _, c := range m.ToolCalls {
		arguments := marked(c.Arguments, mark)
		if arguments == nil {
			arguments = map[string]any{}
		}
		calls = append(calls, map[string]any{
			"id": mark(c.ID), "type": "function",
			"function": map[string]any{"name": mark(c.Name), "arguments": arguments},
		})
	}
	if calls != nil {
		v["tool_calls"] = calls
	}
	return v
}

func partValues(parts []Part, mark func(string) string) []any {
	out := make([]any, len(parts))
	for i, p := range parts {
		part := map[string]any{"type": p.Type}
		if p.Type == Text {
			part["text"] = mark(p.Text)
		}
		out[i] = part
	}
	return out
}

func (f Function) value(mark func(string) string) map[string]any {
	v := map[string]any{"name": mark(f.Name), "description": mark(f.Description)}
	for key, raw := range map[string]json.RawMessage{"parameters": f.Parameters, "response": f.Response} {
		if schema := marked(raw, mark); schema != nil {
			v[key] = schema
		}
	}
	return map[string]any{"type": "function", "function": v}
}

// marked is a JSON object with all its texts, keys too, marked; nil for none.
func marked(raw json.RawMessage, mark func(string) string) any {
	v, err := object(raw)
	if err != nil || v == nil {
		return nil
	}
	return markAll(v, mark)
}

func markAll(v any, mark func(string) string) any {
	switch v := v.(type) {
	case string:
		return mark(v)
	case []any:
		for i := range v {
			v[i] = markAll(v[i], mark)
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, item := range v {
			out[mark(key)] = markAll(item, mark)
		}
		return out
	}
	return v
}

// boundedRange is Jinja's range without the power to fill the memory.
func boundedRange(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) {
	bounds := [3]int64{0, 0, 1}
	switch len(args) {
	case 1:
		bounds[1] = integer(args[0])
	case 2, 3:
		for i, a := range args {
			bounds[i] = integer(a)
		}
	default:
		return jinja.Undefined(), fmt.Errorf("range takes 1 to 3 numbers, not %d", len(args))
	}
	from, to, step := bounds[0], bounds[1], bounds[2]
	if step == 0 {
		return jinja.Undefined(), errors.New("range with a step of 0")
	}
	var list []jinja.Value
	for i := from; (step > 0 && i < to) || (step < 0 && i > to); i += step {
		if len(list) == maxRange {
			return jinja.Undefined(), fmt.Errorf("range of more than %d numbers", maxRange)
		}
		list = append(list, jinja.NewInt(i))
	}
	return jinja.NewList(list), nil
}

func integer(v jinja.Value) int64 {
	if v.IsInt() {
		return v.AsInt()
	}
	return 0
}

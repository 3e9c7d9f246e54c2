package chat

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Gemma 4 writes tools in a notation of its own, like JSON with sorted keys
// that are not quoted, and strings between <|"|>.

const quoteMark = `<|"|>`

func quote(w *writer, s string) {
	w.markup(quoteMark)
	w.text(s)
	w.markup(quoteMark)
}

// call writes a model's request.
func (s *speech) call(c ToolCall) error {
	arguments, err := object(c.Arguments)
	if err != nil {
		return err
	}
	s.markup("<|tool_call>")
	s.text("call:" + c.Name)
	value(s.writer, arguments, false)
	s.markup("<tool_call|>")
	return nil
}

// value writes any JSON value.
func value(w *writer, v any, quoted bool) {
	switch v := v.(type) {
	case nil:
		w.text("null")
	case bool:
		w.text(map[bool]string{true: "true", false: "false"}[v])
	case json.Number:
		w.text(number(v))
	case string:
		quote(w, v)
	case []any:
		list(w, v, func(item any) { value(w, item, quoted) })
	case map[string]any:
		w.text("{")
		for i, key := range sorted(v) {
			comma(w, i > 0)
			if quoted {
				quote(w, key)
			} else {
				w.text(key)
			}
			w.text(":")
			value(w, v[key], quoted)
		}
		w.text("}")
	}
}

// number writes a number as Python does, in which templates were written.
func number(n json.Number) string {
	s := n.String()
	f, err := n.Float64()
	if err != nil || !strings.ContainsAny(s, ".eE") {
		return s
	}
	if size := math.Abs(f); size >= 1e16 || size != 0 && size < 1e-4 {
		return strconv.FormatFloat(f, 'e', -1, 64)
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

func list(w *writer, items []any, write func(any)) {
	w.text("[")
	for i, item := range items {
		comma(w, i > 0)
		write(item)
	}
	w.text("]")
}

func comma(w *writer, needed bool) {
	if needed {
		w.text(",")
	}
}

// sorted are the keys as Jinja's dictsort has them, without regard to case.
func sorted(m map[string]any) []string {
	return slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)), strings.Compare(a, b))
	})
}

// declare writes a tool's declaration.
func declare(w *writer, f Function) error {
	parameters, err := object(f.Parameters)
	if err != nil {
		return err
	}
	response, err := object(f.Response)
	if err != nil {
		return err
	}
	w.markup("<|tool>")
	w.text("declaration:" + f.Name + "{description:")
	quote(w, f.Description)
	if len(parameters) > 0 {
		w.text(",parameters:{")
		d := fields{writer: w}
		d.properties(parameters["properties"])
		d.required(parameters)
		d.field("type")
		quote(w, cmp.Or(kindOf(parameters), "OBJECT"))
		w.text("}")
	}
	if len(response) > 0 {
		w.text(",response:{")
		d := fields{writer: w}
		d.description(response)
		d.field("type")
		quote(w, cmp.Or(kindOf(response), "OBJECT"))
		w.text("}")
	}
	w.text("}")
	w.markup("<tool|>")
	return nil
}

// fields writes the fields of one schema, with commas between them.
type fields struct {
	*writer
	begun bool
}

func (d *fields) field(name string) {
	comma(d.writer, d.begun)
	d.begun = true
	d.text(name + ":")
}

func (d *fields) description(schema map[string]any) {
	if s, _ := schema["description"].(string); s != "" {
		d.field("description")
		quote(d.writer, s)
	}
}

// schema writes what a parameter is.
func (d *fields) schema(s map[string]any) {
	kind := kindOf(s)
	d.description(s)
	if options, _ := s["enum"].([]any); kind == "STRING" && len(options) > 0 {
		d.field("enum")
		value(d.writer, options, true)
	}
	if items, _ := s["items"].(map[string]any); kind == "ARRAY" && len(items) > 0 {
		d.field("items")
		d.items(items)
	}
	if nullable(s) {
		d.field("nullable")
		d.text("true")
	}
	if kind == "OBJECT" {
		d.object(s)
	}
	d.kind(s)
}

// object writes an object's fields. Where they are not under "properties",
// whatever is no keyword is taken for one.
func (d *fields) object(s map[string]any) {
	properties, ok := s["properties"].(map[string]any)
	if !ok {
		properties = maps.Clone(s)
		for _, keyword := range []string{"description", "type", "properties", "required", "nullable"} {
			delete(properties, keyword)
		}
	}
	d.field("properties")
	d.group(properties)
	d.required(s)
}

// items writes what a list holds, its keys sorted whatever they are.
func (d *fields) items(items map[string]any) {
	d.text("{")
	inner := fields{writer: d.writer}
	for _, key := range sorted(items) {
		switch v := items[key]; {
		case v == nil:
		case key == "properties":
			inner.field(key)
			properties, _ := v.(map[string]any)
			inner.group(properties)
		case key == "required":
			inner.required(items)
		case key == "type":
			inner.kind(items)
		default:
			inner.field(key)
			value(inner.writer, v, true)
		}
	}
	d.text("}")
}

func (d *fields) properties(v any) {
	if properties, _ := v.(map[string]any); len(properties) > 0 {
		d.field("properties")
		d.group(properties)
	}
}

// group writes named schemas.
func (d *fields) group(properties map[string]any) {
	d.text("{")
	for i, name := range sorted(properties) {
		comma(d.writer, i > 0)
		d.text(name + ":{")
		s, _ := properties[name].(map[string]any)
		(&fields{writer: d.writer}).schema(s)
		d.text("}")
	}
	d.text("}")
}

func (d *fields) required(s map[string]any) {
	if names, _ := s["required"].([]any); len(names) > 0 {
		d.field("required")
		list(d.writer, names, func(v any) {
			name, _ := v.(string)
			quote(d.writer, name)
		})
	}
}

func (d *fields) kind(s map[string]any) {
	d.field("type")
	quote(d.writer, kindOf(s))
}

// kindOf is a schema's type in capitals. Of a list of types, which Gemma's
// templates do not know, it is the first that isn't null.
func kindOf(s map[string]any) string {
	switch v := s["type"].(type) {
	case string:
		return strings.ToUpper(v)
	case []any:
		for _, item := range v {
			if name, _ := item.(string); name != "null" {
				return strings.ToUpper(name)
			}
		}
	}
	return ""
}

// nullable reports whether a schema says so or has null among its types.
func nullable(s map[string]any) bool {
	given, _ := s["nullable"].(bool)
	types, _ := s["type"].([]any)
	return given || slices.Contains(types, any("null"))
}

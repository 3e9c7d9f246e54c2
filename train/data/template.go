package data

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Template makes a text of a record's fields.
//
// A value without braces is a field's path: "question", "table.uid",
// "answers.0". In a value with braces every {path} is replaced and the rest is
// as written, {{ and }} being braces:
//
//	"Question: {question}\nAnswer:"
//
// A path through an array of objects takes that field of every item. A list is
// written with ", " between its items, a list of lists as rows with " | "
// between their cells; {path|SEPARATOR} says another separator. {path?} may be
// missing. A part in [[ ]] is left out when one of its fields is missing or
// empty:
//
//	"{instruction}[[\n\n{input}]]"
type Template struct {
	parts []part
	bare  bool
}

type part struct {
	literal  string
	path     []string
	sep      string
	optional bool
	section  []part
}

// ParseTemplate compiles a value of a source.
func ParseTemplate(text string) (*Template, error) {
	if !strings.ContainsAny(text, "{}") && !strings.Contains(text, "[[") {
		p, err := parsePath(text)
		if err != nil {
			return nil, err
		}
		return &Template{parts: []part{{path: p}}, bare: true}, nil
	}
	parts, rest, err := parseParts(text, false)
	if err != nil {
		return nil, fmt.Errorf("template %q: %w", short(text), err)
	}
	if rest != "" {
		return nil, fmt.Errorf("template %q: ]] without [[", short(text))
	}
	return &Template{parts: parts}, nil
}

// parseMustache compiles a text whose fields are written {{field}}.
func parseMustache(text string) (*Template, error) {
	t := &Template{}
	for {
		before, after, found := strings.Cut(text, "{{")
		t.parts = append(t.parts, part{literal: before})
		if !found {
			return t, nil
		}
		name, rest, closed := strings.Cut(after, "}}")
		if !closed {
			return nil, fmt.Errorf("{{%s is not closed", short(after))
		}
		p, err := parsePath(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		t.parts = append(t.parts, part{path: p})
		text = rest
	}
}

func parseParts(text string, inside bool) (parts []part, rest string, err error) {
	var lit strings.Builder
	flush := func() {
		if lit.Len() > 0 {
			parts = append(parts, part{literal: lit.String()})
			lit.Reset()
		}
	}
	for text != "" {
		switch {
		case strings.HasPrefix(text, "{{"), strings.HasPrefix(text, "}}"):
			lit.WriteByte(text[0])
			text = text[2:]
		case text[0] == '{':
			flush()
			field, after, ok := strings.Cut(text[1:], "}")
			if !ok {
				return nil, "", fmt.Errorf("%q is not closed", short(text))
			}
			p, err := parseField(field)
			if err != nil {
				return nil, "", err
			}
			parts, text = append(parts, p), after
		case text[0] == '}':
			return nil, "", fmt.Errorf("a } without {; a brace as text is written twice")
		case strings.HasPrefix(text, "[[") && !inside:
			flush()
			section, after, err := parseParts(text[2:], true)
			if err != nil {
				return nil, "", err
			}
			if !strings.HasPrefix(after, "]]") {
				return nil, "", fmt.Errorf("[[ is not closed")
			}
			parts, text = append(parts, part{section: section}), after[2:]
		case strings.HasPrefix(text, "]]") && inside:
			flush()
			return parts, text, nil
		default:
			lit.WriteByte(text[0])
			text = text[1:]
		}
	}
	flush()
	return parts, text, nil
}

func parseField(field string) (part, error) {
	name, sep, given := strings.Cut(field, "|")
	p := part{sep: ", "}
	if given {
		p.sep = sep
	}
	name, p.optional = strings.CutSuffix(strings.TrimSpace(name), "?")
	var err error
	p.path, err = parsePath(name)
	return p, err
}

func parsePath(s string) ([]string, error) {
	p := strings.Split(strings.TrimSpace(s), ".")
	if slices.Contains(p, "") {
		return nil, fmt.Errorf("%q is no field path: write names with dots between them", s)
	}
	return p, nil
}

// Execute writes the template for a record.
func (t *Template) Execute(r *Record) (string, error) {
	var b strings.Builder
	if _, err := render(&b, t.parts, r); err != nil {
		return "", err
	}
	return b.String(), nil
}

// render also says whether every field had something in it.
func render(b *strings.Builder, parts []part, r *Record) (full bool, err error) {
	full = true
	for _, p := range parts {
		switch {
		case p.section != nil:
			var inner strings.Builder
			filled, err := render(&inner, p.section, &Record{Value: r.Value, outer: r.outer, lenient: true})
			if err != nil {
				return false, err
			}
			if filled {
				b.WriteString(inner.String())
			}
		case p.path == nil:
			b.WriteString(p.literal)
		default:
			v, err := r.field(p.path)
			if err != nil && !p.optional && !r.lenient {
				return false, err
			}
			text := written(v, p.sep)
			full = full && text != ""
			b.WriteString(text)
		}
	}
	return full, nil
}

// list is the texts of a bare path to a list, else the template's one text.
func (t *Template) list(r *Record) ([]string, error) {
	if t.bare {
		v, err := r.field(t.parts[0].path)
		if err != nil {
			return nil, err
		}
		if items, ok := v.([]any); ok {
			var out []string
			for _, item := range items {
				out = append(out, written(item, ", "))
			}
			return out, nil
		}
	}
	text, err := t.Execute(r)
	return []string{text}, err
}

// written is a value as text.
func written(v any, sep string) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	case []byte:
		return string(v)
	case []any:
		return writtenList(v, sep)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case float32:
		return strconv.FormatFloat(float64(v), 'g', -1, 32)
	case map[string]any:
		b, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return string(b)
	}
	return fmt.Sprint(v)
}

func writtenList(list []any, sep string) string {
	inner := sep
	if slices.ContainsFunc(list, func(v any) bool { _, ok := v.([]any); return ok }) {
		sep, inner = "\n", " | "
	}
	texts := make([]string, len(list))
	for i, v := range list {
		texts[i] = written(v, inner)
	}
	return strings.Join(texts, sep)
}

// lookup follows a path from a value.
func lookup(v any, path []string) (any, bool) {
	for i, name := range path {
		switch at := v.(type) {
		case map[string]any:
			next, ok := at[name]
			if !ok {
				return nil, false
			}
			v = next
		case []any:
			n, err := strconv.Atoi(name)
			if err != nil {
				return through(at, path[i:])
			}
			if n < 0 || n >= len(at) {
				return nil, false
			}
			v = at[n]
		default:
			return nil, false
		}
	}
	return v, v != nil
}

func through(items []any, path []string) (any, bool) {
	var out []any
	for _, item := range items {
		v, ok := lookup(item, path)
		if !ok {
			return nil, false
		}
		out = append(out, v)
	}
	return out, true
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// short is the beginning of a text, for errors.
func short(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:57]) + "…"
	}
	return s
}

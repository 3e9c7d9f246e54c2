package eval

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// template is text with places for fields, in the syntax of training data:
// {field}, {nested.path}, {path|SEPARATOR} between the items of a list, {path?} for
// what may be missing, {{ and }} for braces. Literal texts and places take turns,
// a literal first and last.
type template struct {
	literals []string
	places   []place
}

type place struct {
	path      []string
	separator string
	optional  bool
}

const listSeparator = ", "

func parsePlace(s string) place {
	name, separator, given := strings.Cut(s, "|")
	if !given {
		separator = listSeparator
	}
	name, optional := strings.CutSuffix(strings.TrimSpace(name), "?")
	return place{strings.Split(name, "."), separator, optional}
}

func parseTemplate(s string) (*template, error) {
	t := &template{}
	var literal strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case (c == '{' || c == '}') && i+1 < len(s) && s[i+1] == c:
			literal.WriteByte(c)
			i++
		case c == '}':
			return nil, fmt.Errorf("template %q has a } without its {: write }} for a brace", shorten(s))
		case c == '{':
			end := strings.IndexByte(s[i:], '}')
			if end < 2 {
				return nil, fmt.Errorf("template %q has a { that names no field: write {field}, or {{ for a brace", shorten(s))
			}
			t.literals = append(t.literals, literal.String())
			t.places = append(t.places, parsePlace(s[i+1:i+end]))
			literal.Reset()
			i += end
		default:
			literal.WriteByte(c)
		}
	}
	t.literals = append(t.literals, literal.String())
	return t, nil
}

// parseMustache reads {{field}}, as the prompts of LegalBench are written.
func parseMustache(s string) (*template, error) {
	t := &template{}
	for {
		before, rest, found := strings.Cut(s, "{{")
		t.literals = append(t.literals, before)
		if !found {
			return t, nil
		}
		name, after, closed := strings.Cut(rest, "}}")
		if !closed {
			return nil, fmt.Errorf("prompt %q has a {{ without its }}", shorten(s))
		}
		t.places = append(t.places, parsePlace(name))
		s = after
	}
}

// write fills the places in.
func (t *template) write(fields map[string]any) (string, error) {
	var b strings.Builder
	for i, p := range t.places {
		b.WriteString(t.literals[i])
		v, err := lookUp(fields, p.path)
		if err != nil && !p.optional {
			return "", err
		}
		b.WriteString(text(v, p.separator))
	}
	b.WriteString(t.literals[len(t.literals)-1])
	return b.String(), nil
}

// lookUp follows a path. A field of a list is the list of its items' fields. A
// name that has dots itself is found first.
func lookUp(fields map[string]any, path []string) (any, error) {
	if v, ok := fields[strings.Join(path, ".")]; ok {
		return v, nil
	}
	var v any = fields
	for i, step := range path {
		next, ok := field(v, step)
		if !ok {
			known := keysOf(v)
			return nil, fmt.Errorf("no field %q: %s", strings.Join(path[:i+1], "."), suggest(step, known))
		}
		v = next
	}
	return v, nil
}

func field(v any, name string) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		f, ok := v[name]
		return f, ok
	case []any:
		if n, err := strconv.Atoi(name); err == nil {
			if n < 0 || n >= len(v) {
				return nil, false
			}
			return v[n], true
		}
		all := []any{}
		for _, item := range v {
			f, ok := field(item, name)
			if !ok {
				return nil, false
			}
			all = append(all, f)
		}
		return all, true
	}
	return nil, false
}

func keysOf(v any) []string {
	switch v := v.(type) {
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		return keys
	case []any:
		if len(v) > 0 {
			return keysOf(v[0])
		}
	}
	return nil
}

// text writes a value: items of a list with the separator between them, a list of
// lists as lines with bars between their cells, an object as JSON.
func text(v any, separator string) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []any:
		inner := separator
		if slices.ContainsFunc(v, func(item any) bool { _, ok := item.([]any); return ok }) {
			separator, inner = "\n", " | "
		}
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = text(item, inner)
		}
		return strings.Join(items, separator)
	case map[string]any:
		b, _ := json.Marshal(v) // it was JSON
		return string(b)
	}
	return fmt.Sprint(v)
}

// shorten makes a text fit for an error.
func shorten(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

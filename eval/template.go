package eval

import (
	"fmt"
	"slices"
	"strings"
)

// template is text with places for fields: literal texts and paths in turns,
// a literal first and last.
type template struct {
	literals []string
	paths    [][]string
}

// parseTemplate reads {field} and {nested.path}; {{ and }} are braces.
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
			t.paths = append(t.paths, strings.Split(s[i+1:i+end], "."))
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
		t.paths = append(t.paths, strings.Split(strings.TrimSpace(name), "."))
		s = after
	}
}

// write fills the places in; items of lists get the joiner between them.
func (t *template) write(fields map[string]any, joiner string) (string, error) {
	var b strings.Builder
	for i, path := range t.paths {
		b.WriteString(t.literals[i])
		v, err := lookUp(fields, path)
		if err != nil {
			return "", err
		}
		b.WriteString(text(v, joiner))
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
		var all []any
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

// text writes a value: items of a list with the joiner between them, the cells of a
// row (a list in a list) with bars.
func text(v any, joiner string) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case []any:
		items := make([]string, len(v))
		for i, item := range v {
			items[i] = text(item, " | ")
		}
		return strings.Join(items, joiner)
	case map[string]any:
		var lines []string
		for _, k := range keysOf(v) {
			lines = append(lines, k+": "+text(v[k], " | "))
		}
		return strings.Join(lines, joiner)
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

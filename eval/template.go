package eval

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"lapidary/train/data"
)

// template makes a text of an example's fields.
type template func(fields map[string]any) (string, error)

// parseTemplate reads the syntax of training data; nothing stays nothing.
func parseTemplate(s string) (template, error) {
	if s == "" {
		return func(map[string]any) (string, error) { return "", nil }, nil
	}
	t, err := data.ParseTemplate(s)
	if err != nil {
		return nil, err
	}
	return func(fields map[string]any) (string, error) { return t.Execute(&data.Record{Value: fields}) }, nil
}

// parseMustache reads {{field}}, as the prompts of LegalBench are written.
func parseMustache(s string) (template, error) {
	var parts []template
	for {
		before, rest, found := strings.Cut(s, "{{")
		parts = append(parts, func(map[string]any) (string, error) { return before, nil })
		if !found {
			break
		}
		name, after, closed := strings.Cut(rest, "}}")
		if !closed {
			return nil, fmt.Errorf("prompt %q has a {{ without its }}", shorten(s))
		}
		place, err := parseTemplate("{" + strings.TrimSpace(name) + "}")
		if err != nil {
			return nil, err
		}
		parts, s = append(parts, place), after
	}
	return func(fields map[string]any) (string, error) {
		var b strings.Builder
		for _, p := range parts {
			text, err := p(fields)
			if err != nil {
				return "", err
			}
			b.WriteString(text)
		}
		return b.String(), nil
	}, nil
}

// lookUp follows a path. A field of a list is the list of its items' fields.
func lookUp(fields map[string]any, path []string) (any, error) {
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

// text writes a value as templates do.
func text(v any) string {
	item, err := parseTemplate("{item?}")
	if err != nil {
		return ""
	}
	s, err := item(map[string]any{"item": v})
	if err != nil {
		return ""
	}
	return s
}

// shorten makes a text fit for an error.
func shorten(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

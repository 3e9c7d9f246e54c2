package eval

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/agnivade/levenshtein"
	"go.yaml.in/yaml/v4"
)

// checkKeys refuses a key that the struct behind v has no field for.
func checkKeys(n *yaml.Node, v any) error {
	return checkType(n, reflect.TypeOf(v))
}

func checkType(n *yaml.Node, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == reflect.TypeFor[Choices]() || n.Kind != yaml.MappingNode {
		return nil
	}
	fields, names := map[string]reflect.Type{}, []string{}
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("yaml")
		fields[name], names = t.Field(i).Type, append(names, name)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		field, ok := fields[key.Value]
		if !ok {
			return fmt.Errorf("line %d: key %q is none: %s", key.Line, key.Value, suggest(key.Value, names))
		}
		if err := checkType(n.Content[i+1], field); err != nil {
			return err
		}
	}
	return nil
}

// suggest says which of the words was perhaps meant, or which there are.
func suggest(word string, known []string) string {
	best, nearest := "", 1+len(word)/2
	for _, k := range known {
		if d := levenshtein.ComputeDistance(word, k); d < nearest && k != "" {
			best, nearest = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("is %s meant?", best)
	}
	return "want one of " + strings.Trim(strings.Join(known, ", "), ", ")
}

package recipe

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"

	"go.yaml.in/yaml/v4"
)

// YAML is the recipe with every key that counts: defaults filled in, keys of
// other kinds left out. Read again it is the same recipe.
func (r *Recipe) YAML() ([]byte, error) {
	n, err := encode(reflect.ValueOf(r).Elem())
	if err != nil {
		return nil, err
	}
	return yaml.Dump(n)
}

func encode(v reflect.Value) (*yaml.Node, error) {
	if s, ok := v.Interface().(Section); ok {
		return bare(s.node), nil
	}
	if t, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, err := t.MarshalText()
		return &yaml.Node{Kind: yaml.ScalarNode, Value: string(text)}, err
	}
	switch v.Kind() {
	case reflect.Pointer:
		return encode(v.Elem())
	case reflect.Struct:
		return encodeSection(v)
	case reflect.Slice, reflect.Array:
		n := &yaml.Node{Kind: yaml.SequenceNode}
		if v.Type().Elem().Kind() != reflect.Struct {
			n.Style = yaml.FlowStyle
		}
		for i := range v.Len() {
			c, err := encode(v.Index(i))
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, c)
		}
		return n, nil
	case reflect.Float64:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.FormatFloat(v.Float(), 'g', -1, 64)}, nil
	case reflect.String:
		n := &yaml.Node{}
		return n, n.Encode(v.String()) // quotes what would be read as a number
	case reflect.Int, reflect.Uint64, reflect.Bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: fmt.Sprint(v)}, nil
	}
	return nil, fmt.Errorf("a recipe has no values of type %s", v.Type())
}

func encodeSection(v reflect.Value) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.MappingNode}
	kind := v.FieldByName("Kind")
	for _, k := range keysOf(v.Type()) {
		f := v.Field(k.index)
		if s, ok := f.Interface().(Section); ok && !s.Given() || k.omit && f.IsZero() || kind.IsValid() && !k.belongs(kind.String()) {
			continue
		}
		value, err := encode(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", k.name, err)
		}
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: k.name}, value)
	}
	return n, nil
}

// bare is a copy without comments.
func bare(n *yaml.Node) *yaml.Node {
	c := &yaml.Node{Kind: n.Kind, Style: n.Style, Tag: n.Tag, Value: n.Value}
	for _, e := range n.Content {
		c.Content = append(c.Content, bare(e))
	}
	return c
}

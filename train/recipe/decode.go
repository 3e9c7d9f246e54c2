package recipe

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// places are the lines of the keys that a file has, by their path
// ("optimizer.lr").
type places map[string]int

// decoder walks a file's nodes and a Go value together and collects all that
// does not fit.
type decoder struct {
	Problems
	where places
}

func newDecoder(file string) *decoder {
	return &decoder{Problems: Problems{File: file}, where: places{}}
}

// defaulter is a type that knows what its keys are when nobody says.
type defaulter interface{ SetDefaults() }

func (d *decoder) into(n *yaml.Node, into any, path string) {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		d.add(0, "%s is decoded into %T, which is not a pointer", path, into)
		return
	}
	if t, ok := into.(defaulter); ok {
		t.SetDefaults()
	}
	if n != nil {
		d.value(n, v.Elem(), path, "")
	}
}

// value is one node into one value. tag is that of the field the value is in,
// or whose element it is.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	if s, ok := v.Addr().Interface().(*Section); ok {
		*s = Section{n, d.File, path}
		return
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		d.add(n.Line, "%s has no value; leave the key out for its default", path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(fresh(v.Type().Elem()))
		}
		d.value(n, v.Elem(), path, tag)
	case reflect.Slice, reflect.Array:
		d.list(n, v, path, tag)
	case reflect.Map:
		d.table(n, v, path, tag)
	case reflect.Struct:
		if _, isText := v.Addr().Interface().(encoding.TextUnmarshaler); !isText {
			d.mapping(n, v, path)
			return
		}
		fallthrough
	default:
		before := len(d.List)
		if d.scalar(n, v, path); len(d.List) == before {
			d.limits(n.Line, v, path, tag)
		}
	}
}

// fresh is a pointer to a new value with its defaults.
func fresh(t reflect.Type) reflect.Value {
	p := reflect.New(t)
	if s, ok := p.Interface().(defaulter); ok {
		s.SetDefaults()
	}
	return p
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	if n.Kind != yaml.SequenceNode {
		d.add(n.Line, "%s is %s, and should be a list such as [a, b]", path, describe(n))
		return
	}
	if v.Kind() == reflect.Array && len(n.Content) != v.Len() {
		d.add(n.Line, "%s has %d values, and should have %d", path, len(n.Content), v.Len())
		return
	}
	if v.Kind() == reflect.Slice {
		v.Set(reflect.MakeSlice(v.Type(), 0, len(n.Content)))
	}
	for i, c := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.where[at] = c.Line
		if v.Kind() == reflect.Array {
			d.value(c, v.Index(i), at, tag)
			continue
		}
		e := fresh(v.Type().Elem()).Elem()
		d.value(c, e, at, tag)
		v.Set(reflect.Append(v, e))
	}
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	keys := keysOf(v.Type())
	if n.Kind != yaml.MappingNode {
		if k, ok := shorthand(keys); ok && n.Kind == yaml.ScalarNode {
			d.where[join(path, k.name)] = n.Line
			d.value(n, v.Field(k.index), join(path, k.name), k.tag)
			return
		}
		if n.Kind == yaml.SequenceNode && len(keys) > 0 && keys[0].typ.Kind() == reflect.Slice {
			d.list(n, v.Field(keys[0].index), path, keys[0].tag)
			return
		}
		d.add(n.Line, "%s is %s, and should have keys: %s", orFile(path), describe(n), names(keys))
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := join(path, key.Value)
		if line, twice := d.where[at]; twice {
			d.add(key.Line, "%s is here twice, first in line %d; delete one of them", at, line)
			continue
		}
		k, known := find(keys, key.Value)
		if !known {
			d.add(key.Line, "unknown key %s: %s", strconv.Quote(at), advice(path, key.Value, keys))
			continue
		}
		d.where[at] = key.Line
		d.value(value, v.Field(k.index), at, k.tag)
	}
	d.only(v, keys, path)
}

// only refuses keys that belong to another kind of the section.
func (d *decoder) only(v reflect.Value, keys []key, path string) {
	kind := v.FieldByName("Kind")
	if !kind.IsValid() || kind.Kind() != reflect.String {
		return
	}
	for _, k := range keys {
		at := join(path, k.name)
		if line, given := d.where[at]; given && !k.belongs(kind.String()) {
			d.add(line, "%s is for %s, and this is %s; leave it out", at, listed(k.only), kind)
		}
	}
}

// table is a mapping whose keys are names and not settings.
func (d *decoder) table(n *yaml.Node, v reflect.Value, path string, tag reflect.StructTag) {
	if n.Kind != yaml.MappingNode || v.Type().Key().Kind() != reflect.String {
		d.add(n.Line, "%s is %s, and should be a section of names", path, describe(n))
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for i := 0; i+1 < len(n.Content); i += 2 {
		e := fresh(v.Type().Elem()).Elem()
		at := join(path, n.Content[i].Value)
		if _, twice := d.where[at]; twice {
			d.add(n.Content[i].Line, "%s is here twice; delete one of them", at)
		}
		d.where[at] = n.Content[i].Line
		d.value(n.Content[i+1], e, at, tag)
		v.SetMapIndex(reflect.ValueOf(n.Content[i].Value).Convert(v.Type().Key()), e)
	}
}

// scalar reads a single value.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	wrong := func(what string) {
		d.add(n.Line, "%s is %s, and should be %s", path, describe(n), what)
	}
	if n.Kind != yaml.ScalarNode {
		wrong(kindName(v))
		return
	}
	if t, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := t.UnmarshalText([]byte(n.Value)); err != nil {
			d.add(n.Line, "%s: %v", path, err)
		}
		return
	}
	switch tag := n.ShortTag(); {
	case v.Kind() == reflect.String:
		v.SetString(n.Value)
	case v.Kind() == reflect.Bool && tag != "!!bool",
		v.CanInt() && tag != "!!int",
		v.CanUint() && tag != "!!int",
		v.CanFloat() && tag != "!!int" && tag != "!!float":
		wrong(kindName(v))
	default:
		if err := n.Decode(v.Addr().Interface()); err != nil {
			wrong(kindName(v) + " in range")
		}
	}
}

func kindName(v reflect.Value) string {
	switch {
	case v.CanInt():
		return "a whole number"
	case v.CanUint():
		return "a whole number from 0"
	case v.CanFloat():
		return "a number"
	case v.Kind() == reflect.Bool:
		return "true or false"
	}
	return "a single word or text"
}

// describe is a node in a message.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a section with keys"
	case yaml.SequenceNode:
		return "a list"
	}
	text := n.Value
	if len(text) > 40 {
		text = strings.ToValidUTF8(text[:40], "") + "…"
	}
	return strconv.Quote(text)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func orFile(path string) string {
	if path == "" {
		return "the recipe"
	}
	return path
}

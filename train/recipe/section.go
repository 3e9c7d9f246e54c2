package recipe

import (
	"os"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Section is a part of a recipe that another package reads.
type Section struct {
	node *yaml.Node
	file string
	path string // of keys that lead here
}

// Given says whether the recipe has it.
func (s Section) Given() bool { return s.node != nil }

// Decode fills what into points to, with the checks that the recipe's own keys
// have: yaml tags name the keys, which must all be known, and the tags oneof,
// min, max, above, below, regexp and file say what values may be (check.go).
// What a key does not name keeps the value it has; a type with SetDefaults has
// it called first, each element of a list as well. The error is a [Problems],
// with the file and the lines.
func (s Section) Decode(into any) error {
	d := newDecoder(s.file)
	d.into(s.node, into, s.path)
	return d.err()
}

// sources are the sections of a list of sources, alone or under that name.
func (s Section) sources() []*yaml.Node {
	n := s.node
	if n != nil && n.Kind == yaml.MappingNode {
		n = child(n, "sources")
	}
	if n == nil || n.Kind != yaml.SequenceNode {
		return nil
	}
	return n.Content
}

// child is the value of a key, nil if there is none.
func child(n *yaml.Node, name string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

// splits says whether a source holds a part of itself out.
func (s Section) splits() bool {
	for _, source := range s.sources() {
		if child(source, "split") != nil {
			return true
		}
	}
	return false
}

// missing calls for each path of a source that is not there. Globs and what is
// fetched are for who reads them.
func (s Section) missing(each func(line int, path string)) {
	for _, source := range s.sources() {
		p := child(source, "path")
		if p == nil || p.Kind != yaml.ScalarNode || strings.ContainsAny(p.Value, "*?[{") || strings.HasPrefix(p.Value, "hf:") {
			continue
		}
		if _, err := os.Stat(p.Value); err != nil {
			each(p.Line, p.Value)
		}
	}
}

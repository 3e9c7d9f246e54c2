package recipe

import "go.yaml.in/yaml/v4"

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
// it called first, each element of a list as well. A list in the place of a
// section goes to the section's first key if that takes one. The error is a
// [Problems], with the file and the lines.
func (s Section) Decode(into any) error {
	d := newDecoder(s.file)
	d.into(s.node, into, s.path)
	return d.err()
}

package journal

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// ChangedError is that of a run that is opened with another recipe.
type ChangedError struct {
	Dir string
	// Keys are the paths of keys that differ, with the run's and the new value.
	Keys []string
}

func (e *ChangedError) Error() string {
	return fmt.Sprintf("%s was begun with another recipe: %s; set back what has changed, or begin a new run in another folder",
		e.Dir, strings.Join(e.Keys, ", "))
}

// same compares two recipes key by key, but for what is free.
func same(dir string, had, has []byte, free []string) error {
	a, err := flatten(had)
	if err != nil {
		return fmt.Errorf("%s: the run's recipe: %w", dir, err)
	}
	b, err := flatten(has)
	if err != nil {
		return fmt.Errorf("the new recipe: %w", err)
	}
	var keys []string
	all := maps.Clone(a)
	maps.Copy(all, b)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if a[key] != b[key] && !isFree(key, free) {
			keys = append(keys, fmt.Sprintf("%s (%s, now %s)", key, shown(a, key), shown(b, key)))
		}
	}
	if len(keys) > 0 {
		return &ChangedError{dir, keys}
	}
	return nil
}

func isFree(key string, free []string) bool {
	return slices.ContainsFunc(free, func(f string) bool {
		return key == f || strings.HasPrefix(key, f+".") || strings.HasPrefix(key, f+"[")
	})
}

func shown(values map[string]string, key string) string {
	v, ok := values[key]
	if !ok {
		return "not given"
	}
	return v
}

// flatten is a document's values by the path of their keys.
func flatten(text []byte) (map[string]string, error) {
	var doc yaml.Node
	if err := yaml.Load(text, &doc); err != nil {
		return nil, err
	}
	flat := map[string]string{}
	var walk func(n *yaml.Node, path string)
	walk = func(n *yaml.Node, path string) {
		switch n.Kind {
		case yaml.DocumentNode:
			for _, c := range n.Content {
				walk(c, path)
			}
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				walk(n.Content[i+1], strings.TrimPrefix(path+"."+n.Content[i].Value, "."))
			}
		case yaml.SequenceNode:
			for i, c := range n.Content {
				walk(c, fmt.Sprintf("%s[%d]", path, i))
			}
		case yaml.ScalarNode:
			flat[path] = n.Value
		}
	}
	walk(&doc, "")
	return flat, nil
}

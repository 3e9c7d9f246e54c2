package kernel

import (
	"fmt"
	"strings"
)

// All lists the sets this processor runs, best first; the portable one is last.
func All() []*Set { return append(available(), Generic()) }

// Named finds a set by name; the empty name is the best one.
func Named(name string) (*Set, error) {
	all := All()
	if name == "" {
		return all[0], nil
	}
	var names []string
	for _, s := range all {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return nil, fmt.Errorf("no kernels named %q run on this processor (%s do)", name, strings.Join(names, ", "))
}

// Pause waits for n short moments, for loops that spin.
func Pause(n int) { pause(n) }

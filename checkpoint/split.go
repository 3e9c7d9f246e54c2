package checkpoint

import (
	"fmt"
	"strings"
)

// openGGUF reads a mapped GGUF file and, when it is the first part of a split
// one, the others. llama.cpp names the parts by number; each has a tensor
// table of its own, and only the first has the model's metadata.
func (c *Checkpoint) openGGUF(data []byte) error {
	m, stored, err := readGGUF(c.path, data)
	if err != nil {
		return err
	}
	c.format, c.metadata = "gguf", m
	arch, _ := m.String("general.architecture")
	canonical := func(name string) string { return canonicalGGUF(arch, name) }
	if projector := clipProjector(m); projector != "" {
		swapped := swappedFeeds(m, stored)
		canonical = func(name string) string { return canonicalClip(projector, name, swapped) }
	}
	if err := c.add(c.path, stored, canonical); err != nil {
		return err
	}
	parts, err := c.otherParts()
	if err != nil {
		return err
	}
	for _, path := range parts {
		if data, err = c.mapFile(path); err != nil {
			return fmt.Errorf("%s is split: %w", c.path, err)
		}
		if _, stored, err = readGGUF(path, data); err != nil {
			return err
		}
		if err := c.add(path, stored, canonical); err != nil {
			return err
		}
	}
	if want, ok := m.Uint("split.tensors.count"); ok && len(parts) > 0 && want != uint64(len(c.tensors)) {
		return c.splitError("split.tensors.count", "the parts have %d tensors together, not %d; fetch them again", len(c.tensors), want)
	}
	return nil
}

// otherParts names the files that follow the first of a split model.
func (c *Checkpoint) otherParts() ([]string, error) {
	const maxParts = 99999 // five digits in the name
	count, _ := c.metadata.Uint("split.count")
	if count <= 1 {
		return nil, nil
	}
	if count > maxParts {
		return nil, c.splitError("split.count", "%d; at most %d are allowed", count, maxParts)
	}
	suffix := fmt.Sprintf("-00001-of-%05d.gguf", count)
	stem, first := strings.CutSuffix(c.path, suffix)
	if !first {
		return nil, c.splitError("split.count", "this is a part of a model split into %d; open the one whose name ends in %s", count, suffix)
	}
	var parts []string
	for i := uint64(2); i <= count; i++ {
		parts = append(parts, fmt.Sprintf("%s-%05d-of-%05d.gguf", stem, i, count))
	}
	return parts, nil
}

func (c *Checkpoint) splitError(key, format string, args ...any) error {
	return &FormatError{c.path, int64(c.metadata.values[key].from),
		fmt.Sprintf("metadata entry %q value", key), fmt.Sprintf(format, args...)}
}

package convert

import (
	"strings"

	"lapidary/checkpoint"
)

// Model is a model as a GGUF file says it.
type Model struct {
	Metadata map[string]any
	// Tensors have canonical names. Their data may alias the checkpoint that
	// the model came from, which has to stay open.
	Tensors []checkpoint.Tensor
	// Source is that checkpoint.
	Source *checkpoint.Checkpoint
}

// ToGGUF says a checkpoint in GGUF. A GGUF checkpoint stays as it is. What says how the file was split
// is left out: it is written as one.
func ToGGUF(c *checkpoint.Checkpoint) (*Model, error) {
	m := &Model{map[string]any{}, c.Tensors(), c}
	meta := c.Metadata()
	for _, key := range meta.Keys() {
		if !strings.HasPrefix(key, "split.") {
			m.Metadata[key] = meta.Any(key)
		}
	}
	return m, nil
}

package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/edsrzf/mmap-go"
)

// Checkpoint is an open model: its tensors, and what its format says about
// them. It may be read from many goroutines at once. Everything it hands out
// as bytes aliases memory maps that Close takes away.
type Checkpoint struct {
	path, format string
	maps         []mmap.MMap
	tensors      []Tensor
	byName       map[string]int
	metadata     *Metadata
}

// Open maps the model at path: a .gguf file, a .safetensors file, or a Hugging
// Face folder. It reads the tables, not the tensors.
func Open(path string) (*Checkpoint, error) {
	c := &Checkpoint{path: path}
	if err := c.open(); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *Checkpoint) open() error {
	data, err := c.mapFile(c.path)
	if err != nil {
		return err
	}
	m, stored, err := readGGUF(c.path, data)
	if err != nil {
		return err
	}
	c.format, c.metadata = "gguf", m
	return c.add(stored)
}

// mapFile maps a whole file read-only. The map outlives the descriptor.
func (c *Checkpoint) mapFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	// A pipe or a device would block, or has no size to map.
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file (%s)", path, info.Mode())
	}
	if info.Size() == 0 {
		return nil, &FormatError{path, 0, "file", "is empty; fetch it again"}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := mmap.Map(f, mmap.RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot map the file into memory: %w", path, err)
	}
	c.maps = append(c.maps, m)
	return m, nil
}

// add appends a file's tensors under their canonical names.
func (c *Checkpoint) add(stored []storedTensor) error {
	if c.byName == nil {
		c.byName = make(map[string]int, len(stored))
	}
	for _, t := range stored {
		if _, twice := c.byName[t.Name]; twice {
			return fmt.Errorf("%s: two tensors are named %q, one of them as %q", c.path, t.Name, t.stored)
		}
		c.byName[t.Name] = len(c.tensors)
		c.tensors = append(c.tensors, t.Tensor)
	}
	return nil
}

// Format is "gguf" or "safetensors".
func (c *Checkpoint) Format() string { return c.format }

// Path is what Open was given.
func (c *Checkpoint) Path() string { return c.path }

// Tensors lists the tensors in file order, under canonical names. The slice
// must not be changed.
func (c *Checkpoint) Tensors() []Tensor { return c.tensors }

// Tensor finds a tensor by its canonical name.
func (c *Checkpoint) Tensor(name string) (Tensor, bool) {
	i, ok := c.byName[name]
	if !ok {
		return Tensor{}, false
	}
	return c.tensors[i], true
}

// Metadata is a GGUF file's key-value part; nil for safetensors.
func (c *Checkpoint) Metadata() *Metadata { return c.metadata }

// ConfigJSON is the config.json beside a safetensors checkpoint; nil when
// there is none, and for GGUF.
func (c *Checkpoint) ConfigJSON() []byte { return nil }

// Sibling reads a file beside a safetensors checkpoint.
func (c *Checkpoint) Sibling(name string) ([]byte, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// Close removes the memory maps. Every slice that came from the checkpoint is
// invalid afterwards: touching one ends the process.
func (c *Checkpoint) Close() error {
	var errs []error
	for i := range c.maps {
		errs = append(errs, c.maps[i].Unmap())
	}
	c.maps, c.tensors, c.byName = nil, nil, nil
	return errors.Join(errs...)
}

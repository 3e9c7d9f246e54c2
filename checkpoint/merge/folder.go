package merge

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"lapidary/adapter"
	"lapidary/checkpoint"
	"lapidary/checkpoint/internal/whole"
)

// folder copies a Hugging Face folder. Files of weights keep their tensors'
// names, formats and order.
func (j *job) folder(path string, c *checkpoint.Checkpoint) error {
	for _, t := range c.Tensors() {
		j.total += int64(len(t.Data))
	}
	return whole.Folder(path, func(dir string) error {
		return filepath.WalkDir(c.Path(), func(file string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			inside, err := filepath.Rel(c.Path(), file)
			if err != nil {
				return err
			}
			to := filepath.Join(dir, inside)
			switch {
			case e.IsDir() && strings.HasPrefix(e.Name(), ".") && inside != ".":
				return filepath.SkipDir // a version control's, or a cache's
			case e.IsDir():
				return os.MkdirAll(to, 0o755)
			case filepath.Ext(file) == ".safetensors" && c.Uses(file):
				return j.weights(file, to)
			}
			return j.copy(file, to)
		})
	})
}

// copy copies a file, or what a link leads to.
func (j *job) copy(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if info, err := in.Stat(); err != nil || !info.Mode().IsRegular() {
		return err
	}
	return whole.File(to, func(w io.Writer) error {
		_, err := io.Copy(w, in)
		return err
	})
}

// weights writes a file of weights.
func (j *job) weights(from, to string) error {
	c, err := checkpoint.Open(from)
	if err != nil {
		return err
	}
	defer c.Close()
	names, err := adapter.StoredNames(from)
	if err != nil {
		return err
	}
	tensors := c.Tensors()
	if len(names) != len(tensors) {
		return fmt.Errorf("%s: %d names for %d tensors", from, len(names), len(tensors))
	}
	out, at := make([]checkpoint.Tensor, len(names)), make(map[string]checkpoint.Tensor, len(names))
	for i, t := range tensors {
		out[i], at[names[i]] = t, t
		out[i].Name = names[i]
		j.result.Formats[t.Type]++
	}
	return whole.File(to, func(w io.Writer) error {
		counted := &counter{w: w}
		defer func() { j.result.Bytes += counted.n }()
		return checkpoint.StreamSafetensors(counted, out, func(w io.Writer, t checkpoint.Tensor) error {
			return j.write(w, at[t.Name], t.Type)
		})
	})
}

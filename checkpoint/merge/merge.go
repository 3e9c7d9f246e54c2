// Package merge writes a model with adapters merged into its weights.
package merge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"lapidary/adapter"
	"lapidary/checkpoint"
	"lapidary/checkpoint/convert"
	"lapidary/checkpoint/internal/whole"
	"lapidary/checkpoint/quantize"
)

// Options are what may be said besides.
type Options struct {
	// Mixture gives the weights of a GGUF file other formats; nil keeps those
	// they have. A format that adapted weights have and that cannot be written is
	// refused.
	Mixture *quantize.Mixture
	// Progress is told now and then how many of the source's bytes are done.
	Progress func(done, total int64)
}

// Result says what was written.
type Result struct {
	Bytes   int64                   // of the weights
	Formats map[checkpoint.Type]int // tensors of each
	Merged  int                     // of them, those that adapters have changed
}

// Write merges a sum of adapters into a copy of a checkpoint at path: a GGUF
// file if the name ends in .gguf, else a copy of the Hugging Face folder with
// weights in the formats they had. What is written is there as a whole or not at
// all. An adapter that was made for another model is refused with an error that
// wraps [adapter.ErrMismatch].
func Write(ctx context.Context, path string, c *checkpoint.Checkpoint, sum []adapter.Weighted, o Options) (Result, error) {
	layers := linears(c)
	for _, part := range sum {
		if err := part.Check(layers); err != nil {
			return Result{}, err
		}
	}
	if c.Uses(path) {
		return Result{}, fmt.Errorf("%s is the model that is read; name another to write to", path)
	}
	j := &job{Options: o, ctx: ctx, sum: sum, result: Result{Formats: map[checkpoint.Type]int{}}}
	var err error
	switch {
	case strings.EqualFold(filepath.Ext(path), ".gguf"):
		err = j.gguf(path, c)
	case c.Metadata() != nil:
		err = fmt.Errorf("%s is GGUF: merge it into a file that ends in .gguf; lapidary convert makes a folder of that", c.Path())
	case !isFolder(c.Path()):
		err = fmt.Errorf("%s is no folder: name the folder that it is in", c.Path())
	case o.Mixture != nil:
		err = errors.New("weights of a folder keep their formats; others are for a file that ends in .gguf")
	default:
		err = j.folder(path, c)
	}
	return j.result, err
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// linears are the matrices that may be linear layers.
func linears(c *checkpoint.Checkpoint) []adapter.Linear {
	var out []adapter.Linear
	for _, t := range c.Tensors() {
		name, ok := strings.CutSuffix(t.Name, ".weight")
		if ok && len(t.Shape) == 2 && !strings.Contains(name, "embed_tokens") && name != "lm_head" {
			out = append(out, adapter.Linear{Name: name, Out: t.Shape[0], In: t.Shape[1]})
		}
	}
	return out
}

// job writes one model.
type job struct {
	Options
	ctx         context.Context
	sum         []adapter.Weighted
	result      Result
	done, total int64
}

// shares are what changes a tensor.
func (j *job) shares(tensor string) []adapter.Share {
	var shares []adapter.Share
	name, ok := strings.CutSuffix(tensor, ".weight")
	for _, part := range j.sum {
		if m, is := part.Module(name); ok && is && part.By != 0 {
			shares = append(shares, adapter.Share{Module: m, By: part.By})
		}
	}
	return shares
}

// write writes a tensor, merged if an adapter changes it, in another format.
func (j *job) write(w io.Writer, t checkpoint.Tensor, to checkpoint.Type) error {
	shares := j.shares(t.Name)
	size := int64(len(t.Data))
	if len(shares) > 0 {
		v, err := adapter.Merge(t, shares...)
		if err != nil {
			return err
		}
		t = adapter.Floats(t.Name, v, t.Shape...)
		j.result.Merged++
	}
	var err error
	if t.Type == to {
		_, err = w.Write(t.Data)
	} else {
		err = t.Recode(j.ctx, w, to, nil)
	}
	if j.done += size; j.Progress != nil {
		j.Progress(j.done, j.total)
	}
	return errors.Join(err, j.ctx.Err())
}

// gguf writes a GGUF file.
func (j *job) gguf(path string, c *checkpoint.Checkpoint) error {
	m, err := convert.ToGGUF(c)
	if err != nil {
		return err
	}
	from, out := map[string][]checkpoint.Tensor{}, make([]checkpoint.Tensor, len(m.Tensors))
	formats := j.formats(m)
	for i, t := range m.Tensors {
		out[i] = checkpoint.Tensor{Name: t.Name, Type: formats[i], Shape: t.Shape}
		j.result.Formats[formats[i]]++
		if from[t.Name] = m.Parts[t.Name]; from[t.Name] == nil {
			from[t.Name] = []checkpoint.Tensor{t}
		}
		for _, part := range from[t.Name] {
			j.total += int64(len(part.Data))
		}
	}
	if err := j.complete(out); err != nil {
		return err
	}
	return whole.File(path, func(w io.Writer) error {
		counted := &counter{w: w}
		defer func() { j.result.Bytes = counted.n }()
		return checkpoint.StreamGGUF(counted, j.metadata(m), out, func(w io.Writer, to checkpoint.Tensor) error {
			for _, part := range from[to.Name] {
				if err := j.write(w, part, to.Type); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

// formats are those that the tensors get.
func (j *job) formats(m *convert.Model) []checkpoint.Type {
	if j.Mixture != nil {
		return j.Mixture.Formats(m.Tensors, false)
	}
	out := make([]checkpoint.Type, len(m.Tensors))
	for i, t := range m.Tensors {
		if out[i] = t.Type; len(m.Parts[t.Name]) > 0 {
			out[i] = m.Parts[t.Name][0].Type
		}
	}
	return out
}

// metadata is the file's, with what the formats say.
func (j *job) metadata(m *convert.Model) map[string]any {
	metadata := maps.Clone(m.Metadata)
	mix := j.Mixture
	if mix == nil && metadata["general.file_type"] == nil {
		if t, ok := m.Source.Tensor("embed_tokens.weight"); ok {
			if found, err := quantize.Find(t.Type.String()); err == nil {
				mix = &found
			}
		}
	}
	if mix != nil {
		metadata["general.file_type"] = mix.FileType
		if mix.Main.Quantised() {
			metadata["general.quantization_version"] = uint32(2)
		}
	}
	return metadata
}

// complete refuses to lose what an adapter has for a tensor that is not written.
func (j *job) complete(out []checkpoint.Tensor) error {
	names := map[string]bool{}
	for _, t := range out {
		names[t.Name] = true
	}
	for _, part := range j.sum {
		for _, m := range part.Modules {
			if !names[m.Name+".weight"] {
				return fmt.Errorf("adapter %s changes %s, which is not part of a GGUF file of the text alone; merge it into a folder", part.Path, m.Name)
			}
		}
	}
	return nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

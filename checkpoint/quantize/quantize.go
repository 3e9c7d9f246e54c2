// Package quantize writes a model with its weights in other formats.
package quantize

import (
	"context"
	"fmt"
	"io"
	"maps"

	"lapidary/checkpoint"
	"lapidary/checkpoint/convert"
	"lapidary/checkpoint/internal/whole"
)

// Options are what may be known besides the mixture.
type Options struct {
	// Importance is how much each column of a tensor matters, by the tensor's
	// canonical name: the mean square of what the column is multiplied with.
	// Tensors that are not there have columns that matter alike.
	Importance map[string][]float32
	// Progress is told now and then how many of the source's bytes are done.
	Progress func(done, total int64)
}

// Result says what was written.
type Result struct {
	Bytes   int64                   // of the file
	Formats map[checkpoint.Type]int // tensors of each
}

// version is general.quantization_version: that of the block layouts.
const version = 2

// Write writes a model in the formats of a mixture as a GGUF file. The file is
// there as a whole or not at all: until all is written, and after an error or
// the end of the context, path is as it was.
func Write(ctx context.Context, path string, m *convert.Model, mix Mixture, o Options) (Result, error) {
	if m.Source.Uses(path) {
		return Result{}, fmt.Errorf("%s is the model that is read; name another file to write to", path)
	}
	formats := mix.Formats(m.Tensors, o.Importance != nil)
	job := &job{Options: o, ctx: ctx, from: map[string][]checkpoint.Tensor{}}
	out := make([]checkpoint.Tensor, len(m.Tensors))
	result := Result{Formats: map[checkpoint.Type]int{}}
	for i, t := range m.Tensors {
		if err := checkImportance(t, o.Importance[t.Name]); err != nil {
			return Result{}, err
		}
		job.from[t.Name] = []checkpoint.Tensor{t}
		if parts, ok := m.Parts[t.Name]; ok {
			job.from[t.Name] = parts
		}
		for _, part := range job.from[t.Name] {
			job.total += int64(len(part.Data))
		}
		out[i] = checkpoint.Tensor{Name: t.Name, Type: formats[i], Shape: t.Shape}
		result.Formats[formats[i]]++
	}
	metadata := maps.Clone(m.Metadata)
	metadata["general.file_type"] = mix.FileType
	if mix.Main.Quantised() {
		metadata["general.quantization_version"] = uint32(version)
	}
	err := whole.File(path, func(w io.Writer) error {
		counted := &counter{w: w}
		defer func() { result.Bytes = counted.n }()
		return checkpoint.StreamGGUF(counted, metadata, out, job.write)
	})
	if err != nil {
		return Result{}, err
	}
	return result, nil
}

// job recodes the tensors of a model one by one.
type job struct {
	Options
	ctx         context.Context
	from        map[string][]checkpoint.Tensor // the parts of each
	done, total int64
}

func (j *job) write(w io.Writer, to checkpoint.Tensor) error {
	for _, t := range j.from[to.Name] {
		size := int64(t.Rows()) * int64(to.RowBytes())
		p := &progress{w: w, job: j, share: float64(len(t.Data)) / float64(max(size, 1))}
		if err := t.Recode(j.ctx, p, to.Type, j.Importance[to.Name]); err != nil {
			return err
		}
		j.done += int64(len(t.Data))
	}
	return nil
}

// progress counts what is written in bytes of the source.
type progress struct {
	w     io.Writer
	job   *job
	share float64
	n     int64
}

func (p *progress) Write(b []byte) (int, error) {
	n, err := p.w.Write(b)
	p.n += int64(n)
	if p.job.Progress != nil {
		p.job.Progress(p.job.done+int64(float64(p.n)*p.share), p.job.total)
	}
	return n, err
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

// checkImportance refuses numbers that no search can weigh with.
func checkImportance(t checkpoint.Tensor, importance []float32) error {
	if importance == nil {
		return nil
	}
	if len(importance) != t.Cols() {
		return fmt.Errorf("tensor %q: importances for %d columns of %d: they belong to another model", t.Name, len(importance), t.Cols())
	}
	const most = 1e30
	for i, v := range importance {
		if !(v >= 0 && v <= most) {
			return fmt.Errorf("tensor %q: the importance of column %d is %v, want 0 to %g", t.Name, i, v, most)
		}
	}
	return nil
}

package convert

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lapidary/checkpoint"
	"lapidary/checkpoint/internal/whole"
	"lapidary/gemma"
)

// dtypes are the formats of a folder's weights, as config.json calls them.
var dtypes = map[checkpoint.Type]string{checkpoint.F32: "float32", checkpoint.F16: "float16", checkpoint.BF16: "bfloat16"}

// WriteFolder writes a GGUF checkpoint as a Hugging Face folder with weights of
// the given float format: model.safetensors, config.json,
// generation_config.json, and tokenizer.model with tokenizer_config.json where
// the file has a tokenizer. The folder is there as a whole or not at all; it
// must not hold anything before. The progress may be nil.
func WriteFolder(ctx context.Context, path string, c *checkpoint.Checkpoint, dtype checkpoint.Type, progress func(done, total int64)) error {
	if dtypes[dtype] == "" {
		return fmt.Errorf("weights of a folder cannot be %s: F32, F16 and BF16 can", dtype)
	}
	f := &folder{ctx: ctx, from: c, dtype: dtype, progress: progress, parts: map[string][]checkpoint.Tensor{}}
	if err := f.read(); err != nil {
		return fmt.Errorf("%s: %w", c.Path(), err)
	}
	return whole.Folder(path, f.fill)
}

type folder struct {
	ctx      context.Context
	from     *checkpoint.Checkpoint
	dtype    checkpoint.Type
	progress func(done, total int64)

	settings    settings
	vocab       *vocab                         // nil: none
	done, total int64                          // bytes of the source
	parts       map[string][]checkpoint.Tensor // of tensors that are joined
}

func (f *folder) read() error {
	if f.from.Metadata() == nil {
		return fmt.Errorf("this is safetensors already")
	}
	config, err := gemma.ReadConfig(f.from)
	if err != nil {
		return err
	}
	if f.settings, err = settingsOf(config); err != nil {
		return err
	}
	f.vocab, err = ggufVocab(f.from.Metadata())
	return err
}

func (f *folder) fill(dir string) error {
	v := f.vocab
	if v == nil {
		v = newVocab()
		v.bos, v.eos, v.pad = 2, 1, 0 // as in every Gemma vocabulary
	} else {
		if err := os.WriteFile(filepath.Join(dir, "tokenizer.model"), v.model(), 0o644); err != nil {
			return err
		}
		if err := writeJSON(dir, "tokenizer_config.json", v.config()); err != nil {
			return err
		}
		if err := writeJSON(dir, "generation_config.json", v.generation()); err != nil {
			return err
		}
	}
	_, untied := f.from.Tensor("lm_head.weight")
	if err := writeJSON(dir, "config.json", f.settings.config(dtypes[f.dtype], v, !untied)); err != nil {
		return err
	}
	for _, t := range f.from.Tensors() {
		f.total += int64(len(t.Data))
	}
	if f.settings.Head.Pooled > 0 {
		if err := f.sentences(dir); err != nil {
			return err
		}
	}
	return whole.File(filepath.Join(dir, "model.safetensors"), f.weights)
}

func writeJSON(dir, name string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, name), append(text, '\n'), 0o644)
}

// weights writes model.safetensors.
func (f *folder) weights(w io.Writer) error {
	var out, from []checkpoint.Tensor
	for _, t := range f.from.Tensors() {
		pieces, err := f.pieces(t)
		if err != nil {
			return err
		}
		for _, piece := range pieces {
			from = append(from, piece)
			out = append(out, checkpoint.Tensor{Name: f.name(piece.Name), Type: f.dtype, Shape: piece.Shape})
		}
	}
	return f.stream(w, out, from)
}

// pieces are what a folder has in a tensor's place: all of it as it is, or the
// matrices that GGUF joins, or nothing where config.json or another file of the
// folder says it, or what no text needs.
func (f *folder) pieces(t checkpoint.Tensor) ([]checkpoint.Tensor, error) {
	_, known := checkpoint.GGUFName(f.settings.arch, t.Name)
	switch {
	case !known || t.Name == "rope_freqs.weight" || strings.HasSuffix(t.Name, "_Dense.weight"):
		return nil, nil
	case strings.HasSuffix(t.Name, ".experts.up_proj"):
		return nil, nil // is with its other half
	case strings.HasSuffix(t.Name, ".experts.gate_proj"):
		both, err := f.experts(t)
		return []checkpoint.Tensor{both}, err
	case !strings.HasPrefix(t.Name, "altup_") || len(t.Shape) != 3:
		return []checkpoint.Tensor{t}, nil
	}
	var out []checkpoint.Tensor
	n := t.Shape[1] * t.RowBytes()
	for i := range t.Shape[0] {
		out = append(out, checkpoint.Tensor{Name: fmt.Sprintf("%s.%d.weight", strings.TrimSuffix(t.Name, ".weight"), i),
			Type: t.Type, Shape: t.Shape[1:], Data: t.Data[i*n : (i+1)*n]})
	}
	return out, nil
}

// experts is a tensor of both halves of the experts' first layers, of which the
// file stores this one by itself. It has no data, but parts.
func (f *folder) experts(gate checkpoint.Tensor) (checkpoint.Tensor, error) {
	up, _ := f.from.Tensor(strings.TrimSuffix(gate.Name, "gate_proj") + "up_proj")
	if len(gate.Shape) != 3 || !slices.Equal(gate.Shape, up.Shape) {
		return gate, fmt.Errorf("tensor %q is %v and its other half %v", gate.Name, gate.Shape, up.Shape)
	}
	both := checkpoint.Tensor{Name: strings.TrimSuffix(gate.Name, "gate_proj") + "gate_up_proj", Type: gate.Type,
		Shape: []int{gate.Shape[0], 2 * gate.Shape[1], gate.Shape[2]}}
	for i := range gate.Shape[0] {
		for _, half := range []checkpoint.Tensor{gate, up} {
			n := half.Shape[1] * half.RowBytes()
			half.Data, half.Shape = half.Data[i*n:(i+1)*n], half.Shape[1:]
			f.parts[both.Name] = append(f.parts[both.Name], half)
		}
	}
	return both, nil
}

// stream writes the tensors that are made of the given ones.
func (f *folder) stream(w io.Writer, out, from []checkpoint.Tensor) error {
	byName := map[string]checkpoint.Tensor{}
	for i, t := range out {
		byName[t.Name] = from[i]
	}
	return checkpoint.StreamSafetensors(w, out, func(w io.Writer, to checkpoint.Tensor) error {
		t := byName[to.Name]
		if isNorm(t.Name) && !f.settings.plain {
			var err error
			if t, err = mapped(t, func(v float64) float64 { return v - 1 }); err != nil {
				return err
			}
		}
		parts := f.parts[t.Name]
		if parts == nil {
			parts = []checkpoint.Tensor{t}
		}
		for _, part := range parts {
			if err := part.Recode(f.ctx, w, f.dtype, nil); err != nil {
				return err
			}
			f.done += int64(len(part.Data))
		}
		if f.progress != nil {
			f.progress(f.done, f.total)
		}
		return nil
	})
}

// name is what transformers calls a tensor. An encoder is a model by itself.
func (f *folder) name(canonical string) string {
	for _, outer := range []string{"lm_head.", "pre_projection.", "post_projection."} {
		if strings.HasPrefix(canonical, outer) {
			return canonical
		}
	}
	if f.settings.Head.Pooled > 0 {
		return canonical
	}
	return "model." + canonical
}

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
	f := &folder{ctx: ctx, from: c, dtype: dtype, progress: progress}
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

	settings settings
	vocab    *vocab // nil: none
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
	var out []checkpoint.Tensor
	var total, done int64
	for _, t := range f.from.Tensors() {
		out = append(out, checkpoint.Tensor{Name: folderName(t.Name), Type: f.dtype, Shape: t.Shape})
		total += int64(len(t.Data))
	}
	return checkpoint.StreamSafetensors(w, out, func(w io.Writer, to checkpoint.Tensor) error {
		i := slices.IndexFunc(out, func(t checkpoint.Tensor) bool { return t.Name == to.Name })
		t := f.from.Tensors()[i]
		size := int64(len(t.Data))
		if isNorm(t.Name) {
			var err error
			if t, err = mapped(t, func(v float64) float64 { return v - 1 }); err != nil {
				return err
			}
		}
		if err := t.Recode(f.ctx, w, f.dtype, nil); err != nil {
			return err
		}
		done += size
		if f.progress != nil {
			f.progress(done, total)
		}
		return nil
	})
}

// folderName is what transformers calls a tensor.
func folderName(canonical string) string {
	if strings.HasPrefix(canonical, "lm_head.") {
		return canonical
	}
	return "model." + canonical
}

package convert

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"lapidary/checkpoint"
	"lapidary/checkpoint/internal/whole"
)

// module is one of the steps that sentence-transformers takes from a text to
// its embedding, as modules.json lists them.
type module struct {
	Idx  int    `json:"idx"`
	Name string `json:"name"`
	Path string `json:"path"`
	Type string `json:"type"`
}

// sentences writes what sentence-transformers keeps beside an encoder: a folder
// for the mean and one for each layer that follows, and the list of all steps.
func (f *folder) sentences(dir string) error {
	var modules []module
	add := func(path, class string) {
		n := len(modules)
		modules = append(modules, module{n, strconv.Itoa(n), path, "sentence_transformers.models." + class})
	}
	add("", "Transformer")
	add("1_Pooling", "Pooling")
	in := f.settings.Width
	if err := writeModule(dir, "1_Pooling", map[string]any{"word_embedding_dimension": in, "pooling_mode_mean_tokens": true,
		"pooling_mode_cls_token": false, "include_prompt": true}); err != nil {
		return err
	}
	for i, out := range f.settings.Head.Dense {
		path := fmt.Sprintf("%d_Dense", i+2)
		add(path, "Dense")
		if err := f.dense(dir, path, in, out); err != nil {
			return err
		}
		in = out
	}
	add(fmt.Sprintf("%d_Normalize", len(modules)), "Normalize")
	return writeJSON(dir, "modules.json", modules)
}

// dense writes a layer after the mean.
func (f *folder) dense(dir, path string, in, out int) error {
	if err := writeModule(dir, path, map[string]any{"in_features": in, "out_features": out, "bias": false,
		"activation_function": "torch.nn.modules.linear.Identity"}); err != nil {
		return err
	}
	t, _ := f.from.Tensor(path + ".weight")
	to := []checkpoint.Tensor{{Name: "linear.weight", Type: f.dtype, Shape: t.Shape}}
	return whole.File(filepath.Join(dir, path, "model.safetensors"), func(w io.Writer) error {
		return f.stream(w, to, []checkpoint.Tensor{t})
	})
}

func writeModule(dir, path string, config map[string]any) error {
	if err := os.Mkdir(filepath.Join(dir, path), 0o755); err != nil {
		return err
	}
	return writeJSON(filepath.Join(dir, path), "config.json", config)
}

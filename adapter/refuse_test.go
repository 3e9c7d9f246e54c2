package adapter_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lapidary/adapter"
	"lapidary/checkpoint"
)

// TestConfigRefused wants one line that says what cannot be obeyed and why.
func TestConfigRefused(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`[]`, "not a JSON object"},
		{`{"peft_type": "IA3"}`, `peft_type "IA3": only LORA`},
		{`{"peft_type": "LORA", "bias": "all", "r": 1}`, `bias "all"`},
		{`{"peft_type": "LORA", "r": 1, "modules_to_save": ["score"]}`, "modules_to_save [\"score\"]: modules that are stored whole"},
		{`{"peft_type": "LORA", "r": 1, "target_parameters": ["mlp.experts.gate_up_proj"]}`, "experts' weights"},
		{`{"peft_type": "LORA", "r": 1, "lora_bias": true}`, "a bias beside B"},
		{`{"peft_type": "LORA", "r": 1, "fan_in_fan_out": true}`, "outputs first"},
		{`{"peft_type": "LORA", "r": 1, "init_lora_weights": "pissa_niter_4"}`, "changes the base weights"},
		{`{"peft_type": "LORA", "r": 1, "use_something_new": {"a": 1}}`, "use_something_new"},
		{`{"peft_type": "LORA", "r": 0, "lora_alpha": 1}`, "rank r 0"},
		{`{"peft_type": "LORA", "r": 100000, "lora_alpha": 1}`, "rank r 100000"},
		{`{"peft_type": "LORA", "r": "x"}`, "cannot unmarshal"},
		{`{"peft_type": "LORA", "r": 1, "rank_pattern": {"(": 2}}`, "the pattern"},
		{`{"peft_type": "LORA", "r": 1, "rank_pattern": {"q_proj": 0.5}}`, "rank_pattern"},
		{`{"peft_type": "LORA", "r": 1, "rank_pattern": 3}`, "an object"},
		{`{"peft_type": "LORA", "r": 1, "lora_dropout": 1}`, "lora_dropout"},
	} {
		if _, err := adapter.ReadConfig([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", c.text, err, c.want)
		}
	}
}

// TestConfigAccepted reads what older and newer PEFT write.
func TestConfigAccepted(t *testing.T) {
	c, err := adapter.ReadConfig([]byte(`{"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": "all-linear", "rank_pattern": null, "init_lora_weights": "gaussian"}`))
	if err != nil || c.Rank != 8 || len(c.TargetModules) != 1 || c.TargetModules[0] != adapter.AllLinear || c.Kind() != adapter.LoRA {
		t.Errorf("%+v, %v", c, err)
	}
}

// broken is a copy of the LoRA's files, of which edit changes the tensors and the
// configuration.
func broken(t *testing.T, edit func(tensors []checkpoint.Tensor, config string) ([]checkpoint.Tensor, string)) string {
	t.Helper()
	a := open(t, "lora")
	text, err := os.ReadFile(filepath.Join("testdata", "lora", adapter.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	tensors, config := edit(a.Tensors(), string(text))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, adapter.ConfigFile), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	data := map[string][]byte{}
	for _, x := range tensors {
		data[x.Name] = x.Data
	}
	err = adapter.WriteWhole(filepath.Join(dir, adapter.WeightsFile), func(w io.Writer) error {
		return checkpoint.StreamSafetensors(w, tensors, func(w io.Writer, x checkpoint.Tensor) error {
			_, err := w.Write(data[x.Name])
			return err
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestOpenRefuses wants the file, the place and the reason.
func TestOpenRefuses(t *testing.T) {
	type tensors = []checkpoint.Tensor
	for want, edit := range map[string]func(x tensors, c string) (tensors, string){
		"one of lora_A and lora_B is missing": func(x tensors, c string) (tensors, string) { return x[1:], c },
		"there are no tensors in it":          func(_ tensors, c string) (tensors, string) { return nil, c },
		"the rank is 4 in the tensors and 5":  func(x tensors, c string) (tensors, string) { return x, strings.Replace(c, `"r": 4`, `"r": 5`, 1) },
		"use_dora is true": func(x tensors, c string) (tensors, string) {
			return x, strings.Replace(c, `"use_dora": false`, `"use_dora": true`, 1)
		},
		"its name does not begin with": func(x tensors, c string) (tensors, string) { x[0].Name = "q_proj.lora_A.weight"; return x, c },
		"it is no part of a LoRA": func(x tensors, c string) (tensors, string) {
			x[0].Name = "base_model.model.model.layers.0.self_attn.q_proj.other"
			return x, c
		},
		"an embedding is looked up": func(x tensors, c string) (tensors, string) {
			x[0].Name = "base_model.model.model.embed_tokens.lora_embedding_A"
			return x, c
		},
		"lora_A is [2 2 48]":                   func(x tensors, c string) (tensors, string) { x[0].Shape = []int{2, 2, 48}; return x, c },
		"their ranks differ":                   func(x tensors, c string) (tensors, string) { x[0].Shape = []int{2, 96}; return x, c },
		"model.layers.0.mlp.down_proj are the": func(x tensors, c string) (tensors, string) { return twice(x), c },
	} {
		dir := broken(t, edit)
		if _, err := adapter.Open(dir); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), dir) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if _, err := adapter.Open(t.TempDir()); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "no adapter") {
		t.Errorf("an empty folder: %v", err)
	}
}

// twice adds a layer's module once more under the path of a larger model.
func twice(x []checkpoint.Tensor) []checkpoint.Tensor {
	for _, t := range x[:2] {
		t.Name = strings.Replace(t.Name, "model.model.layers", "model.model.language_model.layers", 1)
		x = append(x, t)
	}
	return x
}

// TestCheckRefuses compares with layers of another shape.
func TestCheckRefuses(t *testing.T) {
	layers := loadBase(t).Linears()
	a := open(t, "lora")
	if err := a.Check(layers); err != nil {
		t.Error(err)
	}
	for want, edit := range map[string]func(){
		"has no such linear layer": func() { a.Modules[0].Name = "layers.99.mlp.down_proj" },
		"here it is 48 with 32":    func() { a = open(t, "lora"); a.Modules[0].A.Shape = []int{3, 64} },
	} {
		a = open(t, "lora")
		edit()
		if err := a.Check(layers); !errors.Is(err, adapter.ErrMismatch) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	a = open(t, "lora")
	a.Modules[0].Name = "lm_head"
	if err := a.Check(layers); err == nil || !strings.Contains(err.Error(), "the output layer is not adapted") {
		t.Error(err)
	}
}

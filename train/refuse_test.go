package train

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lapidary/train/recipe"
)

// TestRefused: what the trainer cannot do is said before anything is made.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		change func(r *recipe.Recipe)
		want   string
	}{
		{func(r *recipe.Recipe) { r.Engine, r.Devices.Layout = "go", recipe.Layout{Data: 2, FSDP: 1, Model: 2} }, "takes 4 devices"},
		{func(r *recipe.Recipe) {
			r.Objective.Kind, r.Devices.Layout = recipe.Classify, recipe.Layout{Data: 2, FSDP: 1, Model: 2}
		}, "model alone"},
		{func(r *recipe.Recipe) { r.Adapter.Kind, r.Adapter.Quantised = recipe.LoRA, true }, "adapter.quantised"},
		{func(r *recipe.Recipe) { r.Objective.Kind = recipe.TokenClassify }, "one label for its text"},
		{func(r *recipe.Recipe) { r.Objective.Kind = recipe.GRPO }, "not built"},
		{func(r *recipe.Recipe) { r.Objective.Kind = recipe.DPO }, "train an adapter"},
		{func(r *recipe.Recipe) { r.Objective.Kind, r.Eval.Prompts = recipe.Contrastive, []string{"Once"} }, "eval.prompts"},
	} {
		r := &recipe.Recipe{}
		r.SetDefaults()
		r.Out = filepath.Join(t.TempDir(), "run")
		c.change(r)
		_, err := Run(t.Context(), r, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %s", err, c.want)
		}
		if _, err := os.Stat(r.Out); err == nil {
			t.Errorf("%s: a folder was made", c.want)
		}
	}
}

func TestFileRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.gguf")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r := &recipe.Recipe{}
	r.SetDefaults()
	if err := refuseFile(r, path); err == nil || !strings.Contains(err.Error(), "not a folder") {
		t.Errorf("all weights of a file: %v", err)
	}
	r.Adapter.Kind = recipe.LoRA
	if err := refuseFile(r, path); err != nil {
		t.Errorf("an adapter beside a file: %v", err)
	}
}

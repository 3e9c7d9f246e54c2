package gemma

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzConfigJSON: whatever config.json says, there is a model that could be
// built, or one line that says why not.
func FuzzConfigJSON(f *testing.F) {
	for _, pattern := range []string{"config.json", "config.hub.json"} {
		paths, err := filepath.Glob("testdata/goldens/*/" + pattern)
		if err != nil || len(paths) == 0 {
			f.Fatal("no configurations: ", err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Add([]byte(`{"model_type": "gemma3", "text_config": {"num_hidden_layers": 3, "rope_scaling": {"factor": 8, "rope_type": "linear"}}}`))
	f.Add([]byte(`{"model_type": "gemma3", "text_config": null}`))
	f.Add([]byte(`{"model_type":"gemma","num_hidden_layers":1024,"sliding_window_pattern":-9,"head_dim":2,"hidden_size":1,"vocab_size":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := fromJSON(data)
		if err != nil {
			if text := err.Error(); text == "" || strings.Contains(text, "\n") {
				t.Fatalf("%q is not one line", text)
			}
			return
		}
		if len(c.Layers) == 0 && c.SigLIP == nil && c.Sounds == nil {
			t.Fatalf("%+v", c)
		}
		for _, s := range []*Stack{&c.Stack, c.Encoder} {
			if s != nil {
				expectSound(t, *s)
			}
		}
	})
}

// expectSound checks what the blocks rely on.
func expectSound(t *testing.T, s Stack) {
	t.Helper()
	if len(s.Layers) == 0 {
		return
	}
	if s.Width < 1 || s.Vocab < 1 || s.Context < 1 || !(s.EmbedScale > 0) {
		t.Fatalf("%+v", s)
	}
	for i, l := range s.Layers {
		if a := l.Attention; l.Recurrent == nil && (a.Heads < 1 || a.KVHeads < 1 || a.Heads%a.KVHeads != 0 || a.HeadSize < 2 || a.HeadSize%2 != 0 || a.Window < 0 ||
			!(a.Scale >= 0) || !(a.Rope.Base > 0) || !(a.Rope.Scale > 0) || a.Rope.From+a.Rope.Size > a.HeadSize || 2*a.Rope.Turn > a.HeadSize || a.Reads > i) {
			t.Fatalf("layer %d is %+v", i, l)
		}
		if l.Feed.Width < 1 || l.Feed.Experts.Top > l.Feed.Experts.Count {
			t.Fatalf("layer %d is %+v", i, l)
		}
	}
}

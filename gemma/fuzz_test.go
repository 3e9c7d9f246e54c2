package gemma

import (
	"os"
	"strings"
	"testing"
)

// FuzzConfigJSON: whatever config.json says, there is a model that could be
// built, or one line that says why not.
func FuzzConfigJSON(f *testing.F) {
	for _, path := range []string{"gemma1_text/config.json", "gemma2_text/config.json", "gemma3_text/config.json", "gemma3_text/config.hub.json"} {
		text, err := os.ReadFile("testdata/" + path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"model_type": "gemma3", "text_config": {"num_hidden_layers": 3, "rope_scaling": {"factor": 8, "rope_type": "linear"}}}`))
	f.Add([]byte(`{"model_type": "gemma3", "text_config": null}`))
	f.Add([]byte(`{"model_type":"gemma","num_hidden_layers":1024,"sliding_window_pattern":-9,"head_dim":2,"hidden_size":1,"vocab_size":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := fromJSON(data)
		if err == nil {
			err = s.check()
		}
		if err != nil {
			if text := err.Error(); text == "" || strings.Contains(text, "\n") {
				t.Fatalf("%q is not one line", text)
			}
			return
		}
		expectSound(t, s.expand())
	})
}

// expectSound checks what the blocks rely on.
func expectSound(t *testing.T, c Config) {
	t.Helper()
	if len(c.Layers) < 1 || c.Width < 1 || c.Vocab < 1 || c.Context < 1 || !(c.EmbedScale > 0) {
		t.Fatalf("%+v", c)
	}
	for i, l := range c.Layers {
		a := l.Attention
		if a.Heads < 1 || a.KVHeads < 1 || a.Heads%a.KVHeads != 0 || a.HeadSize < 2 || a.HeadSize%2 != 0 || a.Window < 0 ||
			l.Feed.Width < 1 || !(a.Scale >= 0) || !(a.Rope.Base > 0) || !(a.Rope.Scale > 0) {
			t.Fatalf("layer %d is %+v", i, l)
		}
	}
}

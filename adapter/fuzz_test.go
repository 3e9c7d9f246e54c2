package adapter_test

import (
	"os"
	"path/filepath"
	"testing"

	"lapidary/adapter"
)

// FuzzReadConfig wants an error or a configuration that can be written.
func FuzzReadConfig(f *testing.F) {
	for _, name := range []string{"lora", "rslora", "dora"} {
		text, err := os.ReadFile(filepath.Join("testdata", name, adapter.ConfigFile))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte(`{"peft_type": "LORA", "r": 8, "lora_alpha": 1e300, "rank_pattern": {"a.*": 2}, "target_modules": "all-linear"}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := adapter.ReadConfig(text)
		if err != nil {
			return
		}
		a := adapter.Adapter{Config: c}
		if err := a.Write(t.TempDir()); err != nil {
			t.Error(err)
		}
	})
}

// FuzzOpen reads weights that may be anything.
func FuzzOpen(f *testing.F) {
	config, err := os.ReadFile(filepath.Join("testdata", "dora", adapter.ConfigFile))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range []string{"lora", "dora"} {
		weights, err := os.ReadFile(filepath.Join("testdata", name, adapter.WeightsFile))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(weights)
	}
	f.Fuzz(func(t *testing.T, weights []byte) {
		dir := t.TempDir()
		for name, data := range map[string][]byte{adapter.ConfigFile: config, adapter.WeightsFile: weights} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		a, err := adapter.Open(dir)
		if err == nil && a.Parameters() == 0 {
			t.Error("an adapter without numbers")
		}
	})
}

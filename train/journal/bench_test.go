package journal

import (
	"path/filepath"
	"testing"
)

func BenchmarkMetrics(b *testing.B) {
	j, err := Create(filepath.Join(b.TempDir(), "run"), []byte(recipeText), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	values := map[string]float64{"loss": 2.5, "gradient_norm": 1.25, "learning_rate": 3e-4}
	for n := 1; b.Loop(); n++ {
		if err := j.Metrics(n, values); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckpoint(b *testing.B) {
	const n = 8 << 20 // two files of 32 MiB
	j, err := Create(filepath.Join(b.TempDir(), "run"), []byte(recipeText), Options{Keep: 1})
	if err != nil {
		b.Fatal(err)
	}
	defer j.Close()
	tensors := weights(1, n)
	b.SetBytes(2 * 4 * n)
	for step := 1; b.Loop(); step++ {
		err := j.Checkpoint(step, state{}, func(w *Writer) error {
			if err := w.Tensors("model.safetensors", tensors, nil); err != nil {
				return err
			}
			return w.Tensors("optimizer.safetensors", tensors, nil)
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

package checkpoint

import (
	"slices"
	"testing"
)

// exercise reads everything that a file offers and checks that tensors are
// apart from each other, inside the file, and as long as their shapes say.
func exercise(t testing.TB, m *Metadata, infos []storedTensor, size int) {
	t.Helper()
	if m != nil {
		for _, key := range m.Keys() {
			if a, ok := m.Any(key).(StringArray); ok {
				for range a.All() {
				}
			}
		}
	}
	infos = slices.Clone(infos)
	slices.SortStableFunc(infos, func(a, b storedTensor) int { return a.start + len(a.Data) - b.start - len(b.Data) })
	end := 0
	for _, x := range infos {
		if x.start < end && len(x.Data) > 0 || x.start+len(x.Data) > size {
			t.Fatalf("tensor %q takes bytes %d to %d, from %d to %d are free", x.stored, x.start, x.start+len(x.Data), end, size)
		}
		end = max(end, x.start+len(x.Data))
		readRows(t, x.Tensor)
	}
}

func readRows(t testing.TB, x Tensor) {
	t.Helper()
	if len(x.Data) == 0 || x.Type.BlockBytes() == 0 {
		return
	}
	if x.Rows()*x.RowBytes() != len(x.Data) {
		t.Fatalf("%d rows of %d bytes in %d bytes", x.Rows(), x.RowBytes(), len(x.Data))
	}
	dst := make([]float32, x.Cols())
	for _, i := range []int{0, x.Rows() - 1} {
		if err := Dequantize(x.Type, dst, x.Row(i)); err != nil && x.Type.Known() {
			t.Fatal(err)
		}
	}
}

func FuzzGGUF(f *testing.F) {
	f.Add(smallGGUF(f))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, infos, err := readGGUF("fuzz.gguf", data)
		if err != nil {
			if !isFormat(err) {
				t.Fatal(err)
			}
			return
		}
		exercise(t, m, infos, len(data))
	})
}

func FuzzSafetensors(f *testing.F) {
	f.Add(smallSafetensors())
	f.Fuzz(func(t *testing.T, data []byte) {
		stored, err := readSafetensors("fuzz.safetensors", data)
		if err != nil {
			if !isFormat(err) {
				t.Fatal(err)
			}
			return
		}
		exercise(t, nil, stored, len(data))
	})
}

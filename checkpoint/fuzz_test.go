package checkpoint

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

var update = flag.Bool("update", false, "write the seeds in testdata/fuzz again")

// seeds are small files for the fuzzers to start from; go test reads them
// from testdata/fuzz.
func seeds(t testing.TB) map[string][]byte {
	t.Helper()
	var every []Tensor
	for n, l := range layouts {
		if l.block > 0 {
			every = append(every, Tensor{Name: l.name, Type: Type(n), Shape: []int{1, l.block}, Data: make([]byte, l.bytes)})
		}
	}
	var formats bytes.Buffer
	if err := WriteGGUF(&formats, map[string]any{"general.alignment": uint32(8)}, every); err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"FuzzGGUF/values":       smallGGUF(t),
		"FuzzGGUF/formats":      formats.Bytes(),
		"FuzzGGUF/strings":      head(0, 1).str("k").u32(uint32(typeArray)).u32(uint32(typeString)).u64(2).str("a").str("").b,
		"FuzzGGUF/scalar":       head(1, 0).info("x", F32, 0).pad(32).zeros(4).b,
		"FuzzGGUF/two":          head(2, 0).info("x", F32, 32, 2, 4).info("y", Q4_0, 0, 32).pad(32).zeros(64).b,
		"FuzzSafetensors/small": smallSafetensors(),
		"FuzzSafetensors/empty": safetensors("{}", 0),
		"FuzzSafetensors/one":   []byte(shard("x")),
	}
}

// The committed seeds are those of this version of the tests.
func TestSeeds(t *testing.T) {
	for name, data := range seeds(t) {
		path := filepath.Join("testdata", "fuzz", filepath.FromSlash(name))
		want := fmt.Appendf(nil, "go test fuzz v1\n[]byte(%q)\n", data)
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not as the test makes it (error %v); run go test -run TestSeeds -update", path, err)
		}
	}
}

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

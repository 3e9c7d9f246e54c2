package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// build writes files field by field, so that tests can break any one of them.
type build struct{ b []byte }

func (b *build) u8(v uint8) *build   { b.b = append(b.b, v); return b }
func (b *build) u32(v uint32) *build { b.b = binary.LittleEndian.AppendUint32(b.b, v); return b }
func (b *build) u64(v uint64) *build { b.b = binary.LittleEndian.AppendUint64(b.b, v); return b }
func (b *build) raw(s string) *build { b.b = append(b.b, s...); return b }
func (b *build) str(s string) *build { return b.u64(uint64(len(s))).raw(s) }

// pad fills up to a multiple of n with zeros.
func (b *build) pad(n int) *build {
	for len(b.b)%n != 0 {
		b.b = append(b.b, 0)
	}
	return b
}

// head starts a GGUF file.
func head(tensors, entries uint64) *build {
	return new(build).raw("GGUF").u32(3).u64(tensors).u64(entries)
}

// info appends an entry of the tensor table.
func (b *build) info(name string, typ Type, offset uint64, dims ...uint64) *build {
	b.str(name).u32(uint32(len(dims)))
	for _, d := range dims {
		b.u64(d)
	}
	return b.u32(uint32(typ)).u64(offset)
}

// zeros appends n bytes of data.
func (b *build) zeros(n int) *build { b.b = append(b.b, make([]byte, n)...); return b }

func floats(values ...float32) []byte {
	var b []byte
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// smallGGUF is a sound file with every metadata type and three tensors.
func smallGGUF(t testing.TB) []byte {
	t.Helper()
	metadata := map[string]any{"general.architecture": "gemma3"}
	for name, v := range everyValue {
		metadata["test."+name] = v
	}
	tensors := []Tensor{
		{Name: "norm.weight", Type: F32, Shape: []int{3}, Data: floats(1, 2, 3)},
		{Name: "layers.0.mlp.up_proj.weight", Type: Q8_0, Shape: []int{2, 32}, Data: bytes.Repeat([]byte{1}, 68)},
		{Name: "layers.0.mlp.down_proj.weight", Type: Q4_K, Shape: []int{1, 256}, Data: bytes.Repeat([]byte{2}, 144)},
	}
	var out bytes.Buffer
	if err := WriteGGUF(&out, metadata, tensors); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

var everyValue = map[string]any{
	"uint8": uint8(200), "int8": int8(-100), "uint16": uint16(60000), "int16": int16(-30000),
	"uint32": uint32(4e9), "int32": int32(-2e9), "uint64": uint64(1 << 63), "int64": int64(-1 << 62),
	"float32": float32(0.25), "float64": 1e300, "bool": true, "string": "lazuli \xff",
	"uint8s": []uint8{1, 2}, "int8s": []int8{-1}, "uint16s": []uint16{3, 4}, "int16s": []int16{-5},
	"uint32s": []uint32{6}, "int32s": []int32{-7, 8}, "uint64s": []uint64{9}, "int64s": []int64{-10},
	"float32s": []float32{0.5, -1}, "float64s": []float64{2}, "bools": []bool{true, false},
	"strings": []string{"", "jade", "\x00"}, "none": []uint32{},
}

// file writes bytes under a name in a new folder and returns the path.
func file(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	write(t, path, data)
	return path
}

func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// open opens a checkpoint that must be sound, until the test ends.
func open(t testing.TB, path string) *Checkpoint {
	t.Helper()
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// isFormat reports whether err names an offset and a field.
func isFormat(err error) bool {
	e, ok := errors.AsType[*FormatError](err)
	return ok && e.Field != "" && e.Problem != "" && e.Offset >= 0 && e.Path != ""
}

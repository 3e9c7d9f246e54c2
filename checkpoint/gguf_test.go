package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func TestOpenGGUF(t *testing.T) {
	path := file(t, "a.gguf", smallGGUF(t))
	c := open(t, path)
	if c.Format() != "gguf" || c.Path() != path || c.ConfigJSON() != nil {
		t.Errorf("format %q, path %q, config %q", c.Format(), c.Path(), c.ConfigJSON())
	}
	var names []string
	for _, x := range c.Tensors() {
		names = append(names, x.Name)
	}
	want := []string{"norm.weight", "layers.0.mlp.up_proj.weight", "layers.0.mlp.down_proj.weight"}
	if !slices.Equal(names, want) {
		t.Errorf("names %q, want %q", names, want)
	}
	x, ok := c.Tensor("norm.weight")
	if !ok || x.Type != F32 || !slices.Equal(x.Shape, []int{3}) || !slices.Equal(x.Data, floats(1, 2, 3)) {
		t.Errorf("norm.weight is %+v", x)
	}
	x, _ = c.Tensor("layers.0.mlp.up_proj.weight")
	if !slices.Equal(x.Shape, []int{2, 32}) || x.Rows() != 2 || x.Cols() != 32 || x.RowBytes() != 34 || len(x.Row(1)) != 34 {
		t.Errorf("up_proj is %v", x.Shape)
	}
	if _, ok := c.Tensor("blk.0.ffn_up.weight"); ok {
		t.Error("the name of the file is found beside the canonical one")
	}
}

// What is written under canonical names is spelled as llama.cpp does.
func TestGGUFSpelling(t *testing.T) {
	for _, want := range []string{"output_norm.weight", "blk.0.ffn_up.weight", "blk.0.ffn_down.weight"} {
		if !strings.Contains(string(smallGGUF(t)), want) {
			t.Errorf("the file does not name %s", want)
		}
	}
}

func TestVersion2(t *testing.T) {
	data := smallGGUF(t)
	data[4] = 2
	if c := open(t, file(t, "2.gguf", data)); len(c.Tensors()) != 3 {
		t.Errorf("%d tensors", len(c.Tensors()))
	}
}

func TestScalarTensor(t *testing.T) {
	c := open(t, file(t, "s.gguf", head(1, 0).info("x", F32, 0).pad(32).zeros(4).b))
	if x, _ := c.Tensor("x"); len(x.Shape) != 0 || x.Rows() != 1 || x.Cols() != 1 || len(x.Data) != 4 {
		t.Errorf("a tensor of no dimensions is read as %v with %d bytes", x.Shape, len(x.Data))
	}
}

// A sound file cut anywhere is an error that names a field; only the padding
// that follows the last tensor may be missing.
func TestTruncatedGGUF(t *testing.T) {
	data := smallGGUF(t)
	whole := len(data) - int(padding(144, 32))
	for n := range len(data) {
		_, _, err := readGGUF("cut.gguf", data[:n:n])
		if n >= whole {
			if err != nil {
				t.Errorf("without padding: %v", err)
			}
			continue
		}
		if !isFormat(err) {
			t.Fatalf("%d of %d bytes: error %v", n, len(data), err)
		}
	}
}

// No single flipped byte may do more than give an error or other values.
func TestCorruptGGUF(t *testing.T) {
	data := smallGGUF(t)
	for i := range data {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			data[i] ^= flip
			if m, infos, err := readGGUF("flipped.gguf", data); err == nil {
				exercise(t, m, infos, len(data))
			} else if !isFormat(err) {
				t.Fatalf("byte %d: error %v", i, err)
			}
			data[i] ^= flip
		}
	}
}

func TestHostileGGUF(t *testing.T) {
	const huge = 1 << 60
	key := func(typ valueType) *build { return head(0, 1).str("k").u32(uint32(typ)) }
	array := func(elem valueType, n uint64) *build { return key(typeArray).u32(uint32(elem)).u64(n) }
	tests := []struct {
		name string
		file *build
		want string // in the error, after the path
	}{
		{"magic", new(build).raw("GGUX").u32(3).u64(0).u64(0), `offset 0: magic: "GGUX"`},
		{"version 1", new(build).raw("GGUF").u32(1).u64(0).u64(0), "offset 4: version: 1; versions 2 and 3"},
		{"version 4", new(build).raw("GGUF").u32(4).u64(0).u64(0), "offset 4: version: 4; versions 2 and 3"},
		{"big endian", new(build).raw("GGUF").u32(bits.ReverseBytes32(3)).u64(0).u64(0), "offset 4: version: 3 in big-endian order"},
		{"tensors", head(huge, 0), "offset 8: tensor count: 1152921504606846976; at most"},
		{"fewer tensors", head(1000, 0), "offset 24: tensor table: 1000 tensors pass the end"},
		{"entries", head(0, huge), "offset 16: metadata count: 1152921504606846976; at most"},
		{"fewer entries", head(0, 9), "offset 24: metadata entry 0 key length: needs 8 bytes and the file ends after 0"},
		{"key length", head(0, 1).u64(huge), "offset 24: metadata entry 0 key length: 1152921504606846976 bytes; at most 65535"},
		{"key past the end", head(0, 1).u64(9).raw("k"), "offset 32: metadata entry 0 key: needs 9 bytes and the file ends after 1"},
		{"key twice", head(0, 2).str("k").u32(0).u8(1).str("k").u32(0).u8(1), `offset 38: metadata entry 1 "k" key: appears twice`},
		{"value type", key(13), `offset 33: metadata entry 0 "k" type: 13 is not a metadata type`},
		{"bool", key(typeBool).u8(2), `offset 37: metadata entry 0 "k" value: byte 2 is not a truth value`},
		{"bools", array(typeBool, 2).u8(1).u8(7), `offset 50: metadata entry 0 "k" value: byte 7 is not`},
		{"string length", key(typeString).u64(huge), `offset 37: metadata entry 0 "k" value length: 1152921504606846976 bytes`},
		{"array of arrays", array(typeArray, 1), `offset 37: metadata entry 0 "k" element type: arrays of arrays`},
		{"element type", array(99, 1), `offset 37: metadata entry 0 "k" element type: 99 is not`},
		{"array length", array(typeUint64, huge), `offset 41: metadata entry 0 "k" array length: 1152921504606846976 elements pass`},
		{"array length wraps", array(typeUint64, 1<<61), `offset 41: metadata entry 0 "k" array length`},
		{"strings", array(typeString, huge), `offset 41: metadata entry 0 "k" array length`},
		{"string in array", array(typeString, 2).str("a").u64(huge), `offset 58: metadata entry 0 "k" value: element 1 of 2 is 1152921504606846976 bytes`},
		{"fewer strings", array(typeString, 2).str("abcdefgh"), `offset 65: metadata entry 0 "k" value: element 1 of 2 passes the end`},
		{"alignment 0", head(0, 1).str("general.alignment").u32(uint32(typeUint32)).u32(0), `offset 53: metadata entry "general.alignment" value: a power of two`},
		{"alignment 24", head(0, 1).str("general.alignment").u32(uint32(typeUint32)).u32(24), `"general.alignment" value: a power of two`},
		{"alignment 4", head(0, 1).str("general.alignment").u32(uint32(typeUint32)).u32(4), `"general.alignment" value: a power of two from 8`},
		{"alignment 2³¹", head(0, 1).str("general.alignment").u32(uint32(typeUint32)).u32(1 << 31), `"general.alignment" value: a power of two`},
		{"alignment in words", head(0, 1).str("general.alignment").u32(uint32(typeString)).str("32"), `"general.alignment" value: a power of two`},
		{"tensor name", head(1, 0).u64(huge).zeros(99), "offset 24: tensor 0 name length: 1152921504606846976 bytes; at most 1024"},
		{"tensor twice", head(2, 0).info("x", F32, 0, 1).info("x", F32, 32, 1).pad(32).zeros(64), `offset 57: tensor 1 "x" name: appears twice`},
		{"dimension count", head(1, 0).info("x", F32, 0, 1, 1, 1, 1, 1), `offset 33: tensor 0 "x" dimension count: 5; at most 4`},
		{"zero dimension", head(1, 0).info("x", F32, 0, huge, 0), `offset 37: tensor 0 "x" dimensions: [1152921504606846976 0] has a zero`},
		{"dimensions wrap", head(1, 0).info("x", F32, 0, 1<<32, 1<<32), `offset 37: tensor 0 "x" dimensions: [4294967296 4294967296] overflows`},
		{"bytes wrap", head(1, 0).info("x", F32, 0, 1<<62), `offset 37: tensor 0 "x" dimensions: [4611686018427387904] overflows`},
		{"large", head(1, 0).info("x", F32, 0, 1<<60), `offset 49: tensor 0 "x" data offset: 4611686018427387904 bytes from 0 pass the end`},
		{"half a block", head(1, 0).info("x", Q4_K, 0, 128), `offset 37: tensor 0 "x" dimensions: a row of 128 elements is not a whole number of Q4_K blocks of 256`},
		{"type", head(1, 0).info("x", 16, 0, 256).zeros(99), `offset 45: tensor 0 "x" type: 16 (IQ2_XXS) cannot be read`},
		{"unheard-of type", head(1, 0).info("x", 1<<31, 0, 256).zeros(99), `offset 45: tensor 0 "x" type: 2147483648 cannot be read`},
		{"type of this package's own", head(1, 0).info("x", opaqueBase, 0, 4).pad(32).zeros(4), `offset 45: tensor 0 "x" type: 65536 cannot be read`},
		{"misaligned", head(1, 0).info("x", F32, 16, 1).pad(32).zeros(64), `offset 49: tensor 0 "x" data offset: 16 is not a multiple of the alignment 32`},
		{"offset", head(1, 0).info("x", F32, huge, 1).zeros(99), `offset 49: tensor 0 "x" data offset: 4 bytes from 1152921504606846976 pass`},
		{"offset wraps", head(1, 0).info("x", F32, 1<<64-32, 1).zeros(99), `offset 49: tensor 0 "x" data offset`},
		{"past the end", head(1, 0).info("x", F32, 32, 8).pad(32).zeros(63), `offset 49: tensor 0 "x" data offset: 32 bytes from 96 pass the end of the file, which has 127`},
		{"overlap", head(2, 0).info("x", F32, 32, 8).info("y", F32, 0, 9).pad(32).zeros(99), `tensor 0 "x" data offset: overlaps tensor "y"`},
		{"same place", head(2, 0).info("x", F32, 0, 8).info("y", F32, 0, 8).pad(32).zeros(99), `tensor 1 "y" data offset: overlaps tensor "x"`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := file(t, "hostile.gguf", test.file.b)
			c, err := Open(path)
			if err == nil {
				c.Close()
				t.Fatalf("no error, want %q", test.want)
			}
			if test.name != "magic" && !isFormat(err) {
				t.Errorf("%T is not a FormatError", err)
			}
			if _, _, err = readGGUF("p", test.file.b); err == nil || !strings.HasPrefix(err.Error(), "p: offset ") || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error\n%v\nwant\n%s", err, test.want)
			}
			if n := testing.AllocsPerRun(1, func() { readGGUF("p", test.file.b) }); n > 500 {
				t.Errorf("%g allocations", n)
			}
		})
	}
}

// The size that a file claims must not decide how much memory is taken.
func TestHostileSizesTakeNoMemory(t *testing.T) {
	for _, b := range []*build{
		head(maxTensors, 0).zeros(1000),
		head(0, maxKeys).zeros(1000),
		head(0, 1).str("k").u32(uint32(typeArray)).u32(uint32(typeString)).u64(1 << 59).zeros(1000),
		head(0, 1).str("k").u32(uint32(typeArray)).u32(uint32(typeUint8)).u64(1 << 62).zeros(1000),
		head(1, 0).info("x", F32, 0, 1<<50).zeros(1000),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := readGGUF("p", b.b)
		runtime.ReadMemStats(&after)
		if !isFormat(err) {
			t.Errorf("error %v", err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 1<<18 {
			t.Errorf("%d bytes allocated for a file of %d", got, len(b.b))
		}
	}
}

func TestMetadata(t *testing.T) {
	m := open(t, file(t, "m.gguf", smallGGUF(t))).Metadata()
	if keys := m.Keys(); len(keys) != len(everyValue)+1 || keys[0] != "general.architecture" || !slices.IsSorted(keys[1:]) {
		t.Errorf("keys %q", keys)
	}
	for name, want := range everyValue {
		got := m.Any("test." + name)
		if a, ok := got.(StringArray); ok {
			got = texts(a)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("Any(%s) = %T %v, want %T %v", name, got, got, want, want)
		}
	}
	if m.Any("test.missing") != nil {
		t.Error("a missing key has a value")
	}
}

func texts(a StringArray) []string {
	out := []string{}
	for i, b := range a.All() {
		if i != len(out) {
			panic(fmt.Sprintf("index %d after %d strings", i, len(out)))
		}
		out = append(out, string(b))
	}
	return out
}

// result writes down what a getter said: "4e+09 true".
func result[T any](v T, ok bool) string { return fmt.Sprint(v, ok) }

func TestMetadataConversions(t *testing.T) {
	m := open(t, file(t, "m.gguf", smallGGUF(t))).Metadata()
	for _, test := range []struct{ got, want string }{
		{result(m.Uint("test.uint8")), "200 true"},
		{result(m.Uint("test.uint64")), "9223372036854775808 true"},
		{result(m.Uint("test.uint32")), "4000000000 true"},
		{result(m.Float("test.int8")), "-100 true"},
		{result(m.Float("test.uint64")), "9.223372036854776e+18 true"},
		{result(m.Float("test.float32")), "0.25 true"},
		{result(m.Float("test.float64")), "1e+300 true"},
		{result(m.Bool("test.bool")), "true true"},
		{result(m.Ints("test.int32s")), "[-7 8] true"},
		{result(m.Ints("test.uint8s")), "[1 2] true"},
		{result(m.Ints("test.none")), "[] true"},
		{result(m.Floats("test.float32s")), "[0.5 -1] true"},
		{result(m.Floats("test.int16s")), "[-5] true"},
		{result(m.Bools("test.bools")), "[true false] true"},
	} {
		if test.got != test.want {
			t.Errorf("got %s, want %s", test.got, test.want)
		}
	}
	if s, ok := m.String("test.string"); !ok || s != "lazuli \xff" {
		t.Errorf("String = %q, %t", s, ok)
	}
	if a, ok := m.Strings("test.strings"); !ok || a.Len() != 3 || !slices.Equal(texts(a), []string{"", "jade", "\x00"}) {
		t.Errorf("Strings = %q, %t", texts(a), ok)
	}
	for range must(m.Strings("test.strings")).All() {
		break // must not go on
	}
}

func must[T any](v T, ok bool) T {
	if !ok {
		panic("missing")
	}
	return v
}

// A getter says no to values that it would have to bend.
func TestMetadataRefuses(t *testing.T) {
	m := open(t, file(t, "m.gguf", smallGGUF(t))).Metadata()
	for _, test := range []struct {
		name string
		ok   bool
	}{
		{"Uint of a negative", second(m.Uint("test.int8"))},
		{"Uint of a float", second(m.Uint("test.float32"))},
		{"Uint of a bool", second(m.Uint("test.bool"))},
		{"Uint of an array", second(m.Uint("test.uint8s"))},
		{"Uint of text", second(m.Uint("test.string"))},
		{"Float of text", second(m.Float("test.string"))},
		{"Float of an array", second(m.Float("test.float32s"))},
		{"Bool of a number", second(m.Bool("test.uint8"))},
		{"String of a number", second(m.String("test.uint8"))},
		{"String of an array", second(m.String("test.strings"))},
		{"Strings of text", second(m.Strings("test.string"))},
		{"Strings of numbers", second(m.Strings("test.uint8s"))},
		{"Ints of a scalar", second(m.Ints("test.uint8"))},
		{"Ints of floats", second(m.Ints("test.float32s"))},
		{"Floats of strings", second(m.Floats("test.strings"))},
		{"Bools of numbers", second(m.Bools("test.uint8s"))},
		{"Uint of nothing", second(m.Uint("missing"))},
	} {
		if test.ok {
			t.Errorf("%s is taken", test.name)
		}
	}
}

func second[T any](_ T, ok bool) bool { return ok }

func TestIntsPastInt64(t *testing.T) {
	raw := binary.LittleEndian.AppendUint64(nil, 1<<63)
	m := &Metadata{values: map[string]value{"k": {typ: typeUint64, array: true, n: 1, raw: raw}}}
	if v, ok := m.Ints("k"); ok {
		t.Errorf("2⁶³ became %d", v)
	}
}

func TestSplitGGUF(t *testing.T) {
	dir := t.TempDir()
	part := func(i int, metadata map[string]any, tensors ...Tensor) string {
		path := filepath.Join(dir, fmt.Sprintf("m-%05d-of-00002.gguf", i))
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := WriteGGUF(f, metadata, tensors); err != nil {
			t.Fatal(err)
		}
		return path
	}
	one := Tensor{Name: "norm.weight", Shape: []int{1}, Data: floats(1)}
	two := Tensor{Name: "blk.1.attn_norm.weight", Shape: []int{1}, Data: floats(2)}
	first := part(1, map[string]any{"split.count": uint16(2), "split.tensors.count": int32(2)}, one)
	if _, err := Open(first); err == nil || !strings.Contains(err.Error(), "m-00002-of-00002.gguf") {
		t.Errorf("without the second part: error %v", err)
	}
	second := part(2, map[string]any{"split.count": uint16(2)}, two)
	c := open(t, first)
	if x, ok := c.Tensor("layers.1.input_layernorm.weight"); len(c.Tensors()) != 2 || !ok || !slices.Equal(x.Data, floats(2)) {
		t.Errorf("tensors %v", c.Tensors())
	}
	if _, err := Open(second); err == nil || !strings.Contains(err.Error(), "open the one whose name ends in -00001-of-00002.gguf") {
		t.Errorf("the second part alone: error %v", err)
	}
}

func TestSplitGGUFMiscounted(t *testing.T) {
	for _, metadata := range []map[string]any{
		{"split.count": uint32(1 << 31)},
		{"split.count": uint16(2)},
	} {
		path := filepath.Join(t.TempDir(), "m-00001-of-00003.gguf")
		var b strings.Builder
		if err := WriteGGUF(&b, metadata, nil); err != nil {
			t.Fatal(err)
		}
		write(t, path, []byte(b.String()))
		if _, err := Open(path); !isFormat(err) || !strings.Contains(err.Error(), `"split.count" value`) {
			t.Errorf("%v: error %v", metadata, err)
		}
	}
}

func TestNotAModel(t *testing.T) {
	for _, test := range []struct{ name, data, want string }{
		{"empty.gguf", "", "offset 0: file: is empty"},
		{"short.gguf", "GG", "offset 0: magic"},
		{"pointer.gguf", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
		{"pointer.safetensors", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
		{"page.gguf", "<!DOCTYPE html>", "web page"},
		{"model.bin", "PK\x03\x04", "convert it to safetensors"},
	} {
		if _, err := Open(file(t, test.name, []byte(test.data))); !isFormat(err) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
		}
	}
}

// A vocabulary of a Gemma model's size: opening is a scan of it.
func BenchmarkOpenGGUF(b *testing.B) {
	words := make([]string, 262144)
	for i := range words {
		words[i] = fmt.Sprintf("%06d", i)
	}
	path := filepath.Join(b.TempDir(), "v.gguf")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	metadata := map[string]any{
		"tokenizer.ggml.tokens": words, "tokenizer.ggml.scores": make([]float32, len(words)),
		"tokenizer.ggml.token_type": make([]int32, len(words)),
	}
	var tensors []Tensor
	for i := range 236 {
		tensors = append(tensors, Tensor{Name: fmt.Sprintf("blk.%d.attn_q.weight", i), Shape: []int{4}, Data: floats(1, 2, 3, 4)})
	}
	if err := WriteGGUF(f, metadata, tensors); err != nil {
		b.Fatal(err)
	}
	f.Close()
	b.ReportAllocs()
	for b.Loop() {
		c, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

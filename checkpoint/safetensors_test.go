package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// safetensors puts a header before n bytes of data, which count up.
func safetensors(header string, n int) []byte {
	b := new(build).str(header)
	for i := range n {
		b.u8(uint8(i))
	}
	return b.b
}

func smallSafetensors() []byte {
	return safetensors(`{"__metadata__":{"format":"pt"},`+
		`"model.norm.weight":{"dtype":"BF16","shape":[4],"data_offsets":[8,16]},`+
		`"model.embed_tokens.weight":{"dtype":"F16","shape":[2,2],"data_offsets":[0,8]},`+
		`"position_ids":{"dtype":"I64","shape":[1,1],"data_offsets":[16,24]},`+
		`"none":{"dtype":"F32","shape":[0,7],"data_offsets":[8,8]},`+
		`"scalar":{"dtype":"F32","shape":[],"data_offsets":[24,28]}}   `, 28)
}

func TestOpenSafetensors(t *testing.T) {
	path := file(t, "any name", smallSafetensors())
	c := open(t, path)
	if c.Format() != "safetensors" || c.Metadata() != nil || c.ConfigJSON() != nil {
		t.Errorf("format %q, metadata %v, config %q", c.Format(), c.Metadata(), c.ConfigJSON())
	}
	var got []string
	for _, x := range c.Tensors() {
		got = append(got, fmt.Sprintf("%s %s %v %d", x.Name, x.Type, x.Shape, len(x.Data)))
	}
	want := []string{"embed_tokens.weight F16 [2 2] 8", "none F32 [0 7] 0", "norm.weight BF16 [4] 8", "position_ids I64 [1 1] 8", "scalar F32 [] 4"}
	if !slices.Equal(got, want) {
		t.Errorf("tensors\n%q\nwant\n%q", got, want)
	}
	if x, _ := c.Tensor("norm.weight"); !slices.Equal(x.Data, []byte{8, 9, 10, 11, 12, 13, 14, 15}) {
		t.Errorf("norm.weight holds %v", x.Data)
	}
}

// A format that cannot be read is no reason to refuse the file.
func TestUnreadableDtypes(t *testing.T) {
	c := open(t, file(t, "a.safetensors", safetensors(
		`{"a":{"dtype":"F8_E4M3","shape":[3],"data_offsets":[0,3]},`+
			`"b":{"dtype":"Q17","shape":[3],"data_offsets":[3,8]},`+
			`"c":{"dtype":"F4","shape":[4],"data_offsets":[8,10]}}`, 10)))
	for name, want := range map[string]string{"a": "format F8_E4M3 cannot", "b": "format of unknown dtype cannot", "c": "format F4 cannot"} {
		x, ok := c.Tensor(name)
		if !ok || x.Type.Known() || x.Type.Quantised() {
			t.Errorf("%s: found %t, type %s", name, ok, x.Type)
		}
		x.Row(0) // must not divide by a block of zero
		if err := Dequantize(x.Type, make([]float32, x.Cols()), x.Data); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", name, err, want)
		}
	}
}

func TestTruncatedSafetensors(t *testing.T) {
	data := smallSafetensors()
	for n := range len(data) {
		if _, err := readSafetensors("cut", data[:n:n]); !isFormat(err) {
			t.Fatalf("%d of %d bytes: error %v", n, len(data), err)
		}
	}
	if _, err := readSafetensors("long", append(data, 0)); !isFormat(err) || !strings.Contains(err.Error(), "1 bytes belong to no tensor") {
		t.Errorf("a byte too many: error %v", err)
	}
}

func TestCorruptSafetensors(t *testing.T) {
	data := smallSafetensors()
	for i := range data {
		for _, flip := range []byte{0x01, 0x10, 0x80, 0xff} {
			data[i] ^= flip
			if stored, err := readSafetensors("flipped", data); err == nil {
				exercise(t, nil, stored, len(data))
			} else if !isFormat(err) {
				t.Fatalf("byte %d: error %v", i, err)
			}
			data[i] ^= flip
		}
	}
}

func TestHostileSafetensors(t *testing.T) {
	entry := func(s string) []byte { return safetensors(`{"x":`+s+`}`, 8) }
	tests := []struct {
		name string
		data []byte
		want string
	}{
		{"length", new(build).u64(1 << 63).raw("{}").b, "offset 0: header length: 9223372036854775808; at most 100000000"},
		{"length past the end", new(build).u64(99_999_999).raw("{}").b, "offset 8: header: needs 99999999 bytes and the file ends after 2"},
		{"no object", safetensors(`[]`, 0), "offset 8: header: is not a JSON object"},
		{"no JSON", safetensors(`{"a":`, 0), `tensor 0 "a" value: EOF`},
		{"key", safetensors(`{1:2}`, 0), "tensor 0 name: invalid character"},
		{"open", safetensors(`{`, 0), "header: EOF"},
		{"two objects", safetensors(`{}{}`, 0), "something follows the JSON object"},
		{"deep", safetensors(`{"__metadata__":`+strings.Repeat("[", 20000), 0), "exceeded max depth"},
		{"twice", safetensors(`{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"x":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), `tensor 1 "x" name: appears twice`},
		{"entry", entry(`5`), `offset 14: tensor 0 "x" value: json: cannot unmarshal number`},
		{"no dtype", entry(`{"shape":[2],"data_offsets":[0,8]}`), `offset 12: tensor 0 "x" dtype: is missing`},
		{"no shape", entry(`{"dtype":"F32","data_offsets":[0,8]}`), `tensor 0 "x" shape: is missing`},
		{"no offsets", entry(`{"dtype":"F32","shape":[2]}`), `tensor 0 "x" data_offsets: must be two numbers`},
		{"one offset", entry(`{"dtype":"F32","shape":[2],"data_offsets":[0]}`), `tensor 0 "x" data_offsets: must be two numbers`},
		{"negative offset", entry(`{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}`), "cannot unmarshal number -8"},
		{"negative shape", entry(`{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}`), "cannot unmarshal number -2"},
		{"backwards", entry(`{"dtype":"F32","shape":[2],"data_offsets":[8,0]}`), "data_offsets: 8 to 0 are not within the 8 bytes of data"},
		{"past the end", entry(`{"dtype":"F32","shape":[2],"data_offsets":[1,9]}`), "data_offsets: 1 to 9 are not within the 8 bytes"},
		{"huge offset", entry(`{"dtype":"F32","shape":[2],"data_offsets":[0,18446744073709551615]}`), "are not within"},
		{"shape", entry(`{"dtype":"F32","shape":[3],"data_offsets":[0,8]}`), "data_offsets: 0 to 8 are 8 bytes; the shape [3] of F32 takes 12"},
		{"shape wraps", entry(`{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}`), "shape: [4294967296 4294967296] overflows"},
		{"empty but endless", entry(`{"dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}`), "overflows"},
		{"gap in front", entry(`{"dtype":"F32","shape":[1],"data_offsets":[4,8]}`), "leaves 4 bytes before it"},
		{"gap behind", entry(`{"dtype":"F32","shape":[1],"data_offsets":[0,4]}`), "data: 4 bytes belong to no tensor"},
		{"overlap", safetensors(`{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, 12), `tensor "y" data_offsets: overlaps tensor "x"`},
		{"same canonical name", safetensors(`{"model.norm.weight":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"norm.weight":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 2), `tensor "norm.weight": another tensor is "norm.weight" as well`},
	}
	for _, test := range tests {
		_, err := Open(file(t, "h.safetensors", test.data))
		if !isFormat(err) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error\n%v\nwant\n%s", test.name, err, test.want)
		}
	}
}

// folder makes a checkpoint of the given files.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, path, []byte(data))
	}
	return dir
}

// shard is a file with one tensor of one byte.
func shard(tensor string) string {
	return string(safetensors(fmt.Sprintf(`{%q:{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, tensor), 1))
}

func TestFolder(t *testing.T) {
	c := open(t, folder(t, map[string]string{
		"model.safetensors": string(smallSafetensors()), "config.json": `{"a":1}`, "tokenizer.model": "spm", "1_Pooling/config.json": "{}",
	}))
	if string(c.ConfigJSON()) != `{"a":1}` || len(c.Tensors()) != 5 {
		t.Errorf("config %q, %d tensors", c.ConfigJSON(), len(c.Tensors()))
	}
	if b, err := c.Sibling("tokenizer.model"); string(b) != "spm" || err != nil {
		t.Errorf("tokenizer.model is %q, error %v", b, err)
	}
	if b, err := c.Sibling("1_Pooling/config.json"); string(b) != "{}" || err != nil {
		t.Errorf("1_Pooling/config.json is %q, error %v", b, err)
	}
	if _, err := c.Sibling("tokenizer.json"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing sibling: error %v", err)
	}
	for _, name := range []string{"../x", "/etc/passwd", "a/../../x", ""} {
		if b, err := c.Sibling(name); err == nil {
			t.Errorf("Sibling(%q) = %q", name, b)
		}
	}
}

func TestSiblingOfGGUF(t *testing.T) {
	path := file(t, "a.gguf", smallGGUF(t))
	write(t, filepath.Join(filepath.Dir(path), "tokenizer.model"), []byte("spm"))
	if _, err := open(t, path).Sibling("tokenizer.model"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestShards(t *testing.T) {
	c := open(t, folder(t, map[string]string{
		"config.json":                      "{}",
		"model-00001-of-00002.safetensors": shard("model.norm.weight"),
		"model-00002-of-00002.safetensors": shard("lm_head.weight"),
		indexFile:                          `{"metadata":{"total_size":2},"weight_map":{"lm_head.weight":"model-00002-of-00002.safetensors","model.norm.weight":"model-00001-of-00002.safetensors"}}`,
	}))
	if len(c.Tensors()) != 2 || c.Tensors()[0].Name != "norm.weight" || c.Tensors()[1].Name != "lm_head.weight" {
		t.Errorf("tensors %v", c.Tensors())
	}
	if string(c.ConfigJSON()) != "{}" {
		t.Errorf("config %q", c.ConfigJSON())
	}
}

func TestHostileIndex(t *testing.T) {
	weights := func(s string) string { return `{"weight_map":{` + s + `}}` }
	for _, test := range []struct{ name, index, want string }{
		{"not JSON", `{"weight_map"`, "offset 13: index: unexpected end of JSON input"},
		{"no map", `{}`, "weight_map: is missing or empty"},
		{"wrong map", `{"weight_map":[]}`, "index: json: cannot unmarshal array"},
		{"parent", weights(`"a":"../outside.safetensors"`), `offset 15: weight_map "a": the file "../outside.safetensors" is not inside the folder`},
		{"deep parent", weights(`"a":"b/../../outside.safetensors"`), "is not inside the folder"},
		{"absolute", weights(`"a":"/outside.safetensors"`), "is not inside the folder"},
		{"empty name", weights(`"a":""`), "is not inside the folder"},
		{"folder itself", weights(`"a":"."`), "not a regular file"},
		{"missing shard", weights(`"a":"gone.safetensors"`), "gone.safetensors"},
		{"missing tensor", weights(`"b":"a.safetensors"`), `weight_map "b"`},
		{"tensor twice", weights(`"a":"a.safetensors","b":"again.safetensors"`), `tensor "a": another tensor is "a" as well`},
	} {
		dir := folder(t, map[string]string{"in/" + indexFile: test.index, "in/a.safetensors": shard("a"), "in/again.safetensors": shard("a"), "outside.safetensors": shard("a")})
		if _, err := Open(filepath.Join(dir, "in")); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
		}
	}
}

func TestFolderWithoutModel(t *testing.T) {
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), "neither model.safetensors nor") {
		t.Errorf("error %v", err)
	}
	if _, err := Open(filepath.Join(t.TempDir(), "gone")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

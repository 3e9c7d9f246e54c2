package quantize_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/checkpoint/convert"
	"lapidary/checkpoint/quantize"
	"lapidary/engine/cpu"
	"lapidary/engine/ref"
	"lapidary/gemma"
)

const golden = "../../gemma/testdata/goldens/gemma3_text"

func open(t *testing.T, path string) *checkpoint.Checkpoint {
	t.Helper()
	c, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func model(t *testing.T, path string) *convert.Model {
	t.Helper()
	m, err := convert.ToGGUF(open(t, path))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func find(t *testing.T, name string) quantize.Mixture {
	t.Helper()
	mix, err := quantize.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return mix
}

// shapes are the matrices of a Gemma of the given width, without data.
func shapes(width, layers int, untied bool) []checkpoint.Tensor {
	t := []checkpoint.Tensor{{Name: "embed_tokens.weight", Shape: []int{1000, width}}, {Name: "norm.weight", Shape: []int{width}}}
	if untied {
		t = append(t, checkpoint.Tensor{Name: "lm_head.weight", Shape: []int{1000, width}})
	}
	for i := range layers {
		name := func(part string) string {
			return "layers." + string(rune('0'+i/10)) + string(rune('0'+i%10)) + "." + part + ".weight"
		}
		t = append(t,
			checkpoint.Tensor{Name: name("self_attn.q_proj"), Shape: []int{1024, width}},
			checkpoint.Tensor{Name: name("self_attn.k_proj"), Shape: []int{256, width}},
			checkpoint.Tensor{Name: name("self_attn.v_proj"), Shape: []int{256, width}},
			checkpoint.Tensor{Name: name("self_attn.o_proj"), Shape: []int{width, 1024}},
			checkpoint.Tensor{Name: name("self_attn.q_norm"), Shape: []int{256}},
			checkpoint.Tensor{Name: name("mlp.down_proj"), Shape: []int{width, 2048}})
	}
	return t
}

// formats are those that a mixture gives, by the tensors' names.
func formats(mix quantize.Mixture, tensors []checkpoint.Tensor, guided bool) map[string]checkpoint.Type {
	out := map[string]checkpoint.Type{}
	for i, f := range mix.Formats(tensors, guided) {
		out[tensors[i].Name] = f
	}
	return out
}

// TestMixtures: what llama-quantize gives the same tensors, at a width that
// superblocks do not divide (Gemma 3 270M) and at one that they do.
func TestMixtures(t *testing.T) {
	narrow, wide := shapes(640, 18, false), shapes(1024, 18, false)
	for _, c := range []struct {
		mix     string
		tensors []checkpoint.Tensor
		name    string
		want    checkpoint.Type
	}{
		{"Q4_K_M", narrow, "embed_tokens.weight", checkpoint.Q8_0},
		{"Q4_K_M", wide, "embed_tokens.weight", checkpoint.Q6_K},
		{"Q4_K_M", shapes(1024, 18, true), "embed_tokens.weight", checkpoint.Q4_K},
		{"Q4_K_M", shapes(1024, 18, true), "lm_head.weight", checkpoint.Q6_K},
		{"Q4_K_M", narrow, "norm.weight", checkpoint.F32},
		{"Q4_K_M", narrow, "layers.03.self_attn.q_norm.weight", checkpoint.F32},
		{"Q4_K_M", narrow, "layers.03.self_attn.q_proj.weight", checkpoint.Q5_0},
		{"Q4_K_M", narrow, "layers.03.self_attn.o_proj.weight", checkpoint.Q4_K},
		{"Q4_K_M", narrow, "layers.00.self_attn.v_proj.weight", checkpoint.Q8_0},
		{"Q4_K_M", narrow, "layers.02.self_attn.v_proj.weight", checkpoint.Q5_0},
		{"Q4_K_M", wide, "layers.04.self_attn.v_proj.weight", checkpoint.Q6_K},
		{"Q4_K_M", narrow, "layers.01.mlp.down_proj.weight", checkpoint.Q6_K},
		{"Q4_K_M", narrow, "layers.02.mlp.down_proj.weight", checkpoint.Q4_K},
		{"Q4_K_M", narrow, "layers.15.mlp.down_proj.weight", checkpoint.Q6_K},
		{"Q4_K_S", narrow, "layers.01.mlp.down_proj.weight", checkpoint.Q5_K},
		{"Q4_K_S", wide, "layers.03.self_attn.v_proj.weight", checkpoint.Q5_K},
		{"Q4_K_S", wide, "layers.04.self_attn.v_proj.weight", checkpoint.Q4_K},
		{"Q5_K_M", narrow, "layers.03.self_attn.q_proj.weight", checkpoint.Q5_1},
		{"Q6_K", narrow, "layers.03.self_attn.q_proj.weight", checkpoint.Q8_0},
		{"Q4_0", narrow, "embed_tokens.weight", checkpoint.Q8_0},
		{"Q4_0", wide, "embed_tokens.weight", checkpoint.Q6_K},
		{"Q4_0", wide, "layers.00.mlp.down_proj.weight", checkpoint.Q4_0},
		{"Q8_0", wide, "embed_tokens.weight", checkpoint.Q8_0},
		{"Q3_K_M", wide, "layers.01.self_attn.v_proj.weight", checkpoint.Q5_K},
		{"Q3_K_M", wide, "layers.02.self_attn.v_proj.weight", checkpoint.Q4_K},
		{"Q3_K_M", wide, "layers.00.mlp.down_proj.weight", checkpoint.Q5_K},
		{"Q3_K_M", wide, "layers.01.mlp.down_proj.weight", checkpoint.Q4_K},
		{"Q3_K_M", wide, "layers.01.self_attn.o_proj.weight", checkpoint.Q4_K},
		{"Q3_K_L", wide, "layers.01.self_attn.o_proj.weight", checkpoint.Q5_K},
		{"Q3_K_S", narrow, "layers.01.self_attn.q_proj.weight", checkpoint.Q4_0},
		{"Q2_K", wide, "layers.01.self_attn.v_proj.weight", checkpoint.Q4_K},
		{"Q2_K", wide, "layers.01.self_attn.q_proj.weight", checkpoint.Q2_K},
		{"IQ4_NL", wide, "layers.01.mlp.down_proj.weight", checkpoint.Q5_K},
		{"F16", wide, "embed_tokens.weight", checkpoint.F16},
		{"Q4_0", shapes(24, 1, false), "embed_tokens.weight", checkpoint.F16},
	} {
		got, ok := formats(find(t, c.mix), c.tensors, false)[c.name]
		if !ok || got != c.want {
			t.Errorf("%s gives %s %v the format %s, want %s", c.mix, c.name, c.tensors[0].Shape, got, c.want)
		}
	}
	if got := formats(find(t, "Q4_0"), wide, true)["layers.01.mlp.down_proj.weight"]; got != checkpoint.Q4_1 {
		t.Errorf("a calibrated Q4_0 gives a first layer %s, want Q4_1", got)
	}
}

// TestWrite: every mixture gives a file that is read back, says what it is, and
// has the weights within what the format can.
// TestMixturesOfLater: what llama-quantize gives Gemma 3n and 4. Of these six
// layers each third has no values, so the four others are counted by themselves,
// and has keys that more heads share than in the first, which counts.
func TestMixturesOfLater(t *testing.T) {
	const d = 256
	tensors := []checkpoint.Tensor{{Name: "embed_tokens.weight", Shape: []int{500, d}}, {Name: "embed_tokens_per_layer.weight", Shape: []int{500, d}},
		{Name: "per_layer_model_projection.weight", Shape: []int{d, d}}, {Name: "altup_projections.weight", Shape: []int{3, d, d}},
		{Name: "v.blk.0.attn_q.weight", Shape: []int{d, d}}}
	for i := range 6 {
		add := func(name string, shape ...int) {
			tensors = append(tensors, checkpoint.Tensor{Name: fmt.Sprintf("layers.%d.%s", i, name), Shape: shape})
		}
		add("self_attn.q_proj.weight", 2*d, d)
		if i%3 == 2 {
			add("self_attn.k_proj.weight", d/2, d)
		} else {
			add("self_attn.k_proj.weight", d, d)
			add("self_attn.v_proj.weight", d, d)
		}
		add("router.proj.weight", 8, d)
		add("experts.gate_up_proj", 8, 2*d, d)
		add("experts.down_proj", 8, d, d)
		add("laurel.linear_left.weight", 64, d)
		add("layer_scalar", 1)
	}
	for i := range tensors {
		tensors[i].Type = checkpoint.BF16
	}
	for _, c := range []struct {
		mix, name string
		want      checkpoint.Type
	}{
		{"Q4_K_M", "embed_tokens_per_layer.weight", checkpoint.Q6_K},
		{"Q4_K_M", "per_layer_model_projection.weight", checkpoint.BF16},
		{"Q4_K_M", "altup_projections.weight", checkpoint.BF16},
		{"Q4_K_M", "layers.0.laurel.linear_left.weight", checkpoint.BF16},
		{"Q4_K_M", "layers.0.layer_scalar", checkpoint.BF16},
		{"Q4_K_M", "layers.0.router.proj.weight", checkpoint.BF16},
		{"Q4_K_M", "layers.0.experts.gate_up_proj", checkpoint.Q4_K},
		{"Q4_K_M", "layers.5.experts.down_proj", checkpoint.Q6_K},
		{"Q4_K_M", "layers.3.experts.down_proj", checkpoint.Q4_K},
		{"Q4_K_M", "layers.1.self_attn.v_proj.weight", checkpoint.Q4_K},
		{"Q4_K_M", "layers.3.self_attn.v_proj.weight", checkpoint.Q6_K}, // the third of four
		{"Q2_K", "layers.0.self_attn.v_proj.weight", checkpoint.Q3_K},
		{"Q4_K_M", "v.blk.0.attn_q.weight", checkpoint.BF16},
		{"BF16", "layers.0.experts.down_proj", checkpoint.BF16},
	} {
		mix, err := quantize.Find(c.mix)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(tensors, func(t checkpoint.Tensor) bool { return t.Name == c.name })
		if got := mix.Formats(tensors, false)[i]; got != c.want {
			t.Errorf("%s: %s is %s, want %s", c.mix, c.name, got, c.want)
		}
	}
}

func TestWrite(t *testing.T) {
	m := model(t, golden)
	for _, mix := range quantize.Mixtures() {
		path := filepath.Join(t.TempDir(), "m.gguf")
		var last, all int64
		o := quantize.Options{Progress: func(done, total int64) { last, all = done, total }}
		r, err := quantize.Write(t.Context(), path, m, mix, o)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Size() != r.Bytes || last != all || all == 0 {
			t.Errorf("%s: %v, %d bytes were reported as %d, progress %d of %d", mix.Name, err, info.Size(), r.Bytes, last, all)
		}
		c := open(t, path)
		if n, _ := c.Metadata().Uint("general.file_type"); n != uint64(mix.FileType) {
			t.Errorf("%s: general.file_type is %d", mix.Name, n)
		}
		for _, want := range m.Tensors {
			got, ok := c.Tensor(want.Name)
			if !ok {
				t.Fatalf("%s: %s is missing", mix.Name, want.Name)
			}
			sum, all := 0.0, 0.0
			a, b := checkpointtest.Floats(want), checkpointtest.Floats(got)
			for i := range a {
				sum, all = sum+math.Pow(float64(a[i]-b[i]), 2), all+math.Pow(float64(a[i]), 2)
			}
			if sum > 0.012*all {
				t.Errorf("%s: %s in %s has the error %.3g", mix.Name, want.Name, got.Type, sum/all)
			}
		}
	}
}

func TestFind(t *testing.T) {
	if mix, err := quantize.Find("q4_k_m"); err != nil || mix.Name != "Q4_K_M" {
		t.Errorf("%v, %v", mix.Name, err)
	}
	if _, err := quantize.Find("Q3"); err == nil || !strings.Contains(err.Error(), `there is no type "Q3"; choose one of F32, `) {
		t.Errorf("error %v", err)
	}
}

// nothing fails unless the folder holds what it held before.
func nothing(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(want) {
		t.Errorf("%v is left, want %v (%v)", entries, want, err)
	}
}

// TestNothingIsLeft: after a failure path is as it was before.
func TestNothingIsLeft(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "m.gguf")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	sick := model(t, golden)
	x := sick.Tensors[5]
	x.Data = append([]byte{0, 0, 0xc0, 0x7f}, x.Data[4:]...) // NaN
	sick.Tensors[5] = x
	for what, c := range map[string]struct {
		ctx  context.Context
		m    *convert.Model
		o    quantize.Options
		want string
	}{
		"cancelled":         {ended, model(t, golden), quantize.Options{Progress: func(int64, int64) { cancel() }}, "context canceled"},
		"not a number":      {t.Context(), sick, quantize.Options{}, `tensor "` + x.Name + `": row 0: element 0 is NaN`},
		"other importances": {t.Context(), model(t, golden), quantize.Options{Importance: map[string][]float32{"embed_tokens.weight": {1}}}, "belong to another model"},
		"bad importances": {t.Context(), model(t, golden), quantize.Options{Importance: map[string][]float32{
			"embed_tokens.weight": append(make([]float32, 31), float32(math.NaN()))}}, "the importance of column 31 is NaN"},
	} {
		_, err := quantize.Write(c.ctx, path, c.m, find(t, "Q8_0"), c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", what, err, c.want)
		}
		nothing(t, dir, "m.gguf")
		if b, err := os.ReadFile(path); string(b) != "mine" {
			t.Errorf("%s: the file that was there has become %.10q (%v)", what, b, err)
		}
	}
}

// TestFullDisk writes to a device that is always full.
func TestFullDisk(t *testing.T) {
	const device = "/dev/full"
	if _, err := os.Stat(device); err != nil {
		t.Skip("there is no full device here")
	}
	f, err := os.OpenFile(device, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := model(t, golden)
	err = checkpoint.StreamGGUF(f, m.Metadata, m.Tensors, nil)
	if err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error %v", err)
	}
}

func TestSourceIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	if _, err := quantize.Write(t.Context(), path, model(t, golden), find(t, "F32"), quantize.Options{}); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(filepath.Dir(path), "link.gguf")
	if err := os.Link(path, link); err != nil {
		t.Skip(err)
	}
	for _, to := range []string{path, link} {
		_, err := quantize.Write(t.Context(), to, model(t, path), find(t, "F16"), quantize.Options{})
		if err == nil || !strings.Contains(err.Error(), "is the model that is read") {
			t.Errorf("error %v", err)
		}
	}
}

var text = []int32{2, 17, 33, 5, 90, 41, 17, 150, 7, 64, 12, 99}

// TestCalibrate: importances are mean squares, the same from every engine, for
// each matrix but the embedding.
func TestCalibrate(t *testing.T) {
	fast, err := cpu.New(cpu.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer fast.Close()
	c := open(t, golden)
	texts := [][]int32{text, text[:5]}
	done := int64(0)
	want, err := quantize.Calibrate(t.Context(), c, ref.New(), texts, func(d, _ int64) { done = d })
	if err != nil || done != 2 {
		t.Fatalf("%v, %d of 2 texts", err, done)
	}
	got, err := quantize.Calibrate(t.Context(), c, fast, texts, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range c.Tensors() {
		matrix := len(x.Shape) == 2 && x.Name != "embed_tokens.weight"
		if w, ok := want[x.Name]; ok != matrix || ok && len(w) != x.Cols() {
			t.Fatalf("%s has %d importances", x.Name, len(w))
		}
		for i, w := range want[x.Name] {
			if g := got[x.Name][i]; !(w > 0) || math.Abs(float64(g-w)) > 1e-3*float64(w) {
				t.Fatalf("%s: column %d has the importance %v from one engine and %v from the other", x.Name, i, w, g)
			}
		}
	}
	seen := want["layers.0.self_attn.q_proj.weight"]
	if other := want["layers.0.self_attn.k_proj.weight"]; seen[3] != other[3] {
		t.Errorf("queries and keys are made of the same, and have the importances %v and %v", seen[3], other[3])
	}
	mean := 0.0
	for i, v := range seen {
		w, _ := c.Tensor("layers.0.input_layernorm.weight")
		scale := 1 + float64(checkpointtest.Floats(w)[i])
		mean += float64(v) / (scale * scale) / float64(len(seen))
	}
	if math.Abs(mean-1) > 0.05 {
		t.Errorf("normed rows have the mean square %v, want 1", mean)
	}
}

// TestCalibrationHelps: the logits are nearer to those of the weights as they
// were.
func TestCalibrationHelps(t *testing.T) {
	c := open(t, golden)
	importance, err := quantize.Calibrate(t.Context(), c, ref.New(), [][]int32{text}, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := logits(t, c)
	var off [2]float64
	for i, o := range []quantize.Options{{}, {Importance: importance}} {
		path := filepath.Join(t.TempDir(), "m.gguf")
		if _, err := quantize.Write(t.Context(), path, model(t, golden), find(t, "Q4_0"), o); err != nil {
			t.Fatal(err)
		}
		for j, v := range logits(t, open(t, path)) {
			off[i] += math.Pow(float64(v-want[j]), 2)
		}
	}
	if !(off[1] < off[0]) {
		t.Errorf("squared error of the logits: %v without, %v with calibration", off[0], off[1])
	}
}

func logits(t *testing.T, c *checkpoint.Checkpoint) []float32 {
	t.Helper()
	m, err := gemma.Load(c, ref.New())
	if err != nil {
		t.Fatal(err)
	}
	var out gemma.Logits
	if err := m.Forward(t.Context(), []gemma.Step{{Tokens: text, Logits: gemma.AllRows}}, &out); err != nil {
		t.Fatal(err)
	}
	var all []float32
	for i := range out.Rows() {
		all = append(all, out.Row(i)...)
	}
	return all
}

func TestCalibrateRefuses(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := quantize.Calibrate(ended, open(t, golden), ref.New(), [][]int32{text}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if _, err := quantize.Calibrate(t.Context(), open(t, golden), ref.New(), [][]int32{{1000}}, nil); err == nil {
		t.Error("a token that the model does not know is no error")
	}
}

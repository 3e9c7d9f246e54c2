package checkpointtest

import (
	"bytes"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"lapidary/checkpoint"
)

var types = []checkpoint.Type{
	checkpoint.F32, checkpoint.F16, checkpoint.BF16, checkpoint.Q4_0, checkpoint.Q4_1, checkpoint.Q5_0,
	checkpoint.Q5_1, checkpoint.Q8_0, checkpoint.Q2_K, checkpoint.Q3_K, checkpoint.Q4_K, checkpoint.Q5_K,
	checkpoint.Q6_K, checkpoint.IQ4_NL, checkpoint.IQ4_XS, checkpoint.MXFP4,
}

// Random elements of every format must be of the size of a model's weights:
// the tests of engines set their tolerances by it.
func TestRandomTensorSize(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, typ := range types {
		sum, values := 0.0, Floats(RandomTensor(rng, typ, 64, 512))
		for _, v := range values {
			sum += float64(v) * float64(v)
		}
		rms := math.Sqrt(sum / float64(len(values)))
		if !(rms > 0.03 && rms < 0.12) {
			t.Errorf("%s: root mean square %g", typ, rms)
		}
	}
}

func TestWriteGGUF(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var tensors []checkpoint.Tensor
	for _, typ := range types {
		x := RandomTensor(rng, typ, 3, 256)
		x.Name = typ.String()
		tensors = append(tensors, x)
	}
	path := filepath.Join(t.TempDir(), "all.gguf")
	if err := WriteGGUF(path, map[string]any{"general.alignment": uint32(64)}, tensors); err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i, got := range c.Tensors() {
		want := tensors[i]
		if got.Name != want.Name || got.Type != want.Type || !slices.Equal(got.Shape, want.Shape) || !bytes.Equal(got.Data, want.Data) {
			t.Errorf("tensor %d: wrote %s %v, read %s %s %v", i, want.Name, want.Shape, got.Name, got.Type, got.Shape)
		}
	}
}

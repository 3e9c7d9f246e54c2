// Package checkpointtest makes tensors and model files for tests.
package checkpointtest

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"os"

	"lapidary/checkpoint"
)

// scale says where a block keeps a half-precision factor, and the size it
// must have for the elements to come out around 0.05.
type scale struct {
	offset int
	size   float64
}

var scales = map[checkpoint.Type][]scale{
	checkpoint.Q4_0:   {{0, 0.011}},
	checkpoint.Q4_1:   {{0, 0.011}, {2, -0.08}},
	checkpoint.Q5_0:   {{0, 0.0054}},
	checkpoint.Q5_1:   {{0, 0.0054}, {2, -0.08}},
	checkpoint.Q8_0:   {{0, 0.00068}},
	checkpoint.Q2_K:   {{80, 0.0045}, {82, 0.0065}},
	checkpoint.Q3_K:   {{108, 0.0012}},
	checkpoint.Q4_K:   {{0, 0.00027}, {2, 0.002}},
	checkpoint.Q5_K:   {{0, 0.00013}, {2, 0.002}},
	checkpoint.Q6_K:   {{208, 0.000037}}, // subnormal, as in real files
	checkpoint.IQ4_NL: {{0, 0.00072}},
	checkpoint.IQ4_XS: {{0, 0.000039}},
}

// RandomTensor makes a tensor [rows, cols] of any readable format: every bit
// pattern a block allows occurs, while scales keep the elements finite and
// around 0.05 in size, like the weights of a model. cols must be a whole
// number of blocks.
func RandomTensor(rng *rand.Rand, t checkpoint.Type, rows, cols int) checkpoint.Tensor {
	if !t.Known() || cols%t.Block() != 0 {
		panic(fmt.Sprintf("checkpointtest: %s cannot hold rows of %d elements", t, cols))
	}
	data := make([]byte, rows*cols/t.Block()*t.BlockBytes())
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	for at := 0; at < len(data); at += t.BlockBytes() {
		fillBlock(rng, t, data[at:at+t.BlockBytes()])
	}
	return checkpoint.Tensor{Name: "random", Type: t, Shape: []int{rows, cols}, Data: data}
}

// fillBlock overwrites what may not be random.
func fillBlock(rng *rand.Rand, t checkpoint.Type, b []byte) {
	value := float32(rng.NormFloat64() * 0.05)
	switch t {
	case checkpoint.F32:
		binary.LittleEndian.PutUint32(b, math.Float32bits(value))
	case checkpoint.BF16:
		binary.LittleEndian.PutUint16(b, uint16(math.Float32bits(value)>>16))
	case checkpoint.F16:
		binary.LittleEndian.PutUint16(b, checkpoint.FloatToHalf(value))
	case checkpoint.MXFP4:
		b[0] = byte(120 + rng.IntN(4)) // 2⁻⁷ to 2⁻⁴
	}
	for _, s := range scales[t] {
		d := s.size * math.Exp2(2*rng.Float64()-1)
		binary.LittleEndian.PutUint16(b[s.offset:], checkpoint.FloatToHalf(float32(d)))
	}
}

// Floats dequantizes a whole tensor, row-major.
func Floats(t checkpoint.Tensor) []float32 {
	out := make([]float32, t.Rows()*t.Cols())
	if err := checkpoint.Dequantize(t.Type, out, t.Data); err != nil {
		panic("checkpointtest: " + err.Error())
	}
	return out
}

// FloatTensor stores values as F32 under a name.
func FloatTensor(name string, values []float32, shape ...int) checkpoint.Tensor {
	data := make([]byte, 0, 4*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return checkpoint.Tensor{Name: name, Type: checkpoint.F32, Shape: shape, Data: data}
}

// WriteGGUF makes the file that [checkpoint.WriteGGUF] describes.
func WriteGGUF(path string, metadata map[string]any, tensors []checkpoint.Tensor) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := checkpoint.WriteGGUF(f, metadata, tensors); err != nil {
		return err
	}
	return f.Close()
}

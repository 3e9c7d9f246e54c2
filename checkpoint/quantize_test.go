package checkpoint

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// encoders are the formats that can be written.
func encoders() []Type {
	var types []Type
	for n, l := range layouts {
		if l.pack != nil {
			types = append(types, Type(n))
		}
	}
	return types
}

// stored encodes and decodes again.
func stored(t testing.TB, typ Type, x, importance []float32) []float32 {
	t.Helper()
	b := make([]byte, len(x)/typ.Block()*typ.BlockBytes())
	if err := Quantize(typ, b, x, importance); err != nil {
		t.Fatalf("%s: %v", typ, err)
	}
	y := make([]float32, len(x))
	if err := Dequantize(typ, y, b); err != nil {
		t.Fatal(err)
	}
	return y
}

// squares is the sum of importance · (x − y)².
func squares(x, y, importance []float32) float64 {
	sum := 0.0
	for i := range x {
		d, w := float64(x[i])-float64(y[i]), 1.0
		if importance != nil {
			w = float64(importance[i%len(importance)])
		}
		sum += w * d * d
	}
	return sum
}

// peerSet is an entry of testdata/quantize.json.
type peerSet struct {
	Name                 string
	Elements, Importance packed
	Errors               map[string][2]float64
}

// packed is floats in base64.
type packed []float32

func (p *packed) UnmarshalJSON(b []byte) error {
	raw, err := base64.StdEncoding.DecodeString(strings.Trim(string(b), `"`))
	*p = make(packed, len(raw)/4)
	unpackF32(*p, raw)
	return err
}

// Nothing is stored worse than ggml's own encoders store it, rounding aside.
func TestQuantizeBeatsPeer(t *testing.T) {
	text, err := os.ReadFile("testdata/quantize.json")
	if err != nil {
		t.Fatal(err)
	}
	var sets []peerSet
	if err := json.Unmarshal(text, &sets); err != nil || len(sets) == 0 {
		t.Fatalf("%d sets, %v", len(sets), err)
	}
	for _, set := range sets {
		for _, typ := range encoders() {
			if typ == F32 {
				continue
			}
			want, ok := set.Errors[typ.String()]
			if !ok {
				t.Errorf("%s: no figures for %s", set.Name, typ)
			}
			const slack = 1e-6 // a figure of theirs is a sum of float32 roundings
			even := squares(set.Elements, stored(t, typ, set.Elements, nil), nil)
			cols := len(set.Importance)
			each := make([]float32, 0, len(set.Elements))
			for range len(set.Elements) / cols {
				each = append(each, set.Importance...)
			}
			weighed := squares(set.Elements, stored(t, typ, set.Elements, each), each)
			t.Logf("%-8s %-6s %.3g of %.3g (%.3f), weighed %.3g of %.3g (%.3f)", set.Name, typ,
				even, want[0], even/want[0], weighed, want[1], weighed/want[1])
			if even > want[0]*(1+slack)+1e-12 || weighed > want[1]*(1+slack)+1e-12 {
				t.Errorf("%s, %s: errors %.4g and, weighed, %.4g; ggml's encoder leaves %.4g and %.4g",
					set.Name, typ, even, weighed, want[0], want[1])
			}
		}
	}
}

// fill makes 512 elements by their index.
func fill(f func(i int) float64) []float32 {
	x := make([]float32, 512)
	for i := range x {
		x[i] = float32(f(i))
	}
	return x
}

// hard are blocks that searches stumble over.
var hard = map[string][]float32{
	"zeros":         fill(func(int) float64 { return 0 }),
	"minus zeros":   fill(func(int) float64 { return math.Copysign(0, -1) }),
	"a constant":    fill(func(int) float64 { return 0.37 }),
	"minus one":     fill(func(int) float64 { return -1 }),
	"one outlier":   fill(func(i int) float64 { return map[bool]float64{true: 3, false: 0}[i == 77] }),
	"two values":    fill(func(i int) float64 { return float64(i%2) - 0.5 }),
	"a ramp":        fill(func(i int) float64 { return float64(i) / 512 }),
	"largest":       fill(func(i int) float64 { return float64(1-i%2*2) * maxHalf }),
	"one largest":   fill(func(i int) float64 { return map[bool]float64{true: maxHalf, false: 1e-3}[i == 0] }),
	"subnormals":    fill(func(i int) float64 { return float64(i-256) * 0x1p-149 }),
	"half's least":  fill(func(i int) float64 { return float64(i%16-8) * 0x1p-24 }),
	"wide":          fill(func(i int) float64 { return math.Exp2(float64(i%40 - 30)) }),
	"nearly all of": fill(func(i int) float64 { return map[bool]float64{true: -1, false: 0.5}[i%37 == 0] }),
}

// What is stored is finite and never farther away than nothing at all would
// be, except by what half-precision shifts lose.
func TestQuantizeHardBlocks(t *testing.T) {
	none := make([]float32, 512) // also: nothing matters
	for name, x := range hard {
		for _, typ := range encoders() {
			for what, importance := range map[string][]float32{"even": nil, "weighed": fill(func(i int) float64 { return float64(i % 5) }), "of no importance": none} {
				y := stored(t, typ, x, importance)
				for i := range y {
					if math.IsNaN(float64(y[i])) || math.IsInf(float64(y[i]), 0) {
						t.Fatalf("%s, %s, %s: element %d has become %v", name, typ, what, i, y[i])
					}
				}
				if e, all := squares(x, y, importance), squares(x, none, importance); e > all*(1+1e-9) {
					t.Errorf("%s, %s, %s: the error is %g, that of zeros %g", name, typ, what, e, all)
				}
			}
		}
	}
}

// One value for all is stored as well as a half-precision scale can say it.
func TestQuantizeConstants(t *testing.T) {
	for _, typ := range encoders() {
		for _, v := range []float32{1, -1, 0.37, -1e-3, 12345} {
			y := stored(t, typ, fill(func(int) float64 { return float64(v) }), nil)
			for i := range y {
				if off := math.Abs(float64(y[i]-v)) / math.Abs(float64(v)); off > 0x1p-8 {
					t.Errorf("%s: %v has become %v", typ, v, y[i])
					break
				}
			}
		}
	}
}

// What was stored once is stored again without loss.
func TestQuantizeAgain(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	x := fill(func(int) float64 { return rng.NormFloat64() * 0.03 })
	for _, pair := range [][2]Type{{F32, F32}, {F16, F16}, {BF16, BF16}, {F16, F32}, {BF16, F32}, {Q4_0, Q4_0}, {Q5_0, Q5_0},
		{Q8_0, Q8_0}, {Q4_K, Q4_K}, {Q5_K, Q5_K}, {Q6_K, Q6_K}, {Q5_0, Q8_0}, {Q5_0, Q5_1}} {
		once := stored(t, pair[0], x, nil)
		again := stored(t, pair[1], once, nil)
		if e, all := squares(once, again, nil), squares(once, make([]float32, 512), nil); e > 1e-6*all {
			t.Errorf("%s, then %s: the error is %g of the whole", pair[0], pair[1], e/all)
		}
	}
}

func TestQuantizeRefuses(t *testing.T) {
	bad := func(v float64) []float32 {
		return fill(func(i int) float64 { return map[bool]float64{true: v, false: 1}[i == 300] })
	}
	for _, c := range []struct {
		typ             Type
		src, importance []float32
		bytes           int
		want            string
	}{
		{Q4_0, make([]float32, 31), nil, 18, "31 elements are not a whole number of Q4_0 blocks of 32"},
		{Q4_0, make([]float32, 32), nil, 17, "32 elements of Q4_0 take 18 bytes, not 17"},
		{Q4_0, make([]float32, 32), make([]float32, 31), 18, "32 elements have importances for 31"},
		{MXFP4, make([]float32, 32), nil, 17, "format MXFP4 cannot be written; choose one of BF16, F16, F32"},
		{1 << 20, make([]float32, 32), nil, 17, "cannot be written"},
		{Q6_K, bad(math.NaN()), nil, 420, "element 300 is NaN: the weights are damaged"},
		{F32, bad(math.Inf(1)), nil, 2048, "element 300 is +Inf: the weights are damaged"},
		{BF16, bad(math.Inf(-1)), nil, 1024, "element 300 is -Inf: the weights are damaged"},
		{F16, bad(1e6), nil, 1024, "element 300 is 1e+06, beyond the ±65504 that F16 is sure to hold; use BF16 or F32"},
		{Q8_0, bad(-1e9), nil, 544, "element 300 is -1e+09, beyond"},
	} {
		err := Quantize(c.typ, make([]byte, c.bytes), c.src, c.importance)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.typ, err, c.want)
		}
	}
}

func TestBF16Rounds(t *testing.T) {
	for _, c := range []struct{ in, want uint32 }{
		{0x3f800000, 0x3f800000}, {0x3f808000, 0x3f800000}, {0x3f818000, 0x3f820000}, {0x3f808001, 0x3f810000},
		{0x7f7fffff, 0x7f7f0000}, {0xff7fffff, 0xff7f0000}, {1, 0},
	} {
		y := stored(t, BF16, []float32{math.Float32frombits(c.in)}, nil)
		if got := math.Float32bits(y[0]); got != c.want {
			t.Errorf("%08x has become %08x, want %08x", c.in, got, c.want)
		}
	}
}

// Recode goes through a tensor in steps; what comes out is what one call gives.
func TestRecode(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	const rows, cols = 3000, 512 // several steps
	x := make([]float32, rows*cols)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	importance := fill(func(i int) float64 { return float64(i) + 1 })
	tensor := Tensor{Name: "w", Type: F32, Shape: []int{rows, cols}, Data: floats(x...)}
	var got bytes.Buffer
	if err := tensor.Recode(t.Context(), &got, Q4_0, importance); err != nil {
		t.Fatal(err)
	}
	want := make([]byte, rows*cols/32*18)
	for r := range rows {
		if err := Quantize(Q4_0, want[r*288:r*288+288], x[r*cols:(r+1)*cols], importance); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Error("other bytes than row by row")
	}
	again := Tensor{Name: "w", Type: Q4_0, Shape: []int{rows, cols}, Data: want}
	got.Reset()
	if err := again.Recode(t.Context(), &got, Q4_0, nil); err != nil || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the same format gives other bytes, or %v", err)
	}
}

// full fails once it has taken so many bytes.
type full int

var errFull = errors.New("no space left on device")

func (f *full) Write(b []byte) (int, error) {
	if *f -= full(len(b)); *f < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestRecodeRefuses(t *testing.T) {
	data := floats(make([]float32, 4096*256)...)
	binary.LittleEndian.PutUint32(data[4*(70*256+3):], math.Float32bits(float32(math.NaN())))
	sick := Tensor{Name: "layers.0.mlp.up_proj.weight", Type: F32, Shape: []int{4096, 256}, Data: data}
	for _, to := range []Type{F32, Q4_K} {
		err := sick.Recode(t.Context(), io.Discard, to, nil)
		if want := `tensor "layers.0.mlp.up_proj.weight": row 70: element 3 is NaN`; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", to, err, want)
		}
	}
	sound := Tensor{Name: "w", Type: F32, Shape: []int{4096, 256}, Data: floats(make([]float32, 4096*256)...)}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sound.Recode(ended, io.Discard, Q4_K, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end of the context: %v", err)
	}
	if err := sound.Recode(t.Context(), new(full), Q4_K, nil); !errors.Is(err, errFull) {
		t.Errorf("on a full disk: %v", err)
	}
	for want, c := range map[string]struct {
		shape      []int
		to         Type
		importance []float32
	}{
		"a row of 8 elements is not a whole number of Q4_K blocks of 256": {[]int{4096 * 32, 8}, Q4_K, nil},
		"importances for 5 columns of 256":                                {[]int{4096, 256}, Q4_K, make([]float32, 5)},
		"format MXFP4 cannot be written":                                  {[]int{4096, 256}, MXFP4, nil},
	} {
		wrong := sound
		wrong.Shape = c.shape
		if err := wrong.Recode(t.Context(), io.Discard, c.to, c.importance); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	opaque := sound
	opaque.Type = safetensorsType("I64")
	if err := opaque.Recode(t.Context(), io.Discard, F32, nil); err == nil || !strings.Contains(err.Error(), "format I64 cannot be read") {
		t.Errorf("error %v", err)
	}
}

// FuzzQuantize: whatever can be stored comes back finite and near.
func FuzzQuantize(f *testing.F) {
	for _, x := range hard {
		f.Add(uint8(0), floats(x...))
	}
	f.Fuzz(func(t *testing.T, which uint8, raw []byte) {
		all := encoders()
		typ := all[int(which)%len(all)]
		n := len(raw) / 4 / 256 * 256
		if n == 0 || n > 1024 {
			return
		}
		x := make([]float32, n)
		unpackF32(x, raw[:4*n])
		b := make([]byte, n/typ.Block()*typ.BlockBytes())
		if err := Quantize(typ, b, x, nil); err != nil {
			var bad *ValueError
			if !errors.As(err, &bad) {
				t.Fatal(err)
			}
			return
		}
		y := make([]float32, n)
		if err := Dequantize(typ, y, b); err != nil {
			t.Fatal(err)
		}
		for at := 0; at < n; at += typ.Block() {
			xs, ys := x[at:at+typ.Block()], y[at:at+typ.Block()]
			zeros := squares(xs, make([]float32, len(xs)), nil)
			if zeros < 0x1p-30 {
				continue // what half precision is too coarse for
			}
			if e := squares(xs, ys, nil); !(e <= zeros*(1+1e-6)) {
				t.Fatalf("%s: block at %d: the error is %g, that of zeros %g", typ, at, e, zeros)
			}
		}
	})
}

func BenchmarkQuantize(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	x := fill(func(int) float64 { return rng.NormFloat64() * 0.03 })
	for _, typ := range encoders() {
		b.Run(typ.String(), func(b *testing.B) {
			dst := make([]byte, len(x)/typ.Block()*typ.BlockBytes())
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				if err := Quantize(typ, dst, x, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExampleQuantize() {
	row := make([]float32, Q8_0.Block())
	row[0], row[1] = 127, -64
	block := make([]byte, Q8_0.BlockBytes())
	if err := Quantize(Q8_0, block, row, nil); err != nil {
		fmt.Println(err)
	}
	fmt.Println(HalfToFloat(binary.LittleEndian.Uint16(block)), int8(block[2]), int8(block[3]))
	// Output: 1 127 -64
}

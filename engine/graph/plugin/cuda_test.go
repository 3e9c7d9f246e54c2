package plugin_test

import (
	"math"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/shapes"

	"lapidary/engine/graph/plugin"
)

func openCUDA(t testing.TB) compute.Backend {
	t.Helper()
	c, err := plugin.Best("cuda")
	if err != nil {
		t.Skip(err)
	}
	b, err := c.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Finalize)
	t.Logf("%s on %s, patched %v", c.Config, b.DeviceDescription(0), plugin.Patched(b))
	return b
}

// TestSlidingWindow holds cuDNN's windows against the plain formula: a query
// sees as many positions as the window says, its own counted.
func TestSlidingWindow(t *testing.T) {
	b := openCUDA(t)
	if !plugin.Patched(b) {
		t.Skip("go-xla is not patched in this build: go test -overlay=$(scripts/overlay.sh)")
	}
	const rows, size = 128, 64
	q, k, v := wave(rows*size, 5), wave(rows*size, 7), wave(rows*size, 11)
	for _, window := range []int{0, 1, 5, 100} {
		got := flash(t, b, window, rows, size, q, k, v)
		want := attend(window, rows, size, q, k, v)
		var worst float64
		for i := range want {
			worst = max(worst, math.Abs(float64(got[i]-want[i])))
		}
		if worst > 0.02 { // outputs are within ±1 and rounded to bf16
			t.Errorf("window %d: off by %.3g", window, worst)
		}
	}
}

// wave is n numbers that bf16 represents exactly.
func wave(n, period int) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32((i*i/3+i)%(2*period+1)-period) / 16
	}
	return out
}

// flash runs one head of fused attention in bf16.
func flash(t *testing.T, b compute.Backend, window, rows, size int, inputs ...[]float32) []float32 {
	t.Helper()
	options := &compute.ScaledDotProductAttentionConfig{Causal: true, Scale: 1}
	plugin.SlideAttention(b, func(c *compute.ScaledDotProductAttentionConfig) int {
		if c != options {
			t.Error("the rule is asked about another operation")
		}
		return window
	})
	val := must[compute.Value](t)
	shape := shapes.Make(dtypes.Float32, 1, rows, 1, size)
	builder := b.Builder("flash")
	f := builder.Main()
	var half []compute.Value
	var buffers []compute.Buffer
	for i, in := range inputs {
		p := val(f.Parameter(string(rune('a'+i)), shape, nil))
		half = append(half, val(f.ConvertDType(p, dtypes.BFloat16)))
		buffers = append(buffers, must[compute.Buffer](t)(b.BufferFromFlatData(0, in, shape)))
	}
	out, _, err := f.FusedScaledDotProductAttention(half[0], half[1], half[2], compute.AttentionAxesLayoutBSHD, options)
	check(t, err)
	check(t, f.Return([]compute.Value{val(f.ConvertDType(out, dtypes.Float32))}, nil))
	exec := must[compute.Executable](t)(builder.Compile())
	defer exec.Finalize()
	result := must[[]compute.Buffer](t)(exec.Execute(buffers, nil, 0))
	flat := make([]float32, rows*size)
	check(t, result[0].ToFlatData(flat))
	return flat
}

// attend is attention as the formula says it, one head, scale 1.
func attend(window, rows, size int, q, k, v []float32) []float32 {
	out := make([]float32, rows*size)
	for i := range rows {
		first := 0
		if window > 0 {
			first = max(0, i-window+1)
		}
		var sum float64
		row := make([]float64, size)
		for j := first; j <= i; j++ {
			var dot float64
			for d := range size {
				dot += float64(q[i*size+d]) * float64(k[j*size+d])
			}
			w := math.Exp(dot)
			sum += w
			for d := range size {
				row[d] += w * float64(v[j*size+d])
			}
		}
		for d := range size {
			out[i*size+d] = float32(row[d] / sum)
		}
	}
	return out
}

// BenchmarkHalfPrecisionProduct multiplies bf16 matrices on a GPU, many in one
// program: a launch costs as much as a small one.
func BenchmarkHalfPrecisionProduct(b *testing.B) {
	backend := openCUDA(b)
	const n, chain = 4096, 64
	val := must[compute.Value](b)
	shape := shapes.Make(dtypes.Float32, n, n)
	builder := backend.Builder("product")
	f := builder.Main()
	x := val(f.ConvertDType(val(f.Parameter("x", shape, nil)), dtypes.BFloat16))
	y := x
	for range chain {
		y = val(f.DotGeneral(y, []int{1}, nil, x, []int{0}, nil, compute.DotGeneralConfig{}))
	}
	check(b, f.Return([]compute.Value{val(f.ReduceMax(y))}, nil))
	exec := must[compute.Executable](b)(builder.Compile())
	defer exec.Finalize()
	flat := make([]float32, n*n)
	for i := range n { // a permutation: its powers stay what they are
		flat[i*n+(i*5+3)%n] = 1
	}
	in := []compute.Buffer{must[compute.Buffer](b)(backend.BufferFromFlatData(0, flat, shape))}
	b.ResetTimer()
	for b.Loop() {
		out := must[[]compute.Buffer](b)(exec.Execute(in, nil, 0))
		check(b, out[0].ToFlatData(make([]bfloat16.BFloat16, 1))) // waits for it
	}
	b.ReportMetric(2*n*n*n*chain*float64(b.N)/b.Elapsed().Seconds()/1e12, "TFLOP/s")
}

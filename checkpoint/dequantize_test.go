package checkpoint

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

type golden struct {
	typ    Type
	blocks []byte
	want   []float32
}

// goldens reads testdata/dequantize.bin, which testdata/golden.py describes.
func goldens(t testing.TB) []golden {
	t.Helper()
	raw, err := os.ReadFile("testdata/dequantize.bin")
	if err != nil {
		t.Fatal(err)
	}
	next := func() int {
		n := binary.LittleEndian.Uint32(raw)
		raw = raw[4:]
		return int(n)
	}
	var out []golden
	for len(raw) > 0 {
		g := golden{typ: Type(next())}
		n, size, elements := next(), next(), next()
		g.blocks, raw = raw[:n*size], raw[n*size:]
		for range n * elements {
			g.want = append(g.want, math.Float32frombits(uint32(next())))
		}
		out = append(out, g)
	}
	return out
}

func TestDequantizeBitExact(t *testing.T) {
	seen := map[Type]bool{}
	for _, g := range goldens(t) {
		seen[g.typ] = true
		got := make([]float32, len(g.want))
		if err := Dequantize(g.typ, got, g.blocks); err != nil {
			t.Errorf("%s: %v", g.typ, err)
			continue
		}
		for i := range got {
			if math.Float32bits(got[i]) != math.Float32bits(g.want[i]) {
				t.Errorf("%s: element %d is %g (%08x), want %g (%08x)", g.typ, i,
					got[i], math.Float32bits(got[i]), g.want[i], math.Float32bits(g.want[i]))
				break
			}
		}
	}
	for n, l := range layouts {
		if l.block > 0 && !seen[Type(n)] {
			t.Errorf("%s has no golden blocks", l.name)
		}
	}
}

func TestDequantizeRefuses(t *testing.T) {
	tests := []struct {
		typ      Type
		dst, src int
		want     string
	}{
		{Q4_0, 31, 18, "31 elements are not a whole number of Q4_0 blocks of 32"},
		{Q4_0, 32, 17, "32 elements of Q4_0 take 18 bytes, not 17"},
		{Q6_K, 256, 420, "256 elements of Q6_K take 210 bytes, not 420"},
		{F32, 2, 7, "2 elements of F32 take 8 bytes, not 7"},
		{16, 256, 66, "format type(16) cannot be dequantized"},
		{1 << 31, 1, 1, "format type(2147483648) cannot be dequantized"},
	}
	for _, test := range tests {
		err := Dequantize(test.typ, make([]float32, test.dst), make([]byte, test.src))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s, %d elements from %d bytes: error %v, want %q", test.typ, test.dst, test.src, err, test.want)
		}
	}
}

func TestDequantizeAllocatesNothing(t *testing.T) {
	for _, g := range goldens(t) {
		dst := make([]float32, len(g.want))
		if n := testing.AllocsPerRun(10, func() { Dequantize(g.typ, dst, g.blocks) }); n != 0 {
			t.Errorf("%s: %g allocations", g.typ, n)
		}
	}
}

func TestHalf(t *testing.T) {
	for _, test := range []struct {
		half uint16
		want float32
	}{
		{0x0000, 0}, {0x3c00, 1}, {0xc000, -2}, {0x7bff, 65504}, {0x0001, 0x1p-24}, {0x03ff, 0x3ffp-24},
		{0x0400, 0x1p-14}, {0x7c00, float32(math.Inf(1))}, {0xfc00, float32(math.Inf(-1))}, {0x3555, 0.333251953125},
	} {
		if got := HalfToFloat(test.half); got != test.want {
			t.Errorf("HalfToFloat(%#04x) = %g, want %g", test.half, got, test.want)
		}
	}
	if got := HalfToFloat(0x7e00); got == got {
		t.Errorf("HalfToFloat(0x7e00) = %g, want NaN", got)
	}
}

// Every half survives the way to a float and back.
func TestHalfRoundTrip(t *testing.T) {
	for h := range 1 << 16 {
		f := HalfToFloat(uint16(h))
		if back := FloatToHalf(f); back != uint16(h) && f == f {
			t.Fatalf("FloatToHalf(%g) = %#04x, want %#04x", f, back, h)
		}
	}
}

// Between two neighbouring halves the nearer one is taken, and the even one
// from the middle.
func TestFloatToHalfRounds(t *testing.T) {
	for h := range 0x7bff {
		low, high := HalfToFloat(uint16(h)), HalfToFloat(uint16(h+1))
		middle := low + (high-low)/2
		for _, test := range []struct {
			f    float32
			want int
		}{
			{math.Nextafter32(middle, low), h},
			{middle, h + h&1},
			{math.Nextafter32(middle, high), h + 1},
		} {
			if got := FloatToHalf(test.f); got != uint16(test.want) {
				t.Fatalf("FloatToHalf(%g) = %#04x, want %#04x", test.f, got, test.want)
			}
			if got := FloatToHalf(-test.f); got != uint16(test.want)|0x8000 {
				t.Fatalf("FloatToHalf(%g) = %#04x, want %#04x", -test.f, got, test.want|0x8000)
			}
		}
	}
	for f, want := range map[float32]uint16{65519: 0x7bff, 65520: 0x7c00, 1e30: 0x7c00, -65520: 0xfc00, 1e-30: 0} {
		if got := FloatToHalf(f); got != want {
			t.Errorf("FloatToHalf(%g) = %#04x, want %#04x", f, got, want)
		}
	}
}

func BenchmarkDequantize(b *testing.B) {
	for n, l := range layouts {
		if l.block == 0 {
			continue
		}
		b.Run(l.name, func(b *testing.B) {
			dst, src := make([]float32, 2048), make([]byte, 2048/l.block*l.bytes)
			b.SetBytes(int64(4 * len(dst)))
			for b.Loop() {
				if err := Dequantize(Type(n), dst, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func ExampleDequantize() {
	block := make([]byte, Q8_0.BlockBytes())
	block[0], block[1] = 0x00, 0x38 // the scale: 0.5 in half precision
	block[2], block[3] = 10, 0xff   // 10 and −1
	row := make([]float32, Q8_0.Block())
	if err := Dequantize(Q8_0, row, block); err != nil {
		fmt.Println(err)
	}
	fmt.Println(row[:3])
	// Output: [5 -0.5 0]
}

package kernel

import "lapidary/checkpoint"

// Set is one implementation of every loop. Pointers point at the first element
// of arrays whose lengths follow from the other arguments; callers answer for
// them.
type Set struct {
	Name string
	// NR is the number of weight rows in a panel, MR of activation rows in a tile.
	NR, MR int
	// DigitBits is the b of a row's digits.
	DigitBits uint

	// Quantize turns n blocks of 32 floats into a row's digits; sum has a float
	// a block, sum16 two.
	Quantize func(x *float32, n int, high, low *int8, scale, sum, sum16 *float32)

	// Gemv multiplies n stored rows of rowBytes each by one activation row.
	// Formats without an entry go through panels.
	Gemv map[checkpoint.Type]Gemv

	// GemvFew multiplies n stored rows by two, four or eight activation rows at
	// once, as Gemv does with each; formats without an entry go one by one.
	GemvFew map[checkpoint.Type]GemvFew

	// Sketch is nil where there is none.
	Sketch *Sketch

	// Expand replaces a Format's portable Expand.
	Expand map[checkpoint.Type]func(src *byte, blocks int, codes *uint8, scale, min *float32)

	// Interleave writes dword k of row r of src (8 rows, srcStep bytes apart) to
	// dst + k·dstStep + 4·r, for k < n; n is a multiple of 8.
	Interleave func(dst *byte, dstStep int, src *byte, srcStep, n int)

	// Extent stores the greatest magnitude of each of n blocks of 32 floats and
	// returns the sum of all squares. A set without it takes tiles whose blocks
	// all have two digits.
	Extent func(x *float32, n int, top *float32) float32
	// QuantizeTile turns n blocks of 32 floats into the digits of one row of a
	// tile, whose digits start at digits; top is what Extent found. Scale and
	// sums advance by MR floats a block (of 32, sum16 of 16); sums may be nil.
	QuantizeTile func(x *float32, n int, mode *Mode, top *float32, digits *uint8, row int, scale, sum, sum16 *float32)
	// Center takes zero from the codes of a panel and stores what cancels the
	// offset of the activations' first digits: [groups][NR].
	Center func(codes *uint8, groups, dwords, zero int, shift *int32)
	// Gemm multiplies a panel by a tile.
	Gemm map[Kind]Gemm

	// MulF32, MulF16 and MulI8 add a [m, k] times b [k, NR] to c [m, NR], for
	// each m in Rows; strides are in elements.
	MulF32 func(m int, a *float32, lda int, b *float32, ldb int, c *float32, ldc, k int)
	MulF16 func(m int, a *float32, lda int, b *uint16, ldb int, c *float32, ldc, k int)
	MulI8  func(m int, a *float32, lda int, b *int8, ldb int, c *float32, ldc, k int)
	Rows   []int

	// Dot is Σ x·y over n, a multiple of 8.
	Dot func(x, y *float32, n int) float32
	// Short are the loops over weights of 16 bits, F16 and BF16; a set without
	// them widens a row in Go.
	Short map[checkpoint.Type]Short
	// ScaleMul is y = x · s · w over n, a multiple of 8.
	ScaleMul func(y, x *float32, s float32, w *float32, n int)
	// GELUMul is y = gelu(g)·u in the tanh form, over n, a multiple of 8.
	GELUMul func(y, g, u *float32, n int)
	// Add is y += x over n, a multiple of 8.
	Add func(y, x *float32, n int)
	// Exp is x = exp(x − top) over n, a multiple of 8; it returns the sum.
	Exp func(x *float32, n int, top float32) float32
	// SoftCap is x = limit·tanh(x/limit) over n, a multiple of 8.
	SoftCap func(x *float32, limit float32, n int)
	// Max is the greatest of n floats, a multiple of 8.
	Max func(x *float32, n int) float32
	// Half rounds n floats, a multiple of 8, to half precision, saturating.
	Half func(dst *uint16, src *float32, n int)
	// Rotate turns x[i] with x[i+half]: the rotary embedding, over half, a
	// multiple of 8.
	Rotate func(x *float32, cos, sin *float32, half int)
}

// Mode says how a block of a tile's row is quantised.
type Mode uint8

// The modes. A block of a tile has room for a second digit if one of its rows
// needs it.
const (
	One      Mode = iota // one digit, in a block of one
	OneOfTwo             // one digit, in a block of two
	Two                  // two digits
)

// Kind tells the integer products apart.
type Kind struct {
	Group int  // elements that share a scale
	Min   bool // there are minimums beside the scales
	Wide  bool // codes need more than six bits
}

// Panel is NR weight rows side by side.
type Panel struct {
	Codes      *uint8   // [K/4][NR][4], signed where the set has Center
	Scale, Min *float32 // [K/Group][NR]
	Shift      *int32   // [K/Group][NR], of Center
}

// Tile is MR quantised activation rows.
type Tile struct {
	Digits *uint8   // MR rows of 2·K bytes
	Scale  *float32 // [K/32][MR]
	Sum    *float32 // [K/Group][MR]
	Two    *uint8   // [K/32]: not 0 where a block has two digits
}

// Gemm is out [MR, NR] = a panel times a tile of so many blocks of 32; rows of
// out are outStep bytes apart.
type Gemm func(p *Panel, t *Tile, blocks int, out *float32, outStep int)

// Gemv is out[i] = w[i]·a for n stored rows, rowBytes apart, of so many stored
// blocks each. The activation is high and low digits [K], scales [K/32] and
// sums [K/group].
type Gemv func(w *byte, n, rowBytes, blocks int, high, low *int8, scale, sum *float32, out *float32)

// GemvFew has out[r·outStep/4 + i] = w[i]·row r, of two, four or eight rows by
// its index 0, 1 or 2; the later ones may be nil. Rows are what PackRows makes
// of them.
type GemvFew [3]func(w *byte, n, rowBytes, blocks int, rows *float32, out *float32, outStep int)

// Short is what is done with n weights of 16 bits, a multiple of 8.
type Short struct {
	Widen func(dst *float32, src *uint16, n int)
	Dot   func(x *float32, w *uint16, n int) float32 // Σ x·w
}

// Sketch are the upper halves of the codes of a Q8_0 matrix, for a first look at
// its products that reads half as much. A code c, seen as c + 128 = 16·nibble +
// rest, is taken for 16·nibble − 120.5: at most 7.5 off.
//
// Rows lie in groups of Rows, block after block of 32 columns: the rows'
// scales as they are stored, then four times a dword of each row, dword j with
// the nibbles of columns 8j to 8j+3 in its bytes' lower halves and of the next
// four in the upper ones.
type Sketch struct {
	Rows int
	// Make writes one row of a group, lane, and returns its greatest scale.
	Make func(src *byte, blocks int, dst *byte, lane int) float32
	// Gemv multiplies groups by an activation row, Gemv4 (it may be nil) by
	// four, step bytes apart. A row is blocks of 20 floats, as PackSketched
	// makes them. A product is off by √(Σ scale²·energy) at the most; upper is
	// both together, in rows outStep bytes apart, most the greatest of a row.
	Gemv, Gemv4 func(w *byte, groups, blocks int, row *byte, step int, upper *float32, outStep int, most *float32)
}

// SketchedFloats is the size of a block of an activation row.
const SketchedFloats = 20

// PackSketched makes the activation row that a sketch is multiplied by.
// Energies are [K/32].
func PackSketched(dst []float32, row Row, energies []float32) {
	for b, energy := range energies {
		copy(bytesAt(dst, 0), row.High[32*b:][:32])
		copy(bytesAt(dst, 32), row.Low[32*b:][:32])
		dst[16], dst[17], dst[18] = 16*row.Scale[b], -120.5*row.Sum[b], energy
		dst = dst[SketchedFloats:]
	}
}

// Bytes is the size of a group of rows of so many blocks.
func (s *Sketch) Bytes(blocks int) int { return 18 * s.Rows * blocks }

// byRows makes a MulF32, MulF16 or MulI8 of loops that each take a fixed number
// of rows, their index.
func byRows[T float32 | uint16 | int8](loops ...func(a *float32, lda int, b *T, ldb int, c *float32, ldc, k int)) func(m int, a *float32, lda int, b *T, ldb int, c *float32, ldc, k int) {
	return func(m int, a *float32, lda int, b *T, ldb int, c *float32, ldc, k int) {
		loops[m](a, lda, b, ldb, c, ldc, k)
	}
}

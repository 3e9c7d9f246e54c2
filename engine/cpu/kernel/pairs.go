package kernel

import (
	"unsafe"

	"lapidary/checkpoint"
)

// Row is an activation row: digits [K], scales [K/32] and sums [K/Group].
type Row struct {
	High, Low  []int8
	Scale, Sum []float32
}

// PackedFloats is the room that PackRows needs for so many rows of k.
func PackedFloats(t checkpoint.Type, k, rows int) int {
	subs, lines := packing(t)
	return k / t.Block() * rows / 2 * 16 * (3*subs + lines)
}

// packing is the number of runs of 32 in a stored block, and of lines of sums.
func packing(t checkpoint.Type) (subs, lines int) {
	return t.Block() / 32, Formats[t].sumLines()
}

func (f Format) sumLines() int {
	if f.Group == 16 {
		return 2
	}
	return 1
}

// PackRows lays an even number of rows out for a GemvFew, two side by side in
// lines of 64 bytes. For each stored block: of each run of 32 columns and each
// pair the high digits, the low ones, and the scale eight times; then the sums
// of each pair, eight to a half, or one and zeros where the block has one.
func PackRows(t checkpoint.Type, dst []float32, rows []Row) {
	subs, lines := packing(t)
	groups := t.Block() / Formats[t].Group // sums of a block
	perLine := min(8, groups)
	for block := range len(rows[0].Scale) / subs {
		for i := range subs {
			b := block*subs + i
			for p := 0; p < len(rows); p += 2 {
				for half, r := range rows[p : p+2] {
					copy(bytesAt(dst, 32*half), r.High[32*b:][:32])
					copy(bytesAt(dst, 64+32*half), r.Low[32*b:][:32])
					for j := range 8 {
						dst[32+8*half+j] = r.Scale[b]
					}
				}
				dst = dst[48:]
			}
		}
		for line := range lines {
			for p := 0; p < len(rows); p += 2 {
				clear(dst[:16])
				for half, r := range rows[p : p+2] {
					copy(dst[8*half:][:perLine], r.Sum[block*groups+line*perLine:])
				}
				dst = dst[16:]
			}
		}
	}
}

// bytesAt is the 32 bytes from byte i on of floats.
func bytesAt(f []float32, i int) []int8 {
	return unsafe.Slice((*int8)(unsafe.Pointer(&f[i/4])), 32)
}

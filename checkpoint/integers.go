package checkpoint

import (
	"encoding/binary"
	"fmt"
)

// Integers reads a tensor of 32- or 64-bit integers, which models keep orders
// and ids in.
func Integers(t Tensor) ([]int64, error) {
	out := make([]int64, t.Rows()*t.Cols())
	size := map[string]int{"I32": 4, "I64": 8}[t.Type.String()]
	if size == 0 || len(t.Data) != size*len(out) {
		return nil, fmt.Errorf("tensor %s: %d bytes of %s are not %v integers", t.Name, len(t.Data), t.Type, t.Shape)
	}
	for i := range out {
		if size == 4 {
			out[i] = int64(int32(binary.LittleEndian.Uint32(t.Data[4*i:])))
		} else {
			out[i] = int64(binary.LittleEndian.Uint64(t.Data[8*i:]))
		}
	}
	return out, nil
}

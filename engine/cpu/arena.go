package cpu

import (
	"math/bits"
	"sync"
)

// arena lends float buffers, so that a pass makes no garbage: sizes go up in
// powers of two, and a buffer given back is lent again.
type arena struct {
	mutex sync.Mutex
	free  [40][][]float32
}

func (a *arena) take(n int) []float32 {
	class := bits.Len(uint(max(n, 64) - 1))
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if f := a.free[class]; len(f) > 0 {
		a.free[class] = f[:len(f)-1]
		return f[len(f)-1][:n]
	}
	return make([]float32, 1<<class)[:n]
}

func (a *arena) give(b []float32) {
	class := bits.Len(uint(cap(b) - 1))
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.free[class] = append(a.free[class], b[:0])
}

// Package probe measures what a machine can do at most: how fast its threads
// read memory together, and how many 8-bit integers they multiply and add.
// Speeds of a model are laid beside these bounds (Williams, Waterman and
// Patterson, "Roofline", CACM 2009).
package probe

import (
	"sync"
	"time"
)

// best runs f for about so long, and at least three times, and returns the
// greatest rate: work units a second.
func best(during time.Duration, work float64, f func()) float64 {
	var top float64
	for began, n := time.Now(), 0; n < 3 || time.Since(began) < during; n++ {
		at := time.Now()
		f()
		top = max(top, work/time.Since(at).Seconds())
	}
	return top
}

// Memory is how many bytes a second so many threads read together, each from
// size bytes of its own. The sizes together should be several times what caches
// hold.
func Memory(threads, size int, during time.Duration) float64 {
	buffers := make([][]byte, threads)
	for i := range buffers {
		buffers[i] = make([]byte, size)
		for at := 0; at < size; at += 512 {
			buffers[i][at] = 1 // a page that was never written is no memory
		}
	}
	return best(during, float64(threads*size), func() {
		var wait sync.WaitGroup
		for _, b := range buffers {
			wait.Go(func() { read(b) })
		}
		wait.Wait()
	})
}

// Products is how many multiply-adds of 8-bit integers a second so many threads
// do together with the instructions of a set of kernels; false where that is not
// known.
func Products(set string, threads int, during time.Duration) (float64, bool) {
	multiply, perRound, ok := multiplier(set)
	if !ok {
		return 0, false
	}
	const rounds = 1 << 20
	return best(during, float64(threads*rounds*perRound), func() {
		var wait sync.WaitGroup
		for range threads {
			wait.Go(func() { multiply(rounds) })
		}
		wait.Wait()
	}), true
}

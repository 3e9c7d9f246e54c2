package cpu

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// TestPoolRunsEveryPieceOnce with a pause now and then that is longer than
// threads spin, so that they are caught awake, asleep, and on the way there.
func TestPoolRunsEveryPieceOnce(t *testing.T) {
	p, rng := newPool(3), rand.New(rand.NewPCG(1, 2))
	defer p.close()
	const regions = 100_000
	var done [7]int64
	for i := range regions {
		pieces := 1 + i%len(done)
		var ran [len(done)]atomic.Int32
		p.run(pieces, func(piece int, s *scratch) { ran[piece].Add(1) })
		for piece := range pieces {
			if n := ran[piece].Load(); n != 1 {
				t.Fatalf("region %d: piece %d of %d ran %d times", i, piece, pieces, n)
			}
			done[piece]++
		}
		if i%100 == 0 {
			time.Sleep(time.Duration(rng.IntN(200)) * time.Microsecond)
		}
	}
	if done[0] != regions {
		t.Errorf("%d of %d first pieces ran", done[0], regions)
	}
}

// TestPoolWakesEveryThread: pieces that wait for one another are done only if
// each has a thread of its own. A lost wake-up would leave this test hanging,
// as the caller alone can take one piece only.
func TestPoolWakesEveryThread(t *testing.T) {
	const threads = 3
	p, rng := newPool(threads), rand.New(rand.NewPCG(3, 4))
	defer p.close()
	scratches := map[*scratch]bool{}
	for range 1000 {
		var begun atomic.Int32
		var of [threads]*scratch
		p.run(threads, func(piece int, s *scratch) {
			of[piece] = s
			begun.Add(1)
			for begun.Load() < threads {
				runtime.Gosched()
			}
		})
		for _, s := range of {
			scratches[s] = true
		}
		if of[0] == of[1] || of[1] == of[2] || of[0] == of[2] {
			t.Fatal("two threads at work at once share their memory")
		}
		time.Sleep(time.Duration(rng.IntN(150)) * time.Microsecond)
	}
	if len(scratches) != threads {
		t.Errorf("%d threads have %d memories", threads, len(scratches))
	}
}

// TestPoolOfSeveralCallers: regions of several goroutines take turns.
func TestPoolOfSeveralCallers(t *testing.T) {
	p := newPool(2)
	defer p.close()
	var running, sum atomic.Int64
	finished := make(chan bool)
	const callers, regions, pieces = 4, 500, 5
	for range callers {
		go func() {
			for range regions {
				p.run(pieces, func(_ int, s *scratch) {
					if running.Add(1) > 2 {
						t.Error("more pieces run at once than there are threads")
					}
					grown(&s.floats, 8)[0]++ // the race detector minds if it is shared
					sum.Add(1)
					running.Add(-1)
				})
			}
			finished <- true
		}()
	}
	for range callers {
		<-finished
	}
	if got := sum.Load(); got != callers*regions*pieces {
		t.Errorf("%d pieces ran, want %d", got, callers*regions*pieces)
	}
}

// TestPoolCloses: no thread outlives its pool, whether it never began, spins
// or sleeps.
func TestPoolCloses(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, wait := range []time.Duration{-1, 0, 2 * time.Millisecond} {
		for range 20 {
			p := newPool(4)
			if wait >= 0 {
				p.run(9, func(int, *scratch) {})
				time.Sleep(wait)
			}
			p.close()
			// What is done with its work may need a moment to be gone.
			for tries := 0; runtime.NumGoroutine() > before; tries++ {
				if tries == 1000 {
					t.Fatalf("%d goroutines more than before the pool, closed after %v", runtime.NumGoroutine()-before, wait)
				}
				time.Sleep(time.Millisecond)
			}
		}
	}
}

// TestPoolOfOne needs no threads.
func TestPoolOfOne(t *testing.T) {
	before := runtime.NumGoroutine()
	p := newPool(1)
	var order []int
	p.run(3, func(piece int, s *scratch) {
		if s != &p.scratch[0] {
			t.Error("the caller works with another's memory")
		}
		order = append(order, piece)
	})
	if len(order) != 3 || order[0] != 0 || order[2] != 2 {
		t.Errorf("pieces %v, want 0 to 2", order)
	}
	if n := runtime.NumGoroutine(); n != before {
		t.Errorf("%d goroutines more than before", n-before)
	}
	p.run(0, func(int, *scratch) { t.Error("a piece of nothing ran") })
	p.close()
}

package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"

	"lapidary/engine/cpu/kernel"
)

// spins is how long a thread waits for work before it sleeps: about 60 µs,
// longer than the pauses within a pass and nothing beside the time between
// passes. Waking a sleeping one costs 5 to 50 µs, and a pass has a hundred
// regions.
const spins = 4000

// pool runs the pieces of a region on several threads. Threads sleep while
// nothing runs.
type pool struct {
	threads int

	region  sync.Mutex // held while a region runs
	start   sync.Once
	scratch []scratch // a worker's own memory

	current    atomic.Pointer[job]
	generation atomic.Uint64
	sleeping   atomic.Int32
	mutex      sync.Mutex
	wake       *sync.Cond
	closed     atomic.Bool
	workers    sync.WaitGroup
}

// job is one region. Each thread has a run of neighbouring pieces, so that what
// it asks memory for ahead of time is its own; who is done helps the others.
type job struct {
	run    func(piece int, s *scratch)
	shares []share
	left   atomic.Int64 // pieces that are not done
}

// share is one thread's run of pieces, on a cache line of its own.
type share struct {
	next atomic.Int64
	end  int64
	_    [48]byte
}

func newJob(threads, pieces int, run func(piece int, s *scratch)) *job {
	j := &job{run: run, shares: make([]share, threads)}
	for i := range j.shares {
		j.shares[i].next.Store(int64(pieces * i / threads))
		j.shares[i].end = int64(pieces * (i + 1) / threads)
	}
	j.left.Store(int64(pieces))
	return j
}

func newPool(threads int) *pool {
	p := &pool{threads: threads, scratch: make([]scratch, threads)}
	p.wake = sync.NewCond(&p.mutex)
	return p
}

// run calls f for each piece and returns when all are done.
func (p *pool) run(pieces int, f func(piece int, s *scratch)) {
	p.region.Lock()
	defer p.region.Unlock()
	if pieces <= 1 || p.threads == 1 {
		for i := range pieces {
			f(i, &p.scratch[0])
		}
		return
	}
	p.start.Do(p.spawn)
	j := newJob(p.threads, pieces, f)
	p.current.Store(j)
	p.generation.Add(1)
	if p.sleeping.Load() > 0 {
		p.mutex.Lock()
		p.wake.Broadcast()
		p.mutex.Unlock()
	}
	j.work(0, &p.scratch[0])
	for i := 1; j.left.Load() > 0; i++ {
		kernel.Pause(4)
		if i%256 == 0 {
			runtime.Gosched()
		}
	}
	p.current.Store(nil)
}

// work takes pieces, thread me's own first, until none are left to take.
func (j *job) work(me int, s *scratch) {
	done := int64(0)
	for i := range j.shares {
		sh := &j.shares[(me+i)%len(j.shares)]
		for piece := sh.next.Add(1) - 1; piece < sh.end; piece = sh.next.Add(1) - 1 {
			j.run(int(piece), s)
			done++
		}
	}
	j.left.Add(-done)
}

func (p *pool) spawn() {
	for i := 1; i < p.threads; i++ {
		p.workers.Go(func() { p.serve(i) })
	}
}

// serve is thread me: it works on every region until the pool is closed.
func (p *pool) serve(me int) {
	seen := uint64(0)
	for {
		seen = p.await(seen)
		if p.closed.Load() {
			return
		}
		if j := p.current.Load(); j != nil {
			j.work(me, &p.scratch[me])
		}
	}
}

// await returns when the generation is no longer seen, or the pool is closed.
func (p *pool) await(seen uint64) uint64 {
	for range spins / 4 {
		if g := p.generation.Load(); g != seen {
			return g
		}
		kernel.Pause(4)
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.sleeping.Add(1)
	defer p.sleeping.Add(-1)
	for p.generation.Load() == seen && !p.closed.Load() {
		p.wake.Wait()
	}
	return p.generation.Load()
}

func (p *pool) close() {
	p.closed.Store(true)
	p.generation.Add(1)
	p.mutex.Lock()
	p.wake.Broadcast()
	p.mutex.Unlock()
	p.workers.Wait()
}

// scratch is a worker's memory, grown as needed and never shrunk.
type scratch struct {
	bytes  []byte
	panel  []byte
	floats []float32
	more   []float32
	out    []float32
	shift  []int32
	modes  []kernel.Mode

	// Arguments of products, here so that they are not made anew for each.
	weights kernel.Panel
	tile    kernel.Tile
}

// grown returns n elements of *s, enlarging it first if it is smaller.
func grown[T any](s *[]T, n int) []T {
	if cap(*s) < n {
		*s = make([]T, n)
	}
	return (*s)[:n]
}

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

// job is one region: pieces are taken by whoever is free.
type job struct {
	run    func(piece int, s *scratch)
	pieces int64
	next   atomic.Int64
	_      [56]byte // what is taken and what is done are on lines of their own
	left   atomic.Int64
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
	j := &job{run: f, pieces: int64(pieces)}
	j.left.Store(int64(pieces))
	p.current.Store(j)
	p.generation.Add(1)
	if p.sleeping.Load() > 0 {
		p.mutex.Lock()
		p.wake.Broadcast()
		p.mutex.Unlock()
	}
	j.work(&p.scratch[0])
	for i := 1; j.left.Load() > 0; i++ {
		kernel.Pause(4)
		if i%256 == 0 {
			runtime.Gosched()
		}
	}
	p.current.Store(nil)
}

func (j *job) work(s *scratch) {
	for {
		i := j.next.Add(1) - 1
		if i >= j.pieces {
			return
		}
		j.run(int(i), s)
		j.left.Add(-1)
	}
}

func (p *pool) spawn() {
	for i := 1; i < p.threads; i++ {
		p.workers.Go(func() { p.serve(&p.scratch[i]) })
	}
}

// serve works on every region until the pool is closed.
func (p *pool) serve(s *scratch) {
	seen := uint64(0)
	for {
		seen = p.await(seen)
		if p.closed.Load() {
			return
		}
		if j := p.current.Load(); j != nil {
			j.work(s)
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
}

// grown returns n elements of *s, enlarging it first if it is smaller.
func grown[T any](s *[]T, n int) []T {
	if cap(*s) < n {
		*s = make([]T, n)
	}
	return (*s)[:n]
}

// Package cpu is the fast engine: it computes eagerly, on a pool of threads,
// straight from the memory-mapped weights.
//
// Quantised weights stay as they are stored; activations are quantised to
// integers of 13 to 15 bits (see package kernel), so a matrix product is
// integer work and its result agrees with float32 to about 1e-4. Float weights
// are multiplied in float32, as are those of convolutions, blocks and tables of
// which a mean is taken. Keys and values are kept in half precision, or in
// eight bits where that is asked for, in pages of 128 positions; a layer with a
// sliding window gives back the pages it has left behind. What a span without a
// cache stores in a layer lives until the pass ends: a stack whose layers do not
// read each other's memories should store all of them in one.
//
// The kernels are chosen for the processor when the engine is made. The
// variable LAPIDARY_CPU forces a set: avx512, avx2, neon or generic.
package cpu

import (
	"context"
	"fmt"
	"os"

	"lapidary/engine"
	"lapidary/engine/cpu/kernel"
)

// Options are the engine's settings; the zero value is the usual choice.
type Options struct {
	// Threads that compute, the caller's among them; 0 is one for each
	// physical core this process may use.
	Threads int
	// Kernels names a set of package kernel; empty is LAPIDARY_CPU or the best.
	Kernels string
	// FastPrompts leaves out the second digit of activations where it matters
	// least, when many rows are evaluated together: a third faster, and
	// log-probabilities off by 0.01 in the mean (docs/performance.md). No effect
	// on kernels without such products (neon).
	FastPrompts bool
}

// Engine is the fast engine on this machine's processor.
type Engine struct {
	set   *kernel.Set
	pool  *pool
	spare arena

	rounding float32 // of one digit, relative to its row, that needs no second
}

// promptRounding leaves one block in six of Gemma 3 270M a second digit.
const promptRounding = 0.05

// New returns an engine. Its threads start with the first pass.
func New(o Options) (*Engine, error) {
	name := o.Kernels
	if name == "" {
		name = os.Getenv("LAPIDARY_CPU")
	}
	set, err := kernel.Named(name)
	if err != nil {
		return nil, err
	}
	if o.Threads < 0 {
		return nil, fmt.Errorf("%d threads: want 1 or more, or 0 for one a core", o.Threads)
	}
	threads := o.Threads
	if threads == 0 {
		threads = cores()
	}
	e := &Engine{set: set, pool: newPool(threads)}
	if o.FastPrompts {
		e.rounding = promptRounding
	}
	return e, nil
}

// Name is "cpu", or "cpu-fast" with FastPrompts.
func (e *Engine) Name() string {
	if e.rounding > 0 {
		return "cpu-fast"
	}
	return "cpu"
}

// Kernels is the name of the set in use.
func (e *Engine) Kernels() string { return e.set.Name }

// Threads is the number of threads that compute.
func (e *Engine) Threads() int { return e.pool.threads }

// Close ends the threads.
func (e *Engine) Close() error {
	e.pool.close()
	return nil
}

// NewCache makes the empty memory of one sequence.
func (e *Engine) NewCache(layers []engine.CacheLayer) engine.Cache { return newCache(layers, e.set.NR) }

// Begin starts a pass.
func (e *Engine) Begin(ctx context.Context, spans []engine.Span) engine.Pass {
	p := &pass{engine: e, set: e.set, ctx: ctx}
	row := 0
	for _, s := range spans {
		c, _ := s.Cache.(*cache)
		kept := c != nil
		if !kept {
			c = newCache(nil, e.set.NR)
		}
		start := c.n - s.Behind
		if s.Source {
			start = 0
		}
		end := start + s.Rows
		if s.Behind > 0 {
			end = min(end, c.n)
		}
		p.spans = append(p.spans, span{cache: c, kept: kept, source: s.Source, behind: s.Behind > 0, row: row, rows: s.Rows,
			start: start, first: start, end: end, groups: s.Groups, reach: reach(start, s.Groups), grid: s.Grid})
		row += s.Rows
	}
	p.rows = row
	return p
}

// reach is, for each row, the position after the last of its group.
func reach(start int, groups []int32) []int {
	if groups == nil {
		return nil
	}
	ends, reach := map[int32]int{}, make([]int, len(groups))
	for i, g := range groups {
		ends[g] = start + i + 1
	}
	for i, g := range groups {
		if g > 0 {
			reach[i] = ends[g]
		}
	}
	return reach
}

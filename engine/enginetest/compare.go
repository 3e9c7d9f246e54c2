package enginetest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/engine"
	"lapidary/engine/ref"
)

// Compare returns an engine that runs every operation on e and on engine/ref
// and reports on t where they differ. What it gives out is e's. When t ends it
// logs how much of each tolerance was used.
func Compare(t testing.TB, e engine.Engine) engine.Engine {
	c := &twins{t: t, tested: e, plain: ref.New(), used: map[string]float64{}}
	t.Cleanup(c.report)
	return c
}

// maxReports is how many differences are worth reading.
const maxReports = 8

type twins struct {
	t             testing.TB
	tested, plain engine.Engine

	mutex   sync.Mutex
	reports int
	used    map[string]float64 // operation → greatest difference, as a part of what is allowed
}

func (c *twins) report() {
	var parts []string
	for op, used := range c.used {
		parts = append(parts, fmt.Sprintf("%s %.2f", op, used))
	}
	if len(parts) > 0 {
		slices.Sort(parts)
		c.t.Logf("used of the tolerances: %v", parts)
	}
}

func (c *twins) failf(format string, args ...any) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.reports++; c.reports <= maxReports {
		c.t.Errorf(format, args...)
	}
}

// check compares results element by element.
func (c *twins) check(op string, want, got []float32, width int, allowed func(i int) float64) {
	var most float64
	for i, w := range want {
		diff := math.Abs(float64(got[i]) - float64(w))
		limit := allowed(i)
		if !(diff <= limit) { // a NaN is no agreement
			c.failf("%s: row %d, column %d is %v, want %v (%.2g off, %.2g allowed)", op, i/width, i%width, got[i], w, diff, limit)
			return
		}
		if diff > 0 {
			most = max(most, diff/limit)
		}
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.used[op] = max(c.used[op], most)
}

func (c *twins) Name() string { return c.tested.Name() }
func (c *twins) Close() error { return c.tested.Close() }

// twinWeight is a weight in both engines.
type twinWeight struct {
	stored        checkpoint.Tensor
	tested, plain engine.Weight
	rowNorms      func() []float64 // ‖w‖ of each row, at its first use
	floats        func() []float32 // all elements, at their first use
}

func (w *twinWeight) Dims() (rows, cols int) { return w.tested.Dims() }

func (c *twins) Load(t checkpoint.Tensor) (engine.Weight, error) {
	tested, err := c.tested.Load(t)
	if err != nil {
		return nil, err
	}
	plain, err := c.plain.Load(t)
	if err != nil {
		c.failf("the plain engine refuses what the tested one takes: %v", err)
		return nil, err
	}
	if rows, cols := tested.Dims(); rows != t.Rows() || cols != t.Cols() {
		c.failf("weight %v has the dimensions [%d, %d]", t.Shape, rows, cols)
	}
	return &twinWeight{
		t, tested, plain, sync.OnceValue(func() []float64 { return rowNorms(t) }), sync.OnceValue(func() []float32 { return checkpointtest.Floats(t) }),
	}, nil
}

// split gives each engine its own weight, or none.
func split(w engine.Weight) (tested, plain engine.Weight) {
	if w == nil {
		return nil, nil
	}
	return w.(*twinWeight).tested, w.(*twinWeight).plain
}

// floats are the elements of a weight, or nil.
func floats(w engine.Weight) []float32 {
	if w == nil {
		return nil
	}
	return w.(*twinWeight).floats()
}

func rowNorms(t checkpoint.Tensor) []float64 {
	norms, row := make([]float64, t.Rows()), make([]float32, t.Cols())
	for i := range norms {
		if err := checkpoint.Dequantize(t.Type, row, t.Row(i)); err != nil {
			panic(err) // both engines have loaded it
		}
		norms[i] = norm(row)
	}
	return norms
}

// twinCache is the memory of one sequence in both engines.
type twinCache struct {
	twins         *twins
	tested, plain engine.Cache
	memory        memory
}

func (c *twins) NewCache(layers []engine.CacheLayer) engine.Cache {
	return &twinCache{c, c.tested.NewCache(layers), c.plain.NewCache(layers), newMemory(layers)}
}

// lesser is the precision that keeps less.
func lesser(a, b engine.Precision) engine.Precision {
	order := []engine.Precision{engine.Int8, engine.Half, engine.Exact}
	return order[min(slices.Index(order, a), slices.Index(order, b))]
}

func (c *twinCache) Len() int {
	n := c.tested.Len()
	if want := c.plain.Len(); n != want {
		c.twins.failf("a cache holds %d positions, want %d", n, want)
	}
	return n
}

// Truncate follows the tested engine, which may have dropped what the plain
// one keeps.
func (c *twinCache) Truncate(n int) error {
	before := c.tested.Len()
	if err := c.tested.Truncate(n); err != nil {
		if got := c.tested.Len(); got != before {
			c.twins.failf("a refused Truncate(%d) left %d positions of %d", n, got, before)
		}
		return err
	}
	if err := c.plain.Truncate(n); err != nil {
		c.twins.failf("Truncate(%d) of %d positions succeeded: want %v", n, before, err)
	}
	c.Len()
	return nil
}

func (c *twinCache) Bytes() int64 { return c.tested.Bytes() }

func (c *twinCache) Close() {
	c.tested.Close()
	c.plain.Close()
}

func (c *twins) Begin(ctx context.Context, spans []engine.Span) engine.Pass {
	p := &twinPass{twins: c, spans: spans, scratch: newMemory(nil)}
	tested, plain := slices.Clone(spans), slices.Clone(spans)
	for i, s := range spans {
		if s.Cache != nil {
			cache := s.Cache.(*twinCache)
			cache.Len()
			tested[i].Cache, plain[i].Cache = cache.tested, cache.plain
			p.caches = append(p.caches, cache)
		}
	}
	p.tested, p.plain = c.tested.Begin(ctx, tested), c.plain.Begin(ctx, plain)
	return p
}

package enginetest

import (
	"math"

	"lapidary/engine"
)

// twinPass runs a pass in both engines.
type twinPass struct {
	twins         *twins
	tested, plain engine.Pass
	spans         []engine.Span // with twinCaches
	caches        []*twinCache
	scratch       memory // of the spans without a cache
	// atEnd is what a sound end does to the memories.
	atEnd []func()
}

// twinTensor is an activation in both engines; they hold the same values.
type twinTensor struct{ tested, plain engine.Tensor }

func (t *twinTensor) Dims() (rows, width int) { return t.tested.Dims() }

// splitTensors gives each engine its own.
func splitTensors(xs []engine.Tensor) (tested, plain []engine.Tensor) {
	for _, x := range twinsOf(xs) {
		tested, plain = append(tested, x.tested), append(plain, x.plain)
	}
	return tested, plain
}

func twinsOf(xs []engine.Tensor) []*twinTensor {
	all := make([]*twinTensor, len(xs))
	for i, x := range xs {
		all[i] = x.(*twinTensor)
	}
	return all
}

// read copies out what a pass holds.
func read(p engine.Pass, x engine.Tensor) []float32 {
	rows, width := x.Dims()
	data := make([]float32, rows*width)
	p.Read(x, data)
	return data
}

// settle compares the results of one operation and makes them one tensor.
func (p *twinPass) settle(op string, got, want engine.Tensor, allowed func(want []float32) func(i int) float64) *twinTensor {
	rows, width := got.Dims()
	if r, w := want.Dims(); r != rows || w != width {
		p.twins.failf("%s: the result is [%d, %d], want [%d, %d]", op, rows, width, r, w)
		return &twinTensor{p.tested.Write(read(p.plain, want), w), want}
	}
	data, expected := read(p.tested, got), read(p.plain, want)
	p.twins.check(op, expected, data, width, allowed(expected))
	return &twinTensor{got, p.plain.Write(data, width)}
}

// intact reports arguments that an operation changed and had no right to.
func (p *twinPass) intact(op string, args ...*twinTensor) {
	for _, x := range args {
		_, width := x.Dims()
		p.twins.check(op+" left its argument", read(p.plain, x.plain), read(p.tested, x.tested), width, exactly)
	}
}

func exactly(int) float64 { return 0 }

// exact allows no difference.
func exact([]float32) func(i int) float64 { return exactly }

// part allows a part of each result.
func part(of float64) func(want []float32) func(i int) float64 {
	return func(want []float32) func(i int) float64 {
		return func(i int) float64 { return of * math.Abs(float64(want[i])) }
	}
}

// flat allows the same everywhere.
func flat(limit float64) func(want []float32) func(i int) float64 {
	return by(func(int) float64 { return limit })
}

// by allows what goes by the place and not by the result.
func by(limit func(i int) float64) func(want []float32) func(i int) float64 {
	return func([]float32) func(i int) float64 { return limit }
}

func (p *twinPass) Keep(xs ...engine.Tensor) {
	tested, plain := splitTensors(xs)
	p.tested.Keep(tested...)
	p.plain.Keep(plain...)
	p.intact("Keep", twinsOf(xs)...)
}

func (p *twinPass) Read(x engine.Tensor, dst []float32) {
	in := x.(*twinTensor)
	p.tested.Read(in.tested, dst)
	p.intact("Read", in)
}

func (p *twinPass) Write(src []float32, width int) engine.Tensor {
	return p.settle("Write", p.tested.Write(src, width), p.plain.Write(src, width), exact)
}

func (p *twinPass) End() error {
	err, want := p.tested.End(), p.plain.End()
	if (err == nil) != (want == nil) {
		p.twins.failf("End gives %v, want %v", err, want)
	}
	if err == nil {
		for _, f := range p.atEnd {
			f()
		}
	}
	p.lengths()
	return err
}

func (p *twinPass) Discard() {
	p.tested.Discard()
	p.plain.Discard()
	p.lengths()
}

func (p *twinPass) lengths() {
	for _, c := range p.caches {
		c.Len()
	}
}

package enginetest

import (
	"math"

	"lapidary/engine"
)

// twinPass runs a pass in both engines.
type twinPass struct {
	twins         *twins
	tested, plain engine.Pass
	caches        []*twinCache
}

// twinTensor is an activation in both engines; they hold the same values.
type twinTensor struct{ tested, plain engine.Tensor }

func (t *twinTensor) Dims() (rows, width int) { return t.tested.Dims() }

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
	return func([]float32) func(i int) float64 {
		return func(int) float64 { return limit }
	}
}

func (p *twinPass) Embed(table engine.Weight, ids []int32, scale float32) engine.Tensor {
	w := table.(*twinWeight)
	return p.settle("Embed", p.tested.Embed(w.tested, ids, scale), p.plain.Embed(w.plain, ids, scale), part(relative))
}

func (p *twinPass) Norm(x engine.Tensor, n engine.Norm) engine.Tensor {
	in := x.(*twinTensor)
	tested, plain := splitNorm(n)
	y := p.settle("Norm", p.tested.Norm(in.tested, tested), p.plain.Norm(in.plain, plain), part(relative))
	p.intact("Norm", in)
	return y
}

// splitNorm gives each engine its own weight.
func splitNorm(n engine.Norm) (tested, plain engine.Norm) {
	tested, plain = n, n
	if n.Weight != nil {
		w := n.Weight.(*twinWeight)
		tested.Weight, plain.Weight = w.tested, w.plain
	}
	return tested, plain
}

func (p *twinPass) Linear(x engine.Tensor, ws ...engine.Weight) []engine.Tensor {
	in := x.(*twinTensor)
	tested, plain := make([]engine.Weight, len(ws)), make([]engine.Weight, len(ws))
	for i, w := range ws {
		tested[i], plain[i] = w.(*twinWeight).tested, w.(*twinWeight).plain
	}
	got, want := p.tested.Linear(in.tested, tested...), p.plain.Linear(in.plain, plain...)
	ys := make([]engine.Tensor, len(ws))
	for i, w := range ws {
		w := w.(*twinWeight)
		ys[i] = p.settle("Linear "+w.stored.Type.String(), got[i], want[i], p.product(in, w))
	}
	p.intact("Linear", in)
	return ys
}

// product is what a matrix product may differ by: it goes by the size of each
// row of x and of each row of w.
func (p *twinPass) product(x *twinTensor, w *twinWeight) func(want []float32) func(i int) float64 {
	rows, width := x.Dims()
	data, sizes := read(p.plain, x.plain), make([]float64, rows)
	for r := range sizes {
		row := data[r*width : (r+1)*width]
		sizes[r] = floatProduct * norm(row)
		if w.stored.Type.Quantised() {
			sizes[r] += quantisedProduct * greatest(row)
		}
	}
	norms := w.rowNorms()
	return func([]float32) func(i int) float64 {
		return func(i int) float64 { return sizes[i/len(norms)] * norms[i%len(norms)] }
	}
}

func (p *twinPass) Heads(x engine.Tensor, h engine.Heads) engine.Tensor {
	in := x.(*twinTensor)
	tested, plain := h, h
	if h.Norm != nil {
		a, b := splitNorm(*h.Norm)
		tested.Norm, plain.Norm = &a, &b
	}
	return p.settle("Heads", p.tested.Heads(in.tested, tested), p.plain.Heads(in.plain, plain),
		func(want []float32) func(i int) float64 {
			top := make([]float64, len(want)/h.Size) // a head's elements are mixed with one another
			for i := range top {
				top[i] = greatest(want[i*h.Size : (i+1)*h.Size])
			}
			return func(i int) float64 { return relative * top[i/h.Size] }
		})
}

func (p *twinPass) Attend(q, k, v engine.Tensor, a engine.Attend) engine.Tensor {
	var args []*twinTensor
	var keys, values [2]engine.Tensor // as the tested and the plain engine see them
	var seen extent
	if k != nil {
		k, v := k.(*twinTensor), v.(*twinTensor)
		keys, values = [2]engine.Tensor{k.tested, k.plain}, [2]engine.Tensor{v.tested, v.plain}
		seen.see(read(p.plain, k.plain), read(p.plain, v.plain))
		args = append(args, k, v)
	}
	for _, c := range p.caches {
		c.extent.join(seen)
	}
	keep := engine.Exact
	if len(p.caches) == 0 {
		keep = engine.Half
	}
	for _, c := range p.caches {
		seen.join(c.extent)
		keep = lesser(keep, c.keep)
	}
	if q == nil {
		p.tested.Attend(nil, keys[0], values[0], a)
		p.plain.Attend(nil, keys[1], values[1], a)
		p.intact("Attend", args...)
		return nil
	}
	in := q.(*twinTensor)
	args = append(args, in)
	y := p.settle("Attend", p.tested.Attend(in.tested, keys[0], values[0], a), p.plain.Attend(in.plain, keys[1], values[1], a), flat(seen.tolerance(keep)))
	p.intact("Attend", args...)
	return y
}

func (p *twinPass) Gate(gate, up engine.Tensor, act engine.Activation) engine.Tensor {
	g, u := gate.(*twinTensor), up.(*twinTensor)
	gates, ups := read(p.plain, g.plain), read(p.plain, u.plain)
	y := p.settle("Gate", p.tested.Gate(g.tested, u.tested, act), p.plain.Gate(g.plain, u.plain, act),
		func(want []float32) func(i int) float64 {
			return func(i int) float64 {
				return relative*math.Abs(float64(want[i])) + saturated*math.Abs(float64(gates[i])*float64(ups[i]))
			}
		})
	p.intact("Gate", u)
	return y
}

func (p *twinPass) Add(x, y engine.Tensor) engine.Tensor {
	a, b := x.(*twinTensor), y.(*twinTensor)
	z := p.settle("Add", p.tested.Add(a.tested, b.tested), p.plain.Add(a.plain, b.plain), exact)
	p.intact("Add", b)
	return z
}

func (p *twinPass) Pick(x engine.Tensor, rows []int) engine.Tensor {
	in := x.(*twinTensor)
	y := p.settle("Pick", p.tested.Pick(in.tested, rows), p.plain.Pick(in.plain, rows), exact)
	p.intact("Pick", in)
	return y
}

func (p *twinPass) SoftCap(x engine.Tensor, limit float32) engine.Tensor {
	in := x.(*twinTensor)
	return p.settle("SoftCap", p.tested.SoftCap(in.tested, limit), p.plain.SoftCap(in.plain, limit),
		func(want []float32) func(i int) float64 {
			return func(i int) float64 { return relative*math.Abs(float64(want[i])) + saturated*float64(limit) }
		})
}

func (p *twinPass) Keep(x engine.Tensor) {
	in := x.(*twinTensor)
	p.tested.Keep(in.tested)
	p.plain.Keep(in.plain)
	p.intact("Keep", in)
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

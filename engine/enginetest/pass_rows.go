package enginetest

import (
	"math"

	"lapidary/engine"
)

func (p *twinPass) Gate(gate, up engine.Tensor, act engine.Activation) engine.Tensor {
	g := gate.(*twinTensor)
	gates := read(p.plain, g.plain)
	var u *twinTensor
	var tested, plain engine.Tensor
	ups := func(int) float64 { return 1 }
	if up != nil {
		u = up.(*twinTensor)
		tested, plain = u.tested, u.plain
		data := read(p.plain, u.plain)
		ups = func(i int) float64 { return float64(data[i]) }
	}
	y := p.settle("Gate", p.tested.Gate(g.tested, tested, act), p.plain.Gate(g.plain, plain, act), func(want []float32) func(i int) float64 {
		return func(i int) float64 { return gateLimit(float64(want[i]), float64(gates[i]), ups(i), act) }
	})
	if u != nil {
		p.intact("Gate", u)
	}
	return y
}

// gateLimit is what act(gate)·up may differ by. The functions that end at the
// size of their argument, and those that end at 1, are differences of near
// numbers where they are small.
func gateLimit(result, gate, up float64, act engine.Activation) float64 {
	limit := relative * math.Abs(result)
	switch act {
	case engine.ReLU:
		return limit
	case engine.Tanh, engine.Sigmoid:
		return limit + saturated*math.Abs(up)
	default:
		return limit + saturated*math.Abs(gate*up)
	}
}

// activate is an activation in float64.
func activate(x float64, act engine.Activation) float64 {
	switch act {
	case engine.GELUTanh:
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	case engine.GELU:
		return 0.5 * x * (1 + math.Erf(x/math.Sqrt2))
	case engine.ReLU:
		return max(0, x)
	case engine.Tanh:
		return math.Tanh(x)
	case engine.Sigmoid:
		return sigmoid(x)
	default:
		return x * sigmoid(x)
	}
}

func (p *twinPass) Add(x, y engine.Tensor) engine.Tensor {
	a, b := x.(*twinTensor), y.(*twinTensor)
	z := p.settle("Add", p.tested.Add(a.tested, b.tested), p.plain.Add(a.plain, b.plain), exact)
	p.intact("Add", b)
	return z
}

// Affine is exact where it does one of its two things.
func (p *twinPass) Affine(x engine.Tensor, by, plus engine.Weight) engine.Tensor {
	in := x.(*twinTensor)
	testedBy, plainBy := split(by)
	testedPlus, plainPlus := split(plus)
	limit := exact
	if by != nil && plus != nil {
		b := floats(plus)
		limit = func(want []float32) func(i int) float64 {
			// x·by is no greater than both together.
			return func(i int) float64 { return relative * (math.Abs(float64(want[i])) + 2*math.Abs(float64(b[i%len(b)]))) }
		}
	}
	return p.settle("Affine", p.tested.Affine(in.tested, testedBy, testedPlus), p.plain.Affine(in.plain, plainBy, plainPlus), limit)
}

func (p *twinPass) Scale(x engine.Tensor, by float32) engine.Tensor {
	in := x.(*twinTensor)
	return p.settle("Scale", p.tested.Scale(in.tested, by), p.plain.Scale(in.plain, by), exact)
}

func (p *twinPass) Clamp(x engine.Tensor, least, most float32) engine.Tensor {
	in := x.(*twinTensor)
	return p.settle("Clamp", p.tested.Clamp(in.tested, least, most), p.plain.Clamp(in.plain, least, most), exact)
}

// Sparse may differ by a part of what is subtracted: the mean and the deviation
// are no greater than the greatest element.
func (p *twinPass) Sparse(x engine.Tensor, deviations float32) engine.Tensor {
	in := x.(*twinTensor)
	_, width := in.Dims()
	tops := rowwise(read(p.plain, in.plain), width, greatest)
	limit := relative * (2 + math.Abs(float64(deviations)))
	return p.settle("Sparse", p.tested.Sparse(in.tested, deviations), p.plain.Sparse(in.plain, deviations),
		by(func(i int) float64 { return limit * tops[i/width] }))
}

// rowwise is f of every row.
func rowwise(x []float32, width int, f func(row []float32) float64) []float64 {
	all := make([]float64, len(x)/width)
	for r := range all {
		all[r] = f(x[r*width : (r+1)*width])
	}
	return all
}

func (p *twinPass) SoftCap(x engine.Tensor, limit float32) engine.Tensor {
	in := x.(*twinTensor)
	return p.settle("SoftCap", p.tested.SoftCap(in.tested, limit), p.plain.SoftCap(in.plain, limit),
		func(want []float32) func(i int) float64 {
			return func(i int) float64 { return relative*math.Abs(float64(want[i])) + saturated*float64(limit) }
		})
}

// Mix may differ by a part of its terms.
func (p *twinPass) Mix(xs []engine.Tensor, factors engine.Tensor) []engine.Tensor {
	ins, f := twinsOf(xs), factors.(*twinTensor)
	tested, plain := splitTensors(xs)
	got, want := p.tested.Mix(tested, f.tested), p.plain.Mix(plain, f.plain)
	_, width := ins[0].Dims()
	_, columns := f.Dims()
	var data [][]float32
	for _, x := range ins {
		data = append(data, read(p.plain, x.plain))
	}
	weights := read(p.plain, f.plain)
	if len(got) != len(want) {
		p.twins.failf("Mix: %d results, want %d", len(got), len(want))
	}
	ys := make([]engine.Tensor, len(want))
	for j := range ys {
		ys[j] = p.settle("Mix", got[j], want[j], by(func(i int) float64 {
			var terms float64
			for k, x := range data {
				terms += math.Abs(float64(weights[i/width*columns+j*len(xs)+k]) * float64(x[i]))
			}
			return relative * terms
		}))
	}
	p.intact("Mix", append(ins, f)...)
	return ys
}

func (p *twinPass) Match(x, like engine.Tensor) engine.Tensor {
	in, model := x.(*twinTensor), like.(*twinTensor)
	y := p.settle("Match", p.tested.Match(in.tested, model.tested), p.plain.Match(in.plain, model.plain), part(relative))
	p.intact("Match", model)
	return y
}

func (p *twinPass) Pick(x engine.Tensor, rows []int) engine.Tensor {
	in := x.(*twinTensor)
	y := p.settle("Pick", p.tested.Pick(in.tested, rows), p.plain.Pick(in.plain, rows), exact)
	p.intact("Pick", in)
	return y
}

func (p *twinPass) Put(x engine.Tensor, rows []int, y engine.Tensor) engine.Tensor {
	in, with := x.(*twinTensor), y.(*twinTensor)
	z := p.settle("Put", p.tested.Put(in.tested, rows, with.tested), p.plain.Put(in.plain, rows, with.plain), exact)
	p.intact("Put", with)
	return z
}

func (p *twinPass) Columns(x engine.Tensor, from, n int) engine.Tensor {
	in := x.(*twinTensor)
	y := p.settle("Columns", p.tested.Columns(in.tested, from, n), p.plain.Columns(in.plain, from, n), exact)
	p.intact("Columns", in)
	return y
}

// Mean may differ by a part of the elements it is of.
func (p *twinPass) Mean(x engine.Tensor, groups [][]int) engine.Tensor {
	in := x.(*twinTensor)
	_, width := in.Dims()
	data := read(p.plain, in.plain)
	y := p.settle("Mean", p.tested.Mean(in.tested, groups), p.plain.Mean(in.plain, groups), by(func(i int) float64 {
		var terms float64
		for _, r := range groups[i/width] {
			terms += math.Abs(float64(data[r*width+i%width]))
		}
		return relative * terms / float64(len(groups[i/width]))
	}))
	p.intact("Mean", in)
	return y
}

package enginetest

import (
	"cmp"
	"math"
	"slices"

	"lapidary/engine"
)

func (p *twinPass) Embed(table engine.Weight, ids []int32, scale float32) engine.Tensor {
	w := table.(*twinWeight)
	return p.settle("Embed", p.tested.Embed(w.tested, ids, scale), p.plain.Embed(w.plain, ids, scale), part(relative))
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

// Expect is an attention to the rows of a table.
func (p *twinPass) Expect(x engine.Tensor, table engine.Weight, scale float32) engine.Tensor {
	in, w := x.(*twinTensor), table.(*twinWeight)
	limit := attentionExact * greatest(w.floats()) * math.Abs(float64(scale))
	y := p.settle("Expect", p.tested.Expect(in.tested, w.tested, scale), p.plain.Expect(in.plain, w.plain, scale), flat(limit))
	p.intact("Expect", in)
	return y
}

func (p *twinPass) BlockLinear(x engine.Tensor, w engine.Weight, n int) engine.Tensor {
	in, m := x.(*twinTensor), w.(*twinWeight)
	inputs, outputs := m.Dims()
	size := inputs / n
	columns := make([]float64, n*outputs) // ‖w‖ of each output of each block
	for i, v := range m.floats() {
		columns[i/outputs/size*outputs+i%outputs] += float64(v) * float64(v)
	}
	data, quantised := read(p.plain, in.plain), m.stored.Type.Quantised()
	y := p.settle("BlockLinear", p.tested.BlockLinear(in.tested, m.tested, n), p.plain.BlockLinear(in.plain, m.plain, n), by(func(i int) float64 {
		row, output := i/len(columns), i%len(columns)
		from := row*inputs + output/outputs*size
		return productLimit(data[from:from+size], quantised) * math.Sqrt(columns[output])
	}))
	p.intact("BlockLinear", in)
	return y
}

// productLimit is what a product of x with w may differ by, as a part of ‖w‖.
func productLimit(x []float32, quantised bool) float64 {
	limit := floatProduct * norm(x)
	if quantised {
		limit += quantisedProduct * greatest(x)
	}
	return limit
}

// Conv2D is a product of each kernel with as many elements of x.
func (p *twinPass) Conv2D(x engine.Tensor, c engine.Conv2D) engine.Tensor {
	in, m := x.(*twinTensor), c.Weight.(*twinWeight)
	tested, plain := c, c
	tested.Weight, plain.Weight = m.tested, m.plain
	top := greatest(read(p.plain, in.plain))
	limit := floatProduct * top * math.Sqrt(float64(m.stored.Cols()))
	if m.stored.Type.Quantised() {
		limit += quantisedProduct * top
	}
	norms := m.rowNorms()
	y := p.settle("Conv2D", p.tested.Conv2D(in.tested, tested), p.plain.Conv2D(in.plain, plain),
		by(func(i int) float64 { return limit * norms[i%c.Out] }))
	p.intact("Conv2D", in)
	return y
}

func (p *twinPass) Experts(x, scores engine.Tensor, e engine.Experts) engine.Tensor {
	in, choice := x.(*twinTensor), scores.(*twinTensor)
	tested, plain := e, e
	tested.GateUp, plain.GateUp = split(e.GateUp)
	tested.Down, plain.Down = split(e.Down)
	tested.Scale, plain.Scale = split(e.Scale)
	rows, width := in.Dims()
	data, marks := read(p.plain, in.plain), read(p.plain, choice.plain)
	limits := make([]float64, rows*width)
	for r := range rows {
		expertLimits(limits[r*width:(r+1)*width], data[r*width:(r+1)*width], marks[r*e.Count:(r+1)*e.Count], e)
	}
	y := p.settle("Experts "+e.GateUp.(*twinWeight).stored.Type.String(), p.tested.Experts(in.tested, choice.tested, tested), p.plain.Experts(in.plain, choice.plain, plain),
		by(func(i int) float64 { return limits[i] }))
	p.intact("Experts", in, choice)
	return y
}

// expertLimits adds up what the chosen experts' results may differ by. What the
// first products are off by comes through the second: its terms are off by
// independent amounts, so their squares add up.
func expertLimits(limits []float64, x, scores []float32, e engine.Experts) {
	first, second := e.GateUp.(*twinWeight), e.Down.(*twinWeight)
	_, f := second.Dims()
	down, norms := second.floats(), second.rowNorms()
	for expert, share := range shares(scores, e) {
		h, off := hidden(x, first, expert, f, e.Activation)
		for c := range limits {
			row := down[(expert*len(x)+c)*f:][:f]
			var result, through float64
			for i, w := range row {
				result += float64(w) * float64(h[i])
				moved := float64(w) * off[i]
				through += moved * moved
			}
			limits[c] += share * (productLimit(h, second.stored.Type.Quantised())*norms[expert*len(x)+c] + math.Sqrt(through) + 4*relative*math.Abs(result))
		}
	}
}

// hidden is what an expert has between its products, and what each element of
// it may be off by. No activation is steeper than 1.13 or steps out of its
// argument's size, but for the S-shaped ones, which are 1 at the most.
func hidden(x []float32, w *twinWeight, expert, f int, act engine.Activation) (h []float32, off []float64) {
	values, norms := w.floats(), w.rowNorms()
	limit := productLimit(x, w.stored.Type.Quantised())
	h, off = make([]float32, f), make([]float64, f)
	for i := range h {
		gate, up := expert*2*f+i, expert*2*f+f+i
		g, u := dot(x, values[gate*len(x):]), dot(x, values[up*len(x):])
		a := activate(g, act)
		h[i] = float32(a * u)
		off[i] = 1.13*limit*norms[gate]*math.Abs(u) + math.Abs(a)*limit*norms[up] + gateLimit(a*u, g, u, act)
	}
	return h, off
}

// dot is x·y, y being at least as long.
func dot(x, y []float32) (sum float64) {
	for i, v := range x {
		sum += float64(v) * float64(y[i])
	}
	return sum
}

// shares are what the experts that a row takes count: the greatest of its
// scores, and of equals the first.
func shares(scores []float32, e engine.Experts) map[int]float64 {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	var total float64
	chosen := map[int]float64{}
	for _, i := range order[:e.Top] {
		chosen[i] = math.Exp(float64(scores[i] - scores[order[0]]))
		total += chosen[i]
	}
	scale := floats(e.Scale)
	for i := range chosen {
		chosen[i] /= total
		if scale != nil {
			chosen[i] *= math.Abs(float64(scale[i]))
		}
	}
	return chosen
}

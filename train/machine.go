package train

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph" //nolint:revive,staticcheck // formulas of graph operations read like formulas
	"github.com/gomlx/gomlx/support/exceptions"

	"lapidary/engine/graph"
	"lapidary/engine/graph/plugin"
	"lapidary/train/optimizer"
)

// donated begins the names of parameters that a step may overwrite.
const donated = "donated."

// machine holds what is trained on the device, and runs steps.
type machine struct {
	engine    *graph.Engine
	optimizer optimizer.Optimizer
	clip      float64
	remat     bool

	weights  []*trained
	of       map[*graph.Weight]*trained
	inverses map[*graph.Weight]inverse // of DoRA
	programs map[string]*Graph
}

// trained is a weight in training: its master and the optimiser's state.
type trained struct {
	optimizer.Parameter
	weight *graph.Weight
	value  compute.Buffer
	slots  []compute.Buffer
	shapes []optimizer.Slot
}

// newMachine puts the weights that are trained on the device.
func newMachine(e *graph.Engine, o optimizer.Optimizer, clip float64, remat bool, weights []*graph.Weight, parameters []optimizer.Parameter) (*machine, error) {
	m := &machine{engine: e, optimizer: o, clip: clip, remat: remat, of: map[*graph.Weight]*trained{}, inverses: map[*graph.Weight]inverse{}, programs: map[string]*Graph{}}
	plugin.Donate(e.Backend(), func(name string) bool { return strings.HasPrefix(name, donated) })
	for i, w := range weights {
		values, err := w.Values()
		if err != nil {
			return nil, err
		}
		t := &trained{Parameter: parameters[i], weight: w, shapes: o.Slots(parameters[i])}
		if t.value, err = m.upload(values, parameters[i].Dims); err != nil {
			return nil, err
		}
		for _, s := range t.shapes {
			b, err := m.upload(make([]float32, size(s.Dims)), s.Dims)
			if err != nil {
				return nil, err
			}
			t.slots = append(t.slots, b)
		}
		m.weights, m.of[w] = append(m.weights, t), t
	}
	return m, nil
}

func size(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

func (m *machine) upload(values []float32, dims []int) (compute.Buffer, error) {
	return m.engine.Backend().BufferFromFlatData(0, values, shapes.Make(dtypes.Float32, dims...))
}

// close gives the device's memory back.
func (m *machine) close() {
	for _, t := range m.weights {
		release(append(t.slots, t.value)...)
	}
	for _, g := range m.programs {
		g.Finalize()
	}
}

func release(buffers ...compute.Buffer) {
	for _, b := range buffers {
		_ = b.Finalize() // the device takes back what it can
	}
}

// micro is a recorded part of a batch: its results are a loss's value and slope.
type micro = *graph.Recording

// outcome is what a step has done.
type outcome struct {
	loss float64
	norm float64 // of the gradient, before it was clipped
}

// ErrNotFinite is a gradient that is no number. The step that found it has
// changed nothing.
var ErrNotFinite = errors.New("the gradient is not a number")

// step takes one of the optimiser's with the sum of the micros' losses, unless
// check refuses it. number counts from 1.
func (m *machine) step(micros []micro, number int, rate float64, check func(loss float64) error) (outcome, error) {
	sums, loss, err := m.gradients(micros)
	if err != nil {
		return outcome{}, err
	}
	if err := check(loss); err != nil {
		release(sums...)
		return outcome{loss: loss}, err
	}
	norm, err := m.update(sums, number, rate)
	out := outcome{loss: loss, norm: norm}
	return out, err
}

// evaluate is the sum of the micros' losses.
func (m *machine) evaluate(micros []micro) (float64, error) {
	var total float64
	for _, r := range micros {
		outs, err := m.run("value", r, func(p *parameters) []*Node {
			return []*Node{p.lower(r, false)[0]}
		}, nil)
		if err != nil {
			return 0, err
		}
		v, err := number(outs[0])
		release(outs...)
		if err != nil {
			return 0, err
		}
		total += v
	}
	return total, nil
}

// gradients are the sums over the micros, in the order of the weights, and their
// loss.
func (m *machine) gradients(micros []micro) (sums []compute.Buffer, total float64, err error) {
	for i, r := range micros {
		key := "gradients"
		if i > 0 {
			key = "more gradients"
		}
		outs, err := m.run(key, r, func(p *parameters) []*Node {
			outs := p.lower(r, m.remat)
			by := Gradient(ReduceAllSum(outs[1]), p.masters...)
			for j, d := range by {
				if d = wide(d); i > 0 {
					d = Add(d, p.extra[j])
				}
				by[j] = d
			}
			return append([]*Node{outs[0]}, by...)
		}, sums)
		if err != nil {
			return nil, 0, err
		}
		v, err := number(outs[0])
		release(outs[0])
		if err != nil {
			return nil, 0, err
		}
		sums, total = outs[1:], total+v
	}
	return sums, total, nil
}

// update is the optimiser's step with gradients that it consumes. It changes
// nothing where they are not finite.
func (m *machine) update(sums []compute.Buffer, step int, rate float64) (norm float64, err error) {
	p, err := m.program("update", func(g *Graph) []*Node { return m.lowerUpdate(g) })
	if err != nil {
		return 0, err
	}
	counts, err := m.upload([]float32{float32(step), float32(rate)}, []int{2})
	if err != nil {
		return 0, err
	}
	defer release(counts)
	in := []compute.Buffer{counts}
	for i, t := range m.weights {
		in = append(append(in, sums[i], t.value), t.slots...)
	}
	donate := slices.Repeat([]bool{true}, len(in))
	donate[0] = false
	outs, err := p.Executable().Execute(in, donate, 0)
	if err != nil {
		return 0, deviceError(err)
	}
	if norm, err = number(outs[0]); err != nil {
		return 0, err
	}
	release(outs[0])
	outs = outs[1:]
	for _, t := range m.weights {
		t.value, t.slots = outs[0], slices.Clone(outs[1:1+len(t.slots)])
		outs = outs[1+len(t.slots):]
	}
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		return norm, ErrNotFinite
	}
	return norm, nil
}

// lowerUpdate clips and updates; where the norm is not finite, everything stays
// as it was.
func (m *machine) lowerUpdate(g *Graph) []*Node {
	counts := Parameter(g, "counts", shapes.Make(dtypes.Float32, 2))
	at := func(i int) *Node { return Reshape(SliceAxis(counts, 0, AxisRange(i, i+1))) }
	var grads, values []*Node
	var slots [][]*Node
	for i, t := range m.weights {
		named := func(what string, dims []int) *Node {
			return Parameter(g, donated+what+strconv.Itoa(i), shapes.Make(dtypes.Float32, dims...))
		}
		grads, values = append(grads, named("gradient", t.Dims)), append(values, named("value", t.Dims))
		var own []*Node
		for _, s := range t.shapes {
			own = append(own, named(s.Name, s.Dims))
		}
		slots = append(slots, own)
	}
	clipped, norm := optimizer.ClipGlobalNorm(grads, m.clip)
	sound := IsFinite(norm)
	outs := []*Node{norm}
	keep := func(new, old *Node) *Node { return Where(BroadcastToDims(sound, old.Shape().Dimensions...), new, old) }
	for i, t := range m.weights {
		value, after := m.optimizer.Update(t.Parameter, optimizer.Update{Step: at(0), Rate: at(1), Value: values[i], Gradient: clipped[i], Slots: slots[i]})
		outs = append(outs, keep(value, values[i]))
		for j, s := range after {
			outs = append(outs, keep(s, slots[i][j]))
		}
	}
	return outs
}

// parameters are what a micro's graph takes: the masters, what is added to, the
// weights that are not trained, and the data.
type parameters struct {
	machine *machine
	masters []*Node
	extra   []*Node
	frozen  map[*graph.Weight]*Node
	data    []*Node
	g       *Graph
}

// lower is the recording with its weights → value, slope.
func (p *parameters) lower(r micro, remat bool) []*Node {
	weights := make([]*Node, len(r.Weights))
	for i, w := range r.Weights {
		rows, cols := w.Dims()
		if t, ok := p.machine.of[w]; ok {
			weights[i] = Reshape(p.masters[slices.Index(p.machine.weights, t)], rows, cols)
		} else if by, ok := p.machine.inverses[w]; ok {
			weights[i] = ConvertDType(p.inverseLengths(by, r, rows, cols), p.machine.engine.Type())
		} else {
			weights[i] = p.frozen[w]
		}
	}
	return r.Lower(p.g, weights, p.data, remat)
}

// run builds, at its first use, and runs a graph of a recording.
func (m *machine) run(kind string, r micro, build func(p *parameters) []*Node, extra []compute.Buffer) ([]compute.Buffer, error) {
	g, err := m.program(kind+" "+r.Key, func(g *Graph) []*Node {
		p := &parameters{machine: m, g: g, frozen: map[*graph.Weight]*Node{}}
		for i, t := range m.weights {
			p.masters = append(p.masters, Parameter(g, "value"+strconv.Itoa(i), shapes.Make(dtypes.Float32, t.Dims...)))
		}
		for i := range extra {
			p.extra = append(p.extra, Parameter(g, donated+"sum"+strconv.Itoa(i), shapes.Make(dtypes.Float32, m.weights[i].Dims...)))
		}
		for i, w := range m.frozen(r) {
			rows, cols := w.Dims()
			p.frozen[w] = Parameter(g, "frozen"+strconv.Itoa(i), shapes.Make(m.engine.Type(), rows, cols))
		}
		for i, s := range r.DataShapes() {
			p.data = append(p.data, Parameter(g, "data"+strconv.Itoa(i), s))
		}
		return build(p)
	})
	if err != nil {
		return nil, err
	}
	var in []compute.Buffer
	for _, t := range m.weights {
		in = append(in, t.value)
	}
	donate := make([]bool, len(in), len(in)+len(extra))
	in, donate = append(in, extra...), append(donate, slices.Repeat([]bool{true}, len(extra))...)
	for _, w := range m.frozen(r) {
		b, err := w.OnDevice()
		if err != nil {
			return nil, deviceError(err)
		}
		in = append(in, b)
	}
	data, done, err := r.Place()
	if err != nil {
		return nil, deviceError(err)
	}
	defer done()
	in = append(in, data...)
	donate = append(donate, make([]bool, len(in)-len(donate))...)
	outs, err := g.Executable().Execute(in, donate, 0)
	return outs, deviceError(err)
}

func (m *machine) frozen(r micro) []*graph.Weight {
	return slices.DeleteFunc(slices.Clone(r.Weights), func(w *graph.Weight) bool {
		_, follows := m.inverses[w]
		return m.of[w] != nil || follows
	})
}

func (m *machine) program(key string, build func(g *Graph) []*Node) (*Graph, error) {
	if g, ok := m.programs[key]; ok {
		return g, nil
	}
	g := NewGraph(m.engine.Backend(), "train"+strconv.Itoa(len(m.programs)))
	if err := exceptions.TryCatch[error](func() {
		if err := g.Compile(build(g)...); err != nil {
			panic(err) //nolint:forbidigo // as the rest of a graph's construction does; caught around it
		}
	}); err != nil {
		return nil, deviceError(err)
	}
	m.programs[key] = g
	return g, nil
}

// number is a result of one element.
func number(b compute.Buffer) (float64, error) {
	one := make([]float32, 1)
	err := b.ToFlatData(one)
	return float64(one[0]), deviceError(err)
}

// ErrMemory is a device that has no room for a step.
var ErrMemory = errors.New("the device has not enough memory: take a smaller batch.micro, remat: layer, or a shorter batch.length")

// deviceError is one line of what a backend says.
func deviceError(err error) error {
	if err == nil {
		return nil
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	for _, sign := range []string{"RESOURCE_EXHAUSTED", "Out of memory", "out of memory"} {
		if strings.Contains(err.Error(), sign) {
			return fmt.Errorf("%w (%s)", ErrMemory, first)
		}
	}
	return fmt.Errorf("training step: %s", first)
}

// read copies a weight or a slot out.
func read(b compute.Buffer, dims []int) ([]float32, error) {
	values := make([]float32, size(dims))
	return values, deviceError(b.ToFlatData(values))
}

package train

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/distributed"
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
	programs map[string]*program
	mesh     *mesh // nil for one device
}

// program is a compiled graph; outs say how its results lie on a mesh.
type program struct {
	graph *Graph
	outs  []result
}

// result is how one lies.
type result struct {
	shape shapes.Shape
	spec  *distributed.ShardingSpec
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
	m := &machine{engine: e, optimizer: o, clip: clip, remat: remat}
	return m, m.begin(weights, parameters)
}

// begin puts the weights where they are trained, with an optimiser's state of
// nothing.
func (m *machine) begin(weights []*graph.Weight, parameters []optimizer.Parameter) error {
	m.of, m.inverses, m.programs = map[*graph.Weight]*trained{}, map[*graph.Weight]inverse{}, map[string]*program{}
	plugin.Donate(m.engine.Backend(), func(name string) bool { return strings.HasPrefix(name, donated) })
	for i, w := range weights {
		values, err := w.Values()
		if err != nil {
			return err
		}
		t := &trained{Parameter: parameters[i], weight: w, shapes: m.optimizer.Slots(parameters[i])}
		m.weights, m.of[w] = append(m.weights, t), t
		if t.value, err = m.place(values, t.Dims, m.matrix(t)); err != nil {
			return err
		}
		for _, s := range t.shapes {
			b, err := m.place(make([]float32, size(s.Dims)), s.Dims, m.slot(t, s.Dims))
			if err != nil {
				return err
			}
			t.slots = append(t.slots, b)
		}
	}
	return nil
}

func size(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// upload puts values on the device, or all of them on each.
func (m *machine) upload(values []float32, dims []int) (compute.Buffer, error) {
	return m.place(values, dims, nil)
}

// place is upload to where a spec says, nil for everywhere.
func (m *machine) place(values []float32, dims []int, spec *distributed.ShardingSpec) (compute.Buffer, error) {
	shape := shapes.Make(dtypes.Float32, dims...)
	if m.mesh == nil {
		return m.engine.Backend().BufferFromFlatData(0, values, shape)
	}
	if spec == nil {
		spec = m.mesh.whole(dims)
	}
	return m.mesh.put(values, shape, spec)
}

// matrix and slot are how a weight in training lies, and what is kept of it; nil
// on one device.
func (m *machine) matrix(t *trained) *distributed.ShardingSpec { return m.slot(t, t.Dims) }

func (m *machine) slot(t *trained, dims []int) *distributed.ShardingSpec {
	if m.mesh == nil {
		return nil
	}
	return m.mesh.slot(t.Parameter, dims)
}

// parameter adds one to a graph that lies as a spec says, nil for everywhere.
func (m *machine) parameter(g *Graph, name string, shape shapes.Shape, spec *distributed.ShardingSpec) *Node {
	if m.mesh == nil {
		return Parameter(g, name, shape)
	}
	if spec == nil {
		spec = m.mesh.whole(shape.Dimensions)
	}
	return ShardedParameter(g, name, shape, spec)
}

// close gives the device's memory back.
func (m *machine) close() {
	for _, t := range m.weights {
		release(append(t.slots, t.value)...)
	}
	for _, p := range m.programs {
		p.graph.Finalize()
	}
	if m.mesh != nil {
		m.mesh.close()
	}
}

func release(buffers ...compute.Buffer) {
	for _, b := range buffers {
		if b == nil {
			continue // of a machine that was not finished
		}
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
		}, nil, m.specs(false))
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
		}, sums, m.specs(true))
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
	specs := []*distributed.ShardingSpec{nil}
	for _, t := range m.weights {
		specs = append(specs, m.matrix(t))
		for _, s := range t.shapes {
			specs = append(specs, m.slot(t, s.Dims))
		}
	}
	p, err := m.program("update", func(g *Graph) []*Node { return m.lowerUpdate(g) }, specs)
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
	outs, err := m.execute(p, in, donate)
	if err != nil {
		return 0, err
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
	counts := m.parameter(g, "counts", shapes.Make(dtypes.Float32, 2), nil)
	at := func(i int) *Node { return Reshape(SliceAxis(counts, 0, AxisRange(i, i+1))) }
	var grads, values []*Node
	var slots [][]*Node
	for i, t := range m.weights {
		named := func(what string, dims []int) *Node {
			return m.parameter(g, donated+what+strconv.Itoa(i), shapes.Make(dtypes.Float32, dims...), m.slot(t, dims))
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

// specs are how a graph's results lie that begin with a number; after it come the
// gradients.
func (m *machine) specs(gradients bool) []*distributed.ShardingSpec {
	all := []*distributed.ShardingSpec{nil}
	if gradients {
		for _, t := range m.weights {
			all = append(all, m.matrix(t))
		}
	}
	return all
}

// run builds, at its first use, and runs a graph of a recording.
func (m *machine) run(kind string, r micro, build func(p *parameters) []*Node, extra []compute.Buffer, outs []*distributed.ShardingSpec) ([]compute.Buffer, error) {
	p, err := m.program(kind+" "+r.Key, func(g *Graph) []*Node { return build(m.parameters(g, r, len(extra) > 0)) }, outs)
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
		b, err := m.onDevice(w)
		if err != nil {
			return nil, deviceError(err)
		}
		in = append(in, b)
	}
	data, done, err := m.data(r)
	if err != nil {
		return nil, deviceError(err)
	}
	defer done()
	in = append(in, data...)
	donate = append(donate, make([]bool, len(in)-len(donate))...)
	return m.execute(p, in, donate)
}

// parameters of a recording's graph, with sums that its gradients are added to.
func (m *machine) parameters(g *Graph, r micro, sums bool) *parameters {
	p := &parameters{machine: m, g: g, frozen: map[*graph.Weight]*Node{}}
	for i, t := range m.weights {
		p.masters = append(p.masters, m.parameter(g, "value"+strconv.Itoa(i), shapes.Make(dtypes.Float32, t.Dims...), m.matrix(t)))
	}
	if sums {
		for i, t := range m.weights {
			p.extra = append(p.extra, m.parameter(g, donated+"sum"+strconv.Itoa(i), shapes.Make(dtypes.Float32, t.Dims...), m.matrix(t)))
		}
	}
	for i, w := range m.frozen(r) {
		rows, cols := w.Dims()
		var spec *distributed.ShardingSpec
		if m.mesh != nil {
			spec = m.mesh.matrix(w.Name(), []int{rows, cols})
		}
		p.frozen[w] = m.parameter(g, "frozen"+strconv.Itoa(i), shapes.Make(m.engine.Type(), rows, cols), spec)
	}
	if m.mesh == nil {
		for i, s := range r.DataShapes() {
			p.data = append(p.data, Parameter(g, "data"+strconv.Itoa(i), s))
		}
		return p
	}
	for i, d := range r.Data() {
		p.data = append(p.data, m.parameter(g, "data"+strconv.Itoa(i), d.Shape, m.mesh.datum(d)))
	}
	return p
}

// onDevice is a weight that is not trained.
func (m *machine) onDevice(w *graph.Weight) (compute.Buffer, error) {
	if m.mesh == nil {
		return w.OnDevice()
	}
	return m.mesh.weight(w, m.engine.Type())
}

// data is a recording's; done gives back what is not kept.
func (m *machine) data(r micro) (buffers []compute.Buffer, done func(), err error) {
	if m.mesh == nil {
		return r.Place()
	}
	return m.mesh.place(r)
}

func (m *machine) execute(p *program, in []compute.Buffer, donate []bool) (outs []compute.Buffer, err error) {
	if m.mesh == nil {
		outs, err = p.graph.Executable().Execute(in, donate, 0)
	} else {
		outs, err = m.mesh.execute(p, in, donate)
	}
	return outs, deviceError(err)
}

func (m *machine) frozen(r micro) []*graph.Weight {
	return slices.DeleteFunc(slices.Clone(r.Weights), func(w *graph.Weight) bool {
		_, follows := m.inverses[w]
		return m.of[w] != nil || follows
	})
}

// program makes or finds a graph whose results lie as specs say, nil for
// everywhere.
func (m *machine) program(key string, build func(g *Graph) []*Node, specs []*distributed.ShardingSpec) (*program, error) {
	if p, ok := m.programs[key]; ok {
		return p, nil
	}
	p := &program{graph: NewGraph(m.engine.Backend(), "train"+strconv.Itoa(len(m.programs)))}
	if err := exceptions.TryCatch[error](func() {
		if err := m.compile(p, build, specs); err != nil {
			panic(err) //nolint:forbidigo // as the rest of a graph's construction does; caught around it
		}
	}); err != nil {
		return nil, deviceError(err)
	}
	m.programs[key] = p
	return p, nil
}

func (m *machine) compile(p *program, build func(g *Graph) []*Node, specs []*distributed.ShardingSpec) error {
	if m.mesh == nil {
		return p.graph.Compile(build(p.graph)...)
	}
	if err := p.graph.SetAutoSharding(m.mesh.devices); err != nil {
		return err
	}
	outs := build(p.graph)
	all := make([]*distributed.ShardingSpec, len(outs))
	for i, o := range outs {
		if all[i] = specs[i]; all[i] == nil {
			all[i] = m.mesh.whole(o.Shape().Dimensions)
		}
		p.outs = append(p.outs, result{o.Shape(), all[i]})
	}
	return p.graph.CompileWithSharding(outs, all)
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

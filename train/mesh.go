package train

import (
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/distributed"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/shapes"

	"lapidary/engine/graph"
	"lapidary/train/optimizer"
	"lapidary/train/recipe"
)

// axes of a mesh of devices, as a recipe's layout has them.
const (
	dataAxis  = "data"
	fsdpAxis  = "fsdp"
	modelAxis = "model"
)

// mesh is the devices that a run is spread over. Which device computes what is
// left to XLA's partitioner: specs only say how inputs and results lie, so they
// change where numbers are and not which.
type mesh struct {
	backend compute.Backend
	devices *distributed.DeviceMesh
	sizes   map[string]int
	frozen  map[*graph.Weight]compute.Buffer
	tables  map[any]compute.Buffer
}

// newMesh is nil for one device.
func newMesh(backend compute.Backend, l recipe.Layout) (*mesh, error) {
	if l.Count() <= 1 {
		return nil, nil
	}
	if n := backend.NumDevices(); n < l.Count() {
		return nil, fmt.Errorf("devices.layout takes %d devices, and %s shows %d; XLA's plugin for CPUs (lapidary engine install cpu, engine: cpu) shows any number", l.Count(), backend.Name(), n)
	}
	m := &mesh{backend: backend, sizes: map[string]int{}, frozen: map[*graph.Weight]compute.Buffer{}, tables: map[any]compute.Buffer{}}
	var sizes []int
	var names []string
	for _, a := range []struct {
		name string
		size int
	}{{dataAxis, l.Data}, {fsdpAxis, l.FSDP}, {modelAxis, l.Model}} {
		if a.size > 1 {
			sizes, names = append(sizes, a.size), append(names, a.name)
			m.sizes[a.name] = a.size
		}
	}
	var err error
	m.devices, err = distributed.NewDeviceMesh(sizes, names)
	return m, err
}

// close gives back what is kept for every step.
func (m *mesh) close() {
	for _, b := range m.frozen {
		release(b)
	}
	for _, b := range m.tables {
		release(b)
	}
}

// spec splits axes of dims among the given axes of the mesh, but those that do not
// divide them.
func (m *mesh) spec(dims []int, split ...[]string) *distributed.ShardingSpec {
	s := &distributed.ShardingSpec{Mesh: m.devices, Axes: make([]distributed.AxisSpec, len(dims))}
	for i := range min(len(dims), len(split)) {
		parts := 1
		var over distributed.AxisSpec
		for _, a := range split[i] {
			if n := m.sizes[a]; n > 1 && dims[i] > 0 && dims[i]%(parts*n) == 0 {
				parts, over = parts*n, append(over, a)
			}
		}
		s.Axes[i] = over
	}
	return s
}

// whole is everything on every device.
func (m *mesh) whole(dims []int) *distributed.ShardingSpec { return m.spec(dims) }

// rows are of each device's part of a batch.
func (m *mesh) rows(dims []int) *distributed.ShardingSpec {
	return m.spec(dims, []string{dataAxis, fsdpAxis})
}

// matrix is how a weight lies: what follows heads and the wide layer of a
// feed-forward block is split by columns over model, as what they are computed
// with is by rows (Shoeybi et al. 2019, arXiv:1909.08053). Over fsdp (Rajbhandari
// et al. 2019, arXiv:1910.02054) rows are split, so that XLA gathers each weight
// where it is used: with columns split it exchanges activations as well, 101
// times in the golden Gemma 3's pass.
func (m *mesh) matrix(name string, dims []int) *distributed.ShardingSpec {
	if len(dims) != 2 || dims[0] == 1 || dims[1] == 1 {
		return m.whole(dims)
	}
	for _, part := range []string{"o_proj", "down_proj", "attn_output", "ffn_down"} {
		if strings.Contains(name, part) {
			return m.spec(dims, []string{fsdpAxis}, []string{modelAxis})
		}
	}
	return m.spec(dims, []string{modelAxis, fsdpAxis})
}

// slot is how an optimiser's state of a weight lies: as the weight, if it has its
// shape.
func (m *mesh) slot(p optimizer.Parameter, dims []int) *distributed.ShardingSpec {
	if slices.Equal(p.Dims, dims) {
		return m.matrix(p.Name, dims)
	}
	return m.whole(dims)
}

// shards is a buffer whose parts lie on the devices of a mesh.
type shards struct {
	mesh  *mesh
	spec  *distributed.ShardingSpec
	shape shapes.Shape // of all
	parts []compute.Buffer
}

// put spreads flat values.
func (m *mesh) put(flat any, shape shapes.Shape, spec *distributed.ShardingSpec) (compute.Buffer, error) {
	s := &shards{mesh: m, spec: spec, shape: shape}
	part := spec.ShardShape(shape)
	for d := range m.devices.NumDevices() {
		var piece any
		switch values := flat.(type) {
		case []float32:
			piece = cut(values, s.window(d))
		case []int32:
			piece = cut(values, s.window(d))
		case []bfloat16.BFloat16:
			piece = cut(values, s.window(d))
		default:
			return nil, fmt.Errorf("training step: %T cannot be spread over devices", flat)
		}
		b, err := m.backend.BufferFromFlatData(compute.DeviceNum(d), piece, part)
		if err != nil {
			return nil, deviceError(err)
		}
		s.parts = append(s.parts, b)
	}
	return s, nil
}

// window is where a device's part lies in the whole, as [rows, columns, what is
// never split].
type window struct {
	dims     [3]int
	from, to [2]int
}

func (s *shards) window(device int) window {
	names, sizes := s.mesh.devices.AxesNames(), s.mesh.devices.AxesSizes()
	at := map[string]int{}
	for i := len(names) - 1; i >= 0; i-- {
		at[names[i]] = device % sizes[i]
		device /= sizes[i]
	}
	w := window{dims: [3]int{1, 1, 1}}
	for i, n := range s.shape.Dimensions {
		w.dims[min(i, 2)] *= n
	}
	for i := range 2 {
		index, parts := 0, 1
		if i < len(s.spec.Axes) {
			for _, a := range s.spec.Axes[i] {
				index, parts = index*s.mesh.sizes[a]+at[a], parts*s.mesh.sizes[a]
			}
		}
		each := w.dims[i] / parts
		w.from[i], w.to[i] = index*each, (index+1)*each
	}
	return w
}

// each calls with the runs of elements in the whole that are a part's, in order.
func (w window) each(run func(from, to int)) {
	for r := w.from[0]; r < w.to[0]; r++ {
		at := r * w.dims[1] * w.dims[2]
		run(at+w.from[1]*w.dims[2], at+w.to[1]*w.dims[2])
	}
}

func cut[T any](whole []T, w window) []T {
	var part []T
	w.each(func(from, to int) { part = append(part, whole[from:to]...) })
	return part
}

// Backend, Finalize, Shape, DeviceNum, ToFlatData, Data and CopyToDevice make
// shards a buffer as any, which is read from as the whole.

// Backend is the devices'.
func (s *shards) Backend() compute.Backend { return s.mesh.backend }

// Finalize gives all parts back.
func (s *shards) Finalize() error {
	release(s.parts...)
	return nil
}

// Shape is that of the whole.
func (s *shards) Shape() (shapes.Shape, error) { return s.shape, nil }

// DeviceNum is the first.
func (s *shards) DeviceNum() (compute.DeviceNum, error) { return 0, nil }

// ToFlatData puts float32 parts together.
func (s *shards) ToFlatData(flat any) error {
	if s.spec.IsReplicated() {
		return s.parts[0].ToFlatData(flat)
	}
	whole, ok := flat.([]float32)
	if !ok || s.shape.DType != dtypes.Float32 {
		return fmt.Errorf("%s that is spread over devices is read as float32 only", s.shape)
	}
	part := make([]float32, s.spec.ShardShape(s.shape).Size())
	for d, b := range s.parts {
		if err := b.ToFlatData(part); err != nil {
			return err
		}
		rest := part
		s.window(d).each(func(from, to int) { rest = rest[copy(whole[from:to], rest):] })
	}
	return nil
}

// Data is nowhere in one piece.
func (s *shards) Data() (any, error) {
	return nil, fmt.Errorf("%s is spread over devices", s.shape)
}

// CopyToDevice is not for what lies on several.
func (s *shards) CopyToDevice(compute.DeviceNum) (compute.Buffer, error) {
	return nil, fmt.Errorf("%s is spread over devices", s.shape)
}

// execute runs a graph whose results lie as its specs say.
func (m *mesh) execute(p *program, in []compute.Buffer, donate []bool) ([]compute.Buffer, error) {
	n := m.devices.NumDevices()
	var all []compute.Buffer
	for d := range n {
		for _, b := range in {
			all = append(all, b.(*shards).parts[d])
		}
	}
	parts, err := p.graph.Executable().Execute(all, slices.Repeat(donate, n), 0)
	if err != nil {
		return nil, err
	}
	outs := make([]compute.Buffer, len(p.outs))
	for i, o := range p.outs {
		s := &shards{mesh: m, spec: o.spec, shape: o.shape}
		for d := range n {
			s.parts = append(s.parts, parts[d*len(p.outs)+i])
		}
		outs[i] = s
	}
	return outs, nil
}

// weight is one that is not trained, spread at its first use.
func (m *mesh) weight(w *graph.Weight, as dtypes.DType) (compute.Buffer, error) {
	if b, ok := m.frozen[w]; ok {
		return b, nil
	}
	flat, err := w.Flat()
	if err != nil {
		return nil, err
	}
	rows, cols := w.Dims()
	b, err := m.put(flat, shapes.Make(as, rows, cols), m.matrix(w.Name(), []int{rows, cols}))
	if err == nil {
		m.frozen[w] = b
	}
	return b, err
}

// place spreads a recording's data: rows by the devices' parts of the batch,
// tables whole. release gives back what is not kept.
func (m *mesh) place(r micro) (buffers []compute.Buffer, done func(), err error) {
	var owned []compute.Buffer
	done = func() { release(owned...) }
	for _, d := range r.Data() {
		if b, ok := m.tables[d.Table]; ok && d.Table != nil {
			buffers = append(buffers, b)
			continue
		}
		b, err := m.put(d.Flat, d.Shape, m.datum(d))
		if err != nil {
			done()
			return nil, nil, err
		}
		if buffers = append(buffers, b); d.Table != nil {
			m.tables[d.Table] = b
		} else {
			owned = append(owned, b)
		}
	}
	return buffers, done, nil
}

func (m *mesh) datum(d graph.Datum) *distributed.ShardingSpec {
	if d.Table != nil {
		return m.whole(d.Shape.Dimensions)
	}
	return m.rows(d.Shape.Dimensions)
}

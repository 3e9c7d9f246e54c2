package graph

import (
	"context"
	"fmt"
	"sync"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"lapidary/checkpoint"
	"lapidary/engine"
	"lapidary/engine/graph/plugin"
)

// Options say how an engine computes.
type Options struct {
	// Backend is a configuration of GoMLX: "go", or "xla:" and the path of a
	// plugin. "" is "go".
	Backend string
	// Half computes in bfloat16 with float32 sums.
	Half bool
	// Spread says that graphs are partitioned among devices. An operation that is
	// the device's own, such as cuDNN's attention, cannot be, and is not used.
	Spread bool
}

// Engine runs and differentiates passes as graphs.
type Engine struct {
	backend compute.Backend
	dtype   dtypes.DType // of activations
	fuses   bool         // has an attention of its own
	slides  sync.Map     // the windows of its configurations

	mutex    sync.Mutex // of what follows, and of the device
	programs map[string]*program
	tables   map[tableKey]compute.Buffer
}

// New opens a backend.
func New(o Options) (*Engine, error) {
	if o.Backend == "" {
		o.Backend = "go"
	}
	backend, err := plugin.Open(o.Backend)
	if err != nil {
		return nil, fmt.Errorf("graph engine: backend %s: %w", o.Backend, err)
	}
	e := &Engine{backend: backend, dtype: dtypes.Float32, programs: map[string]*program{}, tables: map[tableKey]compute.Buffer{}}
	if o.Half {
		e.dtype = dtypes.BFloat16
	}
	if !o.Spread {
		e.findFused()
	}
	return e, nil
}

// Name is what --engine calls it.
func (e *Engine) Name() string { return "graph" }

// Device says what the engine computes on.
func (e *Engine) Device() string {
	return e.backend.DeviceDescription(0) + " " + e.backend.Description()
}

// Backend is what the engine's graphs are compiled by.
func (e *Engine) Backend() compute.Backend { return e.backend }

// Type is that of activations, and of weights that are not trained.
func (e *Engine) Type() dtypes.DType { return e.dtype }

// Close returns the device's memory. Weights and caches die with it.
func (e *Engine) Close() error {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	for _, p := range e.programs {
		p.graph.Finalize()
	}
	e.programs, e.tables = nil, nil
	e.backend.Finalize()
	return nil
}

// Load binds a stored tensor.
func (e *Engine) Load(t checkpoint.Tensor) (engine.Weight, error) {
	if !t.Type.Known() {
		return nil, fmt.Errorf("tensor %s: %s is not a format this engine reads", t.Name, t.Type)
	}
	if t.Cols()%t.Type.Block() != 0 || len(t.Data) != t.Rows()*t.RowBytes() {
		return nil, fmt.Errorf("tensor %s: %d bytes do not hold %v elements of %s", t.Name, len(t.Data), t.Shape, t.Type)
	}
	return &Weight{engine: e, stored: t}, nil
}

// Begin starts a pass.
func (e *Engine) Begin(ctx context.Context, spans []engine.Span) engine.Pass {
	return e.newTape().begin(ctx, spans, 0)
}

func (e *Engine) newTape() *tape { return &tape{engine: e} }

func (t *tape) begin(ctx context.Context, spans []engine.Span, line int) *Pass {
	return &Pass{
		tape: t, ctx: ctx, spans: spans, layout: newLayout(spans, line), memo: map[string]*datum{}, stored: map[int]keysValues{},
		updates: map[*cache][]update{}, sources: map[*cache][]update{},
	}
}

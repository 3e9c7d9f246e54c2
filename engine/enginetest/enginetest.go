package enginetest

import (
	"context"
	"math/rand/v2"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/engine"
)

// Roomy says that an engine keeps more of keys and values than it is asked for:
// no memory is held against another's size.
const Roomy = "Int8/size"

// Run holds the engines that new makes against the plain one. Each part of the
// suite gets an engine of its own, which Run closes; the parts named are left
// out.
func Run(t *testing.T, new func(t *testing.T) engine.Engine, without ...string) {
	for _, part := range []struct {
		name string
		run  func(l *lab)
	}{
		{"Embed", embeds}, {"Norm", norms}, {"Linear", linears}, {"Heads", heads}, {"Gate", gates},
		{"Add", adds}, {"Pick", picks}, {"SoftCap", softCaps}, {"ReadWrite", readsAndWrites}, {"Keep", keeps},
		{"Reuse", reuses},
		{"Affine", affines}, {"Clamp", clamps}, {"Sparse", sparses}, {"Mix", mixes}, {"Match", matches}, {"Mean", means}, {"Put", puts},
		{"Columns", columns}, {"Expect", expects}, {"BlockLinear", blockLinears}, {"Experts", experts},
		{"Conv2D", conv2Ds}, {"CumulativeNorm", cumulativeNorms}, {"Recur", recurs},
		{"Attend", attends}, {"Together", together}, {"Pieces", pieces}, {"LongCache", longCaches}, {"Shared", sharedLayers}, {"SomeRows", someRows},
		{"Ahead", aheads}, {"Anchored", anchors}, {"Groups", groups}, {"Relative", relatives}, {"Source", sources}, {"Behind", behinds}, {"Turns", turns},
		{"Precision", precisions}, {"Int8", int8Caches},
		{"Cache", caches}, {"Truncate", truncates}, {"Window", windows}, {"Failure", failures}, {"Life", lives},
		{"Interleaved", interleaved}, {"Concurrent", concurrent}, {"ConcurrentKinds", concurrentKinds},
	} {
		t.Run(part.name, func(t *testing.T) {
			e := new(t)
			t.Cleanup(func() {
				if err := e.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
			part.run(&lab{T: t, Engine: Compare(t, e), tested: e, rng: rand.New(rand.NewPCG(1, 2)), without: without})
		})
	}
}

// lab is a test with an engine to experiment on.
type lab struct {
	*testing.T
	engine.Engine               // the tested engine and the plain one, as Compare joins them
	tested        engine.Engine // alone
	rng           *rand.Rand
	without       []string
}

// Run runs a part of the part.
func (l *lab) Run(name string, run func(l *lab)) {
	l.T.Run(name, func(t *testing.T) {
		sub := *l
		sub.T = t
		run(&sub)
	})
}

func (l *lab) normals(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(l.rng.NormFloat64())
	}
	return x
}

// halfs are normals that half precision holds exactly, so that engines may
// keep them as they like and still agree to float32.
func (l *lab) halfs(n int) []float32 {
	x := l.normals(n)
	for i, v := range x {
		x[i] = roundHalf(v)
	}
	return x
}

// random is a tensor of normals.
func (l *lab) random(p engine.Pass, rows, width int) engine.Tensor {
	return p.Write(l.normals(rows*width), width)
}

func (l *lab) weight(typ checkpoint.Type, rows, cols int) engine.Weight {
	return l.load(checkpointtest.RandomTensor(l.rng, typ, rows, cols))
}

func (l *lab) load(t checkpoint.Tensor) engine.Weight {
	l.Helper()
	w, err := l.Load(t)
	if err != nil {
		l.Fatal(err)
	}
	return w
}

// vector is a norm's weight around 1, stored as safetensors and GGUF do.
func (l *lab) vector(n int) engine.Weight {
	return l.load(checkpointtest.FloatTensor("norm", l.normals(n), n))
}

// pass runs operations over rows of a sequence that is forgotten.
func (l *lab) pass(rows int, run func(p engine.Pass)) {
	l.Helper()
	p := l.Begin(context.Background(), []engine.Span{{Rows: rows}})
	run(p)
	l.end(p)
}

func (l *lab) end(p engine.Pass) {
	l.Helper()
	if err := p.End(); err != nil {
		l.Errorf("End: %v", err)
	}
}

// types are the formats an engine must take weights in.
var types = []checkpoint.Type{
	checkpoint.F32, checkpoint.F16, checkpoint.BF16, checkpoint.Q4_0, checkpoint.Q4_1, checkpoint.Q5_0,
	checkpoint.Q5_1, checkpoint.Q8_0, checkpoint.Q2_K, checkpoint.Q3_K, checkpoint.Q4_K, checkpoint.Q5_K,
	checkpoint.Q6_K, checkpoint.IQ4_NL, checkpoint.IQ4_XS, checkpoint.MXFP4,
}

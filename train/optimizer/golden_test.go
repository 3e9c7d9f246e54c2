package optimizer_test

import (
	"cmp"
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/gomlx/compute"
	_ "github.com/gomlx/compute/gobackend"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"lapidary/train/optimizer"
	"lapidary/train/recipe"
)

type golden struct {
	Cases []struct {
		Kind     string
		Settings struct {
			Betas       [2]float64
			Eps         float64
			Momentum    float64
			WeightDecay float64 `json:"weight_decay"`
		}
		Dims      []int
		Rates     []float32
		Value     []float32
		Gradients [][]float32
		Values    [][]float32
		State     map[string][]float32
	}
	Clip []struct {
		Limit     float64
		Dims      [][]int
		Gradients [][]float32
		Norm      float32
		Clipped   [][]float32
	}
}

func readGolden(t *testing.T) (g golden) {
	t.Helper()
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestGolden takes every step torch.optim took.
func TestGolden(t *testing.T) {
	for _, c := range readGolden(t).Cases {
		t.Run(c.Kind, func(t *testing.T) {
			o := recipe.Optimizer{
				Kind: recipe.OptimizerKind(c.Kind), LR: 1, AdamWLR: 1, Betas: c.Settings.Betas, Eps: c.Settings.Eps,
				Momentum: c.Settings.Momentum, WeightDecay: c.Settings.WeightDecay,
			}
			if c.Kind == "muon" {
				o.Betas, o.Eps = [2]float64{0.9, 0.999}, 1e-8
			}
			s := start(t, o, "layers.0.mlp.up_proj.weight", c.Dims, c.Value)
			for i, g := range c.Gradients {
				s.step(t, c.Rates[i], g)
				near(t, "value", s.value, c.Values[i])
			}
			if len(s.slots) != len(c.State) {
				t.Errorf("%d slots, torch has %d", len(s.slots), len(c.State))
			}
			for i, slot := range s.opt.Slots(s.param) {
				near(t, slot.Name, s.slots[i], c.State[slot.Name])
			}
		})
	}
}

func TestClipGolden(t *testing.T) {
	for _, c := range readGolden(t).Clip {
		clipped, norm := clip(t, c.Gradients, c.Dims, c.Limit)
		for i, want := range c.Clipped {
			near(t, "clipped", clipped[i], want)
		}
		near(t, "norm", []float32{norm}, []float32{c.Norm})
	}
}

// state is a parameter that is trained.
type state struct {
	opt   optimizer.Optimizer
	param optimizer.Parameter
	exec  *graph.Exec
	value []float32
	slots [][]float32
	steps int
}

func start(t *testing.T, o recipe.Optimizer, name string, dims []int, value []float32) *state {
	t.Helper()
	opt, err := optimizer.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s := &state{opt: opt, param: optimizer.Parameters(o, []string{name}, [][]int{dims})[0], value: value}
	for _, slot := range opt.Slots(s.param) {
		s.slots = append(s.slots, make([]float32, size(slot.Dims)))
	}
	s.exec = compile(t, func(in []*graph.Node) []*graph.Node {
		u := optimizer.Update{Step: in[0], Rate: in[1], Value: in[2], Gradient: in[3], Slots: in[4:]}
		value, slots := opt.Update(s.param, u)
		// GoMLX's Go backend fails at a parameter behind the last that is used.
		return append(append([]*graph.Node{value}, slots...), u.Gradient)
	})
	return s
}

func (s *state) step(t *testing.T, rate float32, gradient []float32) {
	t.Helper()
	s.steps++
	dims := s.param.Dims
	in := []any{
		float32(s.steps), rate,
		tensors.FromFlatDataAndDimensions(s.value, dims...), tensors.FromFlatDataAndDimensions(gradient, dims...),
	}
	for i, slot := range s.opt.Slots(s.param) {
		in = append(in, tensors.FromFlatDataAndDimensions(s.slots[i], slot.Dims...))
	}
	out, err := s.exec.Call(in...)
	if err != nil {
		t.Fatal(err)
	}
	s.value = flat(out[0])
	for i := range s.slots {
		s.slots[i] = flat(out[i+1])
	}
}

func compile(t *testing.T, f func([]*graph.Node) []*graph.Node) *graph.Exec {
	t.Helper()
	backend, err := compute.NewWithConfig(cmp.Or(os.Getenv("LAPIDARY_TEST_BACKEND"), "go"))
	if err != nil {
		t.Fatal(err)
	}
	exec, err := graph.NewExec(backend, f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(exec.Finalize)
	return exec
}

// clip runs ClipGlobalNorm.
func clip(t *testing.T, grads [][]float32, dims [][]int, limit float64) (clipped [][]float32, norm float32) {
	t.Helper()
	in := make([]any, len(grads))
	for i, g := range grads {
		in[i] = tensors.FromFlatDataAndDimensions(g, dims[i]...)
	}
	out, err := compile(t, func(grads []*graph.Node) []*graph.Node {
		clipped, norm := optimizer.ClipGlobalNorm(grads, limit)
		return append(append([]*graph.Node{}, clipped...), norm)
	}).Call(in...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range grads {
		clipped = append(clipped, flat(out[i]))
	}
	return clipped, flat(out[len(grads)])[0]
}

func flat(x *tensors.Tensor) []float32 { return tensors.MustCopyFlatData[float32](x) }

func size(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// near: to 1e-6 of the number, or of the mean of all where one is what is left
// of larger ones that cancelled; torch's own are off by as much there.
func near(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, not %d", what, len(got), len(want))
	}
	mean := 0.0
	for _, v := range want {
		mean += math.Abs(float64(v)) / float64(len(want))
	}
	for i := range want {
		of := max(mean, math.Abs(float64(want[i])))
		if diff := math.Abs(float64(got[i]) - float64(want[i])); !(diff <= 1e-6*of) {
			t.Errorf("%s[%d] = %v, not %v (off by %.2g of %.2g)", what, i, got[i], want[i], diff, of)
		}
	}
}

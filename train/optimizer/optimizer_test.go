package optimizer_test

import (
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"lapidary/train/optimizer"
	"lapidary/train/recipe"
)

var kinds = []recipe.OptimizerKind{recipe.AdamW, recipe.Adafactor, recipe.Muon}

func settings(kind recipe.OptimizerKind) recipe.Optimizer {
	return recipe.Optimizer{
		Kind: kind, LR: 0.1, AdamWLR: 0.05, Betas: [2]float64{0.9, 0.99}, Eps: 1e-8, Momentum: 0.9, WeightDecay: 0.1,
		Groups: []recipe.Group{
			{Pattern: "norm|bias|embed", LRFactor: 1},
			{Pattern: "layers\\.1\\.", LRFactor: 0, DecayFactor: 1},
			{Pattern: "layers\\.", LRFactor: 0.5, DecayFactor: 2},
		},
	}
}

func draw(seed uint64, dims []int) []float32 {
	r := rand.New(rand.NewPCG(seed, 0))
	x := make([]float32, size(dims))
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// TestConverges: the distance to a point falls to nothing as the rate does.
func TestConverges(t *testing.T) {
	const steps = 150
	for _, kind := range kinds {
		for _, dims := range [][]int{{6, 4}, {3, 8}, {5}, {1, 5}, {2, 3, 4}, {}} {
			o := settings(kind)
			o.WeightDecay, o.Groups = 0, nil
			target := draw(1, dims)
			s := start(t, o, "layers.0.mlp.up_proj.weight", dims, draw(2, dims))
			first := distance(s.value, target)
			for i := range steps {
				gradient := make([]float32, len(target))
				for j := range target {
					gradient[j] = s.value[j] - target[j]
				}
				s.step(t, 0.2*float32(steps-i)/steps, gradient)
			}
			if last := distance(s.value, target); !(last < first/50) {
				t.Errorf("%s %v: %v from the target, and %v after %d steps", kind, dims, first, last, steps)
			}
		}
	}
}

func distance(x, y []float32) (d float64) {
	for i := range x {
		d = math.Hypot(d, float64(x[i]-y[i]))
	}
	return d
}

// TestDecay: where the gradient is 0, decay is all that moves a weight.
func TestDecay(t *testing.T) {
	dims := []int{3, 2}
	for _, kind := range kinds {
		for name, factor := range map[string]float64{
			"layers.0.self_attn.q_norm.weight": 0,
			"embed_tokens.weight":              0,
			"layers.0.mlp.up_proj.weight":      0.5 * 2,
			"layers.1.mlp.up_proj.weight":      0,
			"lm_head.weight":                   1,
		} {
			rate := 0.2
			if kind == recipe.Muon && name == "lm_head.weight" {
				rate *= 0.05 / 0.1
			}
			value := draw(3, dims)
			s := start(t, settings(kind), name, dims, value)
			s.step(t, 0.2, make([]float32, len(value)))
			want := make([]float32, len(value))
			for i, v := range value {
				want[i] = float32(float64(v) * (1 - rate*0.1*factor))
			}
			near(t, string(kind)+" "+name, s.value, want)
		}
	}
}

// TestFrozen: a rate of 0 shuts out even gradients that are no numbers.
func TestFrozen(t *testing.T) {
	for _, kind := range kinds {
		value := draw(4, []int{2, 2})
		s := start(t, settings(kind), "layers.1.mlp.up_proj.weight", []int{2, 2}, value)
		s.step(t, 0.2, []float32{float32(math.NaN()), 1, 1, 1})
		if !reflect.DeepEqual(s.value, value) || len(s.slots) != 0 {
			t.Errorf("%s: %v with %d slots, from %v", kind, s.value, len(s.slots), value)
		}
	}
}

// TestMuonRest: what is no hidden matrix gets AdamW's steps at AdamW's rate.
func TestMuonRest(t *testing.T) {
	o := settings(recipe.Muon)
	adamw := o
	adamw.Kind = recipe.AdamW
	for name, dims := range map[string][]int{
		"embed_tokens.weight": {4, 3}, "lm_head.weight": {4, 3}, "norm.weight": {4}, "layers.0.input_layernorm.weight": {1, 4},
		"layers.0.experts.up_proj": {2, 3, 2}, "layers.0.o_proj.bias": {3},
	} {
		a, b := start(t, o, name, dims, draw(5, dims)), start(t, adamw, name, dims, draw(5, dims))
		for i := range uint64(3) {
			g := draw(6+i, dims)
			a.step(t, 0.1, g)
			b.step(t, 0.05, g)
		}
		near(t, name, a.value, b.value)
	}
}

func TestSlots(t *testing.T) {
	type slots = []optimizer.Slot
	hidden := optimizer.Parameter{Name: "layers.0.mlp.up_proj.weight", Dims: []int{6, 4}, Rate: 1}
	vector := optimizer.Parameter{Name: "layers.0.norm.weight", Dims: []int{1, 4}, Rate: 1}
	stack := optimizer.Parameter{Name: "layers.0.experts.up_proj", Dims: []int{2, 6, 4}, Rate: 1}
	for kind, want := range map[recipe.OptimizerKind][3]slots{
		recipe.AdamW: {
			{{"exp_avg", []int{6, 4}}, {"exp_avg_sq", []int{6, 4}}},
			{{"exp_avg", []int{1, 4}}, {"exp_avg_sq", []int{1, 4}}},
			{{"exp_avg", []int{2, 6, 4}}, {"exp_avg_sq", []int{2, 6, 4}}},
		},
		recipe.Adafactor: {
			{{"row_var", []int{6, 1}}, {"col_var", []int{1, 4}}},
			{{"variance", []int{1, 4}}},
			{{"row_var", []int{2, 6, 1}}, {"col_var", []int{2, 1, 4}}},
		},
		recipe.Muon: {
			{{"momentum_buffer", []int{6, 4}}},
			{{"exp_avg", []int{1, 4}}, {"exp_avg_sq", []int{1, 4}}},
			{{"exp_avg", []int{2, 6, 4}}, {"exp_avg_sq", []int{2, 6, 4}}},
		},
	} {
		opt, err := optimizer.New(settings(kind))
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range []optimizer.Parameter{hidden, vector, stack} {
			if got := opt.Slots(p); !reflect.DeepEqual(got, want[i]) {
				t.Errorf("%s: %s: %v, not %v", kind, p.Name, got, want[i])
			}
		}
	}
}

// TestMemory counts the bytes the package's documentation states for the tensors
// of Gemma 3 270M.
func TestMemory(t *testing.T) {
	ps := []optimizer.Parameter{{Name: "embed_tokens.weight", Dims: []int{262144, 640}, Rate: 1}, {Name: "norm.weight", Dims: []int{640}, Rate: 1}}
	for range 18 {
		for _, dims := range [][]int{{1024, 640}, {256, 640}, {256, 640}, {640, 1024}, {2048, 640}, {2048, 640}, {640, 2048}, {640}, {640}, {640}, {640}, {256}, {256}} {
			ps = append(ps, optimizer.Parameter{Name: "layers.0.weight", Dims: dims, Rate: 1})
		}
	}
	for kind, want := range map[recipe.OptimizerKind]int{recipe.AdamW: 2144785408, recipe.Adafactor: 2224128, recipe.Muon: 1743705088} {
		opt, err := optimizer.New(settings(kind))
		if err != nil {
			t.Fatal(err)
		}
		bytes := 0
		for _, p := range ps {
			for _, s := range opt.Slots(p) {
				bytes += 4 * size(s.Dims)
			}
		}
		if bytes != want {
			t.Errorf("%s: %d bytes, not %d", kind, bytes, want)
		}
	}
}

func TestParameters(t *testing.T) {
	names := []string{"layers.0.input_layernorm.weight", "layers.1.mlp.up_proj.weight", "layers.0.mlp.up_proj.weight", "lm_head.weight"}
	dims := [][]int{{4}, {4, 4}, {4, 2}, {8, 4}}
	o := settings(recipe.AdamW)
	o.Groups = append([]recipe.Group{{Pattern: "(", LRFactor: 9, DecayFactor: 9}}, o.Groups...)
	want := []optimizer.Parameter{
		{Name: names[0], Dims: dims[0], Decay: 0, Rate: 1},
		{Name: names[1], Dims: dims[1], Decay: 0.1, Rate: 0},
		{Name: names[2], Dims: dims[2], Decay: 0.2, Rate: 0.5},
		{Name: names[3], Dims: dims[3], Decay: 0.1, Rate: 1},
	}
	if got := optimizer.Parameters(o, names, dims); !reflect.DeepEqual(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}

func TestNewRefuses(t *testing.T) {
	for want, change := range map[string]func(*recipe.Optimizer){
		"kind":     func(o *recipe.Optimizer) { o.Kind = "sgd" },
		"betas":    func(o *recipe.Optimizer) { o.Betas[1] = 1 },
		"eps":      func(o *recipe.Optimizer) { o.Eps = math.NaN() },
		"momentum": func(o *recipe.Optimizer) { o.Momentum = -0.1 },
		"adamw_lr": func(o *recipe.Optimizer) { o.AdamWLR = 0 },
		"pattern":  func(o *recipe.Optimizer) { o.Groups[2].Pattern = "(" },
	} {
		o := settings(recipe.Muon)
		change(&o)
		if _, err := optimizer.New(o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v", want, err)
		}
	}
}

// TestClipLimits: no limit changes nothing, one that is not reached neither.
func TestClipLimits(t *testing.T) {
	for limit, scale := range map[float64]float32{0: 1, 100: 1, 2.5: 0.5} {
		clipped, norm := clip(t, [][]float32{{3, 0}, {4}}, [][]int{{2}, {1}}, limit)
		near(t, "first", clipped[0], []float32{3 * scale, 0})
		near(t, "second", clipped[1], []float32{4 * scale})
		near(t, "norm", []float32{norm}, []float32{5})
	}
	if clipped, norm := optimizer.ClipGlobalNorm(nil, 1); clipped != nil || norm != nil {
		t.Errorf("of no gradients: %v, %v", clipped, norm)
	}
}

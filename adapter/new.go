package adapter

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"lapidary/checkpoint"
)

// AllLinear as the only target stands for every linear layer that can be adapted.
const AllLinear = "all-linear"

// New makes an adapter that changes nothing yet, as PEFT does: A uniform within
// ±1/√in, B zero, and a DoRA's magnitudes the lengths of the weights' rows, for
// which weight finds a layer's tensor (it may be nil for others). Of the layers
// those are taken whose name is, or ends with, one of the configuration's
// targets. The tensors are float32.
func New(c Config, layers []Linear, weight func(name string) (checkpoint.Tensor, bool), rng *rand.Rand) (*Adapter, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	a := &Adapter{Config: c}
	used := map[string]bool{}
	for _, l := range layers {
		target, ok := c.targets(l)
		if !ok {
			continue
		}
		used[target] = true
		m := c.module(l, rng)
		if c.DoRA {
			if err := m.measure(weight); err != nil {
				return nil, err
			}
		}
		a.Modules = append(a.Modules, m)
	}
	for _, t := range c.TargetModules {
		if !used[t] {
			return nil, fmt.Errorf("target module %q: the model has no such linear layer; it has %s", t, strings.Join(kinds(layers), ", "))
		}
	}
	if len(a.Modules) == 0 {
		return nil, fmt.Errorf("no target modules: name some of %s, or %s", strings.Join(kinds(layers), ", "), AllLinear)
	}
	a.sorted()
	return a, nil
}

// targets is the target that means the layer.
func (c *Config) targets(l Linear) (string, bool) {
	for _, t := range c.TargetModules {
		if t == AllLinear || slices.ContainsFunc([]string{l.Name, l.Path}, func(name string) bool {
			return name == t || strings.HasSuffix(name, "."+t)
		}) {
			return t, true
		}
	}
	return "", false
}

// kinds are the last words of the layers' names, each once.
func kinds(layers []Linear) []string {
	var all []string
	for _, l := range layers {
		kind := l.Path[strings.LastIndexByte(l.Path, '.')+1:]
		if !slices.Contains(all, kind) {
			all = append(all, kind)
		}
	}
	return all
}

// module is that of a layer: Kaiming's uniform start with a = √5 (He et al. 2015,
// arXiv:1502.01852) is within ±√(6 / ((1 + a²)·in)).
func (c *Config) module(l Linear, rng *rand.Rand) Module {
	rank := int(c.RankPattern.of(l.Path, float64(c.Rank)))
	v := make([]float32, rank*l.In)
	bound := 1 / math.Sqrt(float64(l.In))
	for i := range v {
		v[i] = float32((2*rng.Float64() - 1) * bound)
	}
	return Module{
		Name: l.Name, Path: l.Path, Scale: c.scale(l.Path, rank),
		A: Floats(prefix+l.Path+suffixA, v, rank, l.In),
		B: Floats(prefix+l.Path+suffixB, make([]float32, l.Out*rank), l.Out, rank),
	}
}

// measure makes a new module's magnitudes.
func (m *Module) measure(weight func(name string) (checkpoint.Tensor, bool)) error {
	if weight == nil {
		return fmt.Errorf("%s: a DoRA begins with the lengths of the weights' rows, and there are no weights", m.Name)
	}
	w, ok := weight(m.Name)
	if !ok {
		return fmt.Errorf("%s: the model has no such weight", m.Name)
	}
	lengths, err := m.Lengths(w)
	m.Magnitude = Floats(prefix+m.Path+suffixLengths, lengths, len(lengths))
	return err
}

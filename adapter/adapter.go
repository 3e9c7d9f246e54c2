package adapter

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"lapidary/checkpoint"
)

// Adapter changes some of a model's linear layers.
type Adapter struct {
	Path    string // of its folder; "" if it was made here
	Config  Config
	Modules []Module // by path
}

// Module is what changes one linear layer.
type Module struct {
	// Name is the layer's canonical name, "layers.0.self_attn.q_proj", and Path
	// what PEFT calls it, "model.layers.0.self_attn.q_proj".
	Name, Path string
	A, B       checkpoint.Tensor // [r, in], [out, r]
	Magnitude  checkpoint.Tensor // [out]; without data but for DoRA
	Scale      float64           // s
}

// Rank is r.
func (m *Module) Rank() int { return m.A.Rows() }

// In and Out are the layer's widths.
func (m *Module) In() int { return m.A.Cols() }

// Out is how many outputs the layer has.
func (m *Module) Out() int { return m.B.Rows() }

// DoRA says whether the module has magnitudes.
func (m *Module) DoRA() bool { return m.Magnitude.Data != nil }

// Tensors are the module's, with PEFT's names.
func (m *Module) Tensors() []checkpoint.Tensor {
	if m.DoRA() {
		return []checkpoint.Tensor{m.A, m.B, m.Magnitude}
	}
	return []checkpoint.Tensor{m.A, m.B}
}

// The names PEFT gives to a module's tensors.
const (
	prefix        = "base_model.model."
	suffixA       = ".lora_A.weight"
	suffixB       = ".lora_B.weight"
	suffixLengths = ".lora_magnitude_vector"
)

// Tensors are those of all modules, with PEFT's names.
func (a *Adapter) Tensors() []checkpoint.Tensor {
	var all []checkpoint.Tensor
	for i := range a.Modules {
		all = append(all, a.Modules[i].Tensors()...)
	}
	return all
}

// Set puts other values, row-major, into the tensor of that name (PEFT's), which
// is float32 afterwards. What was bound of it before keeps the old ones.
func (a *Adapter) Set(name string, values []float32) error {
	for i := range a.Modules {
		m := &a.Modules[i]
		for _, t := range []*checkpoint.Tensor{&m.A, &m.B, &m.Magnitude} {
			if t.Name != name || t.Data == nil {
				continue
			}
			if n := t.Rows() * t.Cols(); len(values) != n {
				return fmt.Errorf("tensor %s: %d values for %v", name, len(values), t.Shape)
			}
			*t = Floats(name, values, t.Shape...)
			return nil
		}
	}
	return fmt.Errorf("tensor %s: the adapter has none of that name", name)
}

// Parameters is how many numbers the adapter has.
func (a *Adapter) Parameters() (n int) {
	for _, t := range a.Tensors() {
		n += t.Rows() * t.Cols()
	}
	return n
}

// Module finds the module of a layer by its canonical name.
func (a *Adapter) Module(name string) (*Module, bool) {
	for i := range a.Modules {
		if a.Modules[i].Name == name {
			return &a.Modules[i], true
		}
	}
	return nil, false
}

// Weighted is an adapter's share in a sum of several: By times the difference
// that it makes. For LoRA that scales s; a DoRA's outputs lie between those of
// the layer and its own.
type Weighted struct {
	*Adapter
	By float64
}

// Linear is a linear layer that an adapter may change.
type Linear struct {
	Name, Path string // as in [Module]
	Out, In    int
}

// ErrMismatch is wrapped by the refusal of an adapter that was made for another
// model.
var ErrMismatch = errors.New("was made for another model")

// Check compares the adapter with a model's linear layers.
func (a *Adapter) Check(layers []Linear) error {
	at := make(map[string]Linear, len(layers))
	for _, l := range layers {
		at[l.Name] = l
	}
	for i := range a.Modules {
		m := &a.Modules[i]
		l, ok := at[m.Name]
		switch {
		case !ok && reason(m.Name) != "":
			return fmt.Errorf("adapter %s: %s: %s", a.Path, m.Name, reason(m.Name))
		case !ok:
			return fmt.Errorf("adapter %s %w: it changes %s, and this one has no such linear layer", a.Path, ErrMismatch, m.Name)
		case l.Out != m.Out() || l.In != m.In():
			return fmt.Errorf("adapter %s %w: its %s is %d wide with %d outputs, here it is %d with %d",
				a.Path, ErrMismatch, m.Name, m.In(), m.Out(), l.In, l.Out)
		}
	}
	return nil
}

// reason is why what has the name cannot be adapted; "" if that is not known.
func reason(name string) string {
	for _, r := range []struct{ part, reason string }{
		{"embed_tokens", "an embedding is looked up, and often shared with the output layer; it is not adapted"},
		{"lm_head", "the output layer is not adapted: it is ranked without computing all of it"},
		{"experts", "experts' weights are chosen row by row; they are not adapted"},
		{"vision_", "towers are not adapted while they run; merge the adapter into the model instead: lapidary merge"},
		{"audio_", "towers are not adapted while they run; merge the adapter into the model instead: lapidary merge"},
		{"conv", "convolutions are not adapted"},
	} {
		if strings.Contains(name, r.part) {
			return r.reason
		}
	}
	return ""
}

// trunk are the words before a decoder's names, in any order and number.
var trunk = []string{"model.", "language_model."}

// canonical is the canonical name of a path: where in a larger model the decoder
// hangs is no part of it.
func canonical(path string) string {
	for again := true; again; {
		again = false
		for _, t := range trunk {
			if after, ok := strings.CutPrefix(path, t); ok {
				path, again = after, true
			}
		}
	}
	for _, inner := range []string{"encoder.text_model.", "encoder.language_model."} {
		if after, ok := strings.CutPrefix(path, inner); ok {
			return "encoder." + after
		}
	}
	return path
}

// sorted puts the modules in the order of their paths.
func (a *Adapter) sorted() {
	slices.SortFunc(a.Modules, func(x, y Module) int { return strings.Compare(x.Path, y.Path) })
}

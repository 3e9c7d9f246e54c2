package quantize

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"lapidary/checkpoint"
)

// Mixture says which format each tensor of a model gets.
type Mixture struct {
	Name  string // "Q4_K_M", as llama.cpp calls it
	About string // in a few words
	// FileType is the number under general.file_type.
	FileType uint32
	// Main is the format of most tensors.
	Main checkpoint.Type

	// better are the formats of those tensors of a kind that matter more; the
	// first that applies is taken.
	better map[kind][]upgrade
}

// kind is what a tensor does, as far as mixtures care.
type kind int

const (
	other  kind = iota
	output      // the output layer, and embeddings where one serves as such
	value
	attentionOut
	down
)

// place is where a tensor is, and what is known of the model.
type place struct {
	layer, layers int
	shared        bool // at least four heads of the first layer share their keys and values
	guided        bool // importances are known
}

// upgrade gives a better format to some of a kind's tensors.
type upgrade struct {
	to    checkpoint.Type
	where func(p place) bool
}

func everywhere(place) bool         { return true }
func firstEighth(p place) bool      { return p.layer < p.layers/8 }
func firstSixteenth(p place) bool   { return p.layer < p.layers/16 }
func sharedHeads(p place) bool      { return p.shared }
func blindFirstEighth(p place) bool { return firstEighth(p) && !p.guided }

// guidedFirstEighth: a shift fits the first layers better, but only once it is
// known which columns matter.
func guidedFirstEighth(p place) bool { return firstEighth(p) && p.guided }

// ends are the first and the last eighth of the layers and every third between.
func ends(p place) bool {
	return firstEighth(p) || p.layer >= 7*p.layers/8 || (p.layer-p.layers/8)%3 == 2
}

func first(n int) func(place) bool {
	return func(p place) bool { return p.layer < n }
}

// all gives a kind one format in every layer.
func all(to checkpoint.Type) []upgrade { return []upgrade{{to, everywhere}} }

// The mixtures are those of llama-quantize (llama.cpp b11434, src/llama-quant.cpp),
// so that files of one name have one size whoever made them.
var mixtures = []Mixture{
	{"F32", "32-bit floats", 0, checkpoint.F32, nil},
	{"F16", "half-precision floats", 1, checkpoint.F16, nil},
	{"BF16", "16-bit floats as Gemma was trained with", 32, checkpoint.BF16, nil},
	{"Q8_0", "8.5 bits a weight, hardly distinguishable", 7, checkpoint.Q8_0, nil},
	{"Q6_K", "6.6 bits", 18, checkpoint.Q6_K, nil},
	{"Q5_K_M", "5.5 bits, the tensors that matter most 6.6", 17, checkpoint.Q5_K, map[kind][]upgrade{
		value: {{checkpoint.Q6_K, ends}}, down: {{checkpoint.Q6_K, ends}}}},
	{"Q5_K_S", "5.5 bits", 16, checkpoint.Q5_K, nil},
	{"Q5_1", "6 bits, the older way", 9, checkpoint.Q5_1, nil},
	{"Q5_0", "5.5 bits, the older way", 8, checkpoint.Q5_0, map[kind][]upgrade{down: {{checkpoint.Q5_1, guidedFirstEighth}}}},
	{"Q4_K_M", "4.5 bits, the tensors that matter most 6.6", 15, checkpoint.Q4_K, map[kind][]upgrade{
		value: {{checkpoint.Q6_K, ends}}, down: {{checkpoint.Q6_K, ends}}}},
	{"Q4_K_S", "4.5 bits, the first layers better", 14, checkpoint.Q4_K, map[kind][]upgrade{
		value: {{checkpoint.Q5_K, first(4)}}, down: {{checkpoint.Q5_K, firstEighth}}}},
	{"IQ4_NL", "4.5 bits on a curve", 25, checkpoint.IQ4_NL, map[kind][]upgrade{
		value: {{checkpoint.Q5_K, sharedHeads}}, down: {{checkpoint.Q5_K, blindFirstEighth}}}},
	{"Q4_1", "5 bits, the older way", 3, checkpoint.Q4_1, nil},
	{"Q4_0", "4.5 bits, the older way", 2, checkpoint.Q4_0, map[kind][]upgrade{down: {{checkpoint.Q4_1, guidedFirstEighth}}}},
	{"Q3_K_L", "3.4 bits, much of it 5.5", 13, checkpoint.Q3_K, map[kind][]upgrade{
		value: all(checkpoint.Q5_K), down: all(checkpoint.Q5_K), attentionOut: all(checkpoint.Q5_K)}},
	{"Q3_K_M", "3.4 bits, much of it 4.5", 12, checkpoint.Q3_K, map[kind][]upgrade{
		value:        {{checkpoint.Q5_K, first(2)}, {checkpoint.Q4_K, everywhere}},
		down:         {{checkpoint.Q5_K, firstSixteenth}, {checkpoint.Q4_K, everywhere}},
		attentionOut: all(checkpoint.Q4_K)}},
	{"Q3_K_S", "3.4 bits", 11, checkpoint.Q3_K, nil},
	{"Q2_K", "2.6 bits, much of it 3.4", 10, checkpoint.Q2_K, map[kind][]upgrade{
		value: {{checkpoint.Q4_K, sharedHeads}, {checkpoint.Q3_K, everywhere}},
		down:  all(checkpoint.Q3_K), attentionOut: all(checkpoint.Q3_K)}},
}

// fallbacks are the formats for rows that are not a whole number of blocks.
var fallbacks = map[checkpoint.Type]checkpoint.Type{
	checkpoint.Q4_K: checkpoint.Q5_0, checkpoint.Q5_K: checkpoint.Q5_1, checkpoint.Q6_K: checkpoint.Q8_0,
	checkpoint.Q2_K: checkpoint.Q4_0, checkpoint.Q3_K: checkpoint.Q4_0,
}

// Mixtures lists what there is, the largest files first.
func Mixtures() []Mixture { return slices.Clone(mixtures) }

// Find is the mixture of that name; case does not matter.
func Find(name string) (Mixture, error) {
	var names []string
	for _, m := range mixtures {
		if strings.EqualFold(m.Name, name) {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return Mixture{}, fmt.Errorf("there is no type %q; choose one of %s", name, strings.Join(names, ", "))
}

// Formats gives the format of each tensor. guided says that importances are
// known.
func (m Mixture) Formats(tensors []checkpoint.Tensor, guided bool) []checkpoint.Type {
	tied, p := true, place{guided: guided}
	queries, keys, values := 0, 0, 0
	for _, t := range tensors {
		tied = tied && t.Name != "lm_head.weight"
		layer, ok := layerOf(t.Name)
		if ok {
			p.layers = max(p.layers, layer+1)
		}
		switch {
		case layer == 0 && strings.HasSuffix(t.Name, "self_attn.q_proj.weight"):
			queries = t.Rows()
		case layer == 0 && strings.HasSuffix(t.Name, "self_attn.k_proj.weight"):
			keys = t.Rows()
		case strings.HasSuffix(t.Name, "self_attn.v_proj.weight"):
			values++
		}
	}
	p.shared = keys > 0 && queries/keys >= 4
	out := make([]checkpoint.Type, len(tensors))
	layers, value := p.layers, 0
	for _, i := range byLayer(tensors) {
		t := tensors[i]
		p.layers = layers
		p.layer, _ = layerOf(t.Name)
		if strings.HasSuffix(t.Name, "self_attn.v_proj.weight") { // not every layer of Gemma 4 has values
			p.layer, p.layers = value, values
			value++
		}
		out[i] = m.format(t, tied, p)
	}
	return out
}

// byLayer are the tensors' places in the order of their layers.
func byLayer(tensors []checkpoint.Tensor) []int {
	order := make([]int, len(tensors))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, _ := layerOf(tensors[a].Name)
		y, _ := layerOf(tensors[b].Name)
		return cmp.Compare(x, y)
	})
	return order
}

// kept are parts of names of matrices that are small or matter much.
var kept = []string{"norm.weight", "router.", "altup", "laurel", "per_layer_model_projection"}

// quantisable reports whether a tensor is a matrix of the kind that there are
// many numbers in. Experts have no "weight" in their names.
func quantisable(t checkpoint.Tensor) bool {
	matrix := len(t.Shape) >= 2 && (strings.HasSuffix(t.Name, "weight") || strings.Contains(t.Name, ".experts."))
	for _, tower := range []string{"v.", "a.", "mm.", "vision_tower.", "multi_modal_projector."} { // which Ollama keeps in the same file
		matrix = matrix && !strings.HasPrefix(t.Name, tower)
	}
	return matrix && !slices.ContainsFunc(kept, func(part string) bool { return strings.Contains(t.Name, part) })
}

// format is the format of one tensor. What is not a matrix keeps its own.
func (m Mixture) format(t checkpoint.Tensor, tied bool, p place) checkpoint.Type {
	if !quantisable(t) {
		return t.Type
	}
	if !m.Main.Quantised() {
		return m.Main
	}
	to := m.wish(kindOf(t.Name, tied), t.Cols(), p)
	if t.Cols()%to.Block() != 0 {
		to = cmp.Or(fallbacks[to], to)
	}
	if t.Cols()%to.Block() != 0 {
		return checkpoint.F16
	}
	return to
}

// wish is the format of a tensor whose rows are long enough for it.
func (m Mixture) wish(k kind, cols int, p place) checkpoint.Type {
	if k == output {
		if m.Main == checkpoint.Q8_0 || cols%m.Main.Block() != 0 {
			return checkpoint.Q8_0
		}
		return checkpoint.Q6_K
	}
	for _, up := range m.better[k] {
		if up.where(p) {
			return up.to
		}
	}
	return m.Main
}

func kindOf(name string, tied bool) kind {
	switch {
	case name == "lm_head.weight" || (name == "embed_tokens.weight" || name == "embed_tokens_per_layer.weight") && tied:
		return output
	case strings.HasSuffix(name, "self_attn.v_proj.weight"):
		return value
	case strings.HasSuffix(name, "self_attn.o_proj.weight"):
		return attentionOut
	case strings.HasSuffix(name, "mlp.down_proj.weight"), strings.HasSuffix(name, "experts.down_proj"):
		return down
	}
	return other
}

// layerOf is the number in "layers.3.mlp.down_proj.weight".
func layerOf(name string) (int, bool) {
	rest, ok := strings.CutPrefix(name, "layers.")
	if !ok {
		return 0, false
	}
	number, _, _ := strings.Cut(rest, ".")
	n, err := strconv.Atoi(number)
	return n, err == nil && n >= 0
}

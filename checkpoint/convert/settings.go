package convert

import (
	"fmt"
	"math"
	"slices"

	"lapidary/engine"
	"lapidary/gemma"
)

// family is what GGUF leaves unsaid about a family: a reader takes it for
// granted, so a model that differs has to say so.
type family struct {
	arch        string // general.architecture
	json, class string // model_type and architectures of config.json
	period      int    // every period-th layer is global
	localBase   float64
	// wide is the layer count of the size whose scores are scaled by
	// width/heads and not by the head size.
	wide int
	// plain are Gemma 3n and later: scores and norms are as they are stored,
	// and files list what differs between layers.
	plain bool
	// split are Gemma 4 and its assistants, whose global layers have heads and
	// rotations of their own.
	split bool
}

// families are those that are written, by the configuration's name.
var families = map[string]family{
	"gemma":            {arch: "gemma", json: "gemma", class: "GemmaForCausalLM", period: 1},
	"gemma2":           {arch: "gemma2", json: "gemma2", class: "Gemma2ForCausalLM", period: 2, wide: 46},
	"gemma3":           {arch: "gemma3", json: "gemma3_text", class: "Gemma3ForCausalLM", period: 6, localBase: 10000, wide: 62},
	"gemma3n":          {arch: "gemma3n", json: "gemma3n_text", class: "Gemma3nForCausalLM", localBase: 10000, plain: true},
	"gemma4":           {arch: "gemma4", json: "gemma4_text", class: "Gemma4ForCausalLM", localBase: 10000, plain: true, split: true},
	"gemma4_unified":   {arch: "gemma4", json: "gemma4_text", class: "Gemma4ForCausalLM", localBase: 10000, plain: true, split: true},
	"gemma4_assistant": {arch: "gemma4-assistant", json: "gemma4_assistant", class: "Gemma4AssistantForCausalLM", localBase: 10000, plain: true, split: true},
}

// encoder is what a Gemma 3 is that looks both ways.
var encoder = family{arch: "gemma-embedding", json: "gemma3_text", class: "Gemma3TextModel", period: 6, localBase: 10000}

func familyOf(c gemma.Config) (family, error) {
	f, ok := families[c.Family]
	switch {
	case !ok:
		return f, fmt.Errorf("llama.cpp has no architecture for models of the family %q, so they cannot be GGUF: keep the Hugging Face folder", c.Family)
	case c.Head.Labels > 0:
		return f, fmt.Errorf("GGUF has no place for the classification head of a %s model: keep the Hugging Face folder", c.Family)
	case c.Head.Pooled > 0 && (c.Family != "gemma3" || len(c.Head.Dense) > 2):
		return f, fmt.Errorf("GGUF has no place for a %s encoder with %d layers after the mean: keep the Hugging Face folder", c.Family, len(c.Head.Dense))
	case c.Head.Pooled > 0:
		return encoder, nil
	}
	return f, nil
}

// settings are a configuration in the terms that both formats share.
type settings struct {
	gemma.Config
	family
	local  []bool          // a layer: sees a window only
	near   gemma.Attention // of local layers; of global ones where there are none
	far    gemma.Attention // of global ones, likewise
	window int             // as both formats count it
	shared int             // layers that read the keys and values of others
}

// settingsOf takes a configuration apart and refuses what the two formats
// cannot say.
func settingsOf(c gemma.Config) (settings, error) {
	f, err := familyOf(c)
	if err != nil {
		return settings{}, err
	}
	s := settings{Config: c, family: f}
	for i, l := range c.Layers {
		if err := s.add(i, l); err != nil {
			return settings{}, err
		}
	}
	if slices.Index(s.local, false) < 0 {
		s.far = s.near
		s.far.Window, s.far.Ahead = 0, 0
	}
	if slices.Index(s.local, true) < 0 {
		s.near = s.far
	}
	if s.window = s.near.Window; s.near.Ahead > 0 && s.window > 0 {
		s.window = 2 * s.near.Ahead
	}
	a, b := s.near, s.far
	switch {
	case a.Heads != b.Heads || a.Scale != b.Scale || a.SoftCap != b.SoftCap || !f.split && (a.KVHeads != b.KVHeads || a.HeadSize != b.HeadSize):
		return settings{}, fmt.Errorf("local and global layers differ in their heads, which cannot be converted")
	case a.Rope.Scale != 1 && slices.Contains(s.local, true) || a.Rope.Size != 0 || b.Rope.Size != 0 || a.Rope.Turn != 0 || b.Rope.Turn != 0 && !f.split:
		return settings{}, fmt.Errorf("the rotary positions cannot be converted")
	}
	return s, nil
}

// add takes in layer i, which must be like the others of its kind.
func (s *settings) add(i int, l gemma.Layer) error {
	a, first := l.Attention, s.Layers[0].Feed
	if a.Reads > 0 {
		s.shared++
	}
	a.Reads = 0
	local := a.Window > 0
	of := &s.far
	if local {
		of = &s.near
	}
	if !slices.Contains(s.local, local) {
		*of = a
	}
	s.local = append(s.local, local)
	switch {
	case *of != a || l.Feed.Experts != first.Experts || !s.plain && l.Feed != first:
		return fmt.Errorf("layer %d differs from others of its kind, which cannot be converted", i)
	case l.Feed.Activation != engine.GELUTanh:
		return fmt.Errorf("the activation is not the tanh form of GELU, which GGUF takes for granted")
	}
	return nil
}

// implied is the score scale that a reader of GGUF takes for granted.
func (s *settings) implied() float64 {
	switch {
	case s.plain:
		return 1
	case len(s.Layers) == s.wide:
		return 1 / math.Sqrt(float64(s.Width)/float64(s.near.Heads))
	}
	return 1 / math.Sqrt(float64(s.near.HeadSize))
}

// fold is what queries have to be multiplied with so that the score scale that
// GGUF implies gives this model's scores.
func (s *settings) fold() float64 { return float64(s.near.Scale) / s.implied() }

// usual reports whether the local layers are where the family has them.
func (s *settings) usual() bool {
	for i, local := range s.local {
		if s.period == 0 || local == ((i+1)%s.period == 0) {
			return false
		}
	}
	return true
}

// metadata says the settings in GGUF's keys, as llama.cpp's converter does.
func (s *settings) metadata() map[string]any {
	p := s.arch + "."
	m := map[string]any{
		"general.architecture":                 s.arch,
		"general.type":                         "model",
		p + "context_length":                   uint32(s.Context),
		p + "embedding_length":                 uint32(s.Width),
		p + "block_count":                      uint32(len(s.Layers)),
		p + "feed_forward_length":              one(s.feeds()),
		p + "vocab_size":                       uint32(s.Vocab),
		p + "attention.head_count":             uint32(s.near.Heads),
		p + "attention.head_count_kv":          one(s.kvHeads()),
		p + "attention.key_length":             uint32(s.far.HeadSize),
		p + "attention.value_length":           uint32(s.far.HeadSize),
		p + "attention.layer_norm_rms_epsilon": s.NormEps,
		p + "rope.freq_base":                   float32(s.far.Rope.Base),
	}
	if s.window > 0 {
		m[p+"attention.sliding_window"] = uint32(s.window)
		if base := s.usualLocalBase(); s.near.Rope.Base != base || s.split {
			m[p+"rope.freq_base_swa"] = float32(s.near.Rope.Base)
		}
	}
	if !s.usual() {
		m[p+"attention.sliding_window_pattern"] = s.local
	}
	if s.far.Rope.Scale != 1 {
		m[p+"rope.scaling.type"] = "linear"
		m[p+"rope.scaling.factor"] = float32(1 / s.far.Rope.Scale)
	}
	if s.arch == "gemma2" || s.near.SoftCap != 0 {
		m[p+"attn_logit_softcapping"] = s.near.SoftCap
	}
	if s.arch == "gemma2" || s.FinalCap != 0 {
		m[p+"final_logit_softcapping"] = s.FinalCap
	}
	s.metadataOfParts(m, p)
	return m
}

// metadataOfParts are the keys for what not every family has.
func (s *settings) metadataOfParts(m map[string]any, p string) {
	if s.plain {
		m[p+"attention.shared_kv_layers"] = uint32(s.shared)
		m[p+"embedding_length_per_layer_input"] = uint32(0) // which readers want to be told
		if s.PerLayer != nil {
			m[p+"embedding_length_per_layer_input"] = uint32(s.PerLayer.Width)
		}
	}
	if s.split {
		m[p+"attention.key_length_swa"], m[p+"attention.value_length_swa"] = uint32(s.near.HeadSize), uint32(s.near.HeadSize)
		m[p+"rope.dimension_count"], m[p+"rope.dimension_count_swa"] = uint32(s.far.HeadSize), uint32(s.near.HeadSize)
	}
	if e := s.Layers[0].Feed.Experts; e.Count > 0 {
		m[p+"expert_count"], m[p+"expert_used_count"], m[p+"expert_feed_forward_length"] = uint32(e.Count), uint32(e.Top), uint32(e.Width)
	}
	if a := s.Streams; a != nil {
		m[p+"altup.num_inputs"], m[p+"altup.active_idx"] = uint32(a.Count), uint32(a.Active)
		m[p+"activation_sparsity_scale"] = s.deviations()
	}
	if s.Drafter != nil {
		m[p+"embedding_length_out"], m[p+"nextn_predict_layers"] = uint32(s.Drafter.Backbone), uint32(len(s.Layers))
		m[p+"attention.shared_kv_layers"] = uint32(len(s.Layers))
	}
	if s.Head.Pooled > 0 {
		const mean = 1
		m[p+"pooling_type"] = uint32(mean)
		in := s.Width
		for i, out := range s.Head.Dense {
			m[fmt.Sprintf("%sdense_%d_feat_in", p, i+2)], m[fmt.Sprintf("%sdense_%d_feat_out", p, i+2)] = uint32(in), uint32(out)
			in = out
		}
	}
}

// feeds are the feed-forward widths of the layers.
func (s *settings) feeds() []int32 {
	var out []int32
	for _, l := range s.Layers {
		out = append(out, int32(l.Feed.Width))
	}
	return out
}

func (s *settings) kvHeads() []int32 {
	var out []int32
	for _, l := range s.Layers {
		out = append(out, int32(l.Attention.KVHeads))
	}
	return out
}

// deviations are how far above its mean a gate counts, in each layer.
func (s *settings) deviations() []float32 {
	var out []float32
	for _, l := range s.Layers {
		out = append(out, float32(math.Sqrt2*math.Erfinv(2*l.Feed.Sparsity-1)))
	}
	return out
}

// one is a number where all are alike, and else all of them.
func one(v []int32) any {
	if slices.Min(v) == slices.Max(v) {
		return uint32(v[0])
	}
	return v
}

func (s *settings) usualLocalBase() float64 {
	if s.localBase != 0 {
		return s.localBase
	}
	return s.far.Rope.Base
}

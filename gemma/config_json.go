package gemma

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"lapidary/engine"
)

// hfConfig is config.json in both spellings: what transformers writes today
// (rope_parameters, layer_types) and what was published (rope_theta,
// sliding_window_pattern).
type hfConfig struct {
	Width    int  `json:"hidden_size"`
	Vocab    int  `json:"vocab_size"`
	Context  int  `json:"max_position_embeddings"`
	Layers   int  `json:"num_hidden_layers"`
	Feed     int  `json:"intermediate_size"`
	Heads    int  `json:"num_attention_heads"`
	KVHeads  int  `json:"num_key_value_heads"`
	HeadSize int  `json:"head_dim"`
	Window   int  `json:"sliding_window"`
	Bias     bool `json:"attention_bias"`

	Eps         *float64 `json:"rms_norm_eps"`
	QueryScalar *float64 `json:"query_pre_attn_scalar"`
	AttCap      *float64 `json:"attn_logit_softcapping"`
	FinalCap    *float64 `json:"final_logit_softcapping"`

	Activation    string `json:"hidden_activation"`
	OldActivation string `json:"hidden_act"`

	LayerTypes    []string        `json:"layer_types"`
	Pattern       int             `json:"sliding_window_pattern"`
	NewPattern    int             `json:"_sliding_window_pattern"`
	RopeTheta     float64         `json:"rope_theta"`
	RopeLocal     float64         `json:"rope_local_base_freq"`
	RopeScaling   *hfRope         `json:"rope_scaling"`
	RopeParams    json.RawMessage `json:"rope_parameters"`
	Bidirectional *bool           `json:"use_bidirectional_attention"`
}

type hfRope struct {
	Type   string  `json:"rope_type"`
	Factor float64 `json:"factor"`
	Theta  float64 `json:"rope_theta"`
}

// jsonFamilies maps model_type to the family; a multimodal Gemma 3 keeps its
// decoder's settings in text_config.
var jsonFamilies = map[string]string{
	"gemma": "gemma", "gemma2": "gemma2", "gemma3_text": "gemma3", "gemma3": "gemma3",
}

// published are the values Gemma 3's config.json may leave out because they
// are transformers' defaults.
var published = hfConfig{
	Width: 2304, Vocab: 262208, Context: 131072, Layers: 26, Feed: 9216, Heads: 8, KVHeads: 4, HeadSize: 256, Window: 4096,
}

func fromJSON(data []byte) (settings, error) {
	if len(data) == 0 {
		return settings{}, errors.New("no config.json beside the weights: it says what architecture they are")
	}
	var outer struct {
		ModelType  string          `json:"model_type"`
		TextConfig json.RawMessage `json:"text_config"`
	}
	if err := json.Unmarshal(data, &outer); err != nil {
		return settings{}, fmt.Errorf("config.json: %w", err)
	}
	family, ok := jsonFamilies[outer.ModelType]
	if !ok {
		return settings{}, fmt.Errorf("config.json: model_type %q is not a Gemma text model this version runs (gemma, gemma2, gemma3_text)", outer.ModelType)
	}
	var h hfConfig
	where := "config.json"
	if len(outer.TextConfig) > 0 {
		h, data, where = published, outer.TextConfig, "config.json: text_config"
	}
	h.presume(traits[family])
	if err := json.Unmarshal(data, &h); err != nil {
		return settings{}, fmt.Errorf("%s: %w", where, err)
	}
	return h.settings(family)
}

// presume sets what transformers takes for granted where a config.json has no
// such key, and not where it says null.
func (h *hfConfig) presume(t trait) {
	attention, final := t.attCap, t.finalCap
	h.AttCap, h.FinalCap = &attention, &final
	if t.queryScalar != 0 {
		scalar := t.queryScalar
		h.QueryScalar = &scalar
	}
}

func (h *hfConfig) settings(family string) (settings, error) {
	t := traits[family]
	s := settings{
		family: family, width: h.Width, vocab: h.Vocab, context: h.Context, layers: h.Layers, feed: h.Feed,
		heads: h.Heads, kvHeads: h.KVHeads, headSize: h.HeadSize, window: h.Window,
		eps: value(h.Eps, 1e-6), normOffset: 1,
		attentionCap: value(h.AttCap, 0), finalCap: value(h.FinalCap, 0),
		qkNorm: t.qkNorm, postNorms: t.postNorms,
	}
	if s.headSize == 0 {
		s.headSize = 256
	}
	s.scoreScale = 1 / math.Sqrt(value(h.QueryScalar, float64(s.headSize)))
	if h.Bias || h.Bidirectional != nil && *h.Bidirectional {
		return s, errors.New("config.json: attention_bias and use_bidirectional_attention are not supported for decoders")
	}
	var err error
	if s.activation, err = h.activation(); err != nil {
		return s, err
	}
	if s.layers > 0 && s.layers <= maxLayers {
		if s.global, err = h.globalLayers(t.pattern); err != nil {
			return s, err
		}
	}
	s.ropeGlobal, s.ropeLocal, err = h.ropes(t)
	return s, err
}

func value(v *float64, otherwise float64) float64 {
	if v == nil {
		return otherwise
	}
	return *v
}

// activation: Gemma 1's first files say "gelu" and mean the tanh form, which
// it was trained with; hidden_activation, where present, is right.
func (h *hfConfig) activation() (engine.Activation, error) {
	name := h.Activation
	if name == "" {
		name = h.OldActivation
		if name == "gelu" {
			name = "gelu_pytorch_tanh"
		}
	}
	switch name {
	case "", "gelu_pytorch_tanh":
		return engine.GELUTanh, nil
	case "gelu":
		return engine.GELU, nil
	case "silu":
		return engine.SiLU, nil
	}
	return 0, fmt.Errorf("config.json: hidden_activation %q is not supported", name)
}

func (h *hfConfig) globalLayers(habit int) ([]bool, error) {
	if len(h.LayerTypes) == 0 {
		n := max(h.Pattern, h.NewPattern)
		if n == 0 {
			n = habit
		}
		return pattern(h.Layers, n), nil
	}
	global := make([]bool, len(h.LayerTypes))
	for i, kind := range h.LayerTypes {
		switch kind {
		case "full_attention":
			global[i] = true
		case "sliding_attention":
		default:
			return nil, fmt.Errorf("config.json: layer_types[%d] is %q, want full_attention or sliding_attention", i, kind)
		}
	}
	return global, nil
}

// ropes gives the rotary settings of global and local layers.
func (h *hfConfig) ropes(t trait) (global, local engine.Rope, err error) {
	flat := hfRope{Theta: h.RopeTheta}
	if h.RopeScaling != nil {
		flat.Type, flat.Factor = h.RopeScaling.Type, h.RopeScaling.Factor
	}
	byKind := struct {
		Full    *hfRope `json:"full_attention"`
		Sliding *hfRope `json:"sliding_attention"`
	}{}
	for _, form := range []any{&flat, &byKind} {
		if len(h.RopeParams) == 0 {
			break
		}
		if err := json.Unmarshal(h.RopeParams, form); err != nil {
			return global, local, fmt.Errorf("config.json: rope_parameters: %w", err)
		}
	}
	if byKind.Full == nil {
		byKind.Full = &flat
	}
	if byKind.Sliding == nil {
		byKind.Sliding = &hfRope{Theta: or(h.RopeLocal, or(t.localBase, byKind.Full.Theta))}
	}
	if global, err = byKind.Full.rope(defaultBase(t)); err != nil {
		return global, local, err
	}
	local, err = byKind.Sliding.rope(or(t.localBase, 10000))
	return global, local, err
}

// defaultBase is transformers' rope_theta where config.json gives none.
func defaultBase(t trait) float64 {
	if t.localBase != 0 {
		return 1e6
	}
	return 1e4
}

func (r *hfRope) rope(base float64) (engine.Rope, error) {
	rope := engine.Rope{Base: or(r.Theta, base), Scale: 1}
	switch r.Type {
	case "", "default":
	case "linear":
		rope.Scale = 1 / or(r.Factor, 1)
	default:
		return rope, fmt.Errorf("config.json: rope_type %q is not supported (default, linear)", r.Type)
	}
	return rope, nil
}

package gemma

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"lapidary/engine"
)

// hfConfig is a text stack's part of config.json in both spellings: what
// transformers writes today (rope_parameters, layer_types, per_layer_config)
// and what was published (rope_theta, sliding_window_pattern, global_head_dim).
type hfConfig struct {
	Width    int     `json:"hidden_size"`
	Vocab    int     `json:"vocab_size"`
	Context  int     `json:"max_position_embeddings"`
	Layers   int     `json:"num_hidden_layers"`
	Feed     numbers `json:"intermediate_size"`
	Heads    int     `json:"num_attention_heads"`
	KVHeads  int     `json:"num_key_value_heads"`
	HeadSize int     `json:"head_dim"`
	Window   int     `json:"sliding_window"`
	Bias     bool    `json:"attention_bias"`

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
	Bidirectional json.RawMessage `json:"use_bidirectional_attention"` // a bool, or "vision" or "all"

	GlobalHeadSize int                `json:"global_head_dim"`
	GlobalKVHeads  *int               `json:"num_global_key_value_heads"`
	PerLayerConfig map[string]perKind `json:"per_layer_config"`
	TiedKV         bool               `json:"attention_k_eq_v"`
	Sharing        int                `json:"num_kv_shared_layers"`
	DoubleWide     bool               `json:"use_double_wide_mlp"`
	PerLayer       int                `json:"hidden_size_per_layer_input"`
	PerLayerVocab  int                `json:"vocab_size_per_layer_input"`
	Sparsity       numbers            `json:"activation_sparsity_pattern"`
	Experts        *int               `json:"num_experts"`
	TopExperts     *int               `json:"top_k_experts"`
	ExpertWidth    *int               `json:"moe_intermediate_size"`
	NoExperts      *bool              `json:"enable_moe_block"` // false: none, whatever the sizes say

	Streams      int   `json:"altup_num_inputs"`
	ActiveStream int   `json:"altup_active_idx"`
	StreamScale  *bool `json:"altup_correct_scale"`
	LaurelRank   int   `json:"laurel_rank"`

	BlockTypes      []string `json:"block_types"`
	AttentionWindow int      `json:"attention_window_size"`
	LRUWidth        int      `json:"lru_width"`
	ConvWidth       int      `json:"conv1d_width"`
	LogitsCap       *float64 `json:"logits_soft_cap"`

	EmbeddingDim int `json:"embedding_dim"`
}

// perKind is what per_layer_config says of one layer.
type perKind struct {
	HeadSize int `json:"head_dim"`
	KVHeads  int `json:"num_key_value_heads"`
}

type hfRope struct {
	Type       string   `json:"rope_type"`
	Factor     float64  `json:"factor"`
	Theta      float64  `json:"rope_theta"`
	Proportion *float64 `json:"partial_rotary_factor"`
}

// numbers is one number or a list of them.
type numbers []float64

func (n *numbers) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte("[")) {
		return json.Unmarshal(data, (*[]float64)(n))
	}
	if string(data) == "null" {
		return nil
	}
	v, err := strconv.ParseFloat(string(data), 64)
	*n = numbers{v}
	return err
}

func (n numbers) ints() []int {
	v := make([]int, len(n))
	for i := range n {
		v[i] = int(n[i])
	}
	return v
}

// textConfig reads a stack of the given family from its part of config.json,
// which is called where. What it leaves out is as transformers has it: always
// of a nested part, and of a text model's own file where no size depends on it.
func textConfig(family string, data []byte, where string, nested bool) (settings, *hfConfig, error) {
	t := traits[family]
	var h hfConfig
	layers := []string{t.presumed, string(data)}
	if nested {
		layers = []string{t.published, t.presumed, string(data)}
	}
	for i, text := range layers {
		if text == "" {
			continue
		}
		if err := json.Unmarshal([]byte(text), &h); err != nil {
			if i == len(layers)-1 {
				err = fmt.Errorf("%s: %w", where, err)
			}
			return settings{}, nil, err
		}
	}
	s, err := h.settings(family)
	return s, &h, err
}

func (h *hfConfig) settings(family string) (settings, error) {
	t := traits[family]
	s := settings{
		family: t.family, width: h.Width, vocab: h.Vocab, context: h.Context, layers: h.Layers, feed: h.Feed.ints(),
		heads: h.Heads, kvHeads: h.KVHeads, headSize: h.HeadSize, window: h.Window,
		eps: value(h.Eps, 1e-6), normOffset: 1,
		attentionCap: value(h.AttCap, 0), finalCap: value(h.FinalCap, 0),
		qkNorm: t.qkNorm, vNorm: t.plain, postNorms: t.postNorms, scalars: t.scalars,
		direction: t.direction, groups: t.groups,
	}
	if t.plain {
		s.normOffset = 0
	}
	if s.headSize == 0 {
		s.headSize = 256
	}
	s.scoreScale = 1 / math.Sqrt(value(h.QueryScalar, float64(s.headSize)))
	if t.plain {
		s.scoreScale = 1
	}
	if h.Bias {
		return s, errors.New("config.json: attention_bias is not supported")
	}
	if len(s.feed) == 0 {
		s.feed = []int{0} // which check refuses by its name
	}
	var err error
	if s.activation, err = activation(h.Activation, h.OldActivation); err != nil {
		return s, err
	}
	if s.layers > 0 && s.layers <= maxLayers {
		if s.global, err = h.globalLayers(t); err != nil {
			return s, err
		}
	}
	if err := h.lookAhead(&s, t); err != nil {
		return s, err
	}
	if s.ropeGlobal, s.ropeLocal, err = h.ropes(t); err != nil {
		return s, err
	}
	h.globals(&s)
	h.extras(&s, t)
	return s, nil
}

func value(v *float64, otherwise float64) float64 {
	if v == nil {
		return otherwise
	}
	return *v
}

// activation: Gemma 1's first files say "gelu" and mean the tanh form, which
// it was trained with; hidden_activation, where present, is right.
func activation(name, old string) (engine.Activation, error) {
	if name == "" {
		name = old
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

func (h *hfConfig) globalLayers(t trait) ([]bool, error) {
	if len(h.BlockTypes) > 0 {
		return make([]bool, h.Layers), nil
	}
	if len(h.LayerTypes) == 0 {
		n := max(h.Pattern, h.NewPattern)
		if n == 0 {
			n = t.pattern
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

// lookAhead reads use_bidirectional_attention. Of a window of w tokens in all,
// rows that look both ways see w/2 on either side.
func (h *hfConfig) lookAhead(s *settings, t trait) error {
	switch word := string(h.Bidirectional); word {
	case "", "null", "false":
	case `"vision"`:
		s.groups = locally
	case "true", `"all"`:
		if t.prefix {
			break // PaliGemma says so of its decoder, whose prefix alone looks ahead
		}
		s.direction, s.window = mutual, s.window/2+1
	default:
		return fmt.Errorf("config.json: use_bidirectional_attention is %s, want true, false, \"vision\" or \"all\"", word)
	}
	return nil
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
		byKind.Sliding = &hfRope{Theta: cmp.Or(h.RopeLocal, t.localBase, byKind.Full.Theta), Proportion: byKind.Full.Proportion}
	}
	size := cmp.Or(h.HeadSize, 256)
	globalSize := cmp.Or(h.GlobalHeadSize, size)
	for _, k := range h.PerLayerConfig {
		globalSize = cmp.Or(k.HeadSize, globalSize)
	}
	if global, err = byKind.Full.rope(defaultBase(t), globalSize, t.turning); err != nil {
		return global, local, err
	}
	local, err = byKind.Sliding.rope(cmp.Or(t.localBase, 10000), size, t.turning)
	return global, local, err
}

// defaultBase is transformers' rope_theta where config.json gives none.
func defaultBase(t trait) float64 {
	if t.localBase != 0 {
		return 1e6
	}
	return 1e4
}

// rope is r for heads of the given size. Of a partial one, the first part of a
// head turns by itself, or, in the "proportional" kind, the first angles of
// the whole head are other than 0.
func (r *hfRope) rope(base float64, size int, part float64) (engine.Rope, error) {
	rope := engine.Rope{Base: cmp.Or(r.Theta, base), Scale: 1}
	share := value(r.Proportion, cmp.Or(part, 1))
	if !(share > 0 && share <= 1) {
		return rope, fmt.Errorf("config.json: partial_rotary_factor is %v, want more than 0 and at most 1", share)
	}
	switch r.Type {
	case "", "default":
		if share < 1 {
			rope.Size = int(share * float64(size))
		}
	case "linear":
		rope.Scale = 1 / cmp.Or(r.Factor, 1)
	case "proportional":
		if share < 1 {
			rope.Turn = int(share * float64(size) / 2)
		}
	default:
		return rope, fmt.Errorf("config.json: rope_type %q is not supported (default, linear, proportional)", r.Type)
	}
	if rope.Size%2 != 0 || share < 1 && rope.Size == 0 && rope.Turn == 0 {
		return rope, fmt.Errorf("config.json: partial_rotary_factor %v leaves nothing of heads of %d in pairs", share, size)
	}
	return rope, nil
}

// globals are the heads of global layers, which Gemma 4 makes wider.
func (h *hfConfig) globals(s *settings) {
	s.globalHeadSize, s.globalKVHeads = cmp.Or(h.GlobalHeadSize, s.headSize), s.kvHeads
	if h.GlobalKVHeads != nil && (h.TiedKV || !traits[s.family].gated) {
		s.globalKVHeads = *h.GlobalKVHeads
	}
	for _, k := range h.PerLayerConfig {
		s.globalHeadSize, s.globalKVHeads = cmp.Or(k.HeadSize, s.globalHeadSize), cmp.Or(k.KVHeads, s.globalKVHeads)
	}
}

// extras are what not every family has.
func (h *hfConfig) extras(s *settings, t trait) {
	s.tiedKV, s.sharing, s.doubleWide = h.TiedKV || t.tiedKV, h.Sharing, h.DoubleWide
	if h.PerLayer != 0 {
		s.perLayer = &PerLayer{Width: h.PerLayer, Vocab: h.PerLayerVocab}
	}
	if h.Experts != nil && (h.NoExperts == nil || *h.NoExperts) {
		s.experts = Experts{Count: *h.Experts, Top: intOf(h.TopExperts), Width: intOf(h.ExpertWidth)}
	}
	if h.Streams != 0 {
		s.streams = &Streams{Count: h.Streams, Active: h.ActiveStream, Rank: h.LaurelRank, Scaled: h.StreamScale == nil || *h.StreamScale}
		s.sparsity = h.Sparsity
		if h.Sparsity == nil && h.Layers > 10 && h.Layers <= maxLayers {
			s.sparsity = make([]float64, h.Layers)
			for i := range 10 {
				s.sparsity[i] = 0.95
			}
		}
	}
	if len(h.BlockTypes) > 0 {
		h.recurrences(s)
	}
}

func intOf(v *int) int {
	if v == nil {
		return 0
	}
	return *v
}

// recurrences: RecurrentGemma's kinds repeat, its window and cap have names of
// their own, its feed-forward is half as wide as stated, and its embeddings are
// scaled by √width rounded to bfloat16.
func (h *hfConfig) recurrences(s *settings) {
	s.window, s.finalCap = h.AttentionWindow, value(h.LogitsCap, 0)
	s.feed, s.feedBiased, s.outputBias = []int{s.feed[0] / 2}, true, true
	s.recurrence = Recurrent{Width: h.LRUWidth, Kernel: h.ConvWidth, Blocks: h.Heads}
	if s.recurrence.Width == 0 {
		s.recurrence.Width = h.Width
	}
	if h.HeadSize == 0 && h.Heads > 0 {
		s.headSize = h.Width / h.Heads
		s.globalHeadSize = s.headSize
		s.ropeLocal.Size = s.headSize / 2
	}
	if h.KVHeads == 0 {
		s.kvHeads, s.globalKVHeads = h.Heads, h.Heads
	}
	s.scoreScale = 1 / math.Sqrt(float64(s.headSize))
	for i := range s.global {
		s.recurrent = append(s.recurrent, h.BlockTypes[i%len(h.BlockTypes)] == "recurrent")
	}
	s.embedScale = float64(bfloat16(float32(math.Sqrt(float64(s.width)))))
}

// bfloat16 rounds to the nearest, ties to even.
func bfloat16(v float32) float32 {
	bits := math.Float32bits(v)
	bits += 0x7fff + bits>>16&1
	return math.Float32frombits(bits &^ 0xffff)
}

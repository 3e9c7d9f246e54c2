package gemma

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"

	"lapidary/engine"
)

// SigLIP is a vision transformer (Zhai et al. 2023, arXiv:2303.15343) over
// square pictures, and how its result becomes soft tokens.
type SigLIP struct {
	Stack
	Patch, Side int // pixels of a patch, patches of a picture, along an edge
	// Tokens are the soft tokens of a picture along an edge: means of squares of
	// patches; 0 where each patch is one.
	Tokens   int
	Pooling  bool // an attention makes one vector of a picture
	Projects int  // width of the soft tokens; 0 where there is no projection
	Linear   bool // the projection has a bias and no norm before it (PaliGemma)
}

// PatchTower is the vision transformer of Gemma 4: any number of patches, each
// with its place in the picture.
type PatchTower struct {
	Stack
	Patch, Pool int // pixels of a patch, patches of a soft token, along an edge
	Places      int // rows of the table of places, for columns and for lines
	Standard    bool
	Projects    int
}

// PatchDense embeds patches straight into the decoder (Gemma 4 unified).
type PatchDense struct {
	Patch, Width, Places, Projects int
	Eps                            float32
}

// FrameDense does so with pieces of a sound's samples.
type FrameDense struct {
	Samples, Projects int
	Eps               float32
}

// Conformer is the tower for sounds (Gulati et al. 2020, arXiv:2005.08100) of
// Gemma 3n and 4.
type Conformer struct {
	Width, Layers, Heads, Mel int
	Channels                  [2]int    // of the two convolutions
	Kernels, Strides          [2][2]int // time, frequency
	Kernel                    int       // of the convolutions in the layers
	Back, Ahead               int       // frames a frame sees, itself not included
	Places                    int       // relative places that have a vector
	Cap, Residual, Clip, Eps  float32
	Clipped                   bool // products have bounds of their own
	Output                    int  // width of the result; 0: that of the layers
	Projects                  int  // width of the soft tokens
	// Old is Gemma 3n's: normalised over all of a clip's past, thinned out by
	// Reduction at the end, soft tokens normed on both sides of their projection.
	Old       bool
	GroupEps  float32
	Reduction int
	// Hard are ids that have an embedding of the tower's own, from First on.
	Hard, First int
}

// TextTower is the half of SigLIP that reads texts.
type TextTower struct {
	Stack
	Projects int
}

// DrafterHeads is what a Gemma 4 assistant has besides layers that read its
// target's keys and values.
type DrafterHeads struct {
	Backbone int // width of the target
	// Clusters of tokens of which the Top best are looked at; 0 for all tokens.
	Clusters, Top int
}

// hfTower is a tower's part of config.json, of every kind.
type hfTower struct {
	ModelType  string   `json:"model_type"`
	Width      int      `json:"hidden_size"`
	Feed       int      `json:"intermediate_size"`
	Layers     int      `json:"num_hidden_layers"`
	Heads      int      `json:"num_attention_heads"`
	KVHeads    int      `json:"num_key_value_heads"`
	HeadSize   int      `json:"head_dim"`
	Activation string   `json:"hidden_activation"`
	OldAct     string   `json:"hidden_act"`
	LayerEps   *float64 `json:"layer_norm_eps"`
	Eps        *float64 `json:"rms_norm_eps"`

	Image      int   `json:"image_size"`
	Patch      int   `json:"patch_size"`
	UseHead    *bool `json:"vision_use_head"`
	Vocab      int   `json:"vocab_size"`
	Positions  int   `json:"max_position_embeddings"`
	Projection int   `json:"projection_size"`

	Pool       int      `json:"pooling_kernel_size"`
	Places     int      `json:"position_embedding_size"`
	Standard   bool     `json:"standardize"`
	Clipped    bool     `json:"use_clipped_linears"`
	RopeParams *hfRope  `json:"rope_parameters"`
	DenseWidth int      `json:"mm_embed_dim"`
	DensePlace int      `json:"mm_posemb_size"`
	Samples    int      `json:"audio_embed_dim"`
	Channels   []int    `json:"subsampling_conv_channels"`
	Kernel     int      `json:"conv_kernel_size"`
	Residual   *float64 `json:"residual_weight"`
	Chunk      int      `json:"attention_chunk_size"`
	Left       int      `json:"attention_context_left"`
	Right      int      `json:"attention_context_right"`
	Cap        float64  `json:"attention_logit_cap"`
	Clip       float64  `json:"gradient_clipping"`
	Output     int      `json:"output_proj_dims"`
}

const (
	siglipSizes = `{"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "image_size": 224,
		"patch_size": 16, "vocab_size": 32000, "max_position_embeddings": 64}`
	patchSizes = `{"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 16, "num_attention_heads": 12, "num_key_value_heads": 12,
		"head_dim": 64, "pooling_kernel_size": 3, "patch_size": 16, "position_embedding_size": 10240}`
	denseSizes     = `{"patch_size": 16, "pooling_kernel_size": 3, "mm_embed_dim": 3840, "mm_posemb_size": 1120, "audio_embed_dim": 640}`
	conformerSizes = `{"hidden_size": 1024, "num_hidden_layers": 12, "num_attention_heads": 8, "subsampling_conv_channels": [128, 32],
		"conv_kernel_size": 5, "attention_chunk_size": 12, "attention_context_left": 13, "attention_logit_cap": 50,
		"use_clipped_linears": true, "gradient_clipping": 1e10, "output_proj_dims": 1536}`
)

// readTower reads data over the sizes its kind is published with.
func readTower(published string, data []byte, where string) (hfTower, error) {
	var t hfTower
	if err := json.Unmarshal([]byte(published), &t); err != nil {
		return t, err
	}
	if err := json.Unmarshal(data, &t); err != nil {
		return t, fmt.Errorf("config.json: %s: %w", where, err)
	}
	return t, within(bound{"tower layers", cmp.Or(t.Layers, 1), maxLayers}, bound{"tower width", cmp.Or(t.Width, 1), maxWidth},
		bound{"tower feed-forward width", cmp.Or(t.Feed, 1), maxWidth}, bound{"tower heads", cmp.Or(t.Heads, 1), max(1, t.Width)},
		bound{"tower key-value heads", cmp.Or(t.KVHeads, 1), cmp.Or(t.Heads, 1)}, bound{"tower head size", cmp.Or(t.HeadSize, 1), maxWidth},
		bound{"patch size", cmp.Or(t.Patch, 1), 1 << 12}, bound{"picture size", cmp.Or(t.Image, 1), 1 << 16}, bound{"pooling", cmp.Or(t.Pool, 1), 1 << 8})
}

// towers reads what turns pictures and sounds into soft tokens.
func (c *Config) towers(m *hfModel, data []byte) error {
	if isNull(m.Vision) && isNull(m.Audio) {
		return nil
	}
	if err := c.tokens(data); err != nil {
		return err
	}
	if !isNull(m.Vision) {
		if err := c.vision(m.ModelType, m.Vision, data); err != nil {
			return err
		}
	}
	if !isNull(m.Audio) {
		return c.audio(m.ModelType, m.Audio)
	}
	return nil
}

func isNull(data []byte) bool { return len(data) == 0 || string(data) == "null" }

// defaultTokens are those of the published vocabularies.
var defaultTokens = map[string]Tokens{
	"gemma3":  {262144, -1, -1, 255999, 256000, -1, -1},
	"gemma3n": {262145, -1, 262273, 255999, 262144, 256000, 262272},
	"gemma4":  {258880, 258884, 258881, 255999, 258882, 256000, 258883},
}

// tokens reads the ids of media tokens, which end in _id or in _index.
func (c *Config) tokens(data []byte) error {
	c.Tokens = noTokens
	switch c.Family {
	case "gemma3", "shieldgemma2", "t5gemma2":
		c.Tokens = defaultTokens["gemma3"]
	case "gemma3n":
		c.Tokens = defaultTokens["gemma3n"]
	case "gemma4", "gemma4_unified", "embedding_gemma2", "diffusion_gemma":
		c.Tokens = defaultTokens["gemma4"]
	case "paligemma":
		c.Tokens.Image = 257152
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return fmt.Errorf("config.json: %w", err)
	}
	for name, id := range map[string]*int32{
		"image_token": &c.Tokens.Image, "video_token": &c.Tokens.Video, "audio_token": &c.Tokens.Audio,
		"boi_token": &c.Tokens.ImageStart, "eoi_token": &c.Tokens.ImageEnd, "boa_token": &c.Tokens.AudioStart, "eoa_token": &c.Tokens.AudioEnd,
	} {
		for _, ending := range []string{"_id", "_index"} {
			if v := fields[name+ending]; !isNull(v) {
				if err := json.Unmarshal(v, id); err != nil {
					return fmt.Errorf("config.json: %s%s: %w", name, ending, err)
				}
			}
		}
	}
	return nil
}

func (c *Config) vision(model string, part, outer []byte) error {
	var probe hfTower
	if err := json.Unmarshal(part, &probe); err != nil {
		return fmt.Errorf("config.json: vision_config: %w", err)
	}
	switch {
	case model == "gemma3n":
		tower, err := readMobileNet(part)
		if err != nil {
			return err
		}
		tower.Projects, c.MobileNet = c.Width, tower
		return nil
	case model == "gemma4_unified":
		t, err := readTower(denseSizes, part, "vision_config")
		c.Pixels = &PatchDense{Patch: t.Patch * t.Pool, Width: t.DenseWidth, Places: t.DensePlace, Projects: c.Width, Eps: float32(value(t.Eps, 1e-6))}
		return err
	case probe.ModelType == "gemma4_vision" || model == "gemma4" || model == "embedding_gemma2" || model == "diffusion_gemma":
		return c.patchTower(part)
	}
	sizes := struct {
		Tokens int `json:"mm_tokens_per_image"`
	}{}
	if model != "paligemma" {
		sizes.Tokens = 256
	}
	if err := json.Unmarshal(outer, &sizes); err != nil {
		return fmt.Errorf("config.json: %w", err)
	}
	tower, err := siglip(part, "vision_config", sizes.Tokens)
	if err != nil {
		return err
	}
	tower.Projects, tower.Linear = c.Width, model == "paligemma"
	c.SigLIP = tower
	return nil
}

// siglip reads a tower that gives the stated number of soft tokens, 0 for one a
// patch.
func siglip(part []byte, where string, tokens int) (*SigLIP, error) {
	t, err := readTower(siglipSizes, part, where)
	if err != nil {
		return nil, err
	}
	stack, err := t.transformer()
	if err != nil {
		return nil, err
	}
	tower := &SigLIP{Stack: stack, Patch: t.Patch, Side: t.Image / t.Patch}
	if tokens > 0 {
		tower.Tokens = int(math.Sqrt(float64(tokens)))
		if tower.Tokens*tower.Tokens != tokens || tower.Tokens > tower.Side {
			return nil, fmt.Errorf("config: %d soft tokens cannot be made of %d × %d patches", tokens, tower.Side, tower.Side)
		}
	}
	tower.Pooling = (t.UseHead == nil || *t.UseHead) && tokens == 0
	return tower, nil
}

// transformer is a stack of SigLIP's kind: layer norms, biases everywhere, no
// gate, everybody sees everybody.
func (t *hfTower) transformer() (Stack, error) {
	act, err := activation(t.Activation, t.OldAct)
	if err != nil {
		return Stack{}, err
	}
	if t.Heads == 0 || t.Width%t.Heads != 0 {
		return Stack{}, fmt.Errorf("config: a tower %d wide has no %d equal heads", t.Width, t.Heads)
	}
	size := t.Width / t.Heads
	s := Stack{Width: t.Width, Vocab: t.Vocab, Context: t.Positions, EmbedScale: 1, NormEps: float32(value(t.LayerEps, 1e-6)), Centred: true}
	for range t.Layers {
		s.Layers = append(s.Layers, Layer{
			Attention: Attention{Heads: t.Heads, KVHeads: t.Heads, HeadSize: size, Ahead: engine.All,
				Scale: float32(1 / math.Sqrt(float64(size))), Biased: true, Output: true},
			Feed: Feed{Width: t.Feed, Activation: act, Plain: true, Biased: true},
		})
	}
	return s, nil
}

func (c *Config) patchTower(part []byte) error {
	t, err := readTower(patchSizes, part, "vision_config")
	if err != nil {
		return err
	}
	act, err := activation(t.Activation, t.OldAct)
	if err != nil {
		return err
	}
	if t.HeadSize%4 != 0 || t.Heads%t.KVHeads != 0 {
		return fmt.Errorf("config: vision heads of %d cannot turn along two axes, or %d share %d", t.HeadSize, t.Heads, t.KVHeads)
	}
	rope := engine.Rope{Base: 100, Scale: 1}
	if t.RopeParams != nil {
		rope.Base = cmp.Or(t.RopeParams.Theta, 100)
	}
	tower := &PatchTower{Patch: t.Patch, Pool: t.Pool, Places: t.Places, Standard: t.Standard, Projects: c.Width,
		Stack: Stack{Width: t.Width, NormEps: float32(value(t.Eps, 1e-6)), Clipped: t.Clipped}}
	for range t.Layers {
		tower.Layers = append(tower.Layers, Layer{
			Attention: Attention{Heads: t.Heads, KVHeads: t.KVHeads, HeadSize: t.HeadSize, Ahead: engine.All,
				Rope: rope, Axial: true, QKNorm: true, VNorm: true, Scale: 1},
			Feed: Feed{Width: t.Feed, Activation: act}, PostNorms: true,
		})
	}
	c.Patches = tower
	return nil
}

func (c *Config) audio(model string, part []byte) error {
	if model == "gemma4_unified" {
		t, err := readTower(denseSizes, part, "audio_config")
		c.Frames = &FrameDense{Samples: t.Samples, Projects: c.Width, Eps: float32(value(t.Eps, 1e-6))}
		return err
	}
	var err error
	if model == "gemma3n" {
		c.Sounds, err = oldConformer(part)
	} else {
		c.Sounds, err = newConformer(part)
	}
	if err != nil {
		return err
	}
	c.Sounds.Projects = c.Width
	return c.Sounds.check()
}

func newConformer(part []byte) (*Conformer, error) {
	t, err := readTower(conformerSizes, part, "audio_config")
	if err != nil {
		return nil, err
	}
	if len(t.Channels) != 2 {
		return nil, fmt.Errorf("config.json: audio_config: %d subsampling_conv_channels, want 2", len(t.Channels))
	}
	past := t.Left - 1
	context := t.Chunk + past + t.Right
	return &Conformer{
		Width: t.Width, Layers: t.Layers, Heads: t.Heads,
		// The second convolution's places times its channels are what its
		// projection takes: the places are a quarter of the mel bins.
		Mel:      t.Channels[0],
		Channels: [2]int(t.Channels), Kernels: [2][2]int{{3, 3}, {3, 3}}, Strides: [2][2]int{{2, 2}, {2, 2}},
		Kernel: t.Kernel, Back: past - 1, Ahead: max(0, t.Right-1), Places: context/2 + 1,
		Cap: float32(t.Cap), Residual: float32(value(t.Residual, 0.5)), Clip: float32(t.Clip), Eps: float32(value(t.Eps, 1e-6)),
		Clipped: t.Clipped, Output: t.Output,
	}, nil
}

func oldConformer(part []byte) (*Conformer, error) {
	t := struct {
		Vocab     int      `json:"vocab_size"`
		First     int      `json:"vocab_offset"`
		Mel       int      `json:"input_feat_size"`
		Width     int      `json:"hidden_size"`
		Eps       float64  `json:"rms_norm_eps"`
		Clip      float64  `json:"gradient_clipping"`
		Left      int      `json:"conf_attention_context_left"`
		Right     int      `json:"conf_attention_context_right"`
		Cap       float64  `json:"conf_attention_logit_cap"`
		Heads     int      `json:"conf_num_attention_heads"`
		Layers    int      `json:"conf_num_hidden_layers"`
		Kernel    int      `json:"conf_conv_kernel_size"`
		Reduction int      `json:"conf_reduction_factor"`
		Residual  float64  `json:"conf_residual_weight"`
		Channels  []int    `json:"sscp_conv_channel_size"`
		GroupEps  float64  `json:"sscp_conv_group_norm_eps"`
		Kernels   [][2]int `json:"sscp_conv_kernel_size"`
		Strides   [][2]int `json:"sscp_conv_stride_size"`
	}{128, 262144 + 128, 128, 1536, 1e-6, 1e10, 13, 0, 50, 8, 12, 5, 4, 0.5, []int{128, 32}, 1e-3,
		[][2]int{{3, 3}, {3, 3}}, [][2]int{{2, 2}, {2, 2}}}
	if err := json.Unmarshal(part, &t); err != nil {
		return nil, fmt.Errorf("config.json: audio_config: %w", err)
	}
	if len(t.Channels) != 2 || len(t.Kernels) != 2 || len(t.Strides) != 2 {
		return nil, fmt.Errorf("config.json: audio_config: sscp_conv_ lists have %d, %d and %d entries, want 2",
			len(t.Channels), len(t.Kernels), len(t.Strides))
	}
	back := max(0, t.Left-1)
	return &Conformer{
		Width: t.Width, Layers: t.Layers, Heads: t.Heads, Mel: t.Mel,
		Channels: [2]int(t.Channels), Kernels: [2][2]int(t.Kernels), Strides: [2][2]int(t.Strides),
		Kernel: t.Kernel, Back: back, Ahead: t.Right, Places: back + t.Right + 1,
		Cap: float32(t.Cap), Residual: float32(t.Residual), Clip: float32(t.Clip), Eps: float32(t.Eps),
		Old: true, GroupEps: float32(t.GroupEps), Reduction: t.Reduction, Hard: t.Vocab, First: t.First,
	}, nil
}

func (c *Conformer) check() error {
	bounds := []bound{{"audio layers", c.Layers, maxLayers}, {"audio width", c.Width, maxWidth}, {"audio heads", c.Heads, max(1, c.Width)},
		{"mel bins", c.Mel, 1 << 12}, {"audio convolution", c.Kernel, 1 << 10}, {"audio places", c.Places, 1 << 12},
		{"audio context", c.Back + 1, 1 << 16}, {"audio reduction", cmp.Or(c.Reduction, 1), 1 << 10}}
	for i := range 2 {
		bounds = append(bounds, bound{"audio channels", c.Channels[i], maxWidth})
		for axis := range 2 {
			bounds = append(bounds, bound{"audio kernel", c.Kernels[i][axis], 64}, bound{"audio stride", c.Strides[i][axis], 64})
		}
	}
	if err := within(bounds...); err != nil {
		return err
	}
	if c.Width%c.Heads != 0 || c.Width%2 != 0 {
		return fmt.Errorf("config: an audio tower %d wide has no %d equal heads", c.Width, c.Heads)
	}
	return nil
}

// pairModel is SigLIP by itself.
func pairModel(_ kind, m *hfModel, _ []byte) (Config, error) {
	c := Config{Family: "siglip", Tokens: noTokens}
	var err error
	if c.SigLIP, err = siglip(orEmpty(m.Vision), "vision_config", 0); err != nil {
		return c, err
	}
	t, err := readTower(siglipSizes, orEmpty(m.Text), "text_config")
	if err != nil {
		return c, err
	}
	if err := within(bound{"vocabulary", t.Vocab, maxVocab}, bound{"context", t.Positions, 1 << 20}); err != nil {
		return c, err
	}
	stack, err := t.transformer()
	c.Pairs = &TextTower{Stack: stack, Projects: cmp.Or(t.Projection, t.Width)}
	return c, err
}

func orEmpty(data json.RawMessage) []byte {
	if len(data) == 0 {
		return []byte("{}")
	}
	return data
}

// drafterModel is a Gemma 4 assistant.
func drafterModel(k kind, _ *hfModel, data []byte) (Config, error) {
	h := struct {
		Text     json.RawMessage `json:"text_config"`
		Backbone int             `json:"backbone_hidden_size"`
		Ordered  bool            `json:"use_ordered_embeddings"`
		Clusters int             `json:"num_centroids"`
		Top      int             `json:"centroid_intermediate_top_k"`
	}{Backbone: 1536, Clusters: 2048, Top: 32}
	if err := json.Unmarshal(data, &h); err != nil {
		return Config{}, fmt.Errorf("config.json: %w", err)
	}
	s, _, err := textConfig(k.family, orEmpty(h.Text), "config.json: text_config", true)
	if err != nil {
		return Config{}, err
	}
	s.perLayer, s.sharing = nil, 0 // its layers read the target's memory: Drafter says which
	c := Config{Family: "gemma4_assistant", Tokens: noTokens, Drafter: &DrafterHeads{Backbone: h.Backbone}}
	if h.Ordered {
		c.Drafter.Clusters, c.Drafter.Top = h.Clusters, h.Top
	}
	if c.Stack, err = s.stack(); err != nil {
		return c, err
	}
	for i := range c.Layers {
		c.Layers[i].Attention.Foreign = true
	}
	if err := within(bound{"target width", h.Backbone, maxWidth}, bound{"clusters", cmp.Or(c.Drafter.Clusters, 1), maxVocab},
		bound{"best clusters", cmp.Or(c.Drafter.Top, 1), cmp.Or(c.Drafter.Clusters, 1)}); err != nil {
		return c, err
	}
	if n := c.Drafter.Clusters; n > 0 && c.Vocab%n != 0 {
		return c, fmt.Errorf("config: %d tokens make no %d equal clusters", c.Vocab, n)
	}
	return c, nil
}

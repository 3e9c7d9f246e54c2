package gemma

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
)

// MobileNet is the tower for pictures of Gemma 3n, MobileNetV5: convolutions,
// inverted bottlenecks and attentions of many queries to one key (Qin et al.
// 2024, arXiv:2404.10518, about its predecessor), the last two stages of which
// are joined.
type MobileNet struct {
	Stem   int // channels of the first convolution
	Stages [][]MobileBlock
	Width  int // channels of the result
	Tokens int // of a picture, along an edge
	Eps    float32
	// Hard are ids that have an embedding of the tower's own, from First on.
	Hard, First int
	Projects    int // width of the soft tokens
}

// MobileBlock is one block of the tower.
type MobileBlock struct {
	Kind            MobileKind
	In, Out, Stride int
	Expand          int // times In are the channels inside; not of an attention
	Start, Mid, End int // edges of the kernels of a bottleneck; 0 where there is none
	Heads, HeadSize int // of an attention
	KeyStride       int // by how much its keys and values are thinned out
	Kernel          int // of an edge block's convolution, or of what thins out
}

// MobileKind is what a block is made of.
type MobileKind uint8

// The kinds of blocks.
const (
	EdgeResidual       MobileKind = iota // a full convolution, then channels alone
	InvertedBottleneck                   // convolutions of each channel around and between products of all
	MultiQuery                           // an attention
)

// publishedMobileNet is the block list of the one size there is, mobilenetv5_300m_enc of
// timm 1.0.31: 294 million weights.
func publishedMobileNet() [][]MobileBlock {
	edge := func(out, stride int) MobileBlock {
		return MobileBlock{Kind: EdgeResidual, Out: out, Stride: stride, Expand: 4, Kernel: 3}
	}
	bottleneck := func(out, start, mid, stride, expand int) MobileBlock {
		return MobileBlock{Kind: InvertedBottleneck, Out: out, Start: start, Mid: mid, Stride: stride, Expand: expand}
	}
	stages := [][]MobileBlock{
		{edge(128, 2), edge(128, 1), edge(128, 1)},
		{bottleneck(256, 3, 5, 2, 6), bottleneck(256, 5, 0, 1, 4), bottleneck(256, 3, 0, 1, 4), bottleneck(256, 5, 0, 1, 4), bottleneck(256, 3, 0, 1, 4)},
		{bottleneck(640, 5, 5, 2, 6)},
		{bottleneck(1280, 5, 5, 2, 6)},
	}
	for range 7 {
		stages[2] = append(stages[2], bottleneck(640, 5, 0, 1, 4))
	}
	stages[2] = append(stages[2], bottleneck(640, 0, 0, 1, 1))
	for range 14 {
		stages[2] = append(stages[2], MobileBlock{Kind: MultiQuery, Out: 640, Stride: 1, Heads: 12, HeadSize: 64, KeyStride: 2, Kernel: 3}, bottleneck(640, 0, 0, 1, 2))
	}
	for range 19 {
		stages[3] = append(stages[3], MobileBlock{Kind: MultiQuery, Out: 1280, Stride: 1, Heads: 16, HeadSize: 96, KeyStride: 1, Kernel: 3}, bottleneck(1280, 0, 0, 1, 2))
	}
	return stages
}

// hfMobile is vision_config of Gemma 3n; what it leaves out is as published.
type hfMobile struct {
	Architecture string          `json:"architecture"`
	Width        int             `json:"hidden_size"`
	Eps          float64         `json:"rms_norm_eps"`
	Hard         int             `json:"vocab_size"`
	First        int             `json:"vocab_offset"`
	Args         json.RawMessage `json:"model_args"`
}

// hfMobileArgs is what timm is told besides the name of the architecture.
type hfMobileArgs struct {
	Blocks [][]hfMobileBlock `json:"block_args"`
	Stem   int               `json:"stem_size"`
	Tokens int               `json:"msfa_output_resolution"`
}

// hfMobileBlock is a block in timm's words.
type hfMobileBlock struct {
	Type      string  `json:"block_type"`
	Out       int     `json:"out_chs"`
	Stride    int     `json:"stride"`
	Expand    float64 `json:"exp_ratio"`
	Kernel    int     `json:"exp_kernel_size"`
	Last      int     `json:"pw_kernel_size"`
	ForcedIn  int     `json:"force_in_chs"`
	Start     int     `json:"dw_kernel_size_start"`
	Mid       int     `json:"dw_kernel_size_mid"`
	End       int     `json:"dw_kernel_size_end"`
	Squeeze   float64 `json:"se_ratio"`
	Thinning  int     `json:"dw_kernel_size"`
	Heads     int     `json:"num_heads"`
	KeySize   int     `json:"key_dim"`
	ValueSize int     `json:"value_dim"`
	KeyStride int     `json:"kv_stride"`
	NoSkip    bool    `json:"noskip"`
	Act       any     `json:"act_layer"`
}

// readMobileNet reads Gemma 3n's vision_config.
func readMobileNet(part []byte) (*MobileNet, error) {
	h := hfMobile{"mobilenetv5_300m_enc", 2048, 1e-6, 128, 262144, nil}
	if err := json.Unmarshal(part, &h); err != nil {
		return nil, fmt.Errorf("config.json: vision_config: %w", err)
	}
	if h.Architecture != "mobilenetv5_300m_enc" {
		return nil, fmt.Errorf("config.json: vision_config: architecture %q is not supported, only mobilenetv5_300m_enc is", h.Architecture)
	}
	args := hfMobileArgs{Stem: 64, Tokens: 16}
	if !isNull(h.Args) {
		d := json.NewDecoder(bytes.NewReader(h.Args))
		d.DisallowUnknownFields() // each would be another network
		if err := d.Decode(&args); err != nil {
			return nil, fmt.Errorf("config.json: vision_config: model_args: %w", err)
		}
	}
	m := &MobileNet{Stem: args.Stem, Width: h.Width, Tokens: args.Tokens, Eps: float32(h.Eps), Hard: h.Hard, First: h.First}
	if m.Stages = publishedMobileNet(); args.Blocks != nil {
		m.Stages = nil
		for i, stage := range args.Blocks {
			var blocks []MobileBlock
			for j, b := range stage {
				block, err := b.block()
				if err != nil {
					return nil, fmt.Errorf("config.json: vision_config: block %d.%d: %w", i, j, err)
				}
				blocks = append(blocks, block)
			}
			m.Stages = append(m.Stages, blocks)
		}
	}
	return m, m.check()
}

// block is a block that the tower has, or what is wrong with it.
func (b *hfMobileBlock) block() (MobileBlock, error) {
	out := MobileBlock{Out: b.Out, Stride: b.Stride, Expand: int(b.Expand)}
	switch {
	case b.Squeeze != 0 || b.NoSkip || b.ForcedIn != 0 || b.Last > 1 || b.Act != nil:
		return out, fmt.Errorf("%s with se_ratio, noskip, force_in_chs, pw_kernel_size or act_layer is not supported", b.Type)
	case b.Expand != math.Trunc(b.Expand) || math.Abs(b.Expand) > 64:
		return out, fmt.Errorf("exp_ratio is %v, want a whole number up to 64", b.Expand)
	}
	switch b.Type {
	case "er":
		out.Kind, out.Kernel = EdgeResidual, b.Kernel
	case "uir":
		out.Kind, out.Start, out.Mid, out.End = InvertedBottleneck, b.Start, b.Mid, b.End
	case "mqa":
		out.Kind, out.Heads, out.HeadSize, out.KeyStride, out.Kernel = MultiQuery, b.Heads, b.KeySize, cmp.Or(b.KeyStride, 1), b.Thinning
		if b.KeySize != b.ValueSize {
			return out, fmt.Errorf("keys of %d and values of %d elements are not supported", b.KeySize, b.ValueSize)
		}
	default:
		return out, fmt.Errorf("block_type %q is none of er, uir, mqa", b.Type)
	}
	return out, nil
}

// check looks at the sizes and notes what each block takes.
func (m *MobileNet) check() error {
	if err := within(bound{"stages", len(m.Stages), 16}, bound{"picture tower stem", m.Stem, maxWidth}, bound{"picture tower width", m.Width, maxWidth},
		bound{"soft tokens along an edge", m.Tokens, 1 << 10}, bound{"picture tokens", m.Hard, maxVocab}); err != nil {
		return err
	}
	if len(m.Stages) < 2 {
		return fmt.Errorf("config: a picture tower of %d stages, want 2 at least: the last two are joined", len(m.Stages))
	}
	in := m.Stem
	for i, stage := range m.Stages {
		if err := within(bound{"blocks of a stage", len(stage), maxLayers}); err != nil {
			return err
		}
		for j := range stage {
			b := &stage[j]
			if b.In = in; j > 0 && b.Stride != 1 {
				return fmt.Errorf("config: block %d.%d has a stride of %d, which the first of a stage alone may have", i, j, b.Stride)
			}
			if err := b.check(); err != nil {
				return fmt.Errorf("%w (block %d.%d)", err, i, j)
			}
			in = b.Out
		}
	}
	return nil
}

func (b *MobileBlock) check() error {
	bounds := []bound{{"channels", b.Out, maxWidth}, {"stride", b.Stride, 2}}
	var kernels []int
	switch b.Kind {
	case EdgeResidual:
		kernels, bounds = []int{b.Kernel}, append(bounds, bound{"expansion", b.Expand, 64})
	case InvertedBottleneck:
		kernels, bounds = []int{cmp.Or(b.Start, 1), cmp.Or(b.Mid, 1), cmp.Or(b.End, 1)}, append(bounds, bound{"expansion", b.Expand, 64})
		if b.Stride > 1 && b.Start+b.Mid+b.End == 0 {
			return fmt.Errorf("config: a stride of %d without a convolution", b.Stride)
		}
	case MultiQuery:
		kernels, bounds = []int{b.Kernel}, append(bounds, bound{"heads", b.Heads, 1 << 10}, bound{"head size", b.HeadSize, 1 << 14}, bound{"stride of keys", b.KeyStride, 8})
		if b.Stride != 1 || b.In != b.Out {
			return fmt.Errorf("config: an attention from %d to %d channels, stride %d", b.In, b.Out, b.Stride)
		}
	}
	for _, k := range kernels {
		if bounds = append(bounds, bound{"kernel", k, 63}); k%2 == 0 {
			return fmt.Errorf("config: a kernel is %d wide, want an odd width", k)
		}
	}
	// What timm rounds stays as it is if it is a multiple of 8.
	if b.In%8 != 0 || b.Out%8 != 0 {
		return fmt.Errorf("config: %d to %d channels, want multiples of 8", b.In, b.Out)
	}
	return within(bounds...)
}

// edge is how many pixels along an edge make one place of the last stage.
func (m *MobileNet) edge() int {
	edge := 2
	for _, stage := range m.Stages {
		edge *= stage[0].Stride
	}
	return edge
}

// rows are how many keys and values attentions see in a picture with so many
// pixels along an edge: the rows of a pass, so all have to see as many.
func (m *MobileNet) rows(pixels int) (int, error) {
	if pixels < 1 || pixels%m.edge() != 0 {
		return 0, fmt.Errorf("%d pixels along an edge, want a multiple of %d", pixels, m.edge())
	}
	keys, side := 0, pixels/2
	for i, stage := range m.Stages {
		side /= stage[0].Stride
		for _, b := range stage {
			if b.Kind != MultiQuery {
				continue
			}
			n := (side / b.KeyStride) * (side / b.KeyStride)
			if side%b.KeyStride != 0 || keys != 0 && n != keys {
				return 0, fmt.Errorf("attentions over %d × %d places, thinned out by %d, and over %d keys do not go together", side, side, b.KeyStride, keys)
			}
			keys = n
		}
		if i == len(m.Stages)-2 && side%m.Tokens != 0 {
			return 0, fmt.Errorf("%d pixels along an edge give %d places, which make no %d soft tokens", pixels, side, m.Tokens)
		}
	}
	return max(keys, 1), nil
}

package gemma

import (
	"fmt"

	"lapidary/checkpoint"
	"lapidary/engine"
)

// Config is a model's architecture as data.
type Config struct {
	Family string // "gemma", "gemma2", "gemma3", "gemma4", …
	// Stack is what reads and writes text: a decoder, or the encoder of a model
	// that has nothing else.
	Stack
	Encoder *Stack // of an encoder–decoder: what its decoder looks at

	// What turns pictures and sounds into soft tokens; nil where there is none.
	SigLIP    *SigLIP       // Gemma 3, PaliGemma, T5Gemma 2, ShieldGemma 2
	MobileNet *MobileNet    // Gemma 3n
	Patches   *PatchTower   // Gemma 4
	Pixels    *PatchDense   // Gemma 4 unified: no tower
	Sounds    *Conformer    // Gemma 3n and 4
	Frames    *FrameDense   // Gemma 4 unified
	Tokens    Tokens        // that stand where soft tokens go
	Pairs     *TextTower    // SigLIP alone: its other half
	Head      Head          // what is made of the last hidden states
	Drafter   *DrafterHeads // a Gemma 4 assistant
	// Prefix says that all that precedes an answer sees all of itself.
	Prefix bool
	// Canvas is how many tokens a diffusion model denoises at a time.
	Canvas int
}

// Stack is a list of layers between an embedding and a last norm.
type Stack struct {
	Width   int // D
	Vocab   int // V
	Context int // positions the model was made for
	Layers  []Layer

	EmbedScale float32 // of the embedded tokens
	NormEps    float32
	// NormOffset is added to every norm weight: 1 where a file stores w of
	// (1 + w), 0 where it stores the sum, as GGUF does.
	NormOffset float32
	Centred    bool    // layer normalisation with biases instead of RMSNorm
	Clipped    bool    // linear layers bound what goes in and what comes out
	FinalCap   float32 // soft cap of the logits, 0 for none

	PerLayer *PerLayer // inputs that go into each layer; nil for none
	Streams  *Streams  // AltUp; nil for a single stream
}

// PerLayer are inputs of Width numbers that each layer gets besides the stream
// (Gemma 3n and 4): a projection of the embedded tokens and, of Vocab rows, a
// second embedding; none of it if Vocab is 0.
type PerLayer struct {
	Width, Vocab int
}

// Streams is AltUp (Baykal et al. 2023, arXiv:2301.13310): Count parallel
// streams of which a layer computes the Active one and predicts the others, and
// LAuReL (Menghani et al. 2024, arXiv:2411.07501), a low-rank way around the
// attention.
type Streams struct {
	Count, Active, Rank int
	Scaled              bool // what the layers' inputs see of the active stream
}

// Layer is one block: something that mixes positions, then a feed-forward, each
// added to the stream.
type Layer struct {
	Attention Attention
	Recurrent *Recurrent // in the place of attention; nil for none
	Source    SourceKind
	Feed      Feed
	// PostNorms normalises what attention and feed-forward give before it is
	// added: the four norms of Gemma 2 and later, where Gemma 1 has two.
	PostNorms bool
	Scalar    bool // the block's result is multiplied by a number of its own
}

// SourceKind is how a decoder's layer looks at the encoder's result.
type SourceKind uint8

// The kinds.
const (
	NoSource     SourceKind = iota
	SourceApart             // in an attention of its own after the first (T5Gemma)
	SourceMerged            // together with its own past (T5Gemma 2)
)

// Attention mixes positions.
type Attention struct {
	Heads, KVHeads, HeadSize int
	Window                   int // positions a row sees back, itself included; 0 is global
	Ahead                    int // positions it sees after its own; engine.All for all
	Groups                   bool
	Rope                     engine.Rope // Base 0 for none
	Axial                    bool        // half of a head turns by the column, half by the line
	QKNorm, VNorm            bool
	Scale                    float32 // of the scores
	SoftCap                  float32 // of the scores, 0 for none
	TiedKV                   bool    // values are the keys before norm and rope
	// Reads n > 0 has no keys and values of its own and reads those of the layer
	// n places before.
	Reads int
	// Foreign reads those of another model (Drafter).
	Foreign bool
	Biased  bool // projections to queries, keys and values have a bias
	Output  bool // the projection back has one
}

// Recurrent is the block of Griffin (De et al. 2024, arXiv:2402.19427): a short
// convolution and an RG-LRU of Width channels with gates in Blocks blocks.
type Recurrent struct {
	Width, Kernel, Blocks int
}

// Feed is down(act(gate(x)) · up(x)).
type Feed struct {
	Width      int // F
	Activation engine.Activation
	Plain      bool // down(act(up(x))): no gate
	Biased     bool
	// Sparsity is the part of the gate's outputs that is set to 0.
	Sparsity float64
	Experts  Experts // besides, chosen for each row
}

// Experts are Count feed-forwards of which each row takes Top; 0 for none.
type Experts struct {
	Count, Top, Width int
}

// Tokens are the ids that stand in a text for what is not text; −1 where a
// model has none. The first three are those that soft tokens replace.
type Tokens struct {
	Image, Video, Audio                        int32
	ImageStart, ImageEnd, AudioStart, AudioEnd int32
}

var noTokens = Tokens{-1, -1, -1, -1, -1, -1, -1}

// Head is what is made of the last hidden states besides logits.
type Head struct {
	Labels   int  // classes of a classifier; 0 for none
	PerToken bool // of each token, not of the sequence
	// Pooled is the width of the mean of a text's hidden states: an encoder's
	// embedding. 0 for none.
	Pooled int
	// Dense are the widths of the layers that follow the mean; Projected says
	// that there is one for each token before it (EmbeddingGemma 2).
	Dense     []int
	Projected bool
	// Yes and No are the tokens whose logits decide a verdict (ShieldGemma 2).
	Yes, No int32
}

// ReadConfig expands a checkpoint's metadata or config.json.
func ReadConfig(c *checkpoint.Checkpoint) (Config, error) {
	var config Config
	var err error
	if c.Metadata() != nil {
		config, err = fromGGUF(c)
	} else {
		config, err = fromFolder(c)
	}
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", c.Path(), err)
	}
	return config, nil
}

// Together is what sees each other in a prompt of n tokens, besides their past,
// when pictures take the given ranges of it.
func (c Config) Together(pictures [][2]int, n int) [][2]int {
	if c.Prefix {
		return [][2]int{{0, n}}
	}
	for _, l := range c.Layers {
		if l.Attention.Groups {
			return pictures
		}
	}
	return nil
}

// Recurs says that what the model remembers of a text cannot be taken back
// token by token.
func (c Config) Recurs() bool {
	for _, l := range c.Layers {
		if l.Recurrent != nil {
			return true
		}
	}
	return false
}

// limits keep a hostile file from asking for absurd memory.
const (
	maxLayers = 1 << 10
	maxWidth  = 1 << 20
	maxVocab  = 1 << 24
)

// bound is a size that a file gives.
type bound struct {
	name       string
	value, top int
}

// within reports the first size that is not 1 to its top.
func within(bounds ...bound) error {
	for _, f := range bounds {
		if f.value < 1 || f.value > f.top {
			return fmt.Errorf("config: %s is %d, want 1 to %d", f.name, f.value, f.top)
		}
	}
	return nil
}

// Parameters counts the weights of the text stack, norms included.
func (c Config) Parameters() int64 {
	n := int64(c.Vocab+1) * int64(c.Width)
	for _, l := range c.Layers {
		n += l.parameters(c.Width)
	}
	return n
}

func (l Layer) parameters(width int) int64 {
	a := l.Attention
	keys := 2 * a.KVHeads
	switch {
	case a.Reads > 0:
		keys = 0
	case a.TiedKV:
		keys = a.KVHeads
	}
	n := int64(width) * int64(a.HeadSize) * int64(2*a.Heads+keys)
	n += 3 * int64(width) * int64(l.Feed.Width)
	n += 3 * int64(width) * int64(l.Feed.Experts.Width) * int64(l.Feed.Experts.Count)
	n += 2 * int64(width)
	if l.PostNorms {
		n += 2 * int64(width)
	}
	if a.QKNorm {
		n += 2 * int64(a.HeadSize)
	}
	return n
}

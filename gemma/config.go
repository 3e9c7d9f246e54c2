package gemma

import (
	"fmt"
	"math"

	"lapidary/checkpoint"
	"lapidary/engine"
)

// Config is a model's architecture as data.
type Config struct {
	Family  string // "gemma", "gemma2", "gemma3"
	Width   int    // D
	Vocab   int    // V
	Context int    // positions the model was made for
	Layers  []Layer

	EmbedScale float32 // of the embedded tokens
	NormEps    float32
	// NormOffset is added to every norm weight: 1 where a file stores w of
	// (1 + w), 0 where it stores the sum, as GGUF does.
	NormOffset float32
	FinalCap   float32 // soft cap of the logits, 0 for none
}

// Layer is one block: attention, then a gated feed-forward, each added to the
// stream.
type Layer struct {
	Attention Attention
	Feed      Feed
	// PostNorms normalises what attention and feed-forward give before it is
	// added: the four norms of Gemma 2 and 3, where Gemma 1 has two.
	PostNorms bool
}

// Attention mixes positions.
type Attention struct {
	Heads, KVHeads, HeadSize int
	Window                   int // positions a row sees back, itself included; 0 is global
	Rope                     engine.Rope
	QKNorm                   bool
	Scale                    float32 // of the scores
	SoftCap                  float32 // of the scores, 0 for none
}

// Feed is down(act(gate(x)) · up(x)).
type Feed struct {
	Width      int // F
	Activation engine.Activation
}

// ReadConfig expands a checkpoint's metadata or config.json.
func ReadConfig(c *checkpoint.Checkpoint) (Config, error) {
	var s settings
	var err error
	if meta := c.Metadata(); meta != nil {
		s, err = fromMetadata(meta)
	} else {
		s, err = fromJSON(c.ConfigJSON())
	}
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", c.Path(), err)
	}
	if err := s.check(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", c.Path(), err)
	}
	return s.expand(), nil
}

// settings is what the two file formats say in different words.
type settings struct {
	family                              string
	width, vocab, context, layers, feed int
	heads, kvHeads, headSize            int
	window                              int
	global                              []bool // a layer: sees everything
	ropeGlobal, ropeLocal               engine.Rope
	eps, normOffset, scoreScale         float64
	attentionCap, finalCap              float64
	qkNorm, postNorms                   bool
	activation                          engine.Activation
}

// trait is what a family's files leave unsaid.
type trait struct {
	pattern   int     // every pattern-th layer is global; 1: all are
	qkNorm    bool    // queries and keys are normalised
	postNorms bool    // four norms a block
	localBase float64 // rotary base of local layers; 0: the global one
	attCap    float64 // soft caps where the file names none
	finalCap  float64
	window    int // where a GGUF file names none, as the first ones of Gemma 2
	// queryScalar is the square of the inverse score scale where a config.json
	// names none; 0 is the head size.
	queryScalar float64
	// wide is the layer count of the one size whose score scale comes from
	// width/heads and not from the head size (27B), for GGUF, which has no key
	// for it.
	wide int
}

var traits = map[string]trait{
	"gemma":  {pattern: 1},
	"gemma2": {pattern: 2, postNorms: true, attCap: 50, finalCap: 30, window: 4096, queryScalar: 256, wide: 46},
	"gemma3": {pattern: 6, qkNorm: true, postNorms: true, localBase: 10000, queryScalar: 256, wide: 62},
}

// pattern marks every n-th of the layers as global.
func pattern(layers, n int) []bool {
	global := make([]bool, layers)
	for i := range global {
		global[i] = (i+1)%n == 0
	}
	return global
}

// limits keep a hostile file from asking for absurd memory.
const (
	maxLayers = 1 << 10
	maxWidth  = 1 << 20
	maxVocab  = 1 << 24
)

func (s *settings) check() error {
	for _, f := range []struct {
		name       string
		value, top int
	}{
		{"layers", s.layers, maxLayers}, {"width", s.width, maxWidth}, {"vocabulary", s.vocab, maxVocab},
		{"feed-forward width", s.feed, maxWidth}, {"attention heads", s.heads, maxWidth},
		{"key-value heads", s.kvHeads, maxWidth}, {"head size", s.headSize, maxWidth}, {"context", s.context, 1 << 30},
	} {
		if f.value < 1 || f.value > f.top {
			return fmt.Errorf("config: %s is %d, want 1 to %d", f.name, f.value, f.top)
		}
	}
	switch {
	case s.heads%s.kvHeads != 0:
		return fmt.Errorf("config: %d attention heads cannot share %d key-value heads", s.heads, s.kvHeads)
	case s.headSize%2 != 0:
		return fmt.Errorf("config: head size %d is odd, rotary positions need pairs", s.headSize)
	case len(s.global) != s.layers:
		return fmt.Errorf("config: layer kinds are given for %d of %d layers", len(s.global), s.layers)
	case s.window < 0 || s.window == 0 && !all(s.global):
		return fmt.Errorf("config: sliding window is %d, want at least 1", s.window)
	}
	for _, f := range []struct {
		name  string
		value float64
	}{
		{"norm epsilon", s.eps}, {"score scale", s.scoreScale}, {"rotary base", s.ropeGlobal.Base},
		{"rotary scale", s.ropeGlobal.Scale}, {"local rotary base", s.ropeLocal.Base}, {"local rotary scale", s.ropeLocal.Scale},
	} {
		if !(f.value > 0) || math.IsInf(f.value, 0) {
			return fmt.Errorf("config: %s is %v, want a positive number", f.name, f.value)
		}
	}
	return nil
}

func all(v []bool) bool {
	for _, b := range v {
		if !b {
			return false
		}
	}
	return true
}

func (s *settings) expand() Config {
	c := Config{
		Family: s.family, Width: s.width, Vocab: s.vocab, Context: s.context,
		EmbedScale: float32(math.Sqrt(float64(s.width))),
		NormEps:    float32(s.eps), NormOffset: float32(s.normOffset), FinalCap: float32(s.finalCap),
	}
	for _, global := range s.global {
		att := Attention{
			Heads: s.heads, KVHeads: s.kvHeads, HeadSize: s.headSize,
			Window: s.window, Rope: s.ropeLocal,
			QKNorm: s.qkNorm, Scale: float32(s.scoreScale), SoftCap: float32(s.attentionCap),
		}
		if global {
			att.Window, att.Rope = 0, s.ropeGlobal
		}
		c.Layers = append(c.Layers, Layer{
			Attention: att,
			Feed:      Feed{Width: s.feed, Activation: s.activation},
			PostNorms: s.postNorms,
		})
	}
	return c
}

// Parameters counts the model's weights, norms included.
func (c Config) Parameters() int64 {
	n := int64(c.Vocab+1) * int64(c.Width)
	for _, l := range c.Layers {
		a := l.Attention
		n += int64(c.Width) * int64(a.HeadSize) * int64(2*a.Heads+2*a.KVHeads)
		n += 3 * int64(c.Width) * int64(l.Feed.Width)
		n += 2 * int64(c.Width)
		if l.PostNorms {
			n += 2 * int64(c.Width)
		}
		if a.QKNorm {
			n += 2 * int64(a.HeadSize)
		}
	}
	return n
}

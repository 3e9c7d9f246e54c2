package gemma

import (
	"errors"
	"fmt"
	"math"

	"lapidary/engine"
)

// settings is what the two file formats say in different words of a stack.
type settings struct {
	family                          string
	width, vocab, context, layers   int
	feed                            []int // of each layer, or of all
	heads, kvHeads, headSize        int   // of local layers
	globalKVHeads, globalHeadSize   int   // of global ones
	window                          int
	global                          []bool // a layer: sees everything
	recurrent                       []bool // a layer: is a recurrence; nil for none
	ropeGlobal, ropeLocal           engine.Rope
	eps, normOffset, scoreScale     float64
	attentionCap, finalCap          float64
	embedScale                      float64 // 0: √width
	qkNorm, vNorm, postNorms        bool
	activation                      engine.Activation
	direction                       direction
	groups                          groups
	tiedKV                          bool // on global layers
	sharing                         int  // how many of the last layers read others' keys and values
	doubleWide                      bool // feed-forward of sharing layers
	experts                         Experts
	sparsity                        []float64 // of each layer; nil for none
	perLayer                        *PerLayer
	streams                         *Streams
	scalars, outputBias, feedBiased bool
	recurrence                      Recurrent
	source                          SourceKind
}

// direction is where rows look.
type direction uint8

const (
	causal    direction = iota
	mutual              // as far ahead as back: window − 1
	lopsided            // Window is halved: (w+1)/2 back, itself included, w/2 ahead
	inclusive           // Window counts on each side what is beside a row: w back, w ahead
)

// groups is where rows of one group see each other.
type groups uint8

const (
	nowhere groups = iota
	locally        // in layers with a window
	everywhere
)

func (s *settings) check() error {
	bounds := []bound{
		{"layers", s.layers, maxLayers}, {"width", s.width, maxWidth}, {"vocabulary", s.vocab, maxVocab},
		{"attention heads", s.heads, maxWidth}, {"key-value heads", s.kvHeads, maxWidth}, {"head size", s.headSize, maxWidth},
		{"global key-value heads", s.globalKVHeads, maxWidth}, {"global head size", s.globalHeadSize, maxWidth},
		{"context", s.context, 1 << 30}, {"kinds of feed-forward", len(s.feed), maxLayers},
	}
	for _, f := range s.feed {
		bounds = append(bounds, bound{"feed-forward width", f, maxWidth})
	}
	if err := within(bounds...); err != nil {
		return err
	}
	switch {
	case s.heads%s.kvHeads != 0 || s.heads%s.globalKVHeads != 0:
		return fmt.Errorf("config: %d attention heads cannot share %d key-value heads (%d global)", s.heads, s.kvHeads, s.globalKVHeads)
	case s.headSize%2 != 0 || s.globalHeadSize%2 != 0:
		return fmt.Errorf("config: head size %d is odd, rotary positions need pairs", s.headSize)
	case len(s.global) != s.layers || s.recurrent != nil && len(s.recurrent) != s.layers:
		return fmt.Errorf("config: layer kinds are given for %d of %d layers", len(s.global), s.layers)
	case len(s.feed) != 1 && len(s.feed) != s.layers:
		return fmt.Errorf("config: feed-forward widths are given for %d of %d layers", len(s.feed), s.layers)
	case s.sparsity != nil && len(s.sparsity) != s.layers:
		return fmt.Errorf("config: sparsity is given for %d of %d layers", len(s.sparsity), s.layers)
	case s.window < 0 || s.window == 0 && !all(s.global):
		return fmt.Errorf("config: sliding window is %d, want at least 1", s.window)
	}
	return errors.Join(s.checkNumbers(), s.checkParts())
}

func (s *settings) checkNumbers() error {
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
	for _, v := range s.sparsity {
		if !(v >= 0 && v < 1) {
			return fmt.Errorf("config: sparsity is %v, want 0 to less than 1", v)
		}
	}
	return nil
}

// checkParts looks at what not every model has.
func (s *settings) checkParts() error {
	var bounds []bound
	if e := s.experts; e != (Experts{}) {
		bounds = append(bounds, bound{"experts", e.Count, maxWidth}, bound{"experts a token", e.Top, e.Count}, bound{"expert width", e.Width, maxWidth})
	}
	if p := s.perLayer; p != nil {
		bounds = append(bounds, bound{"per-layer width", p.Width, maxWidth})
		if p.Vocab != 0 {
			bounds = append(bounds, bound{"per-layer vocabulary", p.Vocab, maxVocab})
		}
	}
	if a := s.streams; a != nil {
		bounds = append(bounds, bound{"streams", a.Count, 64}, bound{"active stream", a.Active + 1, a.Count}, bound{"low rank", a.Rank, maxWidth})
	}
	if r := s.recurrence; s.recurrent != nil {
		bounds = append(bounds, bound{"recurrent width", r.Width, maxWidth}, bound{"convolution", r.Kernel, 1 << 10}, bound{"gate blocks", r.Blocks, r.Width})
		if r.Blocks > 0 && r.Width%r.Blocks != 0 {
			return fmt.Errorf("config: a recurrence of %d channels has no %d equal blocks", r.Width, r.Blocks)
		}
	}
	if err := within(bounds...); err != nil {
		return err
	}
	if s.sharing < 0 || s.sharing >= s.layers && s.layers > 0 && s.sharing != s.layers {
		return fmt.Errorf("config: %d of %d layers share keys and values", s.sharing, s.layers)
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

// stack expands the settings.
func (s *settings) stack() (Stack, error) {
	if err := s.check(); err != nil {
		return Stack{}, err
	}
	scale := s.embedScale
	if scale == 0 {
		scale = math.Sqrt(float64(s.width))
	}
	c := Stack{
		Width: s.width, Vocab: s.vocab, Context: s.context, EmbedScale: float32(scale),
		NormEps: float32(s.eps), NormOffset: float32(s.normOffset), FinalCap: float32(s.finalCap),
		PerLayer: s.perLayer, Streams: s.streams,
	}
	for i := range s.layers {
		layer, err := s.layer(i)
		if err != nil {
			return c, err
		}
		c.Layers = append(c.Layers, layer)
	}
	return c, nil
}

func (s *settings) layer(i int) (Layer, error) {
	l := Layer{
		Attention: s.attention(i),
		Source:    s.source,
		Feed:      Feed{Width: s.feed[i%len(s.feed)], Activation: s.activation, Experts: s.experts, Biased: s.feedBiased},
		PostNorms: s.postNorms, Scalar: s.scalars,
	}
	if s.recurrent != nil && s.recurrent[i] {
		r := s.recurrence
		l.Recurrent, l.Attention = &r, Attention{}
	}
	if s.sparsity != nil {
		l.Feed.Sparsity = s.sparsity[i]
	}
	first := s.layers - s.sharing
	if i < first {
		return l, nil
	}
	if s.doubleWide {
		l.Feed.Width *= 2
	}
	from := first - 1
	for from >= 0 && s.global[from] != s.global[i] {
		from--
	}
	if from < 0 {
		return l, fmt.Errorf("config: layer %d shares keys and values, and none before layer %d is of its kind", i, first)
	}
	l.Attention.Reads = i - from
	return l, nil
}

func (s *settings) attention(i int) Attention {
	a := Attention{
		Heads: s.heads, KVHeads: s.kvHeads, HeadSize: s.headSize, Window: s.window, Rope: s.ropeLocal,
		QKNorm: s.qkNorm, VNorm: s.vNorm, Scale: float32(s.scoreScale), SoftCap: float32(s.attentionCap),
		Groups: s.groups != nowhere, Output: s.outputBias,
	}
	if s.global[i] {
		a.Window, a.Rope = 0, s.ropeGlobal
		a.KVHeads, a.HeadSize = s.globalKVHeads, s.globalHeadSize
		a.TiedKV, a.Groups = s.tiedKV, s.groups == everywhere
	}
	switch w := a.Window; {
	case s.direction == causal:
	case w == 0:
		a.Ahead = engine.All
	case s.direction == mutual:
		a.Ahead = w - 1
	case s.direction == lopsided:
		a.Window, a.Ahead = (w+1)/2, w/2
	case s.direction == inclusive:
		a.Window, a.Ahead = w+1, w
	}
	return a
}

// pattern marks every n-th of the layers as global.
func pattern(layers, n int) []bool {
	global := make([]bool, layers)
	for i := range global {
		global[i] = (i+1)%n == 0
	}
	return global
}

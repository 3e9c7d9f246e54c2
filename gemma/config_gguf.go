package gemma

import (
	"fmt"
	"math"

	"lapidary/checkpoint"
	"lapidary/engine"
)

// fromMetadata reads the keys llama.cpp's converter writes, each under the
// architecture's name.
func fromMetadata(m *checkpoint.Metadata) (Config, error) {
	s, err := metadataSettings(m)
	if err != nil {
		return Config{}, err
	}
	c := Config{Family: s.family, Tokens: noTokens}
	c.Stack, err = s.stack()
	return c, err
}

func metadataSettings(m *checkpoint.Metadata) (settings, error) {
	family, _ := m.String("general.architecture")
	t, ok := traits[family]
	if !ok || !t.gguf {
		return settings{}, fmt.Errorf("general.architecture %q is not a Gemma text model this version runs (gemma, gemma2, gemma3)", family)
	}
	r := metaReader{m: m, prefix: family + "."}
	s := settings{
		family: family,
		width:  r.size("embedding_length"), context: r.size("context_length"), layers: r.size("block_count"),
		feed: []int{r.size("feed_forward_length")}, heads: r.size("attention.head_count"), kvHeads: r.size("attention.head_count_kv"),
		headSize: r.sizeOr("attention.key_length", 256), window: r.sizeOr("attention.sliding_window", t.window),
		eps:          r.number("attention.layer_norm_rms_epsilon", 1e-6),
		attentionCap: r.number("attn_logit_softcapping", t.attCap), finalCap: r.number("final_logit_softcapping", t.finalCap),
		qkNorm: t.qkNorm, postNorms: t.postNorms, groups: t.groups,
	}
	s.globalKVHeads, s.globalHeadSize = s.kvHeads, s.headSize
	if r.err != nil {
		return settings{}, r.err
	}
	if tokens, ok := m.Strings("tokenizer.ggml.tokens"); ok {
		s.vocab = tokens.Len()
	} else {
		s.vocab = r.size("vocab_size")
	}
	if v := r.sizeOr("attention.value_length", s.headSize); v != s.headSize {
		return settings{}, fmt.Errorf("%sattention.value_length is %d, want the key length %d", r.prefix, v, s.headSize)
	}
	if s.layers > 0 && s.layers <= maxLayers {
		s.global = r.globalLayers(s.layers, t.pattern)
	}
	base := r.number("rope.freq_base", 10000)
	s.ropeGlobal = engine.Rope{Base: base, Scale: r.ropeScale()}
	s.ropeLocal = engine.Rope{Base: r.number("rope.freq_base_swa", or(t.localBase, base)), Scale: 1}
	s.scoreScale = 1 / math.Sqrt(float64(s.headSize))
	if s.layers == t.wide && s.heads > 0 {
		s.scoreScale = 1 / math.Sqrt(float64(s.width)/float64(s.heads))
	}
	return s, r.err
}

func or[T int | float64](v, otherwise T) T {
	if v != 0 {
		return v
	}
	return otherwise
}

// metaReader reads keys of one architecture and keeps the first error.
type metaReader struct {
	m      *checkpoint.Metadata
	prefix string
	err    error
}

func (r *metaReader) size(key string) int {
	v, ok := r.m.Uint(r.prefix + key)
	if !ok || v > math.MaxInt32 {
		if r.err == nil {
			r.err = fmt.Errorf("metadata key %s%s is missing or not a size", r.prefix, key)
		}
		return 0
	}
	return int(v)
}

func (r *metaReader) sizeOr(key string, otherwise int) int {
	if _, ok := r.m.Uint(r.prefix + key); !ok {
		return otherwise
	}
	return r.size(key)
}

func (r *metaReader) number(key string, otherwise float64) float64 {
	if v, ok := r.m.Float(r.prefix + key); ok {
		return v
	}
	return otherwise
}

// globalLayers reads which layers see everything: a list of "is local", a
// period, or the family's habit.
func (r *metaReader) globalLayers(layers, habit int) []bool {
	const key = "attention.sliding_window_pattern"
	if local, ok := r.m.Bools(r.prefix + key); ok {
		global := make([]bool, len(local))
		for i, l := range local {
			global[i] = !l
		}
		return global
	}
	return pattern(layers, max(1, r.sizeOr(key, habit)))
}

// ropeScale is 1/factor of linear position scaling.
func (r *metaReader) ropeScale() float64 {
	kind, _ := r.m.String(r.prefix + "rope.scaling.type")
	switch kind {
	case "", "none":
		return 1
	case "linear":
		return 1 / r.number("rope.scaling.factor", 1)
	}
	if r.err == nil {
		r.err = fmt.Errorf("%srope.scaling.type %q is not supported (none, linear)", r.prefix, kind)
	}
	return 1
}

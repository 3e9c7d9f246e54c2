package gemma

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"lapidary/checkpoint"
	"lapidary/engine"
)

// ggufFamilies maps general.architecture to the family that it is of.
var ggufFamilies = map[string]string{
	"gemma": "gemma", "gemma2": "gemma2", "gemma3": "gemma3", "gemma-embedding": "gemma3", "gemma3n": "gemma3n",
	"gemma4": "gemma4", "gemma4-assistant": "gemma4",
}

// fromGGUF reads the keys that llama.cpp's and Ollama's converters write, each
// under the architecture's name. What no key says, tensors tell.
func fromGGUF(c *checkpoint.Checkpoint) (Config, error) {
	m := c.Metadata()
	arch, _ := m.String("general.architecture")
	family, ok := ggufFamilies[arch]
	if arch == "clip" {
		return Config{}, errors.New("these are a model's towers for pictures and sounds (mmproj) and not the model: name its own file, or the Hugging Face folder, which has both")
	}
	if !ok {
		return Config{}, fmt.Errorf("general.architecture %q is not a Gemma text model this version runs (%s)", arch, strings.Join(slices.Sorted(maps.Keys(ggufFamilies)), ", "))
	}
	r := &metaReader{m: m, from: c, prefix: arch + "."}
	s, err := r.settings(family)
	if err != nil {
		return Config{}, err
	}
	config := Config{Family: s.family, Tokens: noTokens}
	if arch == "gemma4-assistant" {
		return r.drafter(config, s)
	}
	if config.Stack, err = s.stack(); err != nil {
		return config, err
	}
	if s.direction != causal {
		if err := r.pooled(&config); err != nil {
			return config, err
		}
	}
	return config, config.clip(c)
}

func (r *metaReader) settings(family string) (settings, error) {
	t := traits[family]
	s := settings{
		family: family,
		width:  r.size("embedding_length"), context: r.size("context_length"), layers: r.size("block_count"),
		feed: r.sizes("feed_forward_length"), heads: r.size("attention.head_count"),
		window:       r.sizeOr("attention.sliding_window", t.window),
		eps:          r.number("attention.layer_norm_rms_epsilon", 1e-6),
		attentionCap: r.number("attn_logit_softcapping", t.attCap), finalCap: r.number("final_logit_softcapping", t.finalCap),
		qkNorm: t.qkNorm, vNorm: t.plain, postNorms: t.postNorms, scalars: t.scalars, groups: t.groups,
	}
	if r.err != nil {
		return settings{}, r.err
	}
	if tokens, ok := r.m.Strings("tokenizer.ggml.tokens"); ok {
		s.vocab = min(tokens.Len(), r.rows("embed_tokens.weight", tokens.Len())) // Ollama's lists have tokens for pictures, too
	} else {
		s.vocab = r.size("vocab_size")
	}
	if s.layers > 0 && s.layers <= maxLayers {
		s.global = r.globalLayers(s.layers, t.pattern)
	}
	r.heads(&s)
	r.ropes(&s, t)
	s.scoreScale = 1 / math.Sqrt(float64(s.headSize))
	switch {
	case t.plain:
		s.scoreScale = 1
	case s.layers == t.wide && s.heads > 0:
		s.scoreScale = 1 / math.Sqrt(float64(s.width)/float64(s.heads))
	}
	if looks, ok := r.m.Bool(r.prefix + "attention.causal"); r.prefix == "gemma-embedding." || ok && !looks {
		if s.direction = mutual; s.window > 0 {
			s.window = s.window/2 + 1
		}
	}
	r.extras(&s, t)
	return s, r.err
}

// heads are those of local and of global layers.
func (r *metaReader) heads(s *settings) {
	s.globalHeadSize = r.sizeOr("attention.key_length", r.sizeOr("head_dim", 256)) // as Ollama says it of Gemma 3n
	s.headSize = r.sizeOr("attention.key_length_swa", s.globalHeadSize)
	for key, size := range map[string]int{"attention.value_length": s.globalHeadSize, "attention.value_length_swa": s.headSize} {
		if v := r.sizeOr(key, size); v != size {
			r.fail("%s%s is %d, want the key length %d", r.prefix, key, v, size)
		}
	}
	counts := r.sizes("attention.head_count_kv")
	if len(counts) == 0 {
		return
	}
	s.kvHeads, s.globalKVHeads = counts[0], counts[0]
	if len(counts) == 1 {
		return
	}
	if len(counts) != len(s.global) {
		r.fail("%sattention.head_count_kv is given for %d of %d layers", r.prefix, len(counts), s.layers)
		return
	}
	for i, n := range slices.Backward(counts) {
		if s.global[i] {
			s.globalKVHeads = n
		} else {
			s.kvHeads = n
		}
	}
	for i, n := range counts {
		if want := map[bool]int{true: s.globalKVHeads, false: s.kvHeads}[s.global[i]]; n != want {
			r.fail("%sattention.head_count_kv: layer %d has %d and others of its kind %d, which is not supported", r.prefix, i, n, want)
		}
	}
}

// ropes: llama.cpp and Ollama have different words for the base of local
// layers, which many files leave out.
func (r *metaReader) ropes(s *settings, t trait) {
	base := r.number("rope.freq_base", r.number("rope.global.freq_base", defaultBase(t)))
	local := r.number("rope.local.freq_base", r.number("rope.freq_base_local", cmp.Or(t.localBase, base)))
	s.ropeGlobal = engine.Rope{Base: base, Scale: r.ropeScale()}
	s.ropeLocal = engine.Rope{Base: r.number("rope.freq_base_swa", local), Scale: 1}
	if !t.scalars {
		return
	}
	s.ropeGlobal.Turn = s.globalHeadSize / 8 // a quarter of the angles, as all of Gemma 4 has it
	if freqs, ok := r.from.Tensor("rope_freqs.weight"); ok {
		s.ropeGlobal.Turn = r.turning(s, freqs)
	}
	if s.ropeGlobal.Turn == s.globalHeadSize/2 {
		s.ropeGlobal.Turn = 0
	}
}

// turning counts the angles that are divided by 1; the others must be divided
// by so much that nothing is left.
func (r *metaReader) turning(s *settings, t checkpoint.Tensor) int {
	const immense = 1e20
	if t.Rows() != 1 || t.Cols() != s.globalHeadSize/2 {
		r.fail("tensor rope_freqs.weight is %v, want half of a global head of %d", t.Shape, s.globalHeadSize)
		return 0
	}
	divisors := make([]float32, t.Cols())
	if err := checkpoint.Dequantize(t.Type, divisors, t.Data); err != nil {
		r.fail("tensor rope_freqs.weight: %w", err)
		return 0
	}
	n := 0
	for i, d := range divisors {
		switch {
		case d == 1 && n == i:
			n++
		case !(d >= immense):
			r.fail("tensor rope_freqs.weight: angle %d is divided by %v, which is not supported", i, d)
			return 0
		}
	}
	if n == 0 {
		r.fail("tensor rope_freqs.weight leaves no angle to turn")
	}
	return n
}

// extras are what not every family has.
func (r *metaReader) extras(s *settings, t trait) {
	if !t.plain {
		return
	}
	s.sharing = r.sizeOr("attention.shared_kv_layers", 0)
	if n := r.sizeOr("embedding_length_per_layer_input", 0); n > 0 {
		s.perLayer = &PerLayer{Width: n, Vocab: r.rows("embed_tokens_per_layer.weight", s.vocab)}
	}
	if t.scalars {
		r.extras4(s)
		return
	}
	s.streams = &Streams{Count: r.sizeOr("altup.num_inputs", 4), Active: r.sizeOr("altup.active_idx", 0),
		Rank: r.rows("layers.0.laurel.linear_left.weight", 64), Scaled: true}
	if s.perLayer == nil {
		r.fail("metadata key %sembedding_length_per_layer_input is missing or 0", r.prefix)
	}
	deviations, _ := r.m.Floats(r.prefix + "activation_sparsity_scale")
	for _, d := range deviations {
		below := (1 + math.Erf(float64(d)/math.Sqrt2)) / 2
		s.sparsity = append(s.sparsity, math.Round(below*1e6)/1e6) // as it stood before it became 32-bit deviations
	}
}

// extras4: pictures see themselves in all but the small sizes, which are those
// with inputs for each layer. Where keys are values, values are not stored.
func (r *metaReader) extras4(s *settings) {
	if s.perLayer == nil {
		s.groups = locally
	}
	if n := r.sizeOr("expert_count", 0); n > 0 {
		s.experts = Experts{Count: n, Top: r.size("expert_used_count"), Width: r.size("expert_feed_forward_length")}
	}
	if i := slices.Index(s.global, true); i >= 0 {
		name := fmt.Sprintf("layers.%d.self_attn.", i)
		_, keys := r.from.Tensor(name + "k_proj.weight")
		_, values := r.from.Tensor(name + "v_proj.weight")
		s.tiedKV = keys && !values
	}
}

// pooled is what an encoder makes of its hidden states.
func (r *metaReader) pooled(c *Config) error {
	const mean = 1
	if kind := r.sizeOr("pooling_type", mean); kind != mean {
		return fmt.Errorf("%spooling_type is %d, only %d, the mean, is supported", r.prefix, kind, mean)
	}
	c.Head.Pooled = c.Width
	for i := 2; ; i++ {
		t, ok := r.from.Tensor(fmt.Sprintf("%d_Dense.weight", i))
		if !ok {
			return r.err
		}
		if t.Cols() != c.Head.Pooled {
			return fmt.Errorf("tensor %s is %v and follows a layer of %d", t.Name, t.Shape, c.Head.Pooled)
		}
		if err := within(bound{"embedding width", t.Rows(), maxWidth}); err != nil {
			return err
		}
		c.Head.Pooled = t.Rows()
		c.Head.Dense = append(c.Head.Dense, t.Rows())
	}
}

// drafter is a Gemma 4 assistant. Its files do not say how many clusters of
// tokens to look at, so all tokens are.
func (r *metaReader) drafter(c Config, s settings) (Config, error) {
	s.perLayer, s.sharing, s.groups, s.tiedKV = nil, 0, nowhere, false
	c.Family = "gemma4_assistant"
	c.Drafter = &DrafterHeads{Backbone: r.size("embedding_length_out")}
	if r.err != nil {
		return c, r.err
	}
	if err := within(bound{"target width", c.Drafter.Backbone, maxWidth}); err != nil {
		return c, err
	}
	var err error
	if c.Stack, err = s.stack(); err != nil {
		return c, err
	}
	for i := range c.Layers {
		c.Layers[i].Attention.Foreign = true
	}
	return c, nil
}

// metaReader reads keys of one architecture and keeps the first error.
type metaReader struct {
	m      *checkpoint.Metadata
	from   *checkpoint.Checkpoint
	prefix string
	err    error
}

func (r *metaReader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

func (r *metaReader) size(key string) int {
	v, ok := r.m.Uint(r.prefix + key)
	if !ok || v > math.MaxInt32 {
		r.fail("metadata key %s%s is missing or not a size", r.prefix, key)
		return 0
	}
	return int(v)
}

func (r *metaReader) has(key string) bool {
	_, ok := r.m.Uint(r.prefix + key)
	return ok
}

func (r *metaReader) sizeOr(key string, otherwise int) int {
	if !r.has(key) {
		return otherwise
	}
	return r.size(key)
}

// sizes are one for all layers or one for each.
func (r *metaReader) sizes(key string) []int {
	list, ok := r.m.Ints(r.prefix + key)
	if !ok {
		return []int{r.size(key)}
	}
	out := make([]int, len(list))
	for i, v := range list {
		if v < 0 || v > math.MaxInt32 {
			r.fail("metadata key %s%s: entry %d is %d, which is not a size", r.prefix, key, i, v)
			return nil
		}
		out[i] = int(v)
	}
	return out
}

func (r *metaReader) number(key string, otherwise float64) float64 {
	if v, ok := r.m.Float(r.prefix + key); ok {
		return v
	}
	return otherwise
}

// rows is the size of a tensor that is there, and else what it usually is.
func (r *metaReader) rows(name string, otherwise int) int {
	if t, ok := r.from.Tensor(name); ok {
		return t.Rows()
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

// ropeScale is 1/factor of linear position scaling, which is what a factor
// alone means.
func (r *metaReader) ropeScale() float64 {
	kind, _ := r.m.String(r.prefix + "rope.scaling.type")
	switch kind {
	case "none":
		return 1
	case "", "linear":
		usual := 1.0
		if r.has("mm.tokens_per_image") && r.size("context_length") >= 1<<17 {
			usual = 8 // of all of Gemma 3 that sees pictures; Ollama's files do not say it
		}
		return 1 / r.number("rope.scaling.factor", usual)
	}
	r.fail("%srope.scaling.type %q is not supported (none, linear)", r.prefix, kind)
	return 1
}

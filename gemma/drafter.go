package gemma

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"lapidary/checkpoint"
	"lapidary/engine"
)

// drafterHeads is what a Gemma 4 assistant has around its layers.
type drafterHeads struct {
	pre, post engine.Weight // [D, 2·backbone], [backbone, D]
	clusters  engine.Weight // [clusters, D]; nil where all tokens are looked at
	order     []int32       // tokens by cluster
}

func (b *binder) drafterHeads(c *Config) *drafterHeads {
	h := &drafterHeads{
		pre:  b.weight("pre_projection.weight", c.Width, 2*c.Drafter.Backbone),
		post: b.weight("post_projection.weight", c.Drafter.Backbone, c.Width),
	}
	if c.Drafter.Clusters > 0 {
		h.clusters = b.weight("masked_embedding.centroids.weight", c.Drafter.Clusters, c.Width)
		h.order = b.order("masked_embedding.token_ordering", c.Vocab)
	}
	return h
}

// order reads a permutation of the vocabulary.
func (b *binder) order(name string, vocab int) []int32 {
	t, ok := b.tensor(name, []int{vocab})
	if !ok {
		return nil
	}
	ids, err := checkpoint.Integers(t)
	if err != nil {
		b.err = err
		return nil
	}
	order := make([]int32, vocab)
	for i, id := range ids {
		if id < 0 || id >= int64(vocab) {
			b.err = fmt.Errorf("tensor %s: %d is not in the vocabulary of %d", name, id, vocab)
			return nil
		}
		order[i] = int32(id)
	}
	return order
}

// Drafter guesses what a model will say with a Gemma 4 assistant: a few small
// layers that look at the keys and values the model itself has left.
type Drafter struct {
	assistant, target *Model
	layers            []attention // the assistant's, pointed at the target's memory
}

// NewDrafter joins an assistant to its target. Both must be on one engine.
func NewDrafter(assistant, target *Model) (*Drafter, error) {
	c := assistant.config.Drafter
	switch {
	case c == nil:
		return nil, fmt.Errorf("a %s model is no drafting assistant", assistant.config.Family)
	case assistant.engine != target.engine:
		return nil, errors.New("an assistant and its target must run on one engine")
	case c.Backbone != target.config.Width || assistant.config.Vocab != target.config.Vocab:
		return nil, fmt.Errorf("an assistant for a model %d wide with %d tokens does not fit one %d wide with %d",
			c.Backbone, assistant.config.Vocab, target.config.Width, target.config.Vocab)
	}
	d := &Drafter{assistant: assistant, target: target}
	for i := range assistant.text.blocks {
		a := *assistant.text.blocks[i].mixer.(*attention)
		if err := a.aim(target); err != nil {
			return nil, fmt.Errorf("assistant layer %d: %w", i, err)
		}
		d.layers = append(d.layers, a)
	}
	return d, nil
}

// aim lets a read the last memory of its kind that the target keeps. A local
// layer sees Window positions before the last and that one.
func (m *attention) aim(target *Model) error {
	for i := len(target.text.blocks) - 1; i >= 0; i-- {
		t, ok := target.text.blocks[i].mixer.(*attention)
		if !ok || t.reads || (t.attend.Window == 0) != (m.attend.Window == 0) {
			continue
		}
		if t.attend.KVHeads != m.attend.KVHeads || t.attend.C != m.attend.C {
			return fmt.Errorf("its %d key-value heads of %d do not fit the target's %d of %d", m.attend.KVHeads, m.attend.C, t.attend.KVHeads, t.attend.C)
		}
		m.attend.Layer = t.attend.Layer
		if m.attend.Window > 0 {
			m.attend.Window++
		}
		return nil
	}
	return errors.New("the target has no layer of its kind")
}

// Step guesses the token after the one given. hidden is the target's last hidden
// state (after the norm) at the last place of its cache, or what the step before
// returned; place is that of the first token given for it, the last in the cache
// or the one after. It returns what the next step takes.
func (d *Drafter) Step(ctx context.Context, cache engine.Cache, token int32, place int, hidden []float32, out *Logits) ([]float32, error) {
	c, after := d.target.config, place-cache.Len()
	if cache.Len() == 0 || after < -1 || after > 0 || len(hidden) != c.Width || token < 0 || int(token) >= c.Vocab {
		return nil, fmt.Errorf("a draft needs a memory, a token that ends or follows it, and a state: have %d positions, token %d at %d, %d numbers of %d",
			cache.Len(), token, place, len(hidden), c.Width)
	}
	p := d.assistant.engine.Begin(ctx, []engine.Span{{Cache: cache, Rows: 1, Behind: 1}})
	in := make([]float32, 2*c.Width)
	p.Read(p.Embed(d.target.text.embed, []int32{token}, c.EmbedScale), in)
	copy(in[c.Width:], hidden)
	return d.step(ctx, p, in, after+1, out)
}

// step runs the assistant at the last place of the cache, turned by shift more.
func (d *Drafter) step(ctx context.Context, p engine.Pass, in []float32, shift int, out *Logits) ([]float32, error) {
	m := d.assistant
	out.reset(m.config.Vocab)
	x := p.Linear(p.Write(in, len(in)), m.draft.pre)[0]
	s := *m.text
	s.blocks = slices.Clone(s.blocks)
	for i, a := range d.layers {
		a.queries.Ropes = slices.Clone(a.queries.Ropes)
		for j := range a.queries.Ropes {
			a.queries.Ropes[j].Shift = shift
		}
		s.blocks[i].mixer = &a
	}
	if x = s.run(ctx, p, x, &input{wanted: []int{0}}, nil); x == nil {
		return nil, p.End()
	}
	next := make([]float32, len(in)/2)
	p.Read(p.Linear(x, m.draft.post)[0], next)
	logits := out.add(1)
	p.Read(p.Linear(x, m.head)[0], logits)
	if m.draft.clusters != nil {
		centres := make([]float32, m.config.Drafter.Clusters)
		p.Read(p.Linear(x, m.draft.clusters)[0], centres)
		m.draft.mask(logits, centres, m.config.Drafter.Top)
	}
	return next, p.End()
}

// mask leaves the logits of tokens in the top clusters; the others are one less
// than the least of those.
func (h *drafterHeads) mask(logits, centres []float32, top int) {
	best := sequence(0, len(centres))
	slices.SortStableFunc(best, func(a, b int) int { return cmp.Compare(centres[b], centres[a]) })
	size := len(h.order) / len(centres)
	kept, least := make([]bool, len(logits)), float32(math.Inf(1))
	for _, c := range best[:top] {
		for _, id := range h.order[c*size : (c+1)*size] {
			kept[id] = true
			least = min(least, logits[id])
		}
	}
	for id := range logits {
		if !kept[id] {
			logits[id] = least - 1
		}
	}
}

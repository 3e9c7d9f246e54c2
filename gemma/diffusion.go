package gemma

import (
	"context"
	"fmt"

	"lapidary/engine"
)

// canvas is the half of a diffusion model that denoises: the layers of the half
// that reads, with numbers of their own at their ends, looking both ways, and
// what it makes of its last guess.
type canvas struct {
	stack stack
	pre   engine.Norm
	feed  feed
	after engine.Norm
}

// canvas makes the denoising stack of text and gives text, which reads, the
// numbers that it has.
func (b *binder) canvas(text *stack) *canvas {
	if b.err != nil {
		return nil
	}
	c := &canvas{stack: *text}
	c.stack.blocks = append([]block(nil), text.blocks...)
	for i := range c.stack.blocks {
		a := *text.blocks[i].mixer.(*attention)
		a.attend.Ahead, a.attend.Anchored = engine.All, true
		c.stack.blocks[i].mixer = &a
		if name := fmt.Sprintf("encoder.layers.%d.layer_scalar", i); b.has(name) {
			text.blocks[i].scalar = b.number(name)
		}
	}
	s := stackBinder{binder: b, config: text.config}
	const name = "decoder.self_conditioning"
	c.pre = *s.norm(name+".pre_norm", text.config.Width)
	c.after = engine.Norm{Eps: text.config.NormEps}
	first := text.config.Layers[0].Feed
	c.feed = s.feed(name, Feed{Width: first.Width, Activation: first.Activation})
	return c
}

// Denoise is one step of a diffusion model (DiffusionGemma): logits for each
// token of a canvas that follows what the cache holds. Before are the logits of
// the step before, [len(canvas), V]; nil at the first. The cache stays as it is.
func (m *Model) Denoise(ctx context.Context, cache engine.Cache, tokens []int32, before []float32, out *Logits) error {
	if m.canvas == nil {
		return fmt.Errorf("a %s model writes one token after the other", m.config.Family)
	}
	if before != nil && len(before) != len(tokens)*m.config.Vocab {
		return fmt.Errorf("%d logits of the step before, want %d of %d", len(before), len(tokens), m.config.Vocab)
	}
	s := &m.canvas.stack
	in, err := s.flatten([]Step{{Cache: cache, Tokens: tokens, Logits: AllRows}})
	if err != nil || len(in.ids) == 0 {
		return err
	}
	p := m.engine.Begin(ctx, in.spans)
	defer p.Discard() // a canvas leaves no trace
	x := s.embedded(p, in)
	if before != nil {
		guess := p.Expect(p.Write(before, m.config.Vocab), s.embed, s.config.EmbedScale)
		x = p.Add(x, m.canvas.feed.forward(p, p.Norm(guess, m.canvas.pre)))
	}
	x = p.Norm(x, m.canvas.after)
	sink := m.collect(out)
	if x = s.run(ctx, p, x, in, nil); x != nil {
		err = m.logits(ctx, p, x, sink)
	}
	if err == nil {
		err = ctx.Err()
	}
	return err
}

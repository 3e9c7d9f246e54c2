package generate

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"lapidary/engine"
	"lapidary/gemma"
)

// Denoiser is a model that writes a block of tokens at once.
type Denoiser interface {
	Model
	// Denoise gives the logits of a canvas behind what the cache holds; before
	// are those of the step before, nil at the first.
	Denoise(ctx context.Context, cache engine.Cache, canvas []int32, before []float32, out *gemma.Logits) error
}

// Of a block's denoising, as DiffusionGemma's makers set it.
const (
	denoisingSteps = 48
	hottest        = 0.8 // temperature at the first step
	coolest        = 0.4 // and at the last
	// entropyBound is how much the tokens that are accepted together may have
	// to do with each other: those of least entropy, in nats, as long as all but
	// the last of them add up to no more (Ben-Hamu et al. 2025, arXiv:2505.24857).
	entropyBound = 0.1
	// settled ends a block early: the likeliest tokens are those of the step
	// before and the mean entropy is less.
	settled = 0.005
)

// Diffuse continues a prompt block by block: each begins as noise and is
// denoised until it is settled. [Params.Temperature] multiplies the schedule's;
// 0 takes the likeliest tokens, and only the noise is drawn. Tokens of all
// probabilities are drawn: top-k, top-p, min-p and penalties other than those of
// [Defaults] are refused, as is a context shift.
func Diffuse(ctx context.Context, m Denoiser, v Vocabulary, cache engine.Cache, prompt Prompt, p Params) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		d, err := newDiffusion(m, v, cache, prompt, p)
		if err == nil {
			err = d.run(ctx, yield)
		}
		if err != nil {
			yield(Token{}, err)
		}
	}
}

type diffusion struct {
	*generation
	denoiser Denoiser
	random   *rand.Rand
	heat     float64
	canvas   []int32
	likely   []int32   // the likeliest tokens of the last step
	before   []float32 // its logits by their temperature
	entropy  []float64
	drawn    []int32
}

func newDiffusion(m Denoiser, v Vocabulary, cache engine.Cache, prompt Prompt, p Params) (*diffusion, error) {
	if err := p.ofBlocks(); err != nil {
		return nil, err
	}
	g, err := newGeneration(m, v, cache, prompt, p)
	if err != nil {
		return nil, err
	}
	size := m.Config().Canvas
	if size < 1 {
		return nil, fmt.Errorf("denoising %w: the model writes one token after the other", ErrParams)
	}
	return &diffusion{
		generation: g, denoiser: m, heat: float64(p.Temperature),
		random: rand.New(rand.NewPCG(g.result.Seed, 0x9e3779b97f4a7c15)),
		canvas: make([]int32, size), likely: make([]int32, size), drawn: make([]int32, size), entropy: make([]float64, size),
	}, nil
}

// ofBlocks refuses what the schedule of a block has no place for.
func (p *Params) ofBlocks() error {
	usual := Defaults()
	for _, r := range []struct {
		name  string
		asked bool
	}{
		{"a context shift", p.ContextShift}, {"top-k", p.TopK != 0 && p.TopK != usual.TopK}, {"top-p", p.TopP != 1 && p.TopP != usual.TopP},
		{"min-p", p.MinP != 0}, {"a penalty", p.RepeatPenalty != 1 || p.FrequencyPenalty != 0 || p.PresencePenalty != 0},
	} {
		if r.asked {
			return fmt.Errorf("%s %w: this model writes blocks", r.name, ErrParams)
		}
	}
	return nil
}

func (d *diffusion) run(ctx context.Context, yield func(Token, error) bool) error {
	began := time.Now()
	if err := d.prefill(ctx); err != nil {
		return err
	}
	d.result.Prefill = time.Since(began)
	for {
		began = time.Now()
		if err := d.block(ctx); err != nil {
			return err
		}
		d.result.Decode += time.Since(began)
		if done, err := d.give(yield); done || err != nil {
			return err
		}
		began = time.Now()
		if err := d.evaluate(ctx, d.ids[d.cache.Len():], gemma.NoLogits); err != nil {
			return err
		}
		d.result.Decode += time.Since(began)
	}
}

// block denoises a canvas from nothing; its likeliest tokens are the result.
func (d *diffusion) block(ctx context.Context) error {
	n := min(len(d.canvas), d.context-len(d.ids))
	d.canvas, d.likely, d.before = d.canvas[:n], d.likely[:n], nil
	for i := range d.canvas {
		d.canvas[i], d.likely[i] = d.noise(), -1
	}
	for step := denoisingSteps; step > 0; step-- {
		if err := d.denoiser.Denoise(ctx, d.cache, d.canvas, d.before, &d.logits); err != nil {
			return err
		}
		same, err := d.look(step)
		if err != nil {
			return err
		}
		d.accept()
		if same && mean(d.entropy[:n]) < settled {
			break
		}
	}
	return nil
}

func (d *diffusion) noise() int32 { return d.random.Int32N(int32(d.vocab)) }

// look draws a token for each place from the logits at the step's temperature,
// and notes the likeliest and the entropy. It says whether the likeliest are
// those of the step before.
func (d *diffusion) look(step int) (same bool, err error) {
	t := coolest + (hottest-coolest)*float64(step)/denoisingSteps
	if d.heat > 0 {
		t *= d.heat
	}
	same, d.before = true, d.before[:0]
	for i := range d.canvas {
		from := len(d.before)
		for _, v := range d.logits.Row(i) {
			d.before = append(d.before, float32(float64(v)/t))
		}
		row := d.before[from:]
		top := best(row)
		if !finite(top.logit) {
			return false, ErrLogits
		}
		same = same && d.likely[i] == top.id
		d.likely[i] = top.id
		d.drawn[i], d.entropy[i] = d.draw(row, top)
	}
	return same, nil
}

// draw is a token by its probability, and the entropy of all in nats.
func (d *diffusion) draw(row []float32, top candidate) (int32, float64) {
	var total, weighted float64
	for _, v := range row {
		x := float64(v - top.logit)
		e := math.Exp(x)
		total += e
		weighted += e * x
	}
	entropy := math.Log(total) - weighted/total
	if d.heat == 0 {
		return top.id, entropy
	}
	at := d.random.Float64() * total
	for id, v := range row {
		if at -= math.Exp(float64(v - top.logit)); at < 0 {
			return int32(id), entropy
		}
	}
	return top.id, entropy
}

// accept keeps what was drawn where the entropy is least; the rest is noise
// again.
func (d *diffusion) accept() {
	order := make([]int, len(d.canvas))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(d.entropy[a], d.entropy[b]) })
	var sum float64
	for _, i := range order {
		if sum <= entropyBound {
			d.canvas[i] = d.drawn[i]
		} else {
			d.canvas[i] = d.noise()
		}
		sum += d.entropy[i]
	}
}

func mean(x []float64) float64 {
	var sum float64
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// give hands the block over, token by token. It says whether that was all.
func (d *diffusion) give(yield func(Token, error) bool) (done bool, err error) {
	for i, id := range d.likely {
		t := Token{ID: id}
		if d.probs != nil {
			if t.LogProb, t.Top, err = d.probs.of(d.logits.Row(i), id, d.textOf); err != nil {
				return true, err
			}
		}
		d.ids = append(d.ids, id)
		d.result.Tokens++
		t.End = d.end(&t)
		if t.End == nil && i == len(d.likely)-1 && len(d.ids) >= d.context {
			d.result.Reason, d.result.ContextFull = Length, true
			t.Text += d.text.flush()
			t.End = &d.result
		}
		if !yield(t, nil) || t.End != nil {
			return true, nil
		}
	}
	return false, nil
}

package generate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"lapidary/engine"
	"lapidary/gemma"
)

// ModelDrafter is a [Drafter] that asks a smaller model for its most likely
// tokens. That model has to know the same tokens by the same ids.
//
// A draft ends where the model is not sure enough any more for what passes cost,
// is longer after one that was right throughout and shorter after another; while
// nothing is right, the drafter sleeps for longer and longer. (Leviathan et al. 2023,
// arXiv:2211.17192, with the guess always the likeliest token.)
type ModelDrafter struct {
	model  Model
	cache  engine.Cache // nil before the first draft
	config gemma.Config
	held   []int32 // what the cache holds
	same   int     // how many of them are known to be the text's
	lost   bool    // it cannot follow this text

	pace
	step   [1]gemma.Step
	logits gemma.Logits
}

// pace decides how long drafts are, and whether there are any.
type pace struct {
	from  int // the length of the text that the draft follows, 0 before the first
	draft []int32
	limit int     // of the next draft's length
	wrong int     // passes in a row that were in vain
	pass  float64 // seconds of one, 0 before the first

	likely []float64
}

const (
	// patience is how many passes may be in vain before it sleeps.
	patience = 2
	maxSleep = 64 // tokens
)

// NewModelDrafter makes the drafter of one sequence.
func NewModelDrafter(m Model) *ModelDrafter {
	return &ModelDrafter{model: m, config: m.Config(), pace: pace{limit: maxDraft}}
}

// Close returns the memory.
func (d *ModelDrafter) Close() {
	if d.cache != nil {
		d.cache.Close()
		d.cache, d.held, d.same = nil, nil, 0
	}
}

// Restart keeps of the memory what the text begins with.
func (d *ModelDrafter) Restart(text []int32) {
	d.draft, d.from, d.same, d.lost = d.draft[:0], 0, 0, false
	d.match(text)
}

// match counts on how far the memory is that of the text.
func (d *ModelDrafter) match(text []int32) {
	for d.same < min(len(d.held), len(text)) && d.held[d.same] == text[d.same] {
		d.same++
	}
}

// Draft asks the model.
func (d *ModelDrafter) Draft(ctx context.Context, text []int32, price []float64) ([]int32, error) {
	d.learn(text)
	d.match(text)
	n := min(len(price)-1, d.limit, d.config.Context-len(text))
	if d.lost || n <= 0 || d.asleep(len(text)) || !d.pays(1, 0, n, price) {
		return nil, nil
	}
	if err := d.follow(ctx, text); err != nil || d.lost {
		return nil, err
	}
	return d.extend(n, price, func(last int32) ([]float32, error) {
		if last >= 0 {
			if err := d.evaluate(ctx, []int32{last}); err != nil {
				return nil, err
			}
		}
		return d.logits.Row(0), nil
	})
}

// extend drafts up to n tokens: next gives the logits that follow the token
// drafted last, −1 for the first. It stops where more would not pay.
func (d *pace) extend(n int, price []float64, next func(last int32) ([]float32, error)) ([]int32, error) {
	d.likely = d.likely[:0]
	last := int32(-1)
	for p := 1.0; ; {
		row, err := next(last)
		if err != nil {
			return nil, err
		}
		b := best(row)
		if !finite(b.logit) {
			return nil, fmt.Errorf("the drafting model: %w", ErrLogits)
		}
		p /= sumExp(row, b.logit, 1)
		last = b.id
		d.draft, d.likely = append(d.draft, b.id), append(d.likely, p)
		if k := len(d.draft); k == n || !d.pays(p, k, k+1, price) {
			break
		}
	}
	if d.draft = d.draft[:worth(d.likely, price)]; len(d.draft) == 0 {
		d.wrong++
	}
	return d.draft, nil
}

// pays: a token that is likely to be right with p saves a pass of the other
// model, and costs one of this and a row of the other. It is asked about the
// tokens of a draft between two places.
func (d *pace) pays(p float64, from, to int, price []float64) bool {
	return p*price[0] > d.pass+(price[to]-price[from])/float64(to-from)
}

// learn compares the draft before with what the text became.
func (d *pace) learn(text []int32) {
	n := 0
	for n < len(d.draft) && d.from+n < len(text) && d.draft[n] == text[d.from+n] {
		n++
	}
	switch {
	case len(d.draft) == 0:
		return
	case n == len(d.draft):
		d.limit, d.wrong = min(2*d.limit, maxDraft), 0
	case n > 0:
		d.limit, d.wrong = n+1, 0
	default:
		d.limit, d.wrong = 1, d.wrong+1
	}
	d.draft = d.draft[:0]
}

// asleep: a draft that is wrong costs rows of the one model and passes of the
// other.
func (d *pace) asleep(at int) bool {
	if d.wrong <= patience {
		return false
	}
	return at < d.from+min(1<<min(d.wrong-patience, 16), maxSleep)
}

// follow brings the memory to the text and leaves the logits after it. Where a
// window keeps it from going back, it gives up: each time could cost as much.
func (d *ModelDrafter) follow(ctx context.Context, text []int32) error {
	if d.cache == nil {
		d.cache = d.model.NewCache()
	}
	again := d.from > 0
	d.from, d.same = len(text), min(d.same, len(text)-1)
	if err := Rewind(d.cache, d.same); err != nil {
		return err
	}
	d.lost = again && d.cache.Len() < d.same || slices.ContainsFunc(text[d.cache.Len():], d.unknown)
	d.same = d.cache.Len()
	d.held = d.held[:d.same]
	if d.lost {
		return nil
	}
	err := d.evaluate(ctx, text[d.same:])
	d.match(text)
	return err
}

func (d *ModelDrafter) unknown(id int32) bool { return id < 0 || int(id) >= d.config.Vocab }

// evaluate runs the ids in pieces.
func (d *ModelDrafter) evaluate(ctx context.Context, ids []int32) error {
	for len(ids) > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(len(ids), gemma.MaxRows)
		d.step[0] = gemma.Step{Cache: d.cache, Tokens: ids[:n], Logits: gemma.LastRow}
		began := now()
		if err := d.model.Forward(ctx, d.step[:], &d.logits); err != nil {
			return fmt.Errorf("the drafting model: %w", err)
		}
		if n == 1 {
			d.measure(now().Sub(began))
		}
		d.held = append(d.held, ids[:n]...)
		ids = ids[n:]
	}
	return nil
}

func (d *pace) measure(pass time.Duration) {
	if t := pass.Seconds(); d.pass == 0 {
		d.pass = t
	} else {
		d.pass += (min(t, 2*d.pass) - d.pass) / 8
	}
}

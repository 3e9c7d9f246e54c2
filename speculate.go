package lapidary

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"lapidary/gemma"
	"lapidary/generate"
)

// The ways to speculate without a second model.
const (
	NoSpeculation = "off"
	NGrams        = "ngram" // looks up how the text went on before
)

// DefaultSpeculation is used when none is named.
const DefaultSpeculation = NGrams

// Speculations names the ways there are.
func Speculations() []string { return []string{NoSpeculation, NGrams} }

// WithSpeculation guesses tokens in that way and verifies the guesses together,
// which makes answers that repeat what was there faster and changes none; see
// [generate.Speculate].
func WithSpeculation(name string) Option {
	return func(o *options) error {
		if name != NoSpeculation && name != NGrams {
			return fmt.Errorf("speculation %q %w: want one of %s", name, generate.ErrParams, strings.Join(Speculations(), ", "))
		}
		o.speculation = name
		return nil
	}
}

// WithDraft opens a second, smaller model of the same vocabulary, which guesses
// the tokens that the first verifies. It is opened and closed with the first,
// on the same engine with as many threads, and changes no answer.
func WithDraft(name string) Option {
	return func(o *options) error {
		if name == "" {
			return fmt.Errorf("a drafting model without a name %w", generate.ErrParams)
		}
		o.draft = name
		return nil
	}
}

// checkSpeculation refuses what contradicts itself.
func (o *options) checkSpeculation() error {
	if o.draft != "" && o.speculation == NoSpeculation {
		return fmt.Errorf("the drafting model %s with speculation off %w: name one or the other", o.draft, generate.ErrParams)
	}
	return nil
}

// openDraft opens the drafting model, on this one's engine.
func (m *Model) openDraft(ctx context.Context, o options) error {
	m.ngrams = o.speculation == NGrams
	if o.draft == "" {
		return nil
	}
	if m.core.Config().Recurs() || m.core.Config().Canvas > 0 {
		return fmt.Errorf("a drafting model for a %s model %w: it cannot take guesses back", m.core.Config().Family, generate.ErrParams)
	}
	name := o.draft
	o.draft, o.context, o.speculation = "", 0, NoSpeculation
	o.shared, o.bare, o.adapters = m.engine, true, nil
	d, err := open(ctx, name, o)
	if err != nil {
		return fmt.Errorf("the drafting model: %w", err)
	}
	m.draft = d
	if d.core.Config().Drafter != nil {
		_, err := gemma.NewDrafter(d.core.Model, m.core.Model)
		return err
	}
	return m.sameVocabulary(d)
}

// sameVocabulary refuses a model whose ids mean other tokens. One of the two may
// have more of them, as models that see pictures do.
func (m *Model) sameVocabulary(d *Model) error {
	n := min(m.tokenizer.Len(), d.tokenizer.Len())
	if n == 0 && m.core.Config().Vocab != d.core.Config().Vocab {
		return fmt.Errorf("%s cannot draft for %s: their vocabularies of %d and %d tokens differ", d.Name(), m.Name(), d.core.Config().Vocab, m.core.Config().Vocab)
	}
	for id := range int32(n) {
		if a, b := m.tokenizer.Bytes(id), d.tokenizer.Bytes(id); !bytes.Equal(a, b) {
			return fmt.Errorf("%s cannot draft for %s: token %d is %q there and %q here; choose a model with the same vocabulary", d.Name(), m.Name(), id, b, a)
		}
	}
	return nil
}

// newDrafter makes the drafter of one sequence, nil if none was asked for, and
// what it generates with: the model, or what has to see the model's states. What
// stood in the text before is asked first: it costs nothing.
func (m *Model) newDrafter() (generate.Model, generate.Drafter) {
	var core generate.Model = m.core
	if m.core.Config().Recurs() {
		return core, nil
	}
	var ds []generate.Drafter
	if m.ngrams {
		ds = append(ds, generate.NewNGrams())
	}
	switch {
	case m.draft == nil:
	case m.draft.core.Config().Drafter != nil:
		d, err := gemma.NewDrafter(m.draft.core.Model, m.core.Model)
		if err != nil {
			break // openDraft has tried it
		}
		a := generate.NewAssistant(m.core, d)
		core, ds = a, append(ds, a)
	default:
		ds = append(ds, generate.NewModelDrafter(m.draft.core))
	}
	switch len(ds) {
	case 0:
		return core, nil
	case 1:
		return core, ds[0]
	}
	return core, generate.Drafters(ds...)
}

package lapidary

import (
	"bytes"
	"context"
	"fmt"
	"strings"

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

// openDraft opens the drafting model.
func (m *Model) openDraft(ctx context.Context, o options) error {
	m.ngrams = o.speculation == NGrams
	if o.draft == "" {
		return nil
	}
	name := o.draft
	o.draft, o.context, o.speculation = "", 0, NoSpeculation
	d, err := open(ctx, name, o)
	if err != nil {
		return fmt.Errorf("the drafting model: %w", err)
	}
	m.draft = d
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

// newDrafter makes the drafter of one sequence, nil if none was asked for. What
// stood in the text before is asked first: it costs nothing.
func (m *Model) newDrafter() generate.Drafter {
	var ds []generate.Drafter
	if m.ngrams {
		ds = append(ds, generate.NewNGrams())
	}
	if m.draft != nil {
		ds = append(ds, generate.NewModelDrafter(m.draft.core))
	}
	switch len(ds) {
	case 0:
		return nil
	case 1:
		return ds[0]
	}
	return generate.Drafters(ds...)
}

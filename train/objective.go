package train

import (
	"context"
	"fmt"

	"lapidary/engine/graph"
	"lapidary/gemma"
	"lapidary/train/data"
	"lapidary/train/recipe"
)

// objective makes a loss of a batch: the sum over what counts in it, each
// multiplied by by.
type objective interface {
	// kind of documents it learns from.
	kind() data.Kind
	// counts is how much there is to learn in a batch: tokens, or documents.
	counts(b data.Batch) float64
	// trace writes the loss down.
	trace(ctx context.Context, s subject, b data.Batch, by float64) (micro, error)
}

// subject is what learns.
type subject struct {
	engine  *graph.Engine
	model   *gemma.Model
	adapter *gemma.BoundAdapter // nil without
	rows    int                 // of logits that exist at a time, 0 for what fits (see head)
}

// newObjective is that of the session's recipe, for its data.
func newObjective(ctx context.Context, s *session) (objective, error) {
	o := s.recipe.Objective
	c := s.subject.model.Config()
	switch o.Kind {
	case recipe.NextToken, recipe.Supervised:
		if c.Encoder != nil {
			return nil, fmt.Errorf("objective %s: a %s model has an encoder; span_denoise trains it", o.Kind, c.Family)
		}
		return nextToken{}, nil
	case recipe.DPO:
		if s.subject.adapter == nil {
			return nil, fmt.Errorf("objective dpo: train an adapter: the model without it is the reference")
		}
		return dpo{o}, nil
	case recipe.Contrastive:
		if s.set.Kind == data.Contrasts && s.set.Parts == 2 && s.recipe.Batch.Micro == 1 {
			return nil, fmt.Errorf("batch.micro: 1 pair at a time, and the data gives no negatives: contrastive tells a pair from the others of its micro-batch")
		}
		return newContrastive(o, c)
	case recipe.Classify:
		names, err := labelNames(s.base.checkpoint.ConfigJSON())
		if err != nil {
			return nil, err
		}
		return newClassify(o, c, names, s.set.Classes)
	case recipe.Distill:
		return s.newDistill(ctx)
	case recipe.SpanDenoise:
		d, err := newDenoise(o, s.recipe.Seed, c, s.base.tokenizer)
		if err == nil {
			s.options.Say(fmt.Sprintf("spans are marked by <unused0> to <unused%d>", len(d.marks)-1))
		}
		return d, err
	}
	return nil, fmt.Errorf("objective %s is not built yet", o.Kind)
}

// nextToken is the cross-entropy of the tokens that count, given what stands
// before them in their document.
type nextToken struct{}

func (nextToken) kind() data.Kind { return data.Texts }

func (nextToken) counts(b data.Batch) float64 {
	var n float64
	for _, w := range b.Loss {
		n += float64(w)
	}
	return n
}

func (nextToken) trace(ctx context.Context, s subject, b data.Batch, by float64) (micro, error) {
	t := s.engine.Trace(b.Length)
	steps, want := next(b, s.adapter, by)
	x, err := s.states(ctx, t, steps)
	if err != nil {
		return nil, err
	}
	l := crossEntropy(t, x, s.head(), want)
	return t.Record(l.value, l.slope)
}

// next are the documents of a batch as steps, one after the other with the
// padding of lines, and the token that each row should predict.
func next(b data.Batch, by *gemma.BoundAdapter, scale float64) ([]gemma.Step, targets) {
	var steps []gemma.Step
	want := targets{ids: make([]int32, len(b.Tokens)), weights: make([]float32, len(b.Tokens))}
	for line, documents := range b.Documents {
		from, end := line*b.Length, (line+1)*b.Length
		add := func(n int) {
			steps = append(steps, gemma.Step{Tokens: b.Tokens[from : from+n], Logits: gemma.AllRows, Adapter: by})
			from += n
		}
		for _, n := range documents {
			for i := from; i+1 < from+n; i++ {
				want.ids[i], want.weights[i] = b.Tokens[i+1], b.Loss[i+1]*float32(scale)
			}
			add(n)
		}
		if from < end {
			add(end - from)
		}
	}
	return steps, want
}

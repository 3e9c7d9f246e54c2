package generate

import (
	"context"
	"fmt"
	"math"

	"lapidary/gemma"
)

// Scorer is a Model that gives the logits of many rows one after the other.
type Scorer interface {
	Model
	// ForwardEach hands the logits that the steps want to visit, row by row.
	ForwardEach(ctx context.Context, steps []gemma.Step, visit func(row int, logits []float32) error) error
}

// Score returns how likely the model finds each token after the first, given
// those before it, with n alternatives. Each Token's Text is its own. More
// tokens than the context holds are refused with [ErrContext].
func Score(ctx context.Context, m Scorer, v Vocabulary, ids []int32, n int) ([]Token, error) {
	config := m.Config()
	if n < 0 || n > config.Vocab {
		return nil, fmt.Errorf("%d alternatives %w: want 0 to %d", n, ErrParams, config.Vocab)
	}
	if len(ids) > config.Context {
		return nil, fmt.Errorf("%d tokens to score, %w of %d: score a shorter text", len(ids), ErrContext, config.Context)
	}
	if err := checkTokens(ids, config.Vocab); err != nil {
		return nil, err
	}
	tokens := make([]Token, 0, max(0, len(ids)-1))
	probs := logProbs{n: n}
	text := func(id int32) string { return Text(v.Bytes(id)) }
	err := eachNext(ctx, m, ids, 0, func(id int32, logits []float32) error {
		p, most, err := probs.of(logits, id, text)
		tokens = append(tokens, Token{ID: id, Text: text(id), LogProb: p, Top: most})
		return err
	})
	if err != nil {
		return nil, err
	}
	return tokens, nil
}

// eachNext visits every token after ids[from] with the logits that were there
// to foretell it.
func eachNext(ctx context.Context, m Scorer, ids []int32, from int, visit func(id int32, logits []float32) error) error {
	cache := m.NewCache()
	defer cache.Close()
	for at := 0; at < len(ids)-1; {
		if err := ctx.Err(); err != nil {
			return err
		}
		step := gemma.Step{Cache: cache, Logits: gemma.AllRows}
		to := len(ids) - 1
		if at < from {
			step.Logits, to = gemma.NoLogits, from
		}
		step.Tokens = ids[at:min(to, at+gemma.MaxRows)]
		next := ids[at+1:]
		err := m.ForwardEach(ctx, []gemma.Step{step}, func(row int, logits []float32) error {
			return visit(next[row], logits)
		})
		if err != nil {
			return err
		}
		at += len(step.Tokens)
	}
	return nil
}

// PerplexityResult is a measurement of [Perplexity].
type PerplexityResult struct {
	Perplexity float64 // e to the mean negative log-likelihood of a token
	StdErr     float64 // its standard error
	Tokens     int     // that were scored
	Chunks     int
}

// Perplexity measures how well the model foretells a text, the way
// llama-perplexity does: the ids, which begin with bos, are cut into chunks of
// size tokens, what is left over is not used, bos takes the first place of
// each chunk (a negative bos leaves the chunks as they are), and of each chunk
// the tokens after the place size/2 are scored. Fewer than two chunks are
// refused, as there. After each chunk progress is told the figures so far,
// unless it is nil.
func Perplexity(ctx context.Context, m Scorer, ids []int32, size int, bos int32, progress func(r PerplexityResult, chunks int)) (PerplexityResult, error) {
	if limit := m.Config().Context; size < 4 || size > limit {
		return PerplexityResult{}, fmt.Errorf("context %d %w: want 4 to %d", size, ErrParams, limit)
	}
	if len(ids) < 2*size {
		return PerplexityResult{}, fmt.Errorf("the text has %d tokens and a context of %d needs at least %d: give a longer text or a smaller context", len(ids), size, 2*size)
	}
	if err := checkTokens(ids, m.Config().Vocab); err != nil {
		return PerplexityResult{}, err
	}
	var (
		r             PerplexityResult
		sum, squares  float64
		probs         logProbs
		chunk, chunks = make([]int32, size), len(ids) / size
	)
	for i := range chunks {
		copy(chunk, ids[i*size:])
		if bos >= 0 {
			chunk[0] = bos
		}
		err := eachNext(ctx, m, chunk, size/2, func(id int32, logits []float32) error {
			p, _, err := probs.of(logits, id, nil)
			sum -= float64(p)
			squares += float64(p) * float64(p)
			r.Tokens++
			return err
		})
		if err != nil {
			return r, err
		}
		r.Chunks++
		r.measure(sum, squares)
		if progress != nil {
			progress(r, chunks)
		}
	}
	return r, nil
}

// measure derives the figures from the sum of the negative log-likelihoods and
// of their squares. The standard error of e^mean is e^mean times the mean's.
func (r *PerplexityResult) measure(sum, squares float64) {
	n := float64(r.Tokens)
	mean := sum / n
	r.Perplexity = math.Exp(mean)
	if variance := squares/n - mean*mean; variance > 0 {
		r.StdErr = math.Sqrt(variance/(n-1)) * r.Perplexity
	}
}

package eval

import (
	"context"
	"fmt"
	"slices"

	"lapidary"
)

// reader evaluates prompts that begin alike, the beginning once. Its state before
// a prompt is always the same, whatever was read before it: results differ
// in the last bits where other rows are computed together, and a run that was
// interrupted has to give those of one that was not.
type reader struct {
	model   *lapidary.Model
	vocab   int
	session *lapidary.Session
	prefix  []int32
}

// minPrefix is the number of tokens from which on a beginning is worth keeping:
// it costs two passes of a single token.
const minPrefix = 32

// begin makes ready for a prompt.
func (r *reader) begin(ctx context.Context, prefix, prompt []int32) error {
	if len(prefix) < minPrefix || len(prefix) >= len(prompt) || !slices.Equal(prompt[:len(prefix)], prefix) {
		r.close()
		r.session = r.model.NewSession()
		return nil
	}
	if r.session == nil || !slices.Equal(r.prefix, prefix) {
		r.close()
		r.session, r.prefix = r.model.NewSession(), prefix
	}
	// The second time evaluates the last token alone, as it is evaluated when
	// the session comes back from another prompt.
	for range 2 {
		if _, err := r.next(ctx, prefix, 1); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) close() {
	if r.session != nil {
		r.session.Close()
		r.session, r.prefix = nil, nil
	}
}

// next tells the n likeliest tokens after some.
func (r *reader) next(ctx context.Context, ids []int32, n int) ([]lapidary.Alternative, error) {
	p := lapidary.Defaults()
	p.Temperature, p.MaxTokens, p.LogProbs = 0, 1, n
	var top []lapidary.Alternative
	for t, err := range r.session.Generate(ctx, ids, p) {
		if err != nil {
			return nil, err
		}
		top = t.Top
	}
	return top, nil
}

// looks are how many of the likeliest tokens are looked at, one after the other,
// before all are: sorting all takes eight times as long as the pass.
var looks = []int{64, 8192}

// logProbs are the log-probabilities of tokens that may come next.
func (r *reader) logProbs(ctx context.Context, ids, wanted []int32) (map[int32]float64, error) {
	for _, n := range append(slices.Clip(looks), r.vocab) {
		top, err := r.next(ctx, ids, min(n, r.vocab))
		if err != nil {
			return nil, err
		}
		found := map[int32]float64{}
		for _, a := range top {
			if slices.Contains(wanted, a.ID) {
				found[a.ID] = float64(a.LogProb)
			}
		}
		if len(found) == len(wanted) {
			return found, nil
		}
	}
	return nil, fmt.Errorf("the model does not tell the probabilities of all its %d tokens", r.vocab)
}

// What a pass of one token, and what scoring a token of a long pass, takes, where
// reading one of a long pass takes 1. Gemma 3 270M in Q4_K_M, two threads: 1.0 ms
// for reading, 6.0 for scoring, 19 for a pass of one token, and 173 for one where the
// probabilities of all 262,144 tokens are wanted.
const (
	stepCost  = 30
	scoreCost = 6
)

// choices are the log-probabilities of texts that may follow a prompt. The
// prompt is read once, and so is what choices have in common at their beginning;
// where choices are long against the prompt each is scored as a whole, which
// takes fewer passes.
func (r *reader) choices(ctx context.Context, prompt []int32, texts [][]int32) ([]float64, error) {
	sums := make([]float64, len(texts))
	steps, whole := len(prompt), 0
	for _, t := range texts {
		steps += stepCost * len(t)
		whole += scoreCost * (len(prompt) + len(t))
	}
	if steps <= whole {
		all := make([]int, len(texts))
		for i := range all {
			all[i] = i
		}
		return sums, r.branch(ctx, prompt, len(prompt), texts, all, sums)
	}
	for i, t := range texts {
		nll, err := r.score(ctx, prompt, t)
		if err != nil {
			return nil, err
		}
		sums[i] = -nll
	}
	return sums, nil
}

// branch adds what the next token of some texts costs after ids, and goes on
// with those that have more.
func (r *reader) branch(ctx context.Context, ids []int32, start int, texts [][]int32, which []int, sums []float64) error {
	at := len(ids) - start
	var wanted []int32
	for _, i := range which {
		if id := texts[i][at]; !slices.Contains(wanted, id) {
			wanted = append(wanted, id)
		}
	}
	probs, err := r.logProbs(ctx, ids, wanted)
	if err != nil {
		return err
	}
	for _, id := range wanted {
		var on []int
		for _, i := range which {
			if texts[i][at] != id {
				continue
			}
			sums[i] += probs[id]
			if len(texts[i]) > at+1 {
				on = append(on, i)
			}
		}
		if len(on) > 0 {
			if err := r.branch(ctx, append(slices.Clip(ids), id), start, texts, on, sums); err != nil {
				return err
			}
		}
	}
	return nil
}

// score is the negative log-likelihood of a text after a prompt of at least one
// token.
func (r *reader) score(ctx context.Context, prompt, text []int32) (float64, error) {
	scored, err := r.model.ScoreTokens(ctx, slices.Concat(prompt, text), 0)
	if err != nil {
		return 0, err
	}
	nll := 0.0
	for _, t := range scored[len(prompt)-1:] {
		nll -= float64(t.LogProb)
	}
	return nll, nil
}

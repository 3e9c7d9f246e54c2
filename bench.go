package lapidary

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"lapidary/engine"
	"lapidary/gemma"
	"lapidary/generate"
)

// Bench is a measurement of speed, with the meaning that llama-bench gives it.
type Bench struct {
	Prompt      int // tokens of a prompt that are evaluated together
	Generate    int // tokens that are generated one by one, the likeliest each time
	Depth       int // tokens that the cache holds before either, outside the time
	Repetitions int
	NoWarmup    bool // leave out the run before the first repetition
}

// benchBatch is llama-bench's batch: it computes logits for the last token of
// each.
const benchBatch = 2048

// benchWarmUp is how many tokens are generated before the first repetition:
// enough for the engine to have made what it makes on the way.
const benchWarmUp = 16

// Bench evaluates random tokens and returns the time of each repetition.
func (m *Model) Bench(ctx context.Context, b Bench) ([]time.Duration, error) {
	for _, n := range []int{b.Prompt, b.Generate, b.Depth, b.Repetitions} {
		if n < 0 {
			return nil, fmt.Errorf("bench of %d tokens or repetitions %w: want 0 or more", n, generate.ErrParams)
		}
	}
	if n := b.Depth + b.Prompt + b.Generate; n > m.core.context {
		return nil, fmt.Errorf("bench of %d tokens, %w of %d", n, generate.ErrContext, m.core.context)
	}
	if err := m.enter(); err != nil {
		return nil, err
	}
	defer m.leave()
	r := benchRun{ctx: ctx, core: m.core, cache: m.core.NewCache(), vocab: m.core.Config().Vocab,
		bos: m.tokenizer.BOS(), random: rand.New(rand.NewPCG(1, 1))}
	defer r.cache.Close()
	if !b.NoWarmup {
		if err := r.warmUp(b); err != nil {
			return nil, err
		}
	}
	times := make([]time.Duration, 0, b.Repetitions)
	for range b.Repetitions {
		d, err := r.measure(b)
		if err != nil {
			return nil, err
		}
		times = append(times, d)
	}
	return times, nil
}

type benchRun struct {
	ctx    context.Context
	core   *limited
	cache  engine.Cache
	vocab  int
	bos    int32
	random *rand.Rand
	logits gemma.Logits
}

func (r *benchRun) warmUp(b Bench) error {
	if err := r.prompt(b.Prompt); err != nil {
		return err
	}
	return r.generate(min(benchWarmUp, b.Generate))
}

func (r *benchRun) measure(b Bench) (time.Duration, error) {
	if err := r.cache.Truncate(0); err != nil {
		return 0, err
	}
	if err := r.prompt(b.Depth); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := r.prompt(b.Prompt); err != nil {
		return 0, err
	}
	err := r.generate(b.Generate)
	return time.Since(began), err
}

// token is bos at the start of a run, a random one after that.
func (r *benchRun) token(i int) int32 {
	if i == 0 && r.bos >= 0 {
		return r.bos
	}
	return int32(r.random.IntN(r.vocab))
}

func (r *benchRun) prompt(n int) error {
	for at := 0; at < n; {
		ids := make([]int32, min(gemma.MaxRows, n-at))
		for i := range ids {
			ids[i] = r.token(at + i)
		}
		at += len(ids)
		want := gemma.Step{Cache: r.cache, Tokens: ids}
		if at == n || at%benchBatch == 0 {
			want.Logits = gemma.LastRow
		}
		if err := r.forward(want); err != nil {
			return err
		}
	}
	return nil
}

// generate continues with the likeliest token each time.
func (r *benchRun) generate(n int) error {
	id := r.token(r.cache.Len())
	for range n {
		if err := r.forward(gemma.Step{Cache: r.cache, Tokens: []int32{id}, Logits: gemma.LastRow, Best: 1}); err != nil {
			return err
		}
		id = r.logits.Likeliest(0)
	}
	return nil
}

func (r *benchRun) forward(s gemma.Step) error {
	return r.core.Forward(r.ctx, []gemma.Step{s}, &r.logits)
}

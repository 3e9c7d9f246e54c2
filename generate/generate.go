package generate

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"lapidary/engine"
	"lapidary/gemma"
)

// ErrContext is wrapped by the refusal of a prompt that is longer than the
// model's context.
var ErrContext = gemma.ErrContext

// Model is what generates: a [gemma.Model], or something that stands for one.
type Model interface {
	// Forward evaluates the steps and puts the logits they want into out.
	Forward(ctx context.Context, steps []gemma.Step, out *gemma.Logits) error
	NewCache() engine.Cache
	Config() gemma.Config
}

// Vocabulary is what generation asks of a tokenizer.
type Vocabulary interface {
	Bytes(id int32) []byte // what a token stands for
	Control(id int32) bool // has no text
	EOS() []int32          // end generation
}

// Token is one step of generation. There is one for each token the model
// chose, the one that ended its text included.
type Token struct {
	ID int32
	// Text is the text this token released: valid UTF-8, together with the
	// texts before it the answer so far. It is empty while what the token adds
	// could still become a stop string or an unfinished character, and holds
	// what was kept back once that is settled.
	Text string
	// LogProb is the natural logarithm of the probability the model itself
	// gave the token, before penalties, temperature and truncation; Top are the
	// most likely tokens in its place, the likeliest first. Both are there if
	// [Params.LogProbs] asks for them.
	LogProb float32
	Top     []Alternative
	// End is nil except on the last token.
	End *Result
}

// Reason says why generation ended, in the words of OpenAI's API.
type Reason string

// The reasons. A full context counts as Length.
const (
	Stop   Reason = "stop"   // the model ended its text, or a stop string or stop token came
	Length Reason = "length" // Params.MaxTokens, or no room in the context
)

// Result is what there is to say about a generation that ended.
type Result struct {
	Reason      Reason
	StopString  string // the stop string that came, "" if none did
	ContextFull bool   // Reason is Length for want of room
	Seed        uint64

	PromptTokens int // of the prompt, those dropped and those the cache held included
	CachedTokens int // of the prompt, those the cache held
	Tokens       int // that the model chose
	Dropped      int // that context shifts forgot
	Drafted      int // that were guessed and verified
	Accepted     int // of the drafted, those that were right

	Prefill time.Duration // evaluating the prompt
	Decode  time.Duration // everything after, without the time the caller took
}

// Generate continues the prompt. The cache must hold the first cache.Len()
// tokens of the prompt; they are not evaluated again. At the end it holds the
// prompt and the answer but for its last token, which nobody has asked the
// model about; after a context shift it holds less.
//
// The sequence may be ranged over once. It ends with a Token whose End says
// why, or with an error; leaving the loop early ends it too. A cancelled
// context ends it before the next token with the context's error.
func Generate(ctx context.Context, m Model, v Vocabulary, cache engine.Cache, prompt []int32, p Params) iter.Seq2[Token, error] {
	return Speculate(ctx, m, v, cache, Prompt{Tokens: prompt}, p, nil)
}

// Speculate is Generate of any [Prompt] with a drafter, nil for none: what it guesses is
// evaluated in one pass, so that a right guess saves one. Each token is chosen
// as Generate chooses it, from the logits of its place with the same penalties
// and the same random numbers; if a pass over several rows gives the logits of
// passes over one, as those of engine/ref and engine/cpu do, the tokens are the
// same. An error of the drafter ends the sequence.
func Speculate(ctx context.Context, m Model, v Vocabulary, cache engine.Cache, prompt Prompt, p Params, d Drafter) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		g, err := newGeneration(m, v, cache, prompt, p)
		if err == nil {
			g.spec.drafter = d
			err = g.run(ctx, yield)
		}
		if err != nil {
			yield(Token{}, err)
		}
	}
}

// generation is one sequence while it grows.
type generation struct {
	model      Model
	vocabulary Vocabulary
	cache      engine.Cache
	params     Params
	prompt     Prompt
	context    int
	vocab      int
	width      int

	ids     []int32 // prompt and answer, without what shifts dropped
	ends    []int32 // tokens that end it
	sampler *Sampler
	text    *text
	probs   *logProbs // nil if nobody asked
	step    [1]gemma.Step
	rows    []int32 // the token chosen last and a draft
	logits  gemma.Logits
	spec    speculation
	result  Result
}

// now is the clock that prices are measured with, another one in tests.
var now = time.Now

func newGeneration(m Model, v Vocabulary, cache engine.Cache, prompt Prompt, p Params) (*generation, error) {
	c := m.Config()
	s, err := NewSampler(p, c.Vocab, prompt.Tokens)
	if err != nil {
		return nil, err
	}
	g := &generation{model: m, vocabulary: v, cache: cache, params: p, prompt: prompt, context: c.Context, vocab: c.Vocab, width: c.Width, spec: speculation{prices: newPrices()},
		sampler: s, text: newText(p.Stop), ends: append(slices.Clone(v.EOS()), p.StopTokens...)}
	if p.LogProbs != 0 {
		g.probs = &logProbs{n: p.LogProbs}
	}
	g.result = Result{Seed: s.Seed(), PromptTokens: len(prompt.Tokens)}
	g.ids = append(make([]int32, 0, len(prompt.Tokens)+min(p.MaxTokens, c.Context)), prompt.Tokens...)
	return g, g.check()
}

// check refuses what cannot be continued.
func (g *generation) check() error {
	switch n, held := len(g.ids), g.cache.Len(); {
	case n == 0:
		return fmt.Errorf("an empty prompt %w: give at least one token, such as the one that begins a text", ErrParams)
	case g.params.LogProbs > g.model.Config().Vocab:
		return fmt.Errorf("%d alternatives %w: the vocabulary has %d tokens", g.params.LogProbs, ErrParams, g.model.Config().Vocab)
	case held > n:
		return fmt.Errorf("the cache holds %d tokens and the prompt has %d: it must hold a beginning of the prompt", held, n)
	case n > g.context && !g.params.ContextShift:
		return fmt.Errorf("the prompt has %d tokens, %w of %d: shorten it, or allow the context to shift", n, ErrContext, g.context)
	case g.params.ContextShift && !g.prompt.plain():
		return fmt.Errorf("a context shift %w with pictures, sound or a source: nothing of them can be forgotten", ErrParams)
	case g.params.ContextShift && max(1, g.params.Keep) > g.context/2:
		return fmt.Errorf("keep %d %w: a context of %d can keep at most half of itself", g.params.Keep, ErrParams, g.context)
	}
	return g.prompt.check(g.width)
}

func (g *generation) run(ctx context.Context, yield func(Token, error) bool) error {
	began := time.Now()
	if err := g.prefill(ctx); err != nil {
		return err
	}
	g.result.Prefill = time.Since(began)
	defer g.settle()
	for {
		began = time.Now()
		t, err := g.next()
		if err != nil {
			return err
		}
		g.result.Decode += time.Since(began)
		if t.End = g.end(&t); t.End != nil {
			yield(t, nil)
			return nil
		}
		if !yield(t, nil) {
			return nil
		}
		began = time.Now()
		if err := g.extend(ctx); err != nil {
			return err
		}
		g.result.Decode += time.Since(began)
	}
}

// prefill evaluates what the cache does not hold of the prompt.
func (g *generation) prefill(ctx context.Context) error {
	held := g.cache.Len()
	switch {
	case len(g.ids) > g.context:
		for len(g.ids) > g.context {
			g.drop()
		}
		held, g.prompt = 0, Prompt{Tokens: g.ids}
	case held == len(g.ids):
		held-- // the logits that follow it are gone
	}
	if err := g.source(ctx); err != nil {
		return err
	}
	if err := Rewind(g.cache, g.prompt.Begin(min(held, g.cache.Len()))); err != nil {
		return err
	}
	g.result.CachedTokens = g.cache.Len()
	if g.spec.drafter != nil {
		g.spec.drafter.Restart(g.ids)
	}
	for at := g.cache.Len(); at < len(g.ids); {
		to := g.prompt.piece(at)
		if err := g.forward(ctx, g.prompt.step(at, to, g.width), gemma.LastRow, to == len(g.ids)); err != nil {
			return err
		}
		at = to
	}
	g.spec.row = 0
	return nil
}

// source gives an encoder–decoder what it translates.
func (g *generation) source(ctx context.Context) error {
	if g.prompt.Source == nil {
		return nil
	}
	m, ok := g.model.(Sourced)
	if !ok {
		return fmt.Errorf("a source %w: the model has no encoder", ErrParams)
	}
	if err := g.cache.Truncate(0); err != nil {
		return err
	}
	return m.Source(ctx, g.cache, *g.prompt.Source)
}

// Rewind leaves the first n positions in the cache, or none where a sliding
// window has moved past that place.
func Rewind(cache engine.Cache, n int) error {
	if n == cache.Len() {
		return nil
	}
	if err := cache.Truncate(n); err == nil {
		return nil
	}
	return cache.Truncate(0)
}

// evaluate runs the ids in pieces and leaves the logits of the last row, or of
// all rows of a single piece.
func (g *generation) evaluate(ctx context.Context, ids []int32, want gemma.Want) error {
	for len(ids) > 0 {
		n := min(len(ids), gemma.MaxRows)
		if err := g.forward(ctx, gemma.Step{Tokens: ids[:n]}, want, n == len(ids)); err != nil {
			return err
		}
		ids = ids[n:]
	}
	g.spec.row = 0
	return nil
}

// forward runs one piece; the last one wants logits.
func (g *generation) forward(ctx context.Context, step gemma.Step, want gemma.Want, last bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	g.step[0] = step
	g.step[0].Cache = g.cache
	if last {
		g.step[0].Logits, g.step[0].Best = want, g.best(want, len(step.Tokens))
	}
	return g.model.Forward(ctx, g.step[:], &g.logits)
}

// best is how many of the greatest logits are enough for the tokens that the
// wanted ones of n rows can give, 0 for all.
func (g *generation) best(want gemma.Want, n int) int {
	switch {
	case g.probs != nil:
		return 0
	case want == gemma.LastRow:
		n = 1
	}
	return g.sampler.Needs(n)
}

// next chooses a token.
func (g *generation) next() (t Token, err error) {
	row := g.logits.Row(g.spec.row)
	if t.ID, err = g.sampler.Sample(row, g.logits.Known(g.spec.row)); err != nil {
		return t, err
	}
	if g.probs != nil {
		if t.LogProb, t.Top, err = g.probs.of(row, t.ID, g.textOf); err != nil {
			return t, err
		}
	}
	if err := g.verify(t.ID); err != nil {
		return t, err
	}
	g.ids = append(g.ids, t.ID)
	g.result.Tokens++
	return t, nil
}

func (g *generation) textOf(id int32) string { return Text(g.vocabulary.Bytes(id)) }

// end adds the token's text to the answer, and says how it ended if it did.
func (g *generation) end(t *Token) *Result {
	r := &g.result
	if slices.Contains(g.ends, t.ID) {
		r.Reason = Stop
	} else if !g.vocabulary.Control(t.ID) {
		t.Text, r.StopString = g.text.push(g.vocabulary.Bytes(t.ID))
	}
	switch {
	case r.Reason != "":
	case r.StopString != "":
		r.Reason = Stop
	case r.Tokens == g.params.MaxTokens:
		r.Reason = Length
	case len(g.ids) > g.context && !g.params.ContextShift:
		r.Reason, r.ContextFull = Length, true
	default:
		return nil
	}
	t.Text += g.text.flush()
	return r
}

// extend evaluates what the cache lacks and a draft, after a shift if there is
// no room. A token that was drafted and chosen has its logits already.
func (g *generation) extend(ctx context.Context) error {
	if g.cache.Len() >= len(g.ids) {
		return ctx.Err()
	}
	if len(g.ids) > g.context {
		return g.shift(ctx)
	}
	draft, err := g.draft(ctx)
	if err != nil {
		return err
	}
	want, waiting := gemma.LastRow, g.ids[g.cache.Len():]
	if len(draft) > 0 {
		want = gemma.AllRows
	}
	g.rows = append(append(g.rows[:0], waiting...), draft...)
	began := now()
	if err := g.evaluate(ctx, g.rows, want); err != nil {
		return err
	}
	if len(waiting) == 1 {
		g.spec.prices.observe(len(draft), now().Sub(began))
	}
	g.spec.pending = g.rows[len(waiting):]
	g.result.Drafted += len(draft)
	return nil
}

// shift drops tokens and evaluates the others.
func (g *generation) shift(ctx context.Context) error {
	g.drop()
	if err := g.cache.Truncate(0); err != nil {
		return err
	}
	if g.spec.drafter != nil {
		g.spec.drafter.Restart(g.ids)
	}
	return g.evaluate(ctx, g.ids, gemma.LastRow)
}

// drop forgets the older half of the tokens that need not be kept. Keys were
// turned to the positions they had, so what remains is evaluated anew.
func (g *generation) drop() {
	keep := max(1, g.params.Keep)
	n := max(1, (len(g.ids)-keep)/2)
	g.ids = slices.Delete(g.ids, keep, keep+n)
	g.result.Dropped += n
}

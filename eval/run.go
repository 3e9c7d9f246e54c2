package eval

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"lapidary"
	"lapidary/chat"
	"lapidary/tokenizer"
)

// Options change how a task is evaluated.
type Options struct {
	// Shots are the data that worked examples are from; nil takes the data that
	// are evaluated, of which none is shown before itself.
	Shots *Source
	// AllowCommand lets the task's verifier run a command.
	AllowCommand bool
	// Opened says how the model was opened, for the header.
	Opened string
}

// Evaluation is a task, a model and data, ready to run.
type Evaluation struct {
	model     *lapidary.Model
	task      *Task
	source    *Source
	layouts   map[string]*layout
	items     []item
	pools     map[string][]item
	prefixes  map[string][]int32 // by the text or turns they are of
	opened    string
	chat      bool
	extract   extractor
	verify    verify
	normalise normaliser
	reader    reader
}

// New makes an evaluation ready: it reads no weights, but finds what is wrong
// with the task, its templates and the data.
func New(m *lapidary.Model, t *Task, s *Source, o Options) (*Evaluation, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	e := &Evaluation{model: m, task: t, source: s, opened: o.Opened, prefixes: map[string][]int32{}, normalise: normaliser(t.Normalise),
		reader: reader{model: m, vocab: m.Info().Vocabulary}}
	if err := e.chooseMode(); err != nil {
		return nil, err
	}
	var err error
	if e.extract, err = newExtractor(t.Extract); err != nil {
		return nil, err
	}
	if t.Verifier != nil && slices.Contains(t.Metrics, "pass") {
		if e.verify, err = t.Verifier.open(o.AllowCommand); err != nil {
			return nil, err
		}
	}
	return e, e.prepare(o.Shots)
}

// chooseMode finds out how the model wants to be asked.
func (e *Evaluation) chooseMode() error {
	completes := e.model.Completes()
	if e.task.Mode == "chat" && completes {
		return fmt.Errorf("mode chat, %w: %s has no chat template; use mode raw", ErrTask, e.model.Name())
	}
	e.chat = e.task.Mode == "chat" || e.task.Mode != "raw" && !completes && e.prompted()
	scores := e.task.needs(byChoice) || e.task.needs(byAnswer)
	if scores && e.model.PromptTokens([]int32{0}).Source != nil {
		return fmt.Errorf("%w for %s, an encoder–decoder, whose answers are written but not scored: use metrics of writing", ErrTask, e.model.Name())
	}
	return nil
}

// prompted says that there is a prompt, and not a text alone.
func (e *Evaluation) prompted() bool { return e.task.Prompt != "" || e.task.PromptFile != "" }

func (e *Evaluation) prepare(shots *Source) error {
	layouts, items, err := e.task.prepare(e.source)
	if err != nil {
		return err
	}
	e.layouts, e.items = layouts, e.task.sample(items)
	if shots == nil {
		e.pools = e.task.pools(items)
		return nil
	}
	_, others, err := e.task.prepare(shots)
	if err != nil {
		return fmt.Errorf("shots: %w", err)
	}
	e.pools = map[string][]item{}
	for i := range others {
		others[i].group, others[i].id = "", "" // they go before any item
	}
	all := e.task.pools(others)[""]
	for group := range e.layouts {
		e.pools[group] = all
	}
	return nil
}

// Header says what is evaluated.
func (e *Evaluation) Header() Header {
	mode := "raw"
	if e.chat {
		mode = "chat"
	}
	return Header{Task: e.task.Name, Setup: e.digest(), Data: e.source.Digest, Examples: len(e.items),
		Model: e.model.Name(), Opened: e.opened, Engine: e.model.Info().Engine, Mode: mode, Seed: e.task.Seed, Metrics: e.task.Metrics}
}

// digest is that of the task and of what it makes of the examples and the files
// beside them.
func (e *Evaluation) digest() string {
	d := sha256.New()
	encoder := json.NewEncoder(d)
	_ = encoder.Encode(e.task) // text and numbers always can be, and a hash takes everything
	groups := slices.Sorted(maps.Keys(e.layouts))
	for _, g := range groups {
		_ = encoder.Encode(e.layouts[g].instruction)
		for _, it := range e.pools[g] {
			_ = encoder.Encode([]string{it.prompt, it.answer})
		}
	}
	for _, it := range e.items {
		_ = encoder.Encode([]any{it.id, it.prompt, it.answer, it.choices})
	}
	return hex.EncodeToString(d.Sum(nil))
}

// Run evaluates what the log does not hold yet and returns the records of all
// examples in order. After each, progress is told how many are done, unless it is
// nil.
func (e *Evaluation) Run(ctx context.Context, l *Log, progress func(done, all int)) ([]Record, error) {
	defer e.reader.close()
	records := make([]Record, len(e.items))
	for i := range e.items {
		r, ok := l.records[e.items[i].id]
		if !ok {
			var err error
			if r, err = e.example(ctx, &e.items[i], i); err != nil {
				return nil, fmt.Errorf("example %s: %w", e.items[i].id, err)
			}
			if err := l.Add(r); err != nil {
				return nil, err
			}
		}
		records[i] = r
		if progress != nil {
			progress(i+1, len(e.items))
		}
	}
	return records, l.Finish()
}

// example evaluates one item in every way that the task's metrics need.
func (e *Evaluation) example(ctx context.Context, it *item, place int) (Record, error) {
	r := Record{ID: it.id, Group: it.group, Expected: it.expected, Scores: map[string]float64{}}
	if !e.prompted() {
		return e.text(ctx, it, r)
	}
	prefix, prompt, err := e.prompt(it)
	if err != nil {
		return r, err
	}
	for _, step := range []struct {
		way way
		run func(ctx context.Context, it *item, prefix, prompt []int32, r *Record) error
	}{
		{byChoice, e.choose},
		{byAnswer, e.likelihood},
		{byWriting, func(ctx context.Context, it *item, prefix, prompt []int32, r *Record) error {
			return e.write(ctx, it, prefix, prompt, place, r)
		}},
	} {
		if !e.task.needs(step.way) || r.Skipped != "" {
			continue
		}
		if err := step.run(ctx, it, prefix, prompt, &r); err != nil {
			return r, err
		}
	}
	return r, nil
}

// exchange is a question with its answer.
type exchange struct{ prompt, answer string }

// prompt are the tokens before an answer, and the beginning that they have in
// common with those of other items.
func (e *Evaluation) prompt(it *item) (prefix, all []int32, err error) {
	var shots []exchange
	for _, s := range e.task.shotsFor(it, e.pools[it.group]) {
		shots = append(shots, exchange{s.prompt, s.answer})
	}
	instruction := e.layouts[it.group].instruction
	if all, err = e.encode(instruction, shots, it.prompt); err != nil {
		return nil, nil, err
	}
	key := fmt.Sprint(instruction, shots)
	prefix, ok := e.prefixes[key]
	if !ok {
		// What two prompts share that differ from their first letter on.
		a, errA := e.encode(instruction, shots, "x")
		b, errB := e.encode(instruction, shots, "1")
		if err := errors.Join(errA, errB); err != nil {
			return nil, nil, err
		}
		n := 0
		for n < min(len(a), len(b)) && a[n] == b[n] {
			n++
		}
		prefix = a[:n]
		e.prefixes[key] = prefix
	}
	return prefix, all, nil
}

func (e *Evaluation) encode(instruction string, shots []exchange, prompt string) ([]int32, error) {
	if e.chat {
		return e.model.ChatTokens(conversation(instruction, shots, prompt))
	}
	var b strings.Builder
	separator, join := orDefault(e.task.Separator, "\n\n"), e.join()
	if instruction != "" {
		b.WriteString(instruction + separator)
	}
	for _, s := range shots {
		b.WriteString(s.prompt + join + s.answer + separator)
	}
	return e.model.Encode(b.String() + prompt), nil
}

func conversation(instruction string, shots []exchange, prompt string) []lapidary.Message {
	var turns []lapidary.Message
	for _, s := range append(slices.Clip(shots), exchange{prompt: prompt}) {
		turns = append(turns, lapidary.Message{Role: chat.User, Content: s.prompt})
		if len(turns) < 2*len(shots)+1 {
			turns = append(turns, lapidary.Message{Role: chat.Assistant, Content: s.answer})
		}
	}
	if instruction != "" {
		turns[0].Content = instruction + "\n\n" + turns[0].Content
	}
	return turns
}

func (e *Evaluation) join() string {
	if e.chat {
		return ""
	}
	return orDefault(e.task.Join, " ")
}

// continuation are the tokens of an answer. They are made without the prompt, so
// that the prompt's tokens are the same before every answer.
func (e *Evaluation) continuation(answer string) (string, []int32) {
	s := e.join() + answer
	return s, tokenizer.IDs(e.model.Tokenize(s))
}

// fits says whether so many tokens have room, and notes in the record that they
// have none.
func (e *Evaluation) fits(n int, r *Record) bool {
	if n > e.model.Context() {
		r.Skipped = fmt.Sprintf("%d tokens, and the model's context has %d", n, e.model.Context())
		return false
	}
	return true
}

func (e *Evaluation) choose(ctx context.Context, it *item, prefix, prompt []int32, r *Record) error {
	texts := make([][]int32, len(it.choices))
	lengths := make([]float64, len(it.choices))
	longest := 0
	for i, c := range it.choices {
		_, ids := e.continuation(c)
		if len(ids) == 0 {
			return fmt.Errorf("the choice %q has no tokens", c)
		}
		texts[i], lengths[i] = ids, float64(utf8.RuneCountInString(c))
		longest = max(longest, len(ids))
	}
	if !e.fits(len(prompt)+longest, r) {
		return nil
	}
	if err := e.reader.begin(ctx, prefix, prompt); err != nil {
		return err
	}
	logProbs, err := e.reader.choices(ctx, prompt, texts)
	if err != nil {
		return err
	}
	best, bestNorm := 0, 0
	for i, p := range logProbs {
		if !measured(p, r) {
			r.Choices = nil
			return nil
		}
		r.Choices = append(r.Choices, Choice{it.choices[i], p})
		if p > logProbs[best] {
			best = i
		}
		if p/lengths[i] > logProbs[bestNorm]/lengths[bestNorm] {
			bestNorm = i
		}
	}
	r.Chosen = it.choices[best]
	r.Scores["accuracy"] = one(best == it.gold)
	r.Scores["accuracy_norm"] = one(bestNorm == it.gold)
	return nil
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (e *Evaluation) likelihood(ctx context.Context, it *item, prefix, prompt []int32, r *Record) error {
	s, ids := e.continuation(it.answer)
	if len(ids) == 0 {
		r.Skipped = "an empty answer"
		return nil
	}
	if !e.fits(len(prompt)+len(ids), r) {
		return nil
	}
	if err := e.reader.begin(ctx, prefix, prompt); err != nil {
		return err
	}
	logProbs, err := e.reader.choices(ctx, prompt, [][]int32{ids})
	if err != nil {
		return err
	}
	if measured(logProbs[0], r) {
		r.Likelihood = &Likelihood{NLL: -logProbs[0], Tokens: len(ids), Bytes: len(s)}
	}
	return nil
}

// measured notes what has no logarithm: the model holds a token for impossible, or
// its weights are broken.
func measured(logarithm float64, r *Record) bool {
	if math.IsInf(logarithm, 0) || math.IsNaN(logarithm) {
		r.Skipped = "the model gives a token no probability"
		return false
	}
	return true
}

// text scores a text without a prompt, in windows that know nothing of each other.
func (e *Evaluation) text(ctx context.Context, it *item, r Record) (Record, error) {
	ids := e.model.Encode(it.answer)
	bos := e.model.Encode("")
	if len(bos) == 0 {
		bos, ids = ids[:min(1, len(ids))], ids[min(1, len(ids)):] // nothing foretells the first token
	} else {
		ids = ids[len(bos):]
	}
	if len(ids) == 0 {
		r.Skipped = "an empty text"
		return r, nil
	}
	window := e.task.Window
	if window == 0 {
		window = min(1024, e.model.Context())
	}
	if !e.fits(window, &r) {
		return r, nil
	}
	r.Expected = nil
	r.Likelihood = &Likelihood{Tokens: len(ids), Bytes: len(it.answer)}
	for piece := range slices.Chunk(ids, window-len(bos)) {
		nll, err := e.reader.score(ctx, bos, piece)
		if err != nil {
			return r, err
		}
		r.Likelihood.NLL += nll
	}
	if !measured(r.Likelihood.NLL, &r) {
		r.Likelihood = nil
	}
	return r, nil
}

const maxTokens = 128

func (e *Evaluation) write(ctx context.Context, it *item, prefix, prompt []int32, place int, r *Record) error {
	if !e.fits(len(prompt)+1, r) {
		return nil
	}
	if err := e.reader.begin(ctx, prefix, prompt); err != nil {
		return err
	}
	p, err := e.params(place)
	if err != nil {
		return err
	}
	var b strings.Builder
	for t, err := range e.reader.session.Generate(ctx, prompt, p) {
		if err != nil {
			return err
		}
		b.WriteString(t.Text)
	}
	r.Output = b.String()
	r.Answer = e.extract.from(r.Output)
	return e.compare(ctx, it, r)
}

// params say how an answer is written. Each example has a seed of its own, so that
// it does not matter which were evaluated before it.
func (e *Evaluation) params(place int) (lapidary.Params, error) {
	p, t := lapidary.Defaults(), e.task
	p.Temperature, p.MaxTokens, p.Stop = t.Temperature, t.MaxTokens, slices.Clone(t.Stop)
	if p.MaxTokens == 0 {
		p.MaxTokens = maxTokens
	}
	seed := t.Seed + uint64(place)
	p.Seed = &seed
	if !e.chat {
		if s := orDefault(t.Separator, "\n\n"); s != "" {
			p.Stop = append(p.Stop, s)
		}
		return p, nil
	}
	template, err := e.model.Template()
	if err != nil {
		return p, err
	}
	p.StopTokens = template.StopTokens(e.model.Tokenizer())
	return p, nil
}

// compare scores what was written against every right answer; the best counts.
func (e *Evaluation) compare(ctx context.Context, it *item, r *Record) error {
	best := func(name string, score float64) { r.Scores[name] = max(r.Scores[name], score) }
	for _, name := range e.task.Metrics {
		if metrics[name].way == byWriting {
			r.Scores[name] = 0
		}
	}
	for _, want := range it.expected {
		for _, name := range e.task.Metrics {
			switch name {
			case "exact":
				best(name, one(e.normalise.equal(r.Answer, want)))
			case "f1":
				best(name, e.normalise.f1(r.Answer, want))
			case "rouge1", "rouge2", "rougeL":
				best(name, rougeOf(name, NewRouge(r.Answer, want, e.task.Stem)))
			}
		}
	}
	if e.verify == nil {
		return nil
	}
	wants := it.expected
	if len(wants) == 0 {
		wants = []string{""}
	}
	for _, want := range wants {
		passed, err := e.verify(ctx, r.Answer, want)
		if err != nil {
			return err
		}
		best("pass", one(passed))
	}
	return nil
}

func rougeOf(name string, r Rouge) float64 {
	return map[string]float64{"rouge1": r.R1, "rouge2": r.R2, "rougeL": r.RL}[name]
}

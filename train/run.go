package train

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"time"

	"lapidary/train/data"
	"lapidary/train/journal"
	"lapidary/train/recipe"
)

// Options are what a run is told besides its recipe.
type Options struct {
	// Resume goes on where the run in the recipe's folder stopped.
	Resume bool
	// Progress is told after each step how the run is; nil for nobody.
	Progress func(journal.Progress)
	// Say is told what happens in sentences; nil for nobody.
	Say func(text string)
}

// Result is how a run ended.
type Result struct {
	// Model is the folder of what was trained: a model, or an adapter.
	Model string
	// Loss is that of the last step, Validation of the held-out data at the end,
	// NaN if there is none.
	Loss, Validation float64
	Steps            int
}

// Run does what a recipe asks for. Killed at any moment, it goes on with
// Options.Resume as if it had not been.
func Run(ctx context.Context, r *recipe.Recipe, o Options) (result Result, err error) {
	if err := refuse(r); err != nil {
		return Result{}, err
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	s := &session{recipe: r, options: o, validation: math.NaN()}
	defer func() { err = errors.Join(err, s.close()) }()
	for _, stage := range []func(context.Context) error{s.open, s.prepare, s.keep, s.assemble} {
		if err := stage(ctx); err != nil {
			return Result{}, err
		}
	}
	if err := s.loop(ctx); err != nil {
		return Result{}, err
	}
	return s.finish(ctx)
}

// session is a run under way.
type session struct {
	recipe  *recipe.Recipe
	options Options

	base    *base
	set     *data.Set
	subject subject
	machine *machine
	goal    objective
	journal *journal.Journal
	meter   *journal.Meter

	stream     *data.Stream
	ahead      chan drawn // a batch that is drawn in advance; nil for none
	place      place      // after the last step
	total      int        // steps
	curve      recipe.Curve
	loss       float64
	validation float64
	backTo     int // the step of the last rollback
	times      int // that the run went back there
}

// place is where a run is, as its checkpoints keep it.
type place struct {
	Step     int           `json:"step"`
	Data     data.Position `json:"data"`
	Micro    int           `json:"micro"`
	Tokens   int64         `json:"tokens"`
	Recent   []float64     `json:"recent_losses"`
	Finished bool          `json:"finished,omitempty"`
}

func (s *session) close() error {
	if s.ahead != nil {
		<-s.ahead
	}
	if s.machine != nil {
		s.machine.close()
	}
	if s.set != nil {
		s.set.Close()
	}
	var err error
	if c, ok := s.goal.(io.Closer); ok {
		err = c.Close()
	}
	if s.journal != nil {
		err = errors.Join(err, s.journal.Close())
	}
	if s.base != nil {
		err = errors.Join(err, s.base.close())
	}
	return err
}

// sources is the data section of a recipe.
type sources struct {
	Sources []data.Source `yaml:"sources"`
	Dedup   data.Dedup    `yaml:"dedup"`
}

func (s *session) sources() (spec sources, err error) {
	return spec, s.recipe.Data.Decode(&spec)
}

// prepare reads the data.
func (s *session) prepare(ctx context.Context) error {
	spec, err := s.sources()
	if err != nil {
		return err
	}
	settings := data.Settings{Folder: filepath.Join(s.recipe.Out, "tokens"), Dedup: spec.Dedup}
	if s.set, err = data.Prepare(ctx, spec.Sources, s.base.tokens(), settings); err != nil {
		return err
	}
	var text strings.Builder
	report := s.set.Report()
	if err := report.Text(&text); err != nil {
		return err
	}
	s.options.Say(strings.TrimSpace(text.String()))
	if s.goal, err = newObjective(ctx, s); err != nil {
		return err
	}
	if s.set.Kind != s.goal.kind() {
		return fmt.Errorf("objective %s learns from %s, and data gives %s", s.recipe.Objective.Kind, s.goal.kind(), s.set.Kind)
	}
	if s.set.Len(data.Train) == 0 {
		return errors.New("data: no documents are left to train on")
	}
	return nil
}

// keep begins or finds the run's folder.
func (s *session) keep(context.Context) error {
	text, err := s.recipe.YAML()
	if err != nil {
		return err
	}
	c := s.recipe.Checkpoint
	o := journal.Options{Keep: c.Keep, Best: c.Best, Max: c.Mode == recipe.Max, Free: []string{"steps", "epochs", "checkpoint", "eval", "out", "devices"}}
	if o.Best == "none" {
		o.Best = ""
	}
	open := journal.Create
	if s.options.Resume {
		open = journal.Open
	}
	s.journal, err = open(s.recipe.Out, text, o)
	return err
}

// assemble puts the machine together, in the state of the last checkpoint.
func (s *session) assemble(ctx context.Context) error {
	s.place.Micro = int(s.recipe.Batch.Micro)
	if s.place.Micro == 0 {
		s.place.Micro = s.recipe.Batch.Sequences
	}
	saved := s.journal.Latest()
	if saved != nil {
		if err := saved.State(&s.place); err != nil {
			return err
		}
	}
	if err := s.draw(); err != nil {
		return err
	}
	if err := s.build(ctx); err != nil {
		return err
	}
	if saved != nil {
		if err := s.restore(saved); err != nil {
			return fmt.Errorf("%s: %w", saved.Dir, err)
		}
	}
	s.total = s.recipe.Steps
	if s.total == 0 {
		s.total = s.steps()
	}
	s.curve = s.recipe.Curve(s.total)
	s.meter = journal.NewMeter(journal.Work{Steps: s.total, Done: s.place.Step, FLOPsPerToken: s.flops(), Peak: peak(s.base.engine.Device())})
	return nil
}

// steps of as many epochs as the recipe asks for.
func (s *session) steps() int {
	b := s.recipe.Batch
	per := float64(b.Sequences)
	all := float64(s.set.Len(data.Train))
	if s.goal.kind() == data.Texts {
		all, per = float64(s.set.Tokens(data.Train)), per*float64(b.Length)
	}
	return max(1, int(math.Ceil(s.recipe.Epochs*all/per)))
}

// draw opens the stream of micro-batches at the run's place.
func (s *session) draw() (err error) {
	s.stream, err = s.set.Stream(data.Train, data.Drawing{
		Lines: s.place.Micro, Length: s.recipe.Batch.Length, Shuffle: true, Seed: s.recipe.Seed,
	})
	switch {
	case err != nil:
	case s.place.Step > 0:
		err = s.stream.Seek(s.place.Data)
	default:
		s.place.Data = s.stream.Position()
	}
	return err
}

// loop takes the steps that are left.
func (s *session) loop(ctx context.Context) error {
	for s.place.Step < s.total {
		if err := ctx.Err(); err != nil {
			return errors.Join(context.Cause(ctx), s.save(true))
		}
		if err := s.once(ctx); err != nil {
			return err
		}
	}
	return nil
}

// once is one step, with what is due after it.
func (s *session) once(ctx context.Context) error {
	step := s.place.Step + 1
	batch, err := s.take(ctx)
	if err != nil {
		return err
	}
	done, err := s.machine.step(batch.micros, step, s.curve.LR(step-1), s.sound)
	var bad *trouble
	switch {
	case errors.Is(err, ErrMemory) && s.halve():
		if err := s.leave(s.place.Data); err != nil {
			return err
		}
		return s.draw()
	case errors.As(err, &bad):
		return s.recover(bad, step, batch.end)
	case errors.Is(err, ErrNotFinite):
		return s.recover(&trouble{err.Error(), s.recipe.OnNaN}, step, batch.end)
	case err != nil:
		return fmt.Errorf("step %d: %w", step, err)
	}
	s.watch(done.loss)
	s.loss = done.loss
	s.place.Step, s.place.Data = step, batch.end
	s.place.Tokens += int64(batch.tokens)
	if err := s.note(step, done, batch); err != nil {
		return err
	}
	return s.due(ctx, step)
}

// note writes the step down.
func (s *session) note(step int, done outcome, b batch) error {
	values := map[string]float64{"loss": done.loss, "gradient_norm": done.norm, "learning_rate": s.curve.LR(step - 1)}
	if err := s.journal.Metrics(step, values); err != nil {
		return err
	}
	p := s.meter.Step(time.Now(), journal.Sample{Tokens: b.tokens, Loss: done.loss, Memory: memory()})
	if err := s.journal.Timing(step, map[string]float64{"tokens_per_second": p.TokensPerSecond, "mfu": p.MFU}); err != nil {
		return err
	}
	if s.options.Progress != nil {
		s.options.Progress(p)
	}
	return nil
}

// due is what comes after some steps: an evaluation, a checkpoint.
func (s *session) due(ctx context.Context, step int) error {
	every := func(n int) bool { return n > 0 && step%n == 0 || step == s.total }
	if !every(s.recipe.Eval.Every) && !every(s.recipe.Checkpoint.Every) {
		return nil
	}
	s.meter.Pause(time.Now())
	defer func() { s.meter.Resume(time.Now()) }()
	if every(s.recipe.Eval.Every) {
		if err := s.evaluate(ctx, step); err != nil {
			return err
		}
	}
	if every(s.recipe.Checkpoint.Every) {
		return s.save(step == s.total)
	}
	return nil
}

// batch is one step's data, written down.
type batch struct {
	micros []micro
	tokens int
	counts float64
	end    data.Position // of the stream behind it
}

// drawn is a batch or why there is none.
type drawn struct {
	batch
	err error
}

// take is the next batch; the one after it is drawn and written down meanwhile,
// so that the device does not wait for it.
func (s *session) take(ctx context.Context) (batch, error) {
	if s.ahead == nil {
		s.draft(ctx)
	}
	d := <-s.ahead
	if s.ahead = nil; d.err == nil && s.place.Step+1 < s.total {
		s.draft(ctx)
	}
	return d.batch, d.err
}

func (s *session) draft(ctx context.Context) {
	ahead := make(chan drawn, 1)
	s.ahead = ahead
	go func() {
		b, err := s.batch(ctx)
		ahead <- drawn{b, err}
	}()
}

// leave gives up the batch that is drawn ahead, and goes to a place in the data.
func (s *session) leave(to data.Position) error {
	if s.ahead != nil {
		<-s.ahead
		s.ahead = nil
	}
	return s.stream.Seek(to)
}

// batch draws micro-batches until they are as many sequences as a step has.
func (s *session) batch(ctx context.Context) (batch, error) {
	var parts []data.Batch
	var b batch
	for n := 0; n < s.recipe.Batch.Sequences; n += s.place.Micro {
		part, err := s.stream.Next(ctx)
		if err != nil {
			return b, err
		}
		parts = append(parts, part)
		b.tokens += len(part.Tokens)
		b.counts += s.goal.counts(part)
	}
	if b.counts == 0 {
		return b, errors.New("nothing in this batch is to be learnt: answers may lie beyond batch.length")
	}
	for _, part := range parts {
		m, err := s.goal.trace(ctx, s.subject, part, 1/b.counts)
		if err != nil {
			return b, err
		}
		b.micros = append(b.micros, m)
	}
	b.end = s.stream.Position()
	return b, nil
}

// evaluate is the mean loss of the held-out data.
func (s *session) evaluate(ctx context.Context, step int) error {
	if s.set.Len(data.Validation) == 0 {
		return nil
	}
	stream, err := s.set.Stream(data.Validation, data.Drawing{Lines: s.place.Micro, Length: s.recipe.Batch.Length, Epochs: 1})
	if err != nil {
		return err
	}
	var sum, counts float64
	for n := 0; s.recipe.Eval.Batches == 0 || n < s.recipe.Eval.Batches; n++ {
		part, err := stream.Next(ctx)
		if errors.Is(err, errEnd) {
			break
		}
		if err != nil {
			return err
		}
		m, err := s.goal.trace(ctx, s.subject, part, 1)
		if err != nil {
			return err
		}
		v, err := s.machine.evaluate([]micro{m})
		if err != nil {
			return err
		}
		sum, counts = sum+v, counts+s.goal.counts(part)
	}
	if counts == 0 {
		return nil
	}
	s.validation = sum / counts
	s.options.Say(fmt.Sprintf("step %d: held-out loss %.4f", step, s.validation))
	values := map[string]float64{"validation_loss": s.validation}
	if s.goal.kind() == data.Texts {
		values["validation_perplexity"] = math.Exp(s.validation)
	}
	return s.journal.Metrics(step, values)
}

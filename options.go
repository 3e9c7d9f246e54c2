package lapidary

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"lapidary/checkpoint"
	"lapidary/engine"
	"lapidary/engine/cpu"
	"lapidary/engine/ref"
	"lapidary/generate"
	"lapidary/hub"
	"lapidary/tokenizer"
)

// engines makes each engine for a number of threads, 0 for its own choice.
var engines = map[string]func(threads int) (engine.Engine, error){
	"cpu": func(threads int) (engine.Engine, error) { return newCPU(cpu.Options{Threads: threads}) },
	"cpu-fast": func(threads int) (engine.Engine, error) {
		return newCPU(cpu.Options{Threads: threads, FastPrompts: true})
	},
	"ref": func(int) (engine.Engine, error) { return ref.New(), nil },
}

func newCPU(o cpu.Options) (engine.Engine, error) {
	e, err := cpu.New(o)
	if err != nil {
		return nil, err // and not a nil of *cpu.Engine, which is no nil engine.Engine
	}
	return e, nil
}

// DefaultEngine is the engine that is used when none is named.
const DefaultEngine = "cpu"

// Engines names the engines there are.
func Engines() []string { return slices.Sorted(maps.Keys(engines)) }

// Option changes how a model is opened. Open refuses one that it cannot obey
// with an error that wraps [generate.ErrParams].
type Option func(*options) error

type options struct {
	engine   string
	threads  int
	context  int
	cache    string // "" for the engine's choice
	pull     bool
	bare     bool // a tokenizer may be missing
	progress hub.Progress
	adapters []namedShare
	chat     bool // with the adapter that is built in for it

	speculation string
	draft       string        // a model's name, "" for none
	shared      engine.Engine // of the model that this one drafts for; nil for one of its own
}

// WithEngine computes with the engine of that name: "cpu", which is fast;
// "cpu-fast", which is faster with prompts and less exact
// ([cpu.Options.FastPrompts]); or "ref", which is plain and slow and the measure
// of every other.
func WithEngine(name string) Option {
	return func(o *options) error {
		if engines[name] == nil {
			return fmt.Errorf("engine %q %w: want one of %s", name, generate.ErrParams, strings.Join(Engines(), ", "))
		}
		o.engine = name
		return nil
	}
}

// WithThreads computes with n threads; 0, the default, is one for each physical
// core this process may use.
func WithThreads(n int) Option {
	return func(o *options) error {
		if n < 0 || n > 1024 {
			return fmt.Errorf("%d threads %w: want 0 (one a core) to 1024", n, generate.ErrParams)
		}
		o.threads = n
		return nil
	}
}

// WithContext uses n tokens of the model's context; 0, the default, is all of
// it. Memory is taken as a text grows, so a small context saves none before it
// is reached.
func WithContext(n int) Option {
	return func(o *options) error {
		if n < 0 {
			return fmt.Errorf("context %d %w: want 0 (all the model has) or more", n, generate.ErrParams)
		}
		o.context = n
		return nil
	}
}

// caches are the precisions that keys and values are kept in, by their names.
var caches = map[string]engine.Precision{"f16": engine.Half, "f32": engine.Exact, "int8": engine.Int8}

// Caches names the precisions there are.
func Caches() []string { return slices.Sorted(maps.Keys(caches)) }

// WithCache keeps the keys and values of the tokens so far in that precision:
// "f16", "f32", or "int8", which takes half the memory of f16 and moves
// log-probabilities by a few hundredths. Without it that is f16, and f32 in
// layers whose weights are float32. The engine "ref" keeps f32 alone.
func WithCache(name string) Option {
	return func(o *options) error {
		if _, ok := caches[name]; !ok {
			return fmt.Errorf("cache %q %w: want one of %s", name, generate.ErrParams, strings.Join(Caches(), ", "))
		}
		o.cache = name
		return nil
	}
}

// checkCache refuses what the engine does not do.
func (o *options) checkCache() error {
	if o.engine == "ref" && o.cache != "" && o.cache != "f32" {
		return fmt.Errorf("cache %s with the engine ref %w: it keeps f32 alone", o.cache, generate.ErrParams)
	}
	return nil
}

// WithPull downloads the model if it is not on this machine. The progress may
// be nil.
func WithPull(progress hub.Progress) Option {
	return func(o *options) error {
		o.pull, o.progress = true, progress
		return nil
	}
}

// WithoutTokenizer opens a model that may lack a tokenizer, as bare weights do.
// If it does, only what takes and gives ids works: tokens have no text, and a
// text is encoded as nothing.
func WithoutTokenizer() Option {
	return func(o *options) error {
		o.bare = true
		return nil
	}
}

func gather(opts []Option) (options, error) {
	o := options{engine: DefaultEngine, speculation: DefaultSpeculation}
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return o, err
		}
	}
	return o, cmp.Or(o.checkCache(), o.checkSpeculation())
}

// locate finds the model's files, and brings them here if that is allowed.
func (o *options) locate(ctx context.Context, name string) (hub.Local, error) {
	store, err := hub.Default()
	if err != nil {
		return hub.Local{}, err
	}
	local, err := store.Resolve(ctx, name)
	if o.pull && errors.Is(err, hub.ErrNotPulled) {
		return store.Pull(ctx, name, o.progress)
	}
	return local, err
}

// OpenTokenizer opens a model's tokenizer alone: no weights are touched and
// there is nothing to close. Of the options only [WithPull] matters.
func OpenTokenizer(ctx context.Context, name string, opts ...Option) (*tokenizer.Tokenizer, error) {
	o, err := gather(opts)
	if err != nil {
		return nil, err
	}
	local, err := o.locate(ctx, name)
	if err != nil {
		return nil, err
	}
	c, err := checkpoint.Open(local.Path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return tokenizer.Open(c)
}

package lapidary

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"lapidary/chat"
	"lapidary/checkpoint"
	"lapidary/engine"
	"lapidary/gemma"
	"lapidary/generate"
	"lapidary/hub"
	"lapidary/tokenizer"
)

// The words of the rooms below that callers meet, so that one import is enough.
type (
	// Params says how tokens are chosen and where an answer ends. Start from
	// [Model.Params] or [Defaults].
	Params = generate.Params
	// Token is one step of an answer.
	Token = generate.Token
	// Alternative is a token that could have stood in a place.
	Alternative = generate.Alternative
	// Result says how an answer ended; the last Token has it.
	Result = generate.Result
	// PerplexityResult is what [Model.Perplexity] measures.
	PerplexityResult = generate.PerplexityResult
	// Message is one turn of a conversation.
	Message = chat.Message
)

// Defaults are the settings that Gemma's makers recommend.
func Defaults() Params { return generate.Defaults() }

// ErrClosed is returned by what is asked of a Model after Close.
var ErrClosed = errors.New("the model is closed")

// Model is an open model. Its methods may be called from several goroutines at
// once.
type Model struct {
	local      hub.Local
	checkpoint *checkpoint.Checkpoint
	tokenizer  *tokenizer.Tokenizer
	engine     engine.Engine
	owned      engine.Engine // the same, if nobody else's
	core       *limited
	template   func() (*chat.Template, error)
	embedding  func() (*embedding, error)
	ngrams     bool   // guess tokens from the text
	draft      *Model // guesses tokens, may be nil
	of         *Model // whose weights these are, see Adapted; nil for its own

	mu     sync.Mutex
	users  int // calls that read the weights now
	closed bool
}

// limited is a model that uses less of its context than it could.
type limited struct {
	*gemma.Model
	context int
	adapter *gemma.BoundAdapter // nil for none
}

// Config is the model's architecture with the context in use.
func (l *limited) Config() gemma.Config {
	c := l.Model.Config()
	c.Context = l.context
	return c
}

// Open opens a model: a catalogue name ("gemma3:270m-pt"), the path of a .gguf
// file or of a Hugging Face folder, or a source ("hf:org/repo",
// "ollama:name:tag"). Nothing is downloaded unless [WithPull] allows it: a
// model that is not on this machine is refused with [hub.ErrNotPulled]. The
// weights are mapped, not read: they come into memory as they are used.
func Open(ctx context.Context, name string, opts ...Option) (*Model, error) {
	o, err := gather(opts)
	if err != nil {
		return nil, err
	}
	return open(ctx, name, o)
}

func open(ctx context.Context, name string, o options) (m *Model, err error) {
	m = &Model{}
	if m.local, err = o.locate(ctx, name); err != nil {
		return nil, err
	}
	if m.checkpoint, err = checkpoint.Open(m.local.Path); err != nil {
		return nil, err
	}
	m.template = sync.OnceValues(func() (*chat.Template, error) { return chat.Open(m.checkpoint) })
	if err = m.load(o); err == nil {
		err = m.openAdapters(ctx, o)
	}
	if err == nil {
		err = m.openDraft(ctx, o)
	}
	if err != nil {
		_ = m.release() // what went wrong before it matters more
		return nil, err
	}
	m.embedding = sync.OnceValues(m.readEmbedding)
	return m, nil
}

// load reads the tokenizer while the weights are bound.
func (m *Model) load(o options) error {
	var tokErr error
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.tokenizer, tokErr = tokenizer.Open(m.checkpoint)
		if o.bare && errors.Is(tokErr, fs.ErrNotExist) {
			m.tokenizer, tokErr = tokenizer.None(), nil
		}
	}()
	core, err := m.bind(o)
	<-done
	if err := cmp.Or(err, tokErr); err != nil {
		return err
	}
	limit := core.Config().Context
	if o.context > limit {
		return fmt.Errorf("context %d %w: %s was made for %d tokens at most", o.context, generate.ErrParams, m.local.Name, limit)
	}
	if o.context == 0 {
		o.context = limit
	}
	m.core = &limited{Model: core, context: o.context}
	if n, v := m.tokenizer.Len(), core.Config().Vocab; n > v && !m.onlyControl(v) {
		return fmt.Errorf("%s: the tokenizer has %d tokens and the weights know %d: they do not belong together", m.local.Path, n, v)
	}
	return nil
}

// onlyControl says that the tokens from id first on are control tokens, which no
// text becomes: EmbeddingGemma's tokenizer names one for pictures that its
// weights do not know.
func (m *Model) onlyControl(first int) bool {
	for id := first; id < m.tokenizer.Len(); id++ {
		if !m.tokenizer.Control(int32(id)) {
			return false
		}
	}
	return true
}

// bind makes the engine and gives it the weights.
func (m *Model) bind(o options) (core *gemma.Model, err error) {
	if m.engine = o.shared; m.engine == nil {
		if m.engine, err = engines[o.engine](o.threads); err != nil {
			return nil, err
		}
		m.owned = m.engine
	}
	var opts []gemma.Option
	if o.cache != "" {
		opts = append(opts, gemma.WithCache(caches[o.cache]))
	}
	return gemma.Load(m.checkpoint, m.engine, opts...)
}

// enter keeps the weights until leave, or refuses after Close.
func (m *Model) enter() error {
	m = m.root()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return ErrClosed
	}
	m.users++
	return nil
}

func (m *Model) leave() {
	m = m.root()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users--; m.users == 0 && m.closed {
		_ = m.release() // whoever closed the model has gone on
	}
}

// Close returns the model's memory and stops its threads; if calls are still
// running, when the last of them ends. What is asked afterwards fails with
// [ErrClosed]. Close may be called twice.
func (m *Model) Close() error {
	if m.of != nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	if m.users > 0 {
		return nil
	}
	return m.release()
}

func (m *Model) release() error {
	var err error
	if m.draft != nil {
		err = m.draft.Close()
	}
	if m.owned != nil {
		err = errors.Join(err, m.owned.Close())
	}
	return errors.Join(err, m.checkpoint.Close())
}

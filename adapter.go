package lapidary

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"lapidary/adapter"
	"lapidary/adapter/builtin"
	"lapidary/chat"
	"lapidary/engine"
	"lapidary/gemma"
	"lapidary/generate"
	"lapidary/hub"
)

// OpenAdapter reads an adapter in PEFT's format: the path of its folder
// ("./finance"), the name of one in $LAPIDARY_HOME/adapters ("finance"), or a
// Hugging Face repository ("hf:org/repo"). Of the options only [WithPull]
// matters.
func OpenAdapter(ctx context.Context, name string, opts ...Option) (*adapter.Adapter, error) {
	o, err := gather(opts)
	if err != nil {
		return nil, err
	}
	return o.openAdapter(ctx, name)
}

func (o *options) openAdapter(ctx context.Context, name string) (*adapter.Adapter, error) {
	path, err := o.adapterPath(ctx, name)
	if err != nil {
		return nil, err
	}
	return adapter.Open(path)
}

// adapterPath is the folder of an adapter. As of models, a bare word is a name.
func (o *options) adapterPath(ctx context.Context, name string) (string, error) {
	switch {
	case name == "":
		return "", fmt.Errorf("an adapter without a name %w: name its folder", generate.ErrParams)
	case strings.HasPrefix(name, "hf:"):
		local, err := o.locate(ctx, name)
		return local.Path, err
	case strings.HasPrefix(name, "."), strings.ContainsAny(name, `/\`):
		return name, nil
	}
	store, err := hub.Default()
	if err != nil {
		return "", err
	}
	return filepath.Join(store.Root(), "adapters", name), nil
}

// ParseAdapter reads what --adapter takes, an adapter's name or path and perhaps
// its share: "finance", "./finance:0.5".
func ParseAdapter(text string) (name string, by float64, err error) {
	at := strings.LastIndexByte(text, ':')
	if at < 0 {
		return text, 1, nil
	}
	by, err = strconv.ParseFloat(text[at+1:], 64)
	if err != nil {
		return text, 1, nil // the colon is the name's
	}
	return text[:at], by, checkShare(by)
}

// maxShare is far above any share that gives sensible text.
const maxShare = 100

func checkShare(by float64) error {
	if !(by >= -maxShare && by <= maxShare) {
		return fmt.Errorf("an adapter's share of %v %w: want -%d to %d, 1 for all of it", by, generate.ErrParams, maxShare, maxShare)
	}
	return nil
}

// WithAdapter runs an adapter ([OpenAdapter]) beside the model's weights,
// whatever format they are in, by times: 1 is as it was trained. Given several
// times, the differences that the adapters make add up. One that was made for
// another model is refused with an error that wraps [adapter.ErrMismatch].
// [Model.Adapted] chooses one for each request.
func WithAdapter(name string, by float64) Option {
	return func(o *options) error {
		if err := checkShare(by); err != nil {
			return err
		}
		o.adapters = append(o.adapters, namedShare{name, by})
		return nil
	}
}

type namedShare struct {
	name string
	by   float64
}

// openAdapters binds those that Open was given.
func (m *Model) openAdapters(ctx context.Context, o options) error {
	var sum []adapter.Weighted
	for _, share := range o.adapters {
		a, err := o.openAdapter(ctx, share.name)
		if err != nil {
			return err
		}
		sum = append(sum, adapter.Weighted{Adapter: a, By: share.by})
		if err := m.turns(a); err != nil {
			return fmt.Errorf("%s: %w", a.Path, err)
		}
	}
	if len(sum) == 0 && o.chat {
		return m.openChat()
	}
	return m.core.adapt(sum)
}

// openChat gives a pretrained model the adapter that is built in for it.
func (m *Model) openChat() error {
	if _, err := m.template(); !errors.Is(err, chat.ErrNoTemplate) {
		return nil // it has been tuned, or has a template that says what is wrong with it
	}
	a, source, err := builtin.Chat(m.local.SHA256())
	if err != nil || a == nil {
		return err
	}
	if err := m.speak(source); err != nil {
		return err
	}
	return m.core.adapt([]adapter.Weighted{{Adapter: a, By: 1}})
}

// WithChat makes a pretrained model chat with the adapter that is built in for
// it: there is one for gemma3:270m-pt. A model that was tuned to chat, or is
// given an adapter, stays as it is, and so does any other.
func WithChat() Option {
	return func(o *options) error {
		o.chat = true
		return nil
	}
}

// turns takes the chat template that an adapter was trained with: it makes a
// pretrained model chat.
func (m *Model) turns(a *adapter.Adapter) error {
	source, err := a.ChatTemplate()
	if err != nil || source == "" {
		return err
	}
	return m.speak(source)
}

// speak gives the model a chat template.
func (m *Model) speak(source string) error {
	t, err := chat.Parse(source)
	if err == nil {
		m.template = func() (*chat.Template, error) { return t, nil }
	}
	return err
}

// Adapted is the model with other adapters beside its weights, in place of those
// it has; without any it is the model as it was trained. It shares the weights:
// many may be in use at once, each request, session and conversation with its
// own, and their memory is that of the adapters. A session keeps to the one it
// was made with, since what it remembers depends on it.
//
// What Adapted returns is valid until the model is closed, and need not be.
func (m *Model) Adapted(sum ...adapter.Weighted) (*Model, error) {
	if err := m.enter(); err != nil {
		return nil, err
	}
	defer m.leave()
	for _, share := range sum {
		if err := checkShare(share.By); err != nil {
			return nil, err
		}
	}
	core := &limited{Model: m.core.Model, context: m.core.context}
	if err := core.adapt(sum); err != nil {
		return nil, err
	}
	return &Model{of: m.root(), local: m.local, checkpoint: m.checkpoint, tokenizer: m.tokenizer, engine: m.engine, core: core,
		template: m.template, embedding: m.embedding, ngrams: m.ngrams, draft: m.draft}, nil
}

// root is the model that has the weights.
func (m *Model) root() *Model {
	if m.of != nil {
		return m.of
	}
	return m
}

// adapt gives the model's passes adapters.
func (l *limited) adapt(sum []adapter.Weighted) (err error) {
	if len(sum) > 0 {
		l.adapter, err = l.BindAdapter(sum...)
	}
	return err
}

// with are the steps with the model's adapters.
func (l *limited) with(steps []gemma.Step) []gemma.Step {
	for i := range steps {
		steps[i].Adapter = l.adapter
	}
	return steps
}

func (l *limited) Forward(ctx context.Context, steps []gemma.Step, out *gemma.Logits) error {
	return l.Model.Forward(ctx, l.with(steps), out)
}

func (l *limited) ForwardEach(ctx context.Context, steps []gemma.Step, visit func(row int, logits []float32) error) error {
	return l.Model.ForwardEach(ctx, l.with(steps), visit)
}

func (l *limited) ForwardObserved(ctx context.Context, steps []gemma.Step, out *gemma.Logits, o gemma.Observer) error {
	return l.Model.ForwardObserved(ctx, l.with(steps), out, o)
}

func (l *limited) Hidden(ctx context.Context, steps []gemma.Step) ([]float32, error) {
	return l.Model.Hidden(ctx, l.with(steps))
}

func (l *limited) Embed(ctx context.Context, steps []gemma.Step) ([][]float32, error) {
	return l.Model.Embed(ctx, l.with(steps))
}

func (l *limited) Classify(ctx context.Context, steps []gemma.Step) ([][]float32, error) {
	return l.Model.Classify(ctx, l.with(steps))
}

func (l *limited) Verdict(ctx context.Context, step gemma.Step) (logits, probabilities [2]float32, err error) {
	step.Adapter = l.adapter
	return l.Model.Verdict(ctx, step)
}

func (l *limited) Source(ctx context.Context, cache engine.Cache, source gemma.Step) error {
	source.Adapter = l.adapter
	return l.Model.Source(ctx, cache, source)
}

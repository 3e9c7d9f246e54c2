package lapidary

import (
	"context"
	"iter"
	"slices"
	"sync"

	"lapidary/chat"
	"lapidary/engine"
	"lapidary/generate"
)

// Generate continues a text. The prompt is taken as text throughout: what is
// spelled like a control token in it stays what it is; the token that begins a
// text is put before it if the model wants one. The sequence may be ranged
// over once; leaving the loop or cancelling ctx ends the answer.
//
// A base model completes text this way. For a model that was tuned to chat,
// [Model.Chat] writes the turns it expects.
func (m *Model) Generate(ctx context.Context, prompt string, p Params) iter.Seq2[Token, error] {
	return m.GenerateTokens(ctx, m.Encode(prompt), p)
}

// GenerateTokens continues tokens, as they are.
func (m *Model) GenerateTokens(ctx context.Context, prompt []int32, p Params) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		s := m.NewSession()
		defer s.Close()
		s.Generate(ctx, prompt, p)(yield)
	}
}

// Chat answers a conversation, written out by the model's own chat template.
// A base model has none and is refused with [chat.ErrNoTemplate].
func (m *Model) Chat(ctx context.Context, messages []Message, p Params) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		s := m.NewSession()
		defer s.Close()
		s.Chat(ctx, messages, p)(yield)
	}
}

// Template is the model's chat template; [chat.ErrNoTemplate] if it has none.
func (m *Model) Template() (*chat.Template, error) {
	if err := m.enter(); err != nil {
		return nil, err
	}
	defer m.leave()
	return m.template()
}

// ChatTokens is the prompt that [Model.Chat] makes of a conversation.
func (m *Model) ChatTokens(messages []Message) ([]int32, error) {
	t, err := m.Template()
	if err != nil {
		return nil, err
	}
	return t.Encode(m.tokenizer, messages)
}

// Session remembers what the model has read: a prompt that begins like the one
// before it and its answer is only evaluated where it goes on. It answers one
// prompt at a time.
//
// An answer may differ in the last digits of its probabilities, and so now and
// then in a token, from what a fresh session gives, because other rows are
// computed together.
type Session struct {
	model *Model
	mu    sync.Mutex
	cache engine.Cache // nil before the first prompt
	held  []int32      // what the cache holds

	drafter generate.Drafter // nil for none
}

// NewSession makes an empty session. Close returns its memory.
func (m *Model) NewSession() *Session { return &Session{model: m} }

// Close forgets everything.
func (s *Session) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cache != nil {
		s.cache.Close()
		s.cache, s.held = nil, nil
	}
	if s.drafter != nil {
		s.drafter.Close()
		s.drafter = nil
	}
}

// Chat is [Model.Chat] in this session.
func (s *Session) Chat(ctx context.Context, messages []Message, p Params) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		t, err := s.model.Template()
		if err != nil {
			yield(Token{}, err)
			return
		}
		ids, err := t.Encode(s.model.tokenizer, messages)
		if err != nil {
			yield(Token{}, err)
			return
		}
		p.StopTokens = slices.Concat(p.StopTokens, t.StopTokens(s.model.tokenizer))
		s.Generate(ctx, ids, p)(yield)
	}
}

// Generate is [Model.GenerateTokens] in this session.
func (s *Session) Generate(ctx context.Context, prompt []int32, p Params) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.model.enter(); err != nil {
			yield(Token{}, err)
			return
		}
		defer s.model.leave()
		if err := s.rewind(prompt); err != nil {
			yield(Token{}, err)
			return
		}
		ids, shifted := slices.Clone(prompt), len(prompt) > s.model.core.context
		defer func() { s.remember(ids, shifted) }()
		for t, err := range generate.Speculate(ctx, s.model.core, s.model.tokenizer, s.cache, prompt, p, s.drafter) {
			if err == nil {
				ids = append(ids, t.ID)
				shifted = len(ids) > s.model.core.context
			}
			if !yield(t, err) {
				return
			}
		}
	}
}

// rewind leaves in the cache what it has in common with the prompt.
func (s *Session) rewind(prompt []int32) error {
	if s.cache == nil {
		s.cache, s.drafter = s.model.core.NewCache(), s.model.newDrafter()
	}
	n := 0
	for n < min(len(s.held), len(prompt)) && s.held[n] == prompt[n] {
		n++
	}
	return generate.Rewind(s.cache, n)
}

// remember notes what the cache holds of the ids. A context that was shifted
// holds something else, which no prompt will begin with.
func (s *Session) remember(ids []int32, shifted bool) {
	n := s.cache.Len()
	if shifted || n > len(ids) {
		s.held = nil
		return
	}
	s.held = ids[:n]
}

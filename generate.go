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

// GeneratePrompt continues or answers any prompt.
func (m *Model) GeneratePrompt(ctx context.Context, prompt Prompt, p Params) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		s := m.NewSession()
		defer s.Close()
		s.GeneratePrompt(ctx, prompt, p)(yield)
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
	held  []uint64     // keys of what the cache holds

	drafter generate.Drafter // nil for none
	core    generate.Model   // the model, or what stands before it
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
	return s.GeneratePrompt(ctx, s.model.PromptTokens(prompt), p)
}

// GeneratePrompt is [Model.GeneratePrompt] in this session.
func (s *Session) GeneratePrompt(ctx context.Context, prompt Prompt, p Params) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if err := s.model.enter(); err != nil {
			yield(Token{}, err)
			return
		}
		defer s.model.leave()
		keys, err := s.rewind(&prompt)
		if err != nil {
			yield(Token{}, err)
			return
		}
		shifted := len(keys) > s.model.core.context
		defer func() { s.remember(keys, shifted) }()
		for t, err := range s.answer(ctx, prompt, p) {
			if err == nil {
				keys = append(keys, generate.Key(t.ID))
				shifted = len(keys) > s.model.core.context
			}
			if !yield(t, err) {
				return
			}
		}
	}
}

// answer generates in the way the model does.
func (s *Session) answer(ctx context.Context, prompt Prompt, p Params) iter.Seq2[Token, error] {
	if s.model.core.Config().Canvas > 0 {
		return generate.Diffuse(ctx, s.model.core, s.model.tokenizer, s.cache, prompt, p)
	}
	return generate.Speculate(ctx, s.core, s.model.tokenizer, s.cache, prompt, p, s.drafter)
}

// rewind leaves in the cache what it has in common with the prompt, whose keys
// it returns. What was written about another source has nothing in common.
func (s *Session) rewind(prompt *Prompt) ([]uint64, error) {
	if s.cache == nil {
		s.cache = s.model.core.NewCache()
		s.core, s.drafter = s.model.newDrafter()
	}
	keys := prompt.Keys(s.model.core.Config().Width)
	n := 0
	for prompt.Source == nil && n < min(len(s.held), len(keys)) && s.held[n] == keys[n] {
		n++
	}
	return keys, generate.Rewind(s.cache, prompt.Begin(n))
}

// remember notes what the cache holds of the keys. A context that was shifted
// holds something else, which no prompt will begin with.
func (s *Session) remember(keys []uint64, shifted bool) {
	n := s.cache.Len()
	if shifted || n > len(keys) {
		s.held = nil
		return
	}
	s.held = keys[:n]
}

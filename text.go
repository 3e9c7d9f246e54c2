package lapidary

import (
	"context"
	"slices"

	"lapidary/generate"
	"lapidary/tokenizer"
)

// Tokenizer is the model's tokenizer. It may be used after Close.
func (m *Model) Tokenizer() *tokenizer.Tokenizer { return m.tokenizer }

// Tokenize splits a text into tokens with their places in it, in bytes. What
// is spelled like a control token is text.
func (m *Model) Tokenize(text string) []tokenizer.Token { return m.tokenizer.Encode(text) }

// Detokenize is the text of tokens; control tokens have none.
func (m *Model) Detokenize(ids []int32) string { return m.tokenizer.Decode(ids) }

// Encode is the tokens of a text as a model takes them, with the token that
// begins a text if the model wants one.
func (m *Model) Encode(text string) []int32 { return Encode(m.tokenizer, text) }

// EncodeSpecial is Encode of a text whose control tokens mean what they say:
// never give it the words of somebody else.
func (m *Model) EncodeSpecial(text string) []int32 { return EncodeSpecial(m.tokenizer, text) }

// Encode is [Model.Encode] for a tokenizer that was opened alone.
func Encode(t *tokenizer.Tokenizer, text string) []int32 { return begin(t, t.Encode(text)) }

// EncodeSpecial is [Model.EncodeSpecial] for a tokenizer that was opened alone.
func EncodeSpecial(t *tokenizer.Tokenizer, text string) []int32 {
	return begin(t, t.EncodeSpecial(text))
}

// begin puts the beginning-of-text token before the tokens unless it is there.
func begin(t *tokenizer.Tokenizer, tokens []tokenizer.Token) []int32 {
	ids := tokenizer.IDs(tokens)
	if bos := t.BOS(); t.AddBOS() && bos >= 0 && (len(ids) == 0 || ids[0] != bos) {
		ids = slices.Insert(ids, 0, bos)
	}
	return ids
}

// Text is what one token stands for; bytes that are no whole character show as
// U+FFFD, and a control token gives its name.
func (m *Model) Text(id int32) string { return generate.Text(m.tokenizer.Bytes(id)) }

// Score returns how likely the model finds each token of a text, given those
// before it, with so many alternatives. The token that begins a text has no
// score.
func (m *Model) Score(ctx context.Context, text string, alternatives int) ([]Token, error) {
	return m.ScoreTokens(ctx, m.Encode(text), alternatives)
}

// ScoreTokens is Score of tokens, as they are: one result for each after the
// first.
func (m *Model) ScoreTokens(ctx context.Context, ids []int32, alternatives int) ([]Token, error) {
	if err := m.enter(); err != nil {
		return nil, err
	}
	defer m.leave()
	return generate.Score(ctx, m.core, m.tokenizer, ids, alternatives)
}

// Perplexity measures how well the model foretells a text in chunks of so many
// tokens; see [generate.Perplexity]. The progress may be nil.
func (m *Model) Perplexity(ctx context.Context, text string, size int, progress func(r PerplexityResult, chunks int)) (PerplexityResult, error) {
	if err := m.enter(); err != nil {
		return PerplexityResult{}, err
	}
	defer m.leave()
	bos := int32(-1)
	if m.tokenizer.AddBOS() {
		bos = m.tokenizer.BOS()
	}
	return generate.Perplexity(ctx, m.core, m.Encode(text), size, bos, progress)
}

package generate

import (
	"errors"
	"fmt"
	"math"
	"unicode/utf8"
)

// ErrParams is wrapped by every refusal of a parameter.
var ErrParams = errors.New("cannot be obeyed")

// OwnLogProb is the value of Params.LogProbs that asks for the log-probability
// of each token and for no alternatives.
const OwnLogProb = -1

// Params says how tokens are chosen and where generation ends. Start from
// [Defaults]: a value that would keep nothing, such as a TopP of 0, is refused
// and not taken for "off".
type Params struct {
	// Temperature divides the logits. 0 always takes the most likely token.
	Temperature float32
	// TopK keeps the k most likely tokens. 0 keeps all.
	TopK int
	// TopP keeps the smallest set of most likely tokens whose probability
	// reaches p (Holtzman et al. 2020, arXiv:1904.09751). 1 keeps all.
	TopP float32
	// MinP keeps the tokens at least p times as likely as the likeliest
	// (Nguyen et al. 2024, arXiv:2407.01082). 0 keeps all.
	MinP float32

	// RepeatPenalty divides the positive logits, and multiplies the negative
	// ones, of the last RepeatLast tokens of prompt and answer (Keskar et al.
	// 2019, arXiv:1909.05858). 1 changes nothing.
	RepeatPenalty float32
	// RepeatLast is how far RepeatPenalty looks back; -1 is all the way.
	RepeatLast int
	// FrequencyPenalty times the number of times a token was sampled is taken
	// from its logit; from -2 to 2, as in OpenAI's API.
	FrequencyPenalty float32
	// PresencePenalty is taken once from the logit of each token that was
	// sampled; from -2 to 2, as in OpenAI's API.
	PresencePenalty float32

	// Seed makes the choices repeatable: the same seed, prompt and model on
	// the same engine and processor give the same tokens. Nil draws a seed,
	// which [Result] tells.
	Seed *uint64

	// MaxTokens ends generation after so many tokens. 0 goes on until the
	// model ends its text or the context is full.
	MaxTokens int
	// Stop ends generation before the first of these strings to be completed.
	Stop []string
	// StopTokens end generation, beside those of the tokenizer.
	StopTokens []int32

	// LogProbs asks for log-probabilities and so many alternatives a token;
	// [OwnLogProb] asks for no alternatives, 0 for nothing.
	LogProbs int

	// ContextShift lets generation go on when the context is full, and lets a
	// prompt be longer than it: the first Keep tokens stay, of the others the
	// older half is dropped, and the rest is evaluated anew. [Result] tells
	// how many were dropped. Without it a prompt that is too long is refused
	// with [ErrContext].
	ContextShift bool
	// Keep is the number of tokens at the prompt's start that ContextShift
	// never drops; the first one is kept in any case.
	Keep int
}

// Defaults are the settings that Gemma's makers recommend: temperature 1,
// top-k 64, top-p 0.95, no penalties.
func Defaults() Params {
	return Params{Temperature: 1, TopK: 64, TopP: 0.95, RepeatPenalty: 1, RepeatLast: 64}
}

// Check tells what of p cannot be obeyed. The error wraps [ErrParams].
func (p *Params) Check() error {
	for _, r := range p.ranges() {
		if !r.ok {
			return fmt.Errorf("%s %v %w: want %s", r.name, r.value, ErrParams, r.want)
		}
	}
	for _, s := range p.Stop {
		if s == "" {
			return fmt.Errorf("an empty stop string %w: it would end every text at once", ErrParams)
		}
		if !utf8.ValidString(s) {
			return fmt.Errorf("stop string %q %w: it is not valid UTF-8", s, ErrParams)
		}
	}
	return nil
}

type paramRange struct {
	name  string
	value any
	ok    bool
	want  string
}

// ranges lists the numbers. NaN fails every comparison, so each is written in
// the sense of what is allowed.
func (p *Params) ranges() []paramRange {
	return []paramRange{
		{"temperature", p.Temperature, p.Temperature >= 0 && p.Temperature <= math.MaxFloat32, "0 or more"},
		{"top-k", p.TopK, p.TopK >= 0, "0 (all tokens) or more"},
		{"top-p", p.TopP, p.TopP > 0 && p.TopP <= 1, "more than 0 and at most 1 (all tokens)"},
		{"min-p", p.MinP, p.MinP >= 0 && p.MinP <= 1, "0 (all tokens) to 1"},
		{"repeat penalty", p.RepeatPenalty, p.RepeatPenalty > 0 && p.RepeatPenalty <= math.MaxFloat32, "more than 0; 1 changes nothing"},
		{"repeat last", p.RepeatLast, p.RepeatLast >= -1, "-1 (all tokens) or more"},
		{"frequency penalty", p.FrequencyPenalty, p.FrequencyPenalty >= -2 && p.FrequencyPenalty <= 2, "-2 to 2"},
		{"presence penalty", p.PresencePenalty, p.PresencePenalty >= -2 && p.PresencePenalty <= 2, "-2 to 2"},
		{"max tokens", p.MaxTokens, p.MaxTokens >= 0, "0 (no limit) or more"},
		{"log-probabilities", p.LogProbs, p.LogProbs >= OwnLogProb, "the number of alternatives, 0 or more"},
		{"keep", p.Keep, p.Keep >= 0, "0 or more"},
	}
}

package main

import (
	"cmp"

	"github.com/spf13/pflag"

	"lapidary"
	"lapidary/generate"
)

// sampling are the flags that change Params. Those that are not set leave what
// the model's makers recommend.
type sampling struct {
	set  lapidary.Params
	seed uint64
}

func (s *sampling) register(fs *pflag.FlagSet) {
	d := lapidary.Defaults()
	p := &s.set
	fs.Float32Var(&p.Temperature, "temperature", d.Temperature, "divides the logits; 0 always takes the likeliest token")
	fs.IntVar(&p.TopK, "top-k", d.TopK, "keep the k likeliest tokens; 0 keeps all")
	fs.Float32Var(&p.TopP, "top-p", d.TopP, "keep the likeliest tokens that add up to p; 1 keeps all")
	fs.Float32Var(&p.MinP, "min-p", d.MinP, "keep tokens at least p times as likely as the likeliest; 0 keeps all")
	fs.Float32Var(&p.RepeatPenalty, "repeat-penalty", d.RepeatPenalty, "make recent tokens of prompt and answer less likely; 1 is off")
	fs.IntVar(&p.RepeatLast, "repeat-last", d.RepeatLast, "tokens that --repeat-penalty looks back; -1 is all")
	fs.Float32Var(&p.FrequencyPenalty, "frequency-penalty", 0, "taken from a token's logit for each time it was answered, -2 to 2")
	fs.Float32Var(&p.PresencePenalty, "presence-penalty", 0, "taken from a token's logit if it was answered, -2 to 2")
	fs.Uint64Var(&s.seed, "seed", 0, "make the choices repeatable (default another one each time)")
	fs.IntVar(&p.MaxTokens, "max-tokens", 0, "end after so many tokens; 0 sets no limit")
	fs.StringArrayVar(&p.Stop, "stop", nil, "end before this text; may be given several times")
	fs.BoolVar(&p.ContextShift, "context-shift", false, "when the context is full, forget the older half and go on")
	fs.IntVar(&p.LogProbs, "logprobs", 0, "with --json: log-probabilities and so many alternatives of each token")
}

// apply puts the flags that were given into p and checks it.
func (s *sampling) apply(fs *pflag.FlagSet, p *lapidary.Params) error {
	if s.set.LogProbs < 0 {
		return misuse("--logprobs %d: want the number of alternatives, 0 or more", s.set.LogProbs)
	}
	for name, apply := range map[string]func(){
		"temperature":       func() { p.Temperature = s.set.Temperature },
		"top-k":             func() { p.TopK = s.set.TopK },
		"top-p":             func() { p.TopP = s.set.TopP },
		"min-p":             func() { p.MinP = s.set.MinP },
		"repeat-penalty":    func() { p.RepeatPenalty = s.set.RepeatPenalty },
		"repeat-last":       func() { p.RepeatLast = s.set.RepeatLast },
		"frequency-penalty": func() { p.FrequencyPenalty = s.set.FrequencyPenalty },
		"presence-penalty":  func() { p.PresencePenalty = s.set.PresencePenalty },
		"seed":              func() { p.Seed = &s.seed },
		"max-tokens":        func() { p.MaxTokens = s.set.MaxTokens },
		"stop":              func() { p.Stop = s.set.Stop },
		"context-shift":     func() { p.ContextShift = s.set.ContextShift },
		"logprobs":          func() { p.LogProbs = cmp.Or(s.set.LogProbs, generate.OwnLogProb) },
	} {
		if fs.Changed(name) {
			apply()
		}
	}
	return p.Check()
}

package generate

import (
	"errors"
	"math"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	bad := map[string]func(p *Params){
		"temperature -0.1": func(p *Params) { p.Temperature = -0.1 }, "temperature NaN": func(p *Params) { p.Temperature = nan },
		"temperature +Inf": func(p *Params) { p.Temperature = inf },
		"top-k -1":         func(p *Params) { p.TopK = -1 },
		"top-p 0":          func(p *Params) { p.TopP = 0 }, "top-p 1.1": func(p *Params) { p.TopP = 1.1 }, "top-p NaN": func(p *Params) { p.TopP = nan },
		"min-p -0.5": func(p *Params) { p.MinP = -0.5 }, "min-p 2": func(p *Params) { p.MinP = 2 }, "min-p NaN": func(p *Params) { p.MinP = nan },
		"repeat penalty 0": func(p *Params) { p.RepeatPenalty = 0 }, "repeat penalty NaN": func(p *Params) { p.RepeatPenalty = nan },
		"repeat last -2":       func(p *Params) { p.RepeatLast = -2 },
		"frequency penalty 3":  func(p *Params) { p.FrequencyPenalty = 3 },
		"presence penalty NaN": func(p *Params) { p.PresencePenalty = nan },
		"max tokens -1":        func(p *Params) { p.MaxTokens = -1 },
		"log-probabilities -2": func(p *Params) { p.LogProbs = -2 },
		"keep -1":              func(p *Params) { p.Keep = -1 },
		"empty stop string":    func(p *Params) { p.Stop = []string{"a", ""} },
		`"\xff"`:               func(p *Params) { p.Stop = []string{"\xff"} },
	}
	for says, change := range bad {
		p := Defaults()
		change(&p)
		if err := p.Check(); !errors.Is(err, ErrParams) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: error %v, want one that says so", says, err)
		}
	}
	p := Defaults()
	p.Temperature, p.TopK, p.TopP, p.MinP, p.RepeatLast, p.LogProbs = 0, 0, 1, 1, -1, OwnLogProb
	if err := p.Check(); err != nil {
		t.Errorf("the limits themselves were refused: %v", err)
	}
}

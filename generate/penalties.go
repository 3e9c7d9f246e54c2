package generate

// penalties keeps what the penalties need to know of a sequence. Its arrays
// over the vocabulary are made once, so that a token costs time in proportion
// to the tokens it touches and no memory.
type penalties struct {
	repeat, frequency, presence float32

	window []int32 // the last tokens of prompt and answer: a ring of size
	size   int     // 0: no end; the window then holds each token once
	next   int     // where the next token goes
	latest []int32 // a token's latest place in the window, plus 1
	counts []int32 // how often each token was sampled
	used   []int32 // the tokens that were sampled, each once

	changed []candidate // the logits as they were
}

// newPenalties returns nil if p changes no logit.
func newPenalties(p *Params, vocab int, prompt []int32) *penalties {
	repeats := p.RepeatPenalty != 1 && p.RepeatLast != 0
	if !repeats && p.FrequencyPenalty == 0 && p.PresencePenalty == 0 {
		return nil
	}
	s := &penalties{repeat: p.RepeatPenalty, frequency: p.FrequencyPenalty, presence: p.PresencePenalty}
	if repeats {
		s.size = max(0, p.RepeatLast)
		s.window = make([]int32, 0, vocab)
		s.latest = make([]int32, vocab)
		if s.size > 0 {
			s.window = make([]int32, 0, min(s.size, vocab))
			prompt = prompt[max(0, len(prompt)-s.size):]
		}
		for _, id := range prompt {
			s.remember(id)
		}
	}
	if s.frequency != 0 || s.presence != 0 {
		s.counts = make([]int32, vocab)
		s.used = make([]int32, 0, vocab)
	}
	s.changed = make([]candidate, 0, cap(s.window)+cap(s.used))
	return s
}

// raise reports whether a logit may become greater.
func (s *penalties) raise() bool { return s.repeat < 1 || s.frequency < 0 || s.presence < 0 }

// touched is how many tokens are changed at most.
func (s *penalties) touched() int { return len(s.window) + len(s.used) }

func (s *penalties) apply(logits []float32) {
	s.changed = s.changed[:0]
	for i, id := range s.window {
		if s.latest[id] != int32(i)+1 {
			continue // a later place of the same token counts
		}
		x := logits[id]
		s.changed = append(s.changed, candidate{x, id})
		if x > 0 {
			logits[id] = x / s.repeat
		} else {
			logits[id] = x * s.repeat
		}
	}
	for _, id := range s.used {
		s.changed = append(s.changed, candidate{logits[id], id})
		logits[id] -= float32(s.counts[id])*s.frequency + s.presence
	}
}

// undo goes backwards: a token may have been changed twice.
func (s *penalties) undo(logits []float32) {
	for i := len(s.changed) - 1; i >= 0; i-- {
		logits[s.changed[i].id] = s.changed[i].logit
	}
}

func (s *penalties) accept(id int32) {
	if s.latest != nil {
		s.remember(id)
	}
	if s.counts != nil {
		if s.counts[id]++; s.counts[id] == 1 {
			s.used = append(s.used, id)
		}
	}
}

// remember puts a token into the window, in place of the oldest if it is full.
func (s *penalties) remember(id int32) {
	switch {
	case s.size == 0:
		if s.latest[id] == 0 {
			s.window = append(s.window, id)
			s.latest[id] = int32(len(s.window))
		}
		return
	case len(s.window) < s.size:
		s.window = append(s.window, id)
	default:
		if old := s.window[s.next]; s.latest[old] == int32(s.next)+1 {
			s.latest[old] = 0
		}
		s.window[s.next] = id
	}
	s.latest[id] = int32(s.next) + 1
	s.next = (s.next + 1) % s.size
}

package generate

import "math"

// Alternative is a token that could have stood in a place.
type Alternative struct {
	ID   int32
	Text string // its own text; bytes that are no whole character show as U+FFFD
	// LogProb is the natural logarithm of its probability.
	LogProb float32
}

// logProbs measures the model's own distribution: a softmax of the logits as
// they are, before penalties, temperature and truncation.
type logProbs struct {
	n    int // alternatives
	kept []candidate
}

// of returns the log-probability of id and of the n most likely tokens. The
// sum is taken in float64.
func (l *logProbs) of(logits []float32, id int32, text func(int32) string) (float32, []Alternative, error) {
	l.kept = top(logits, max(1, l.n), l.kept)
	b := l.kept[0].logit
	if !finite(b) {
		return 0, nil, ErrLogits
	}
	norm := float64(b) + math.Log(sumExp(logits, b, 1))
	if l.n <= 0 {
		return float32(float64(logits[id]) - norm), nil, nil
	}
	most := make([]Alternative, len(l.kept))
	for i, c := range l.kept {
		most[i] = Alternative{c.id, text(c.id), float32(float64(c.logit) - norm)}
	}
	return float32(float64(logits[id]) - norm), most, nil
}

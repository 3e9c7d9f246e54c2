package lapidary

import (
	"context"
	"fmt"
	"math"

	"lapidary/gemma"
)

// Verdict is what a model that judges says of a picture and a policy
// (ShieldGemma 2).
type Verdict struct {
	Yes, No     float32 // logits of: the policy is violated, it is not
	Probability float32 // of Yes, of the two
}

// Violates reports whether a violation is likelier than none.
func (v Verdict) Violates() bool { return v.Yes > v.No }

// Judges reports whether the model gives verdicts.
func (m *Model) Judges() bool {
	h := m.core.Config().Head
	return h.Yes != h.No
}

// Verdict judges a prompt: a picture and, as text, a policy or the name of one
// ([chat.Policies]).
func (m *Model) Verdict(ctx context.Context, prompt Prompt) (Verdict, error) {
	if err := m.enter(); err != nil {
		return Verdict{}, err
	}
	defer m.leave()
	step := gemma.Step{Tokens: prompt.Tokens, Soft: prompt.Soft, Together: prompt.Together}
	logits, chances, err := m.core.Verdict(ctx, step)
	return Verdict{Yes: logits[0], No: logits[1], Probability: chances[0]}, err
}

// Classified are the probabilities of a classifier's labels.
type Classified struct {
	Text          string    // what they are said of
	Probabilities []float32 // of each label, in the order of the model's
}

// Classify gives the labels' probabilities for a text or, if the model tags
// tokens, for each of its tokens. The model's configuration says which labels
// there are.
func (m *Model) Classify(ctx context.Context, text string) ([]Classified, error) {
	if err := m.enter(); err != nil {
		return nil, err
	}
	defer m.leave()
	if n := m.core.Config().Head.Labels; n == 0 {
		return nil, fmt.Errorf("%s has no classification head", m.Name())
	}
	ids := m.Encode(text)
	rows, err := m.core.Classify(ctx, []gemma.Step{{Tokens: ids}})
	if err != nil {
		return nil, err
	}
	out := make([]Classified, len(rows))
	for i, row := range rows {
		out[i] = Classified{Text: text, Probabilities: softmax(row)}
		if m.core.Config().Head.PerToken {
			out[i].Text = m.Text(ids[i])
		}
	}
	return out, nil
}

func softmax(x []float32) []float32 {
	y := make([]float32, len(x))
	top, sum := float64(x[0]), 0.0
	for _, v := range x {
		top = max(top, float64(v))
	}
	for i, v := range x {
		e := math.Exp(float64(v) - top)
		y[i], sum = float32(e), sum+e
	}
	for i := range y {
		y[i] = float32(float64(y[i]) / sum)
	}
	return y
}

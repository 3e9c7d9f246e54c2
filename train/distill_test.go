package train

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lapidary/gemma"
	"lapidary/train/data"
	"lapidary/train/recipe"
)

const gemma2 = "../gemma/testdata/goldens/gemma2_text"

// logitsOf are those of each row of a document.
func logitsOf(t *testing.T, m *gemma.Model, tokens []int32) [][]float32 {
	t.Helper()
	var out gemma.Logits
	if err := m.Forward(t.Context(), []gemma.Step{{Tokens: tokens, Logits: gemma.AllRows}}, &out); err != nil {
		t.Fatal(err)
	}
	rows := make([][]float32, len(tokens))
	for i := range rows {
		rows[i] = append(rows[i], out.Row(i)...)
	}
	return rows
}

// eachCounted visits the tokens of a batch of one document a line that are to be
// predicted.
func eachCounted(b data.Batch, visit func(line, at int)) {
	for i, w := range b.Loss {
		if w > 0 {
			visit(i/b.Length, i%b.Length)
		}
	}
}

// TestNextTokenInChunks: how many rows of logits exist at once changes nothing.
func TestNextTokenInChunks(t *testing.T) {
	for _, path := range []string{gemma3, gemma2} {
		s, _ := opened(t, path)
		m := plain(t, s, path)
		b := linesOf(8, 1, []int32{2, 7, 8, 9, 10}, []int32{2, 30, 31, 40, 41, 42, 43, 44})
		var sum, n float64
		eachCounted(b, func(line, at int) {
			logs := plainLogSoftmax(logitsOf(t, m, b.Tokens[line*8:line*8+b.Documents[line][0]])[at-1], 1)
			sum, n = sum-logs[b.Tokens[line*8+at]], n+1
		})
		for _, s.rows = range []int{0, 3} {
			holds(t, s, nextToken{}, b, sum/n, "layers.1.self_attn.v_proj.weight", "embed_tokens.weight")
		}
	}
}

func TestDistill(t *testing.T) {
	s, _ := opened(t, gemma3)
	m, better := plain(t, s, gemma3), plain(t, s, gemma2)
	known, err := newTeacher(s.engine, gemma2)
	if err != nil {
		t.Fatal(err)
	}
	defer known.checkpoint.Close()
	b := linesOf(8, 1, []int32{2, 7, 8, 9, 10}, []int32{2, 30, 31, 40, 41, 42, 43, 44})
	for _, goal := range []*distill{{temperature: 2, mix: 0.3, teacher: known}, {temperature: 1, mix: 1, teacher: known}} {
		var sum, n float64
		eachCounted(b, func(line, at int) {
			document := b.Tokens[line*8 : line*8+b.Documents[line][0]]
			mine, theirs := logitsOf(t, m, document)[at-1], logitsOf(t, better, document)[at-1]
			p, q := plainLogSoftmax(theirs, goal.temperature), plainLogSoftmax(mine, goal.temperature)
			for i := range p {
				sum += goal.mix * goal.temperature * goal.temperature * math.Exp(p[i]) * (p[i] - q[i])
			}
			sum -= (1 - goal.mix) * plainLogSoftmax(mine, 1)[document[at]]
			n++
		})
		s.rows = 3
		r, err := goal.trace(t.Context(), s, b, 1)
		if err != nil {
			t.Fatal(err)
		}
		theirs := 0
		for _, w := range r.Weights {
			if goal.fixed(w) {
				theirs++
			}
		}
		if theirs == 0 || theirs == len(r.Weights) {
			t.Errorf("%d of %d weights are the teacher's", theirs, len(r.Weights))
		}
		holds(t, s, goal, b, sum/n, "layers.1.self_attn.v_proj.weight", "layers.5.mlp.gate_proj.weight", "embed_tokens.weight")
	}
}

// TestDistillRun: a teacher of another vocabulary is refused, and one of the same
// is not changed by the run.
func TestDistillRun(t *testing.T) {
	text := strings.Repeat("the cat sat on the mat and looked at the moon. ", 40)
	first, err := ran(t, "gemma3", `
objective: next_token
data: {sources: [{path: DATA, format: text}]}
eval: {prompts: ["the cat", "the"], max_tokens: 4}
steps: 2
out: OUT
`, "data.txt", text)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(filepath.Dir(first.Model), "report.html"))
	if err != nil || !strings.Contains(string(page), "Samples") {
		t.Errorf("a report without samples: %v", err)
	}
	more := `
objective: {kind: distill, teacher: ` + first.Model + `, mix: 0.5, temperature: 2}
data: {sources: [{path: DATA, format: text}]}
steps: 20
optimizer: {kind: adamw, lr: 3e-3}
out: OUT
`
	if _, err := ran(t, "gemma3", more, "data.txt", strings.Repeat("Quite other words, 0123456789. ", 60)); err == nil || !strings.Contains(err.Error(), "one vocabulary") {
		t.Errorf("a teacher of other words: %v", err)
	}
	second, err := ran(t, "gemma3", more, "data.txt", text)
	if err != nil {
		t.Fatal(err)
	}
	if !(second.Loss < 2.5) || second.Steps != 20 {
		t.Errorf("a loss of %v after %d steps", second.Loss, second.Steps)
	}
}

// TestPrecisionAndRemat: every objective can be computed in halves, and with
// layers' activations made again.
func TestPrecisionAndRemat(t *testing.T) {
	texts := [][]int32{{2, 7, 8, 9, 10, 11}, {2, 7, 8, 19, 20, 21}, {2, 30, 31, 40}, {2, 30, 31, 41, 42, 43, 44}}
	labelled := linesOf(8, 1, texts...)
	labelled.Labels = []int32{0, 1, 0, 1}
	for name, c := range map[string]struct {
		path string
		goal func(s subject) objective
		b    data.Batch
	}{
		"contrastive": {embeddingGemma, func(subject) objective { return contrastive{0.5, []int{8, 16}} }, linesOf(8, 2, texts...)},
		"classify":    {classifier, func(subject) objective { return classify{labels: []int32{2, 0}} }, labelled},
		"denoise":     {"../gemma/testdata/goldens/t5gemma", func(subject) objective { return corrupting }, filled(2, 40, 17)},
		"distill": {gemma3, func(s subject) objective {
			known, err := newTeacher(s.engine, gemma2)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { known.checkpoint.Close() })
			return &distill{temperature: 2, mix: 0.5, teacher: known}
		}, linesOf(8, 1, texts...)},
		"dpo": {gemma3, func(subject) objective { return dpo{recipe.Objective{Beta: 0.1}} }, linesOf(8, 2, texts...)},
	} {
		t.Run(name, func(t *testing.T) {
			var losses, lengths []float64
			for _, half := range []bool{false, true} {
				s, _ := openedAs(t, c.path, half)
				goal := c.goal(s)
				r, err := goal.trace(t.Context(), s, c.b, 1/goal.counts(c.b))
				if err != nil {
					t.Fatal(err)
				}
				for _, remat := range []bool{false, true} {
					m := testMachine(t, s, adamW, goal, c.b)
					m.remat = remat
					by, loss, err := m.gradients([]micro{r})
					if err != nil {
						t.Fatal(err)
					}
					first, err := read(by[0], m.weights[0].Dims)
					if err != nil {
						t.Fatal(err)
					}
					losses, lengths = append(losses, loss), append(lengths, norm(first))
				}
			}
			for i := range losses {
				if off := math.Abs(losses[i] - losses[0]); !(off <= 0.03*losses[0]) || i == 1 && off > 1e-5 {
					t.Errorf("losses %v", losses)
				}
				if off := math.Abs(lengths[i] - lengths[0]); !(off <= 0.1*lengths[0]) || i == 1 && off > 1e-4*lengths[0] {
					t.Errorf("gradients of lengths %v", lengths)
				}
			}
		})
	}
}

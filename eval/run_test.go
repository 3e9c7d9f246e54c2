package eval

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lapidary"
	"lapidary/generate/generatetest"
	"lapidary/internal/realmodel"
)

// bigram opens a model by whose table each piece is followed by others.
func bigram(t testing.TB, table generatetest.Table, context_ int, extra map[string]any) *lapidary.Model {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := generatetest.WriteGGUF(path, table, context_, extra); err != nil {
		t.Fatal(err)
	}
	return open(t, path)
}

func open(t testing.TB, path string) *lapidary.Model {
	t.Helper()
	m, err := lapidary.Open(context.Background(), path, lapidary.WithThreads(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// half follows a with b and with c alike, and these with the end.
func half() generatetest.Table {
	return generatetest.Table{"a": {"b": 0, "c": 0}, "d": {"b": 0}}.Chain("b", "<eos>").Chain("c", "<eos>")
}

func taskOf(t testing.TB, text string) *Task {
	t.Helper()
	task, err := ParseTask([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return task
}

func sourceOf(t testing.TB, task *Task, content string) *Source {
	t.Helper()
	s, err := ReadData(task.Data, []string{filepath.Join(files(t, map[string]string{"f.x": content}), "f.x")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func evaluate(t testing.TB, m *lapidary.Model, task *Task, content string) []Record {
	t.Helper()
	e, err := New(m, task, sourceOf(t, task, content), Options{})
	if err != nil {
		t.Fatal(err)
	}
	l, err := OpenLog("", e.Header())
	if err != nil {
		t.Fatal(err)
	}
	rs, err := e.Run(context.Background(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-3 }

func TestRunInEveryWay(t *testing.T) {
	m := bigram(t, half(), 64, nil)
	task := taskOf(t, `
data: {format: csv}
prompt: "x{q}"
answer: "{a}"
join: ""
choices: [b, c, bb]
verifier: {kind: regexp, pattern: '^b$'}
metrics: [accuracy, accuracy_norm, balanced_accuracy, perplexity, bits_per_byte, exact, f1, rouge1, pass]
`)
	rs := evaluate(t, m, task, "q,a\nd,b\na,c\nd,c\n")
	if len(rs) != 3 || rs[0].ID != "f:1" || rs[0].Answer != "b" || rs[0].Chosen != "b" || rs[0].Output != "b" {
		t.Fatalf("%+v", rs)
	}
	if c := rs[1].Choices; !near(c[0].LogProb, -math.Ln2) || !near(c[1].LogProb, -math.Ln2) || c[2].LogProb > -10 {
		t.Errorf("b, c and bb after a: %+v", c)
	}
	if l := rs[1].Likelihood; l.Tokens != 1 || l.Bytes != 1 || !near(l.NLL, math.Ln2) {
		t.Errorf("c after a: %+v", l)
	}
	if s := rs[0].Scores; s["accuracy"] != 1 || s["accuracy_norm"] != 1 || s["exact"] != 1 || s["f1"] != 1 || s["rouge1"] != 1 || s["pass"] != 1 {
		t.Errorf("d is followed by b: %v", s)
	}
	if s := rs[2].Scores; s["accuracy"] != 0 || s["exact"] != 0 || s["rouge1"] != 0 || s["pass"] != 1 {
		t.Errorf("d is not followed by c: %v", s)
	}
}

func TestRunOverTexts(t *testing.T) {
	m := bigram(t, generatetest.Table{}.Chain("<bos>", "a").Chain("a", "b", "a"), 16, nil)
	task := taskOf(t, "data: {format: txt}\nanswer: '{text}'\nwindow: 5\nmetrics: [perplexity, bits_per_byte]\n")
	rs := evaluate(t, m, task, "abababab")
	if l := rs[0].Likelihood; l.Tokens != 8 || l.Bytes != 8 || !near(l.NLL, 0) {
		t.Errorf("two windows of four tokens: %+v", l)
	}
	if rs = evaluate(t, m, task, ""); rs[0].Skipped != "an empty text" {
		t.Errorf("an empty text: %+v", rs[0])
	}
	task.Window = 17
	if rs = evaluate(t, m, task, "ab"); !strings.Contains(rs[0].Skipped, "17 tokens") {
		t.Errorf("a window larger than the context: %+v", rs[0])
	}
}

func TestRunInChat(t *testing.T) {
	const template = `{{ bos_token }}{% for m in messages %}<start_of_turn>{{ m.role }}:{{ m.content }}<end_of_turn>{% endfor %}<start_of_turn>`
	m := bigram(t, generatetest.Table{}.Chain("<start_of_turn>", "b", "<end_of_turn>"), 128, map[string]any{"tokenizer.chat_template": template})
	task := taskOf(t, "data: {format: csv}\ninstruction: Say.\nprompt: '{q}'\nanswer: '{a}'\nshots: 1\nchoices: labels\nmetrics: [accuracy, exact]\n")
	rs := evaluate(t, m, task, "q,a\nx,b\ny,c\n")
	for i, want := range []float64{1, 0} {
		if r := rs[i]; r.Output != "b" || r.Scores["exact"] != want || r.Scores["accuracy"] != want {
			t.Errorf("%+v, want scores of %v", r, want)
		}
	}
	e, err := New(m, task, sourceOf(t, task, "q,a\nx,b\ny,c\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if h := e.Header(); h.Mode != "chat" {
		t.Errorf("mode %s", h.Mode)
	}
	turns := conversation("Say.", []exchange{{"y", "c"}}, "x")
	if len(turns) != 3 || turns[0].Content != "Say.\n\ny" || turns[1].Role != "assistant" || turns[1].Content != "c" || turns[2].Content != "x" {
		t.Errorf("%+v", turns)
	}
	task.Mode = "chat"
	if _, err := New(bigram(t, half(), 64, nil), task, sourceOf(t, task, "q,a\nx,b\ny,c\n"), Options{}); !errors.Is(err, ErrTask) {
		t.Errorf("a base model chats: %v", err)
	}
}

func TestShots(t *testing.T) {
	task := &Task{Shots: 2, Choices: Choices{Labels: true}}
	var items []item
	for i := range 9 {
		items = append(items, item{id: fmt.Sprint(i), group: "g", answer: []string{"yes", "no", "no"}[i%3]})
	}
	pool := task.pools(items)["g"]
	if len(pool) != 3 || pool[0].answer == pool[1].answer {
		t.Fatalf("the labels do not take turns: %+v", pool)
	}
	for i := range items {
		shots := task.shotsFor(&items[i], pool)
		if len(shots) != 2 || shots[0].id == items[i].id || shots[1].id == items[i].id {
			t.Errorf("%+v stands before %s", shots, items[i].id)
		}
	}
	task.Limit = 4
	a, b := task.sample(items), task.sample(items)
	if len(a) != 4 || fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("%v and %v are drawn", a, b)
	}
	for i := 1; i < len(a); i++ {
		if a[i-1].id >= a[i].id {
			t.Errorf("%v is not in order", a)
		}
	}
}

// TestShotsFromElsewhere puts worked examples of another file before all.
func TestShotsFromElsewhere(t *testing.T) {
	m := bigram(t, half(), 200, nil)
	task := taskOf(t, "data: {format: csv}\nprompt: 'Q{q}'\nanswer: '{a}'\nshots: 2\nmetrics: [exact]\n")
	e, err := New(m, task, sourceOf(t, task, "q,a\n1,b\n"), Options{Shots: sourceOf(t, task, "q,a\n7,b\n8,c\n9,b\n")})
	if err != nil {
		t.Fatal(err)
	}
	_, ids, err := e.prompt(&e.items[0])
	if text := m.Detokenize(ids); err != nil || strings.Count(text, "Q") != 3 || !strings.HasSuffix(text, "\n\nQ1") {
		t.Errorf("the prompt is %q, %v", text, err)
	}
}

func TestChoicesRefused(t *testing.T) {
	m := bigram(t, half(), 64, nil)
	task := taskOf(t, "data: {format: csv}\nprompt: '{q}'\nanswer: '{a}'\nchoices: [b, c]\nmetrics: [accuracy]\n")
	for content, want := range map[string]string{
		"q,a\na,z\n": `example f:1: the answer "z" is none of the choices ["b" "c"]`,
		"p,a\na,b\n": `example f:1: no field "q"`,
	} {
		if _, err := New(m, task, sourceOf(t, task, content), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", content, err, want)
		}
	}
	it := item{answer: "B", choices: []string{"x", "y"}}
	if err := it.findGold(); err != nil || it.gold != 1 || it.answer != "y" {
		t.Errorf("the letter B: %+v, %v", it, err)
	}
	it = item{answer: "0", choices: []string{"x", "y"}}
	if err := it.findGold(); err != nil || it.gold != 0 {
		t.Errorf("the place 0: %+v, %v", it, err)
	}
}

// TestSkipsWhatIsTooLong evaluates the others.
func TestSkipsWhatIsTooLong(t *testing.T) {
	m := bigram(t, half(), 12, nil)
	task := taskOf(t, "data: {format: csv}\nprompt: '{q}'\nanswer: '{a}'\njoin: ''\nmetrics: [exact, perplexity]\n")
	rs := evaluate(t, m, task, "q,a\n"+strings.Repeat("d", 20)+",b\nd,b\n")
	if rs[0].Skipped == "" || rs[1].Skipped != "" || rs[1].Scores["exact"] != 1 {
		t.Errorf("%+v", rs)
	}
}

// TestInterruptedRunIsTheSame stops a run of the real model after every
// example and goes on: the records have the same bytes as those of one that
// was not stopped, though prompts share what was read before.
func TestInterruptedRunIsTheSame(t *testing.T) {
	m := open(t, realmodel.Path(t))
	task := taskOf(t, `
data: {format: csv}
prompt: "Question: what is the colour of {thing}?\nAnswer:"
answer: "{colour}"
shots: 3
choices: labels
max_tokens: 5
metrics: [accuracy, perplexity, exact]
`)
	data := "thing,colour\nthe sky,blue\ngrass,green\nblood,red\nthe sea,blue\nsnow,white\n"
	source := sourceOf(t, task, data)
	run := func(ctx context.Context, path string, progress func(done, all int)) error {
		e, err := New(m, task, source, Options{})
		if err != nil {
			t.Fatal(err)
		}
		l, err := OpenLog(path, e.Header())
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, err = e.Run(ctx, l, progress)
		return err
	}
	dir := t.TempDir()
	whole, pieces := filepath.Join(dir, "whole.jsonl"), filepath.Join(dir, "pieces.jsonl")
	if err := run(context.Background(), whole, nil); err != nil {
		t.Fatal(err)
	}
	stops := 0
	for i := 1; i <= 4; i++ {
		ctx, cancel := context.WithCancel(context.Background())
		if err := run(ctx, pieces, func(done, _ int) {
			if done == i {
				cancel()
			}
		}); errors.Is(err, context.Canceled) {
			stops++
		}
		cancel()
	}
	if err := run(context.Background(), pieces, nil); err != nil || stops != 4 {
		t.Fatalf("%d stops, %v", stops, err)
	}
	a, errA := os.ReadFile(whole)
	b, errB := os.ReadFile(pieces)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("the interrupted run gives\n%s\nwant\n%s", b, a)
	}
}

// TestChoicesByBranches compares the log-probabilities that are found token by
// token with those of the whole texts scored.
func TestChoicesByBranches(t *testing.T) {
	m := open(t, realmodel.Path(t))
	r := reader{model: m, vocab: m.Info().Vocabulary, session: m.NewSession()}
	defer r.close()
	prompt := m.Encode("The capital of France is")
	var texts [][]int32
	all := []int{}
	for i, s := range []string{" Paris", " Paris, which is large", " Parish", " qxzzy", " London"} {
		texts, all = append(texts, m.Encode(s)[1:]), append(all, i)
	}
	sums := make([]float64, len(texts))
	if err := r.branch(context.Background(), prompt, len(prompt), texts, all, sums); err != nil {
		t.Fatal(err)
	}
	for i, text := range texts {
		nll, err := r.score(context.Background(), prompt, text)
		if err != nil || math.Abs(nll+sums[i]) > 0.02 {
			t.Errorf("choice %d has %v by branches and %v as a whole (%v)", i, sums[i], -nll, err)
		}
	}
}

// TestWithoutProbability skips what cannot be measured, since JSON has no infinity.
func TestWithoutProbability(t *testing.T) {
	for _, x := range []float64{math.Inf(1), math.Inf(-1), math.NaN()} {
		var r Record
		if measured(x, &r) || r.Skipped == "" {
			t.Errorf("%v is measured", x)
		}
	}
	var r Record
	if !measured(-3, &r) || r.Skipped != "" {
		t.Errorf("-3 is not measured: %+v", r)
	}
}

// TestEveryGivenAnswerCounts compares with the best of several.
func TestEveryGivenAnswerCounts(t *testing.T) {
	m := bigram(t, half(), 64, nil)
	task := taskOf(t, "data: {format: jsonl}\nprompt: 'x{q}'\nanswers: all\nmetrics: [exact, f1]\n")
	rs := evaluate(t, m, task, `{"q":"d","all":["z","b","b c"]}`+"\n"+`{"q":"d","all":"b c"}`+"\n")
	if s := rs[0].Scores; s["exact"] != 1 || s["f1"] != 1 || len(rs[0].Expected) != 3 {
		t.Errorf("%+v", rs[0])
	}
	if s := rs[1].Scores; s["exact"] != 0 || !near(s["f1"], 2.0/3) {
		t.Errorf("%+v", rs[1])
	}
}

// TestOwnChoices takes the choices of each example, the answer being a place.
func TestOwnChoices(t *testing.T) {
	m := bigram(t, half(), 64, nil)
	task := taskOf(t, "data: {format: jsonl}\nprompt: 'x{q}'\nanswer: '{right}'\nchoices: field opts\njoin: ''\nmetrics: [accuracy]\n")
	rs := evaluate(t, m, task, `{"q":"d","right":1,"opts":["c","b"]}`+"\n"+`{"q":"d","right":"A","opts":["c","b"]}`+"\n")
	if rs[0].Chosen != "b" || rs[0].Scores["accuracy"] != 1 || rs[1].Scores["accuracy"] != 0 {
		t.Errorf("%+v", rs)
	}
}

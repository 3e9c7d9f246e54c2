package lapidary

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"lapidary/chat"
	"lapidary/generate"
	"lapidary/generate/generatetest"
	"lapidary/hub"
)

// alphabet counts from a to z and starts again.
func alphabet() generatetest.Table {
	t := generatetest.Table{}
	for c := 'a'; c < 'z'; c++ {
		t.Chain(string(c), string(c+1))
	}
	return t.Chain("z", "a").Chain("<0x0A>", "H", "I", "<end_of_turn>")
}

const template = "{% for m in messages %}<start_of_turn>{{ m.role }}\n{{ m.content }}<end_of_turn>\n{% endfor %}" +
	"{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"

func openTable(t *testing.T, extra map[string]any, opts ...Option) *Model {
	t.Helper()
	path := filepath.Join(t.TempDir(), "alphabet.gguf")
	if err := generatetest.WriteGGUF(path, alphabet(), 64, extra); err != nil {
		t.Fatal(err)
	}
	m, err := Open(t.Context(), path, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func greedy(tokens int) Params {
	p := Defaults()
	p.Temperature, p.MaxTokens = 0, tokens
	return p
}

// read runs an answer to its end.
func read(t *testing.T, answer func(yield func(Token, error) bool)) (text string, end *Result) {
	t.Helper()
	for tok, err := range answer {
		if err != nil {
			t.Fatal(err)
		}
		text, end = text+tok.Text, tok.End
	}
	return text, end
}

func TestOpenRefuses(t *testing.T) {
	t.Setenv("LAPIDARY_HOME", t.TempDir())
	path := filepath.Join(t.TempDir(), "m.gguf")
	if err := generatetest.WriteGGUF(path, alphabet(), 64, nil); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		opt  Option
		is   error
	}{
		{"gemma3:270m-pt", WithThreads(1), hub.ErrNotPulled},
		{"no-such-model", WithThreads(1), hub.ErrUnknown},
		{path, WithThreads(-1), generate.ErrParams},
		{path, WithEngine("warp"), generate.ErrParams},
		{path, WithContext(-1), generate.ErrParams},
		{path, WithContext(65), generate.ErrParams},
	} {
		if _, err := Open(t.Context(), test.name, test.opt); !errors.Is(err, test.is) {
			t.Errorf("Open(%s): %v, want %v", test.name, err, test.is)
		}
	}
}

func TestGenerate(t *testing.T) {
	for _, engine := range Engines() {
		m := openTable(t, nil, WithEngine(engine), WithContext(10))
		if text, end := read(t, m.Generate(t.Context(), "xa", greedy(0))); text != "bcdefghi" || !end.ContextFull {
			t.Errorf("%s: %q, %+v; want a full context of 10 after bcdefghi", engine, text, end)
		}
		if i := m.Info(); i.Engine != engine || i.Context != 10 || i.Vocabulary != 357 || !i.CompletesOnly || i.Bytes != 4*i.Parameters {
			t.Errorf("%s: %+v", engine, i)
		}
		for _, err := range m.Chat(t.Context(), []Message{{Role: chat.User, Content: "a"}}, greedy(1)) {
			if !errors.Is(err, chat.ErrNoTemplate) {
				t.Errorf("%s: chat with a base model: %v, want ErrNoTemplate", engine, err)
			}
		}
	}
}

func TestChat(t *testing.T) {
	m := openTable(t, map[string]any{"tokenizer.chat_template": template})
	messages := []Message{{Role: chat.User, Content: "x<end_of_turn>"}}
	text, end := read(t, m.Chat(t.Context(), messages, greedy(9)))
	if text != "HI" || end.Reason != generate.Stop || end.Tokens != 3 {
		t.Errorf("%q, %+v; want HI and the end of the turn", text, end)
	}
	ids, err := m.ChatTokens(messages)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, id := range ids {
		if id == generatetest.ID("<end_of_turn>") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("the prompt ends %d turns, want the one that is written by the template", n)
	}
}

func TestSession(t *testing.T) {
	m := openTable(t, nil)
	s := m.NewSession()
	defer s.Close()
	say := func(prompt string, p Params) (string, *Result) {
		return read(t, s.Generate(t.Context(), m.Encode(prompt), p))
	}
	say("xa", greedy(3)) // the cache then holds bos x a b c
	if text, end := say("xabcde", greedy(3)); text != "fgh" || end.CachedTokens != 5 {
		t.Errorf("going on gave %q with %d cached, want fgh with 5", text, end.CachedTokens)
	}
	if text, end := say("xabz", greedy(2)); text != "ab" || end.CachedTokens != 4 {
		t.Errorf("branching off gave %q with %d cached, want ab with 4", text, end.CachedTokens)
	}
	if text, end := say("a", greedy(2)); text != "bc" || end.CachedTokens != 1 {
		t.Errorf("another text gave %q with %d cached, want bc with the first token's 1", text, end.CachedTokens)
	}
	// Leaving early keeps what was evaluated.
	for range s.Generate(t.Context(), m.Encode("aaaa"), greedy(5)) {
		break
	}
	if _, end := say("aaaab", greedy(1)); end.CachedTokens != 5 {
		t.Errorf("after leaving early %d tokens were cached, want 5", end.CachedTokens)
	}
	// A shift leaves nothing that can be used.
	p := greedy(80)
	p.ContextShift = true
	if text, end := say("a", p); len(text) != 80 || end.Dropped == 0 || text[79] != 'c' {
		t.Errorf("over the end of the context: %q, %+v", text, end)
	}
	if text, end := say("ab", greedy(1)); text != "c" || end.CachedTokens != 0 {
		t.Errorf("after a shift: %q with %d cached, want c with 0", text, end.CachedTokens)
	}
	long := strings.Repeat("x", 70) + "a"
	if text, end := say(long, func() Params { q := p; q.MaxTokens = 1; return q }()); text != "b" || end.Dropped == 0 {
		t.Errorf("a long prompt: %q, %+v", text, end)
	}
	if text, end := say("ab", greedy(1)); text != "c" || end.CachedTokens != 0 {
		t.Errorf("after a prompt that was cut: %q with %d cached, want c with 0", text, end.CachedTokens)
	}
}

func TestManyAtOnce(t *testing.T) {
	m := openTable(t, nil)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			first := string(rune('a' + i))
			text := ""
			for tok, err := range m.Generate(t.Context(), first, greedy(20)) {
				if err != nil {
					t.Error(err)
					return
				}
				text += tok.Text
			}
			if want := "bcdefghijklmnopqrstuvwxyzabc"[i : i+20]; text != want {
				t.Errorf("after %s: %q, want %q", first, text, want)
			}
		})
	}
	wg.Wait()
}

// TestClose closes the model in the middle of an answer: the answer goes on,
// what is asked afterwards is refused.
func TestClose(t *testing.T) {
	m := openTable(t, nil)
	n := 0
	for _, err := range m.Generate(t.Context(), "a", greedy(10)) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 2 {
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n != 10 {
		t.Errorf("%d tokens came, want 10", n)
	}
	for _, err := range m.Generate(t.Context(), "a", greedy(10)) {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("generate after close: %v", err)
		}
	}
	_, scoreErr := m.Score(t.Context(), "a", 0)
	_, perplexityErr := m.Perplexity(t.Context(), "a", 8, nil)
	_, benchErr := m.Bench(t.Context(), Bench{Prompt: 1, Repetitions: 1})
	_, templateErr := m.Template()
	for _, err := range []error{scoreErr, perplexityErr, benchErr, templateErr} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("after close: %v, want ErrClosed", err)
		}
	}
	if got := m.Detokenize(m.Encode("abc")); got != "abc" {
		t.Errorf("the tokenizer gave %q after close", got)
	}
	if err := m.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
}

func TestParams(t *testing.T) {
	m := openTable(t, map[string]any{"general.sampling.temp": float32(0.5), "general.sampling.top_k": uint32(7), "general.sampling.top_p": float32(0.25)})
	p, err := m.Params()
	if err != nil || p.Temperature != 0.5 || p.TopK != 7 || p.TopP != 0.25 || p.MinP != 0 {
		t.Errorf("%+v, %v; want what the file says", p, err)
	}
	for _, test := range []struct {
		json string
		want func(p *Params)
	}{
		{`{}`, func(p *Params) {}},
		{`{"top_k": 1, "top_p": 0.5, "temperature": 0.25, "min_p": 0.125, "eos_token_id": [1, 106]}`, func(p *Params) {
			p.TopK, p.TopP, p.Temperature, p.MinP, p.StopTokens = 1, 0.5, 0.25, 0.125, []int32{1, 106}
		}},
		{`{"eos_token_id": 1, "do_sample": true}`, func(p *Params) { p.StopTokens = []int32{1} }},
	} {
		got, want := Defaults(), Defaults()
		test.want(&want)
		err := fromGenerationConfig([]byte(test.json), &got)
		if err != nil || got.TopK != want.TopK || got.TopP != want.TopP || got.Temperature != want.Temperature || got.MinP != want.MinP ||
			!slices.Equal(got.StopTokens, want.StopTokens) {
			t.Errorf("%s: %+v, %v; want %+v", test.json, got, err, want)
		}
	}
	for _, bad := range []string{`{"eos_token_id": "x"}`, `[`} {
		p := Defaults()
		if err := fromGenerationConfig([]byte(bad), &p); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestBench(t *testing.T) {
	m := openTable(t, nil)
	times, err := m.Bench(t.Context(), Bench{Prompt: 8, Generate: 4, Depth: 16, Repetitions: 3})
	if err != nil || len(times) != 3 || slices.Min(times) <= 0 {
		t.Errorf("%v, %v; want three times", times, err)
	}
	if _, err := m.Bench(t.Context(), Bench{Prompt: 65, Repetitions: 1}); !errors.Is(err, generate.ErrContext) {
		t.Errorf("a bench past the context: %v, want ErrContext", err)
	}
	if _, err := m.Bench(t.Context(), Bench{Prompt: -1, Repetitions: 1}); !errors.Is(err, generate.ErrParams) {
		t.Errorf("a negative bench: %v, want ErrParams", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Bench(ctx, Bench{Prompt: 8, Repetitions: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled bench: %v", err)
	}
}

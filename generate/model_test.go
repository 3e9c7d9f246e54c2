package generate

import (
	"context"
	"path/filepath"
	"testing"

	"lapidary/checkpoint"
	"lapidary/engine/ref"
	"lapidary/gemma"
	"lapidary/generate/generatetest"
	"lapidary/tokenizer"
)

// fake is a model of a table that counts what it is asked.
type fake struct {
	*gemma.Model
	tok       *tokenizer.Tokenizer
	evaluated []int32 // every token, in order
	passes    []int   // tokens of each pass
	before    func()  // runs before each pass
}

func newFake(t testing.TB, table generatetest.Table, context int) *fake {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bigram.gguf")
	if err := generatetest.WriteGGUF(path, table, context, nil); err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	tok, err := tokenizer.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	m, err := gemma.Load(c, ref.New())
	if err != nil {
		t.Fatal(err)
	}
	return &fake{Model: m, tok: tok}
}

func (f *fake) Forward(ctx context.Context, steps []gemma.Step, out *gemma.Logits) error {
	if f.before != nil {
		f.before()
	}
	for _, s := range steps {
		f.evaluated = append(f.evaluated, s.Tokens...)
		f.passes = append(f.passes, len(s.Tokens))
	}
	return f.Model.Forward(ctx, steps, out)
}

// greedy are parameters without chance.
func greedy(max int) Params {
	p := Defaults()
	p.Temperature, p.MaxTokens = 0, max
	return p
}

func ids(pieces ...string) []int32 {
	v := make([]int32, len(pieces))
	for i, p := range pieces {
		v[i] = generatetest.ID(p)
	}
	return v
}

// alphabet counts from a to z, then ends.
func alphabet() generatetest.Table {
	t := generatetest.Table{}
	t.Chain("<bos>", "a")
	for c := 'a'; c < 'z'; c++ {
		t.Chain(string(c), string(c+1))
	}
	return t.Chain("z", "<eos>")
}

// collect runs a generation to its end.
func collect(t *testing.T, f *fake, prompt []int32, p Params) (text string, tokens []int32, end *Result) {
	t.Helper()
	cache := f.NewCache()
	defer cache.Close()
	for tok, err := range Generate(t.Context(), f, f.tok, cache, prompt, p) {
		if err != nil {
			t.Fatal(err)
		}
		if end != nil {
			t.Fatal("a token came after the end")
		}
		text += tok.Text
		tokens = append(tokens, tok.ID)
		end = tok.End
	}
	if end == nil {
		t.Fatal("no token said how it ended")
	}
	return text, tokens, end
}

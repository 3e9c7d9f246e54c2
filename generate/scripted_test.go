package generate

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"lapidary/engine"
	"lapidary/gemma"
	"lapidary/generate/generatetest"
	"lapidary/tokenizer"
)

// scripted is a model whose logits depend on what its cache holds, exactly: the
// last tokens are hashed to a state, and each state has its row of a table. A
// token that is missing in the cache or was left behind there shows.
type scripted struct {
	table   *gemma.Model
	tok     *tokenizer.Tokenizer
	salt    uint64
	order   int // tokens that a state depends on
	context int
	vocab   int  // 0: the table's
	back    int  // positions that a cache can take back, negative for any
	sharpen bool // certain of each next token
	flat    bool // all tokens are as likely
	before  func()
	after   func(out *gemma.Logits)

	passes    int
	evaluated int // tokens
	longest   int // rows of logits of a pass at most
}

// letters are what scripted models say.
var letters = []string{"a", "b", "c", "d", "e"}

const states = 48

// newScripted makes one with random rows: a few letters each, and now and then
// the end.
func newScripted(t testing.TB) *scripted {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	table := generatetest.Table{}
	for _, state := range generatetest.Pieces()[:states] {
		row := map[string]float32{"<eos>": -4}
		for _, l := range letters {
			row[l] = float32(random.NormFloat64() * 2)
		}
		table[state] = row
	}
	f := newFake(t, table, 1<<16)
	return &scripted{table: f.Model, tok: f.tok, order: 2, context: 1 << 16, back: -1}
}

// scriptedCache is a cache that can be read.
type scriptedCache struct {
	held   []int32
	back   int
	newest int // positions it ever had since it was empty
}

func (c *scriptedCache) Len() int     { return len(c.held) }
func (c *scriptedCache) Bytes() int64 { return 0 }
func (c *scriptedCache) Close()       { c.held = nil }
func (c *scriptedCache) Truncate(n int) error {
	if n < 0 || n > len(c.held) || n > 0 && c.back >= 0 && n < c.newest-c.back {
		return fmt.Errorf("cannot truncate %d positions to %d", len(c.held), n)
	}
	if c.held = c.held[:n]; n == 0 {
		c.newest = 0
	}
	return nil
}

func (m *scripted) NewCache() engine.Cache { return &scriptedCache{back: m.back} }

func (m *scripted) Config() gemma.Config {
	c := m.table.Config()
	c.Context = m.context
	if m.vocab > 0 {
		c.Vocab = m.vocab
	}
	return c
}

// state is a token of the table for what was said last.
func (m *scripted) state(text []int32) int32 {
	h := m.salt
	for _, id := range text[max(0, len(text)-m.order):] {
		h = (h ^ uint64(id)) * 0x9E3779B97F4A7C15
		h ^= h >> 29
	}
	return int32(h % states)
}

func (m *scripted) Forward(ctx context.Context, steps []gemma.Step, out *gemma.Logits) error {
	if m.before != nil {
		m.before()
	}
	s := steps[0]
	c := s.Cache.(*scriptedCache)
	switch {
	case len(steps) != 1:
		return errors.New("one sequence is expected")
	case len(c.held)+len(s.Tokens) > m.context:
		return fmt.Errorf("%d tokens after %d: %w", len(s.Tokens), len(c.held), ErrContext)
	}
	text, rows := slices.Clone(c.held), []int32{}
	for _, id := range s.Tokens {
		if id < 0 || int(id) >= m.Config().Vocab {
			return fmt.Errorf("token %d is not in the vocabulary", id)
		}
		text = append(text, id)
		rows = append(rows, m.state(text))
	}
	if s.Logits == gemma.LastRow {
		rows = rows[len(rows)-1:]
	}
	if err := m.table.Forward(ctx, []gemma.Step{{Tokens: rows, Logits: gemma.AllRows}}, out); err != nil {
		return err
	}
	for i := range out.Rows() {
		m.shape(out.Row(i))
	}
	if m.after != nil {
		m.after(out)
	}
	c.held = text
	c.newest = max(c.newest, len(text))
	m.passes++
	m.evaluated += len(s.Tokens)
	m.longest = max(m.longest, out.Rows())
	return nil
}

// shape changes a row of the table as the model's fields say.
func (m *scripted) shape(row []float32) {
	for id := m.Config().Vocab; id < len(row); id++ {
		row[id] = float32(math.Inf(-1))
	}
	if m.sharpen {
		row[best(row).id] += 30
	}
	if m.flat {
		clear(row)
	}
}

// favourite is the likeliest token after a text.
func (m *scripted) favourite(text []int32) int32 {
	var out gemma.Logits
	if err := m.table.Forward(context.Background(), []gemma.Step{{Tokens: []int32{m.state(text)}, Logits: gemma.LastRow}}, &out); err != nil {
		return -1
	}
	m.shape(out.Row(0))
	return best(out.Row(0)).id
}

// outcome is everything that a generation gives.
type outcome struct {
	tokens []Token
	result Result
	ended  bool
	err    error
	held   []int32 // of the cache, afterwards
}

// trial is a generation that may be left or cancelled in the middle.
type trial struct {
	prompt []int32
	params Params
	leave  int // after so many tokens, 0 never
	cancel int
}

func (m *scripted) run(t testing.TB, tr trial, d Drafter) (o outcome) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cache := m.NewCache().(*scriptedCache)
	for tok, err := range Speculate(ctx, m, m.tok, cache, Prompt{Tokens: tr.prompt}, tr.params, d) {
		if err != nil {
			o.err = err
			break
		}
		if o.ended {
			t.Fatal("a token came after the end")
		}
		if tok.End != nil {
			o.ended, o.result = true, *tok.End
			tok.End = nil
		}
		o.tokens = append(o.tokens, tok)
		if len(o.tokens) == tr.leave {
			break
		}
		if len(o.tokens) == tr.cancel {
			cancel()
		}
	}
	o.held = slices.Clone(cache.held)
	return o
}

// ids are the tokens that a generation gave.
func (o *outcome) ids() []int32 {
	var ids []int32
	for _, t := range o.tokens {
		ids = append(ids, t.ID)
	}
	return ids
}

// salted is another model over the same table.
func (m *scripted) salted(salt uint64) *scripted {
	c := *m
	c.salt, c.before, c.after, c.passes, c.evaluated, c.longest = salt, nil, nil, 0, 0, 0
	return &c
}

var _ Model = (*scripted)(nil)

package cpu_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/engine"
	"lapidary/engine/cpu"
	"lapidary/engine/enginetest"
	"lapidary/gemma"
)

// size is a random model's.
type size struct {
	family                                               string
	layers, width, heads, kvHeads, headSize, feed, vocab int
	window, context                                      int
	// linear are the formats of the layers' matrices, by turns.
	linear []checkpoint.Type
}

// random writes a model with random weights and binds it to e.
func (s size) random(t testing.TB, e engine.Engine, opts ...gemma.Option) *gemma.Model {
	t.Helper()
	path := filepath.Join(t.TempDir(), "random.gguf")
	key := func(k string) string { return s.family + "." + k }
	metadata := map[string]any{
		"general.architecture": s.family, key("block_count"): uint32(s.layers), key("embedding_length"): uint32(s.width),
		key("feed_forward_length"): uint32(s.feed), key("context_length"): uint32(s.context), key("vocab_size"): uint32(s.vocab),
		key("attention.head_count"): uint32(s.heads), key("attention.head_count_kv"): uint32(s.kvHeads),
		key("attention.key_length"): uint32(s.headSize), key("attention.value_length"): uint32(s.headSize),
		key("attention.sliding_window"): uint32(s.window), key("rope.freq_base"): float32(1e6),
	}
	if err := checkpointtest.WriteGGUF(path, metadata, s.tensors()); err != nil {
		t.Fatal(err)
	}
	c, err := checkpoint.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	m, err := gemma.Load(c, e, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func (s size) tensors() []checkpoint.Tensor {
	rng := rand.New(rand.NewPCG(5, 6))
	var all []checkpoint.Tensor
	matrix := func(name string, typ checkpoint.Type, rows, cols int) {
		w := checkpointtest.RandomTensor(rng, typ, rows, cols)
		w.Name = name
		all = append(all, w)
	}
	norm := func(name string, n int) {
		w := make([]float32, n)
		for i := range w {
			w[i] = 1 + 0.1*float32(rng.NormFloat64())
		}
		all = append(all, checkpointtest.FloatTensor(name, w, n))
	}
	matrix("embed_tokens.weight", checkpoint.Q8_0, s.vocab, s.width)
	norm("norm.weight", s.width)
	q, kv := s.heads*s.headSize, s.kvHeads*s.headSize
	for i := range s.layers {
		for j, m := range []struct {
			name       string
			rows, cols int
		}{
			{"self_attn.q_proj", q, s.width}, {"self_attn.k_proj", kv, s.width}, {"self_attn.v_proj", kv, s.width}, {"self_attn.o_proj", s.width, q},
			{"mlp.gate_proj", s.feed, s.width}, {"mlp.up_proj", s.feed, s.width}, {"mlp.down_proj", s.width, s.feed},
		} {
			matrix(fmt.Sprintf("layers.%d.%s.weight", i, m.name), s.linear[(i+j)%len(s.linear)], m.rows, m.cols)
		}
		for _, name := range []string{"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"} {
			norm(fmt.Sprintf("layers.%d.%s.weight", i, name), s.width)
		}
		for _, name := range []string{"q_norm", "k_norm"} {
			norm(fmt.Sprintf("layers.%d.self_attn.%s.weight", i, name), s.headSize)
		}
	}
	return all
}

func tokens(n, vocab int) []int32 {
	rng := rand.New(rand.NewPCG(7, 8))
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = rng.Int32N(int32(vocab))
	}
	return ids
}

func open(t testing.TB, o cpu.Options) *cpu.Engine {
	t.Helper()
	e, err := cpu.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// TestModels runs whole models of every format, each operation of which is
// held against the plain engine on the same inputs.
func TestModels(t *testing.T) {
	formats := []checkpoint.Type{
		checkpoint.Q5_0, checkpoint.Q8_0, checkpoint.Q4_K, checkpoint.Q6_K, checkpoint.BF16, checkpoint.Q2_K, checkpoint.Q3_K,
		checkpoint.Q5_K, checkpoint.IQ4_XS, checkpoint.Q4_0, checkpoint.MXFP4, checkpoint.F16, checkpoint.Q5_1, checkpoint.IQ4_NL, checkpoint.Q4_1, checkpoint.F32,
	}
	for _, family := range []string{"gemma2", "gemma3"} {
		for _, o := range variants() {
			if o.Threads != 2 {
				continue
			}
			t.Run(family+"/"+o.Kernels, func(t *testing.T) {
				e := enginetest.Compare(t, open(t, o))
				m := size{family, 6, 256, 4, 2, 64, 256, 301, 40, 512, formats}.random(t, e)
				a, b := m.NewCache(), m.NewCache()
				for _, steps := range [][]gemma.Step{
					{{Cache: a, Tokens: tokens(39, 301), Logits: gemma.LastRow}},
					{{Cache: a, Tokens: tokens(1, 301), Logits: gemma.LastRow}},
					{{Cache: a, Tokens: tokens(1, 301), Logits: gemma.LastRow}, {Cache: b, Tokens: tokens(45, 301)}, {Tokens: tokens(5, 301), Logits: gemma.AllRows}},
					{{Cache: b, Tokens: tokens(1, 301), Logits: gemma.LastRow}},
				} {
					if err := m.Forward(t.Context(), steps, new(gemma.Logits)); err != nil {
						t.Fatal(err)
					}
				}
			})
		}
	}
}

// TestLongInput reads 30,000 tokens, 512 at a time, and then the last ten
// again, one at a time.
func TestLongInput(t *testing.T) {
	e := open(t, cpu.Options{Threads: 2})
	n := 30000
	if e.Kernels() == "generic" {
		n = 3000 // attention to all that came before takes minutes in portable Go
	}
	const vocab, window, layers = 96, 512, 6 // one of six layers is global
	m := size{"gemma3", layers, 64, 1, 1, 32, 64, vocab, window, 1 << 15, []checkpoint.Type{checkpoint.Q8_0, checkpoint.Q4_0}}.random(t, e)
	cache, ids := m.NewCache(), tokens(n, vocab)
	var logits gemma.Logits
	for from := 0; from < n; from += gemma.MaxRows {
		step := gemma.Step{Cache: cache, Tokens: ids[from:min(from+gemma.MaxRows, n)], Logits: gemma.AllRows}
		if err := m.Forward(t.Context(), []gemma.Step{step}, &logits); err != nil {
			t.Fatalf("after %d tokens: %v", from, err)
		}
	}
	expectBytes(t, cache.Bytes(), n, window, layers)

	const again = 10
	var want [][]float32
	for i := logits.Rows() - again; i < logits.Rows(); i++ {
		want = append(want, slices.Clone(logits.Row(i)))
	}
	if err := cache.Truncate(n - again); err != nil {
		t.Fatal(err)
	}
	var most float64
	for i, row := range want {
		step := gemma.Step{Cache: cache, Tokens: ids[n-again+i : n-again+i+1], Logits: gemma.LastRow}
		if err := m.Forward(t.Context(), []gemma.Step{step}, &logits); err != nil {
			t.Fatal(err)
		}
		for j, w := range row {
			// One row and many go through different kernels: float32 sums in
			// another order, and the roundings that they turn.
			got := logits.Row(0)[j]
			if most = max(most, math.Abs(float64(got-w))); !(most <= 1e-3) {
				t.Fatalf("token %d read alone has the logit %v, want %v as among others", n-again+i, got, w)
			}
		}
	}
	t.Logf("logits of tokens read alone differ by up to %.1e", most)
}

// expectBytes works out what a cache takes: keys and values of 32 elements in
// half precision, all of them in the global layer; in a local one the window,
// the rows of a pass, and a page at either end, one to go back and two to reuse.
func expectBytes(t *testing.T, got int64, n, window, layers int) {
	t.Helper()
	const position, page = 2 * 2 * 32, 128
	global := int64((n + page - 1) / page * page * position)
	least := global + int64(layers-1)*int64(window*position)
	most := global + int64(layers-1)*int64((window+gemma.MaxRows+5*page)*position)
	t.Logf("%d positions: %d bytes; %d without windows", n, got, int64(layers)*global)
	if got < least || got > most {
		t.Errorf("%d positions take %d bytes, want %d to %d", n, got, least, most)
	}
}

// TestDecodeAllocates: a step makes little garbage, and no more of it as the
// sequence grows.
func TestDecodeAllocates(t *testing.T) {
	const layers = 6
	for _, threads := range []int{1, 2} {
		m := size{"gemma3", layers, 64, 2, 1, 32, 96, 96, 64, 4096, []checkpoint.Type{checkpoint.Q8_0}}.random(t, open(t, cpu.Options{Threads: threads}))
		cache := m.NewCache()
		var logits gemma.Logits
		step := func(n int) {
			if err := m.Forward(t.Context(), []gemma.Step{{Cache: cache, Tokens: tokens(n, 96), Logits: gemma.LastRow}}, &logits); err != nil {
				t.Fatal(err)
			}
		}
		step(300)
		early := testing.AllocsPerRun(50, func() { step(1) })
		step(500)
		late := testing.AllocsPerRun(50, func() { step(1) })
		t.Logf("%d threads: %v allocations a step after 300 positions, %v after 850", threads, early, late)
		// Tensors, closures and lists: about 50 a layer. Buffers are none of them.
		if early > 70*layers || late > early+layers {
			t.Errorf("%d threads: %v allocations a step, then %v", threads, early, late)
		}
	}
}

// TestFewRowsAreAsAlone: up to eight rows of a sequence in one pass give the
// logits of a pass for each, to the bit, on every set, wherever their pages and
// windows begin, whatever the cache keeps.
func TestFewRowsAreAsAlone(t *testing.T) {
	n := 700
	if raced {
		n = 300 // ten times as slow, and not about bits
	}
	for _, o := range variants() {
		if o.Threads == 1 || o.Threads == 3 && !raced {
			continue
		}
		for _, c := range []struct {
			typ  checkpoint.Type
			opts []gemma.Option
		}{
			{typ: checkpoint.Q8_0}, {typ: checkpoint.Q5_0}, {typ: checkpoint.Q4_0}, {typ: checkpoint.F32}, {typ: checkpoint.BF16},
			{checkpoint.Q8_0, []gemma.Option{gemma.WithCache(engine.Int8)}}, {checkpoint.F32, []gemma.Option{gemma.WithCache(engine.Int8)}},
		} {
			m := size{"gemma3", 6, 64, 2, 1, 32, 96, 96, 64, 4096, []checkpoint.Type{c.typ}}.random(t, open(t, o), c.opts...)
			if err := fewRows(t, m, tokens(n, 96)); err != nil {
				t.Fatalf("%+v, %v, %d options: %v", o, c.typ, len(c.opts), err)
			}
		}
	}
}

func fewRows(t *testing.T, m *gemma.Model, ids []int32) error {
	together, alone := m.NewCache(), m.NewCache()
	var a, b gemma.Logits
	pass := func(c engine.Cache, ids []int32, out *gemma.Logits) {
		if err := m.Forward(t.Context(), []gemma.Step{{Cache: c, Tokens: ids, Logits: gemma.AllRows}}, out); err != nil {
			t.Fatal(err)
		}
	}
	for at := 0; at < len(ids); {
		n := min(len(ids)-at, []int{90, 8, 3, 8, 5, 2, 7, 4}[at%8])
		if n > 8 { // a prompt, in both the same way
			pass(alone, ids[at:at+n], &b)
		}
		pass(together, ids[at:at+n], &a)
		for i := 0; i < n && n <= 8; i++ {
			pass(alone, ids[at+i:at+i+1], &b)
			if !slices.Equal(a.Row(i), b.Row(0)) {
				return fmt.Errorf("row %d of %d from position %d differs from the same row alone", i, n, at)
			}
		}
		at += n
	}
	return nil
}

package gemma_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/engine/ref"
	"lapidary/gemma"
	"lapidary/gemma/goldentest"
)

const gemma3 = "testdata/goldens/gemma3_text"

func tokens(n int) []int32 {
	rng := rand.New(rand.NewPCG(3, 4))
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = rng.Int32N(160)
	}
	return ids
}

// forward gives copies of the rows of logits.
func forward(t *testing.T, m *gemma.Model, steps ...gemma.Step) [][]float32 {
	t.Helper()
	var logits gemma.Logits
	if err := m.Forward(t.Context(), steps, &logits); err != nil {
		t.Fatal(err)
	}
	return rows(&logits)
}

func rows(l *gemma.Logits) (rows [][]float32) {
	for i := range l.Rows() {
		rows = append(rows, slices.Clone(l.Row(i)))
	}
	return rows
}

func same(a, b [][]float32) bool {
	return slices.EqualFunc(a, b, func(x, y []float32) bool { return slices.Equal(x, y) })
}

// TestForwardEach: the rows of logits come one by one, as Forward has them,
// more of them than exist at a time.
func TestForwardEach(t *testing.T) {
	for _, e := range engines(t) {
		t.Run(e.Label, func(t *testing.T) {
			m := goldentest.Load(t, gemma3, e)
			steps := []gemma.Step{{Tokens: tokens(70), Logits: gemma.AllRows}, {Tokens: tokens(3)}, {Tokens: tokens(9), Logits: gemma.LastRow}}
			want := forward(t, m, steps...)
			var got [][]float32
			err := m.ForwardEach(t.Context(), steps, func(row int, logits []float32) error {
				if row != len(got) {
					t.Errorf("row %d comes after %d rows", row, len(got))
				}
				got = append(got, slices.Clone(logits))
				return nil
			})
			if err != nil || len(want) != 71 || !same(got, want) {
				t.Errorf("%d rows one by one are not the %d rows of Forward (%v)", len(got), len(want), err)
			}
		})
	}
}

// TestForwardEachStops: the visitor's error ends the pass, which then never was.
func TestForwardEachStops(t *testing.T) {
	for _, e := range engines(t) {
		m, stop := goldentest.Load(t, gemma3, e), errors.New("enough")
		cache := m.NewCache()
		visits := 0
		err := m.ForwardEach(t.Context(), []gemma.Step{{Cache: cache, Tokens: tokens(40), Logits: gemma.AllRows}}, func(int, []float32) error {
			if visits++; visits == 35 {
				return stop
			}
			return nil
		})
		if !errors.Is(err, stop) || visits != 35 || cache.Len() != 0 {
			t.Errorf("%s: %v after %d rows, %d positions in the cache", e.Label, err, visits, cache.Len())
		}
	}
}

// TestWants: the rows asked for, and no others, in the order of the steps.
func TestWants(t *testing.T) {
	m := goldentest.Load(t, gemma3, ref.New())
	a, b, c := tokens(5), tokens(4)[1:], tokens(9)[3:]
	alone := func(ids []int32, w gemma.Want) [][]float32 { return forward(t, m, gemma.Step{Tokens: ids, Logits: w}) }
	got := forward(t, m, gemma.Step{Tokens: a, Logits: gemma.LastRow}, gemma.Step{}, gemma.Step{Tokens: b}, gemma.Step{Tokens: c, Logits: gemma.AllRows})
	if want := append(alone(a, gemma.LastRow), alone(c, gemma.AllRows)...); !same(got, want) {
		t.Errorf("%d rows of a pass over three sequences differ from the %d they have alone", len(got), len(want))
	}
	if got := alone(a, gemma.NoLogits); len(got) != 0 {
		t.Errorf("%d rows of logits that nobody asked for", len(got))
	}
	if err := m.Forward(t.Context(), []gemma.Step{{Tokens: a}}, nil); err != nil {
		t.Errorf("a pass without logits: %v", err)
	}
	var logits gemma.Logits
	if err := m.Forward(t.Context(), nil, &logits); err != nil || logits.Rows() != 0 {
		t.Errorf("a pass of no steps: %d rows, %v", logits.Rows(), err)
	}
}

// TestLogitsAreReused: a call's rows replace those of the call before.
func TestLogitsAreReused(t *testing.T) {
	m := goldentest.Load(t, gemma3, ref.New())
	var logits gemma.Logits
	for _, n := range []int{40, 2, 7} {
		steps := []gemma.Step{{Tokens: tokens(n), Logits: gemma.AllRows}}
		if err := m.Forward(t.Context(), steps, &logits); err != nil {
			t.Fatal(err)
		}
		if want := forward(t, m, steps...); !same(rows(&logits), want) {
			t.Errorf("%d rows in used storage differ from new ones", n)
		}
	}
}

// TestContext: a step past the model's 256 positions is refused and nothing
// has happened, to the other sequences of the pass neither.
func TestContext(t *testing.T) {
	for _, e := range engines(t) {
		t.Run(e.Label, func(t *testing.T) {
			m := goldentest.Load(t, gemma3, e)
			full, other := m.NewCache(), m.NewCache()
			forward(t, m, gemma.Step{Cache: full, Tokens: tokens(250)}, gemma.Step{Cache: other, Tokens: tokens(3)})
			for _, steps := range [][]gemma.Step{
				{{Cache: other, Tokens: tokens(2)}, {Cache: full, Tokens: tokens(7), Logits: gemma.LastRow}},
				{{Tokens: tokens(257)}},
			} {
				var logits gemma.Logits
				if err := m.Forward(t.Context(), steps, &logits); !errors.Is(err, gemma.ErrContext) {
					t.Errorf("257 tokens in a context of 256: %v", err)
				}
			}
			if full.Len() != 250 || other.Len() != 3 {
				t.Errorf("a refused pass left %d and %d positions of 250 and 3", full.Len(), other.Len())
			}
			// The last six fit, and know what came before.
			got := forward(t, m, gemma.Step{Cache: full, Tokens: tokens(256)[250:], Logits: gemma.AllRows})
			want := forward(t, m, gemma.Step{Tokens: tokens(256), Logits: gemma.AllRows})[250:]
			for i, row := range got {
				if goldentest.Best(row) != goldentest.Best(want[i]) {
					t.Errorf("row %d after a refused pass has another best token", i)
				}
			}
			if full.Len() != 256 {
				t.Errorf("%d positions, want 256", full.Len())
			}
		})
	}
}

func TestForwardRefusesTokens(t *testing.T) {
	m := goldentest.Load(t, gemma3, ref.New())
	cache := m.NewCache()
	for _, id := range []int32{-1, 160, 1 << 30} {
		err := m.Forward(t.Context(), []gemma.Step{{Cache: cache, Tokens: []int32{3, id}}}, nil)
		if err == nil || !strings.Contains(err.Error(), "vocabulary of 160") || cache.Len() != 0 {
			t.Errorf("token %d: %v, %d positions", id, err, cache.Len())
		}
	}
}

// TestCancel: a cancelled pass reports it and the cache is as it was.
func TestCancel(t *testing.T) {
	for _, e := range engines(t) {
		m := goldentest.Load(t, gemma3, e)
		cache := m.NewCache()
		forward(t, m, gemma.Step{Cache: cache, Tokens: tokens(20)})
		ctx, cancel := context.WithCancel(t.Context())
		layer := 0
		err := m.ForwardObserved(ctx, []gemma.Step{{Cache: cache, Tokens: tokens(30), Logits: gemma.LastRow}}, new(gemma.Logits),
			func(name string, _ [][]float32) bool {
				if layer++; name == "layers.2" {
					cancel()
				}
				return false
			})
		if !errors.Is(err, context.Canceled) || cache.Len() != 20 {
			t.Errorf("%s: cancelled after layer 2: %v, %d positions", e.Label, err, cache.Len())
		}
		if layer > 10 { // the embedding, and three things a layer
			t.Errorf("%s: %d activations were made of a pass cancelled at the tenth", e.Label, layer)
		}
		want := forward(t, m, gemma.Step{Tokens: append(tokens(20), 7), Logits: gemma.LastRow})
		got := forward(t, m, gemma.Step{Cache: cache, Tokens: []int32{7}, Logits: gemma.LastRow})
		if goldentest.Best(got[0]) != goldentest.Best(want[0]) {
			t.Errorf("%s: after a cancelled pass the best token is %d, want %d", e.Label, goldentest.Best(got[0]), goldentest.Best(want[0]))
		}
	}
}

// TestObserver: watching changes nothing, editing does; the last layer and norm
// are seen of the rows that want logits.
func TestObserver(t *testing.T) {
	for _, e := range engines(t) {
		m := goldentest.Load(t, gemma3, e)
		steps := []gemma.Step{{Tokens: tokens(11), Logits: gemma.LastRow}}
		plain := forward(t, m, steps...)
		observe := func(o gemma.Observer) [][]float32 {
			var logits gemma.Logits
			if err := m.ForwardObserved(t.Context(), steps, &logits, o); err != nil {
				t.Fatal(err)
			}
			return rows(&logits)
		}
		var names []string
		seen := observe(func(name string, rows [][]float32) bool {
			names = append(names, name)
			wanted := name == "norm" || strings.HasPrefix(name, "layers.5")
			if n := map[bool]int{true: 1, false: 11}[wanted]; len(rows) != n || len(rows[0]) != 32 {
				t.Errorf("%s: %s is %d rows of %d", e.Label, name, len(rows), len(rows[0]))
			}
			rows[0][0]++ // without saying so: the edit is not taken
			return false
		})
		if !same(seen, plain) {
			t.Errorf("%s: being watched changes the logits", e.Label)
		}
		if want := 1 + 3*6 + 1; len(names) != want || names[0] != "embed" || names[1] != "layers.0.attention" || names[3] != "layers.0" || names[want-1] != "norm" {
			t.Errorf("%s: observed %v", e.Label, names)
		}
		for _, name := range names {
			edited := observe(func(n string, rows [][]float32) bool {
				for i := range rows[len(rows)-1] {
					rows[len(rows)-1][i] *= -0.5
				}
				return n == name
			})
			if same(edited, plain) {
				t.Errorf("%s: editing %s changes nothing", e.Label, name)
			}
		}
	}
}

// TestLoadRefuses: what is missing or has another shape is named.
func TestLoadRefuses(t *testing.T) {
	c, err := checkpoint.Open(gemma3)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, test := range []struct {
		change func(tensors []checkpoint.Tensor) []checkpoint.Tensor
		says   string
	}{
		{func(ts []checkpoint.Tensor) []checkpoint.Tensor {
			return slices.DeleteFunc(ts, func(t checkpoint.Tensor) bool { return t.Name == "layers.3.self_attn.k_norm.weight" })
		}, "layers.3.self_attn.k_norm.weight is missing"},
		{func(ts []checkpoint.Tensor) []checkpoint.Tensor {
			for i := range ts {
				if ts[i].Name == "layers.5.mlp.down_proj.weight" {
					ts[i].Shape = []int{48, 32}
				}
			}
			return ts
		}, "layers.5.mlp.down_proj.weight is [48 32], want [32 48]"},
		{func(ts []checkpoint.Tensor) []checkpoint.Tensor { return nil }, "embed_tokens.weight is missing"},
	} {
		path := t.TempDir() + "/model.gguf"
		writeGGUF(t, path, tinyMetadata(), test.change(slices.Clone(c.Tensors())))
		broken, err := checkpoint.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		_, err = gemma.Load(broken, ref.New())
		if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), path) {
			t.Errorf("%v, want it to say %q", err, test.says)
		}
		broken.Close()
	}
}

// tinyMetadata is testdata/goldens/gemma3_text/config.json in the words of GGUF.
func tinyMetadata() map[string]any {
	return map[string]any{
		"general.architecture": "gemma3", "gemma3.vocab_size": uint32(160),
		"gemma3.embedding_length": uint32(32), "gemma3.feed_forward_length": uint32(48), "gemma3.block_count": uint32(6),
		"gemma3.attention.head_count": uint32(4), "gemma3.attention.head_count_kv": uint32(2),
		"gemma3.attention.key_length": uint32(16), "gemma3.attention.value_length": uint32(16),
		"gemma3.context_length": uint32(256), "gemma3.attention.sliding_window": uint32(8),
		"gemma3.attention.sliding_window_pattern": uint32(3),
		"gemma3.rope.freq_base":                   float32(1e6), "gemma3.rope.scaling.type": "linear", "gemma3.rope.scaling.factor": float32(8),
	}
}

// TestUntiedHead: a head of its own is used instead of the embedding.
func TestUntiedHead(t *testing.T) {
	c, err := checkpoint.Open(gemma3)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	tensors := slices.Clone(c.Tensors())
	embed, _ := c.Tensor("embed_tokens.weight")
	head := embed
	head.Name, head.Data = "lm_head.weight", slices.Clone(embed.Data)
	row := head.RowBytes() // rows 3 and 4 change places
	copy(head.Data[3*row:], embed.Data[4*row:5*row])
	copy(head.Data[4*row:], embed.Data[3*row:4*row])
	var with [2][][]float32
	for i, ts := range [][]checkpoint.Tensor{tensors, append(tensors, head)} {
		path := t.TempDir() + "/model.gguf"
		writeGGUF(t, path, tinyMetadata(), ts)
		with[i] = forward(t, goldentest.Load(t, path, ref.New()), gemma.Step{Tokens: tokens(4), Logits: gemma.LastRow})
	}
	tied, own := with[0][0], with[1][0]
	if own[3] != tied[4] || own[4] != tied[3] || own[5] != tied[5] {
		t.Errorf("logits 3 to 5 are %v with a head of its own, %v tied", own[3:6], tied[3:6])
	}
}

func writeGGUF(t *testing.T, path string, metadata map[string]any, tensors []checkpoint.Tensor) {
	t.Helper()
	if err := checkpointtest.WriteGGUF(path, metadata, tensors); err != nil {
		t.Fatal(err)
	}
}

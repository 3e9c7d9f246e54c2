package cpu_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/engine"
	"lapidary/engine/cpu"
	"lapidary/gemma"
	"lapidary/internal/realmodel"
	"lapidary/tokenizer"
)

// checkBest holds what Best finds against everything Linear computes, of the
// same rows, and returns how many outputs were multiplied; −1 if Best has none.
func checkBest(t *testing.T, e *cpu.Engine, w engine.Weight, rows []float32, n int) int {
	t.Helper()
	vocab, width := w.Dims()
	p := e.Begin(t.Context(), []engine.Span{{Rows: len(rows) / width}})
	defer p.Discard()
	x := p.Write(rows, width)
	ranked := p.(engine.Ranker).Best(x, w, n)
	if ranked == nil {
		return -1
	}
	all := make([]float32, len(rows)/width*vocab)
	p.Read(p.Linear(x, w)[0], all)
	multiplied := 0
	for r, found := range ranked {
		row := all[r*vocab : (r+1)*vocab]
		multiplied += len(found.Outputs)
		if !slices.IsSorted(found.Outputs) {
			t.Fatalf("row %d: outputs are out of order", r)
		}
		for i, id := range found.Outputs {
			if found.Values[i] != row[id] {
				t.Fatalf("row %d: output %d is %v, Linear says %v", r, id, found.Values[i], row[id])
			}
			row[id] = float32(math.Inf(-1)) // found
		}
		if len(found.Values) < n {
			t.Fatalf("row %d: %d outputs, want %d at least", r, len(found.Values), n)
		}
		least := slices.Sorted(slices.Values(found.Values))[len(found.Values)-n]
		if missed := slices.Max(row); missed > least {
			t.Errorf("row %d: an output of %v was missed; the %d. best found is %v", r, missed, n, least)
		}
	}
	return multiplied
}

// warm asks until there is a sketch.
func warm(t *testing.T, e *cpu.Engine, w engine.Weight) bool {
	_, width := w.Dims()
	x := make([]float32, width)
	for i := range x {
		x[i] = float32(math.Sin(float64(i)))
	}
	for range 20 {
		p := e.Begin(t.Context(), []engine.Span{{Rows: 1}})
		found := p.(engine.Ranker).Best(p.Write(x, width), w, 1)
		p.Discard()
		if found != nil {
			return true
		}
	}
	return false
}

// TestBestOfRandomOutputs: nothing is missed of weights and rows of several
// kinds, whatever is asked for.
func TestBestOfRandomOutputs(t *testing.T) {
	for _, o := range variants() {
		e := open(t, o)
		rng := rand.New(rand.NewPCG(1, 2))
		for _, cols := range []int{64, 640} {
			stored := checkpointtest.RandomTensor(rng, checkpoint.Q8_0, 32768, cols)
			w, err := e.Load(stored)
			if err != nil {
				t.Fatal(err)
			}
			if !warm(t, e, w) {
				if o.Kernels == "generic" || o.Kernels == "neon" {
					continue
				}
				t.Fatalf("%+v: no sketch", o)
			}
			for _, n := range []int{1, 2, 7} {
				for _, rows := range []int{1, 3, 8} {
					x := make([]float32, rows*cols)
					for i := range x {
						x[i] = float32(rng.NormFloat64() * math.Exp(2*rng.NormFloat64()))
					}
					if checkBest(t, e, w, x, n) < 0 {
						t.Fatalf("%+v: %d best of %d rows: no answer", o, n, rows)
					}
				}
			}
		}
	}
}

// TestNoBest: where a sketch promises nothing, there is none.
func TestNoBest(t *testing.T) {
	e := open(t, cpu.Options{})
	rng := rand.New(rand.NewPCG(1, 2))
	infinite := checkpointtest.RandomTensor(rng, checkpoint.Q8_0, 32768, 64)
	infinite.Data[34*77], infinite.Data[34*77+1] = 0, 0x7c
	// Codes that are multiples of 16: their rests are not spread.
	coarse := checkpointtest.RandomTensor(rng, checkpoint.Q8_0, 32768, 640)
	for i := range coarse.Data {
		if i%34 >= 2 {
			coarse.Data[i] &= 0xf0
		}
	}
	for what, stored := range map[string]checkpoint.Tensor{
		"an infinite scale":   infinite,
		"another format":      checkpointtest.RandomTensor(rng, checkpoint.Q5_0, 32768, 64),
		"half a group":        checkpointtest.RandomTensor(rng, checkpoint.Q8_0, 32768+4, 64),
		"codes without rests": coarse,
	} {
		w, err := e.Load(stored)
		if err != nil {
			t.Fatal(err)
		}
		if warm(t, e, w) {
			_, cols := w.Dims()
			x := slices.Repeat([]float32{1}, cols) // every rest counts the same way
			if checkBest(t, e, w, x, 1) >= 0 {
				t.Errorf("%s: there is an answer", what)
			}
		}
	}
}

// TestBestOfTheRealHead: of the rows that the real model makes of a text,
// nothing is missed. LAPIDARY_SKETCH_ROWS asks for more of them.
func TestBestOfTheRealHead(t *testing.T) {
	c, err := checkpoint.Open(realmodel.Path(t))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	e := open(t, cpu.Options{})
	stored, _ := c.Tensor("embed_tokens.weight")
	w, err := e.Load(stored)
	if err != nil {
		t.Fatal(err)
	}
	if !warm(t, e, w) {
		t.Skip("no sketch on this processor")
	}
	limit := 200
	if n, err := strconv.Atoi(os.Getenv("LAPIDARY_SKETCH_ROWS")); err == nil {
		limit = n
	}
	_, width := w.Dims()
	multiplied, done := map[int]int{}, 0
	for rows := range hidden(t, c, e) {
		for at := 0; at < len(rows) && done < limit; at += 8 * width {
			n := []int{1, 64}[done/8%2]
			found := checkBest(t, e, w, rows[at:min(at+8*width, len(rows))], n)
			if found < 0 {
				t.Fatal("no answer")
			}
			multiplied[n] += found
			done += 8
		}
	}
	t.Logf("%d rows; multiplied on average for the best: %d, for the 64 best: %d", done, 2*multiplied[1]/done, 2*multiplied[64]/done)
}

// hidden are the rows that the head multiplies, of passages of the license.
func hidden(t *testing.T, c *checkpoint.Checkpoint, e *cpu.Engine) func(yield func([]float32) bool) {
	text, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	tok, err := tokenizer.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	m, err := gemma.Load(c, e)
	if err != nil {
		t.Fatal(err)
	}
	var ids []int32
	for _, x := range tok.Encode(string(text)) {
		ids = append(ids, x.ID)
	}
	return func(yield func([]float32) bool) {
		for at := 0; at+128 <= len(ids); at += 128 {
			var rows []float32
			steps := []gemma.Step{{Tokens: append([]int32{tok.BOS()}, ids[at:at+127]...), Logits: gemma.AllRows}}
			ctx, stop := context.WithCancel(t.Context())
			_ = m.ForwardObserved(ctx, steps, new(gemma.Logits), func(name string, seen [][]float32) bool {
				if name == "norm" {
					for _, r := range seen {
						rows = append(rows, r...)
					}
					stop() // the logits are not wanted
				}
				return false
			})
			stop()
			if len(rows) == 0 {
				t.Fatal(fmt.Sprint("no rows of passage ", at))
			}
			if !yield(rows) {
				return
			}
		}
	}
}

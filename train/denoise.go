package train

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"lapidary/gemma"
	"lapidary/tokenizer"
	"lapidary/train/data"
	"lapidary/train/recipe"
)

// denoise is T5's span corruption (Raffel et al. 2020, arXiv:1910.10683, section
// 3.1.4): the encoder reads a text from which spans were taken out, each of them
// marked by a token of its own, and the decoder writes those tokens, each with
// what it stands for, then one more and the end. The marks are the vocabulary's
// unused tokens in their order, <unused0>, <unused1>, …
//
// As in the paper, a text is a piece of a batch's documents, one after the
// other. All texts of a batch are as long, so that few shapes occur: the lines'
// mean, less at most a sixteenth of a line. Which spans are taken depends on the
// seed, the epoch and the text alone.
type denoise struct {
	rate, length float64
	seed         uint64
	marks        []int32
	begin, end   int32
}

// mostMarks is more than a line of 4096 tokens needs.
const mostMarks = 256

// newDenoise is the objective for an encoder–decoder and its vocabulary.
func newDenoise(o recipe.Objective, seed uint64, c gemma.Config, t *tokenizer.Tokenizer) (denoise, error) {
	d := denoise{rate: o.Rate, length: o.MeanLength, seed: seed, begin: t.BOS()}
	if c.Encoder == nil {
		return d, fmt.Errorf("objective span_denoise: a %s model has no encoder; next_token trains it", c.Family)
	}
	for i := range mostMarks {
		id, ok := t.ID(fmt.Sprintf("<unused%d>", i))
		if !ok || int(id) >= min(c.Vocab, c.Encoder.Vocab) {
			break
		}
		d.marks = append(d.marks, id)
	}
	ends := t.EOS()
	if len(d.marks) < 2 || d.begin < 0 || len(ends) == 0 {
		return d, fmt.Errorf("objective span_denoise: the vocabulary has %d unused tokens (<unused0>, …) to mark spans with, and needs 2, <bos> and <eos>", len(d.marks))
	}
	d.end = ends[0]
	return d, nil
}

func (denoise) kind() data.Kind { return data.Texts }

// counts is how many tokens the decoder has to write.
func (d denoise) counts(b data.Batch) float64 {
	n := d.size(b, len(d.stream(b)))
	if n == 0 {
		return 0
	}
	noise, spans := d.parts(n)
	return float64(b.Lines * (noise + spans + 2))
}

// stream is a batch's documents without what begins them.
func (d denoise) stream(b data.Batch) []int32 {
	var all []int32
	for line, documents := range b.Documents {
		at := line * b.Length
		for _, n := range documents {
			tokens := b.Tokens[at : at+n]
			if at += n; n > 0 && tokens[0] == d.begin {
				tokens = tokens[1:]
			}
			all = append(all, tokens...)
		}
	}
	return all
}

// size is how long each of a batch's texts is, 0 for too short.
func (d denoise) size(b data.Batch, tokens int) int {
	const least = 4
	n := tokens / b.Lines
	if unit := max(1, b.Length/16); n >= unit {
		n -= n % unit
	}
	if n < least {
		return 0
	}
	return n
}

// parts is how many of n tokens are taken out, in how many spans.
func (d denoise) parts(n int) (noise, spans int) {
	noise = min(max(1, int(math.Round(d.rate*float64(n)))), n-1)
	spans = max(1, int(math.Round(float64(noise)/d.length)))
	return noise, min(spans, noise, n-noise, len(d.marks)-1)
}

// corrupt is what the encoder reads of a text and what the decoder writes.
func (d denoise) corrupt(text []int32, epoch int) (source, target []int32) {
	h := fnv.New64a()
	for _, id := range text {
		h.Write(binary.LittleEndian.AppendUint32(nil, uint32(id)))
	}
	rng := rand.New(rand.NewPCG(d.seed+uint64(epoch), h.Sum64()))
	noise, spans := d.parts(len(text))
	kept, taken := division(rng, len(text)-noise, spans), division(rng, noise, spans)
	source = []int32{d.begin}
	at := 0
	for i := range spans {
		source = append(append(source, text[at:at+kept[i]]...), d.marks[i])
		at += kept[i]
		target = append(append(target, d.marks[i]), text[at:at+taken[i]]...)
		at += taken[i]
	}
	return source, append(target, d.marks[spans], d.end)
}

// division is one of all ways to make n of so many numbers above 0, each as
// likely as any other.
func division(rng *rand.Rand, n, parts int) []int {
	cuts := rng.Perm(n - 1)[:parts-1]
	slices.Sort(cuts)
	sizes := make([]int, parts)
	before := 0
	for i, c := range cuts {
		sizes[i], before = c+1-before, c+1
	}
	sizes[parts-1] = n - before
	return sizes
}

func (d denoise) trace(ctx context.Context, s subject, b data.Batch, by float64) (micro, error) {
	stream := d.stream(b)
	n := d.size(b, len(stream))
	if n == 0 {
		return nil, fmt.Errorf("span_denoise: %d tokens on %d lines are too few", len(stream), b.Lines)
	}
	t := s.engine.Trace(0)
	m := s.model.On(t)
	var steps []gemma.Step
	var want targets
	for line := range b.Lines {
		source, target := d.corrupt(stream[line*n:(line+1)*n], b.Epoch)
		cache := m.NewCache()
		if err := m.Source(ctx, cache, gemma.Step{Tokens: source, Adapter: s.adapter}); err != nil {
			return nil, err
		}
		read := append([]int32{d.begin}, target[:len(target)-1]...)
		steps = append(steps, gemma.Step{Cache: cache, Tokens: read, Logits: gemma.AllRows, Adapter: s.adapter})
		want.ids = append(want.ids, target...)
	}
	want.weights = slices.Repeat([]float32{float32(by)}, len(want.ids))
	x, err := s.states(ctx, t, steps)
	if err != nil {
		return nil, err
	}
	l := crossEntropy(t, x, s.head(), want)
	return t.Record(l.value, l.slope)
}

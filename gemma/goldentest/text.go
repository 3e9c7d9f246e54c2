package goldentest

import (
	"fmt"
	"math"
	"slices"

	"lapidary/engine"
	"lapidary/gemma"
)

// step is the run's first row of tokens with what its media become.
func (c *Case) step(r golden) gemma.Step {
	c.Helper()
	step := gemma.Step{Tokens: r.Inputs["input_ids"].ids(0)}
	step.Soft = c.soft(r, step.Tokens)
	step.Together = c.together(r, len(step.Tokens))
	// The reference has one mask for training and another for generating.
	step.Throughout = c.Model.Config().Family == "gemma4_unified" && r.Name != "greedy"
	return step
}

// logits: one pass over a sequence longer than the window, forgotten and kept.
func (c *Case) logits(r golden) {
	step := c.step(r)
	step.Logits = gemma.AllRows
	var logits gemma.Logits
	for _, cache := range []engine.Cache{nil, c.Model.NewCache()} {
		step.Cache = cache
		c.Forward([]gemma.Step{step}, &logits)
		c.rowsNear("logits", rows(&logits), r.Outputs["logits"])
	}
}

// greedy decodes past the window, with the cache and without.
func (c *Case) greedy(r golden) {
	first, want := c.step(r), r.Outputs["tokens"].ids(0)
	for _, cached := range []bool{true, false} {
		tokens, next := slices.Clone(first.Tokens), first
		next.Logits = gemma.LastRow
		if cached {
			next.Cache = c.Model.NewCache()
		}
		var logits gemma.Logits
		for at := 0; len(tokens) < len(want); at++ {
			c.Forward([]gemma.Step{next}, &logits)
			if uncached, ok := r.Outputs["logits_uncached"]; ok {
				c.Near(fmt.Sprintf("cache %v, token %d", cached, at), logits.Row(0), uncached.row(at))
			}
			tokens = append(tokens, Best(logits.Row(0)))
			if cached {
				next = gemma.Step{Cache: next.Cache, Tokens: tokens[len(tokens)-1:], Logits: gemma.LastRow}
			} else {
				next.Tokens = tokens
			}
		}
		if !slices.Equal(tokens, want) {
			c.Errorf("with cache %v: %v, want %v", cached, tokens, want)
		}
	}
}

// unpadded are the rows of a batch without the padding at either end.
func unpadded(in map[string]array) (rows [][]int32) {
	for i := range in["input_ids"].Shape[0] {
		ids := in["input_ids"].ids(i)
		mask, ok := in["attention_mask"]
		if !ok {
			rows = append(rows, ids)
			continue
		}
		var kept []int32
		for j, m := range mask.row(i) {
			if m != 0 {
				kept = append(kept, ids[j])
			}
		}
		rows = append(rows, kept)
	}
	return rows
}

// batch: two sequences of different lengths in one pass, which the reference
// had to pad.
func (c *Case) batch(r golden) {
	var steps []gemma.Step
	for _, ids := range unpadded(r.Inputs) {
		steps = append(steps, gemma.Step{Tokens: ids, Logits: gemma.AllRows})
	}
	var logits gemma.Logits
	c.Forward(steps, &logits)
	width, row := r.Inputs["input_ids"].Shape[1], 0
	for i, s := range steps {
		for j := range s.Tokens {
			at := i*width + width - len(s.Tokens) + j
			c.Near(fmt.Sprintf("sequence %d, row %d", i, j), logits.Row(row), r.Outputs["logits"].row(at))
			row++
		}
	}
}

// batchGreedy decodes both sequences together.
func (c *Case) batchGreedy(r golden) {
	var steps []gemma.Step
	got := unpadded(r.Inputs)
	for _, ids := range got {
		steps = append(steps, gemma.Step{Cache: c.Model.NewCache(), Tokens: ids, Logits: gemma.LastRow})
	}
	var logits gemma.Logits
	for range r.Outputs["tokens"].Shape[1] - r.Inputs["input_ids"].Shape[1] {
		c.Forward(steps, &logits)
		for i := range steps {
			got[i] = append(got[i], Best(logits.Row(i)))
			steps[i].Tokens = got[i][len(got[i])-1:]
		}
	}
	for i, ids := range got {
		all := r.Outputs["tokens"].ids(i)
		if want := all[len(all)-len(ids):]; !slices.Equal(ids, want) {
			c.Errorf("sequence %d: %v, want %v", i, ids, want)
		}
	}
}

// translation: an encoder's states and a decoder's logits, in one pass and one
// token at a time.
func (c *Case) translation(r golden) {
	c.media(r)
	sources := unpadded(r.Inputs)
	width := r.Inputs["input_ids"].Shape[1]
	decoder := r.Inputs["decoder_input_ids"]
	n := decoder.Shape[1]
	for i, ids := range sources {
		source := gemma.Step{Tokens: ids, Soft: c.soft(r, ids)}
		hidden := Must[[]float32](c)(c.Model.Hidden(c.Context(), []gemma.Step{source}))
		states := r.Outputs["encoder_last_hidden_state"]
		for j := range ids {
			size := states.Shape[2]
			c.Near(fmt.Sprintf("source %d, row %d", i, j), hidden[j*size:(j+1)*size], states.row(i*width+j))
		}
		for _, piece := range []int{n, 1} {
			cache := c.source(source)
			var logits gemma.Logits
			for at := 0; at < n; at += piece {
				c.Forward([]gemma.Step{{Cache: cache, Tokens: decoder.ids(i)[at : at+piece], Logits: gemma.AllRows}}, &logits)
				for j := range piece {
					c.Near(fmt.Sprintf("target %d in pieces of %d, row %d", i, piece, at+j), logits.Row(j), r.Outputs["logits"].row(i*n+at+j))
				}
			}
		}
	}
}

// source is a memory with a source.
func (c *Case) source(step gemma.Step) engine.Cache {
	c.Helper()
	cache := c.Model.NewCache()
	if err := c.Model.Source(c.Context(), cache, step); err != nil {
		c.Fatal(err)
	}
	return cache
}

func (c *Case) greedyTranslation(r golden) {
	ids, want := r.Inputs["input_ids"].ids(0), r.Outputs["tokens"].ids(0)
	source := gemma.Step{Tokens: ids, Soft: c.soft(r, ids)}
	for _, cached := range []bool{true, false} {
		tokens := r.Inputs["decoder_input_ids"].ids(0)
		next, cache := tokens, c.source(source)
		var logits gemma.Logits
		for len(tokens) < len(want) {
			c.Forward([]gemma.Step{{Cache: cache, Tokens: next, Logits: gemma.LastRow}}, &logits)
			tokens = append(tokens, Best(logits.Row(0)))
			if next = tokens[len(tokens)-1:]; !cached {
				next, cache = tokens, c.source(source)
			}
		}
		if !slices.Equal(tokens, want) {
			c.Errorf("with cache %v: %v, want %v", cached, tokens, want)
		}
	}
}

// loss is the mean cross-entropy that a training step begins with.
func (c *Case) loss(r golden) {
	var logits [][]float32
	var labels []int32
	config := c.Model.Config()
	var out gemma.Logits
	switch {
	case config.Encoder != nil: // the decoder is given the labels behind a BOS
		for i, ids := range unpadded(r.Inputs) {
			target := r.Inputs["labels"].ids(i)
			cache := c.source(gemma.Step{Tokens: ids, Soft: c.soft(r, ids)})
			c.Forward([]gemma.Step{{Cache: cache, Tokens: append([]int32{2}, target[:len(target)-1]...), Logits: gemma.AllRows}}, &out)
			logits, labels = append(logits, rows(&out)...), append(labels, target...)
		}
	default:
		step := c.step(r)
		step.Logits = gemma.AllRows
		c.Forward([]gemma.Step{step}, &out)
		logits, labels = rows(&out)[:out.Rows()-1], r.Inputs["labels"].ids(0)[1:]
	}
	c.Near("loss", []float32{CrossEntropy(logits, labels)}, []float64{*r.Loss})
}

// CrossEntropy is the mean of −log softmax(logits)[label] over the labels that
// are not −100.
func CrossEntropy(logits [][]float32, labels []int32) float32 {
	var sum, n float64
	for i, label := range labels {
		if label == -100 {
			continue
		}
		var total float64
		top := float64(slices.Max(logits[i]))
		for _, v := range logits[i] {
			total += math.Exp(float64(v) - top)
		}
		sum += math.Log(total) + top - float64(logits[i][label])
		n++
	}
	return float32(sum / n)
}

// embed: hidden states and a vector for each text or mixture.
func (c *Case) embed(r golden) {
	c.media(r)
	states, width := r.Outputs["last_hidden_state"], r.Inputs["input_ids"].Shape[1]
	var steps []gemma.Step
	for i, ids := range unpadded(r.Inputs) {
		step := gemma.Step{Tokens: ids, Soft: c.soft(r, ids)}
		steps = append(steps, step)
		size := states.Shape[2]
		hidden := Must[[]float32](c)(c.Model.Hidden(c.Context(), []gemma.Step{step}))
		for j := range ids {
			c.Near(fmt.Sprintf("text %d, row %d", i, j), hidden[j*size:(j+1)*size], states.row(i*width+j))
		}
	}
	vectors := Must[[][]float32](c)(c.Model.Embed(c.Context(), steps))
	c.rowsNear("embedding", vectors, r.Outputs["embedding"])
	for i, v := range vectors {
		if short, ok := r.Outputs["embedding_first_8"]; ok {
			c.Near("truncated", gemma.Truncated(v, short.Shape[1]), short.row(i))
		}
	}
}

func (c *Case) classify(r golden) {
	var steps []gemma.Step
	for _, ids := range unpadded(r.Inputs) {
		steps = append(steps, gemma.Step{Tokens: ids})
	}
	logits := Must[[][]float32](c)(c.Model.Classify(c.Context(), steps))
	c.rowsNear("logits", logits, r.Outputs["logits"])
	if r.Loss != nil {
		var labels []int32
		for _, v := range r.Inputs["labels"].Data {
			labels = append(labels, int32(v))
		}
		c.Near("loss", []float32{CrossEntropy(logits, labels)}, []float64{*r.Loss})
	}
}

// draft: an assistant's guess from the keys and values its target has left.
func (c *Case) draft(r golden) {
	target := Load(c.T, c.folder+"/../"+r.Inputs["target_case"].text, c.Engine)
	drafter := Must[*gemma.Drafter](c)(gemma.NewDrafter(c.Model, target))
	ids := r.Inputs["target_input_ids"].ids(0)
	cache := target.NewCache()
	var hidden []float32
	err := target.ForwardObserved(c.Context(), []gemma.Step{{Cache: cache, Tokens: ids, Logits: gemma.LastRow}}, new(gemma.Logits),
		func(name string, rows [][]float32) bool {
			if name == "norm" {
				hidden = slices.Clone(rows[0])
			}
			return false
		})
	if err != nil {
		c.Fatal(err)
	}
	given := r.Inputs["inputs_embeds"].row(0)
	c.Near("the target's state", hidden, given[len(given)/2:])
	var logits gemma.Logits
	for range 2 { // a draft leaves no trace
		next := Must[[]float32](c)(drafter.Step(c.Context(), cache, ids[len(ids)-1], len(ids)-1, hidden, &logits))
		c.Near("logits", logits.Row(0), r.Outputs["logits"].row(0))
		c.Near("next state", next, r.Outputs["last_hidden_state"].row(0))
	}
	if cache.Len() != len(ids) {
		c.Errorf("the cache holds %d positions after drafts, want %d", cache.Len(), len(ids))
	}
}

// denoise: a canvas behind a prompt, twice.
func (c *Case) denoise(r golden) {
	ids := r.Inputs["input_ids"].ids(0)
	hidden := Must[[]float32](c)(c.Model.Hidden(c.Context(), []gemma.Step{{Tokens: ids}}))
	c.Near("states", hidden, r.Outputs["encoder_last_hidden_state"].Data)
	cache := c.Model.NewCache()
	c.Forward([]gemma.Step{{Cache: cache, Tokens: ids}}, nil)
	var before []float32
	canvas := r.Inputs["canvas"].ids(0)
	for _, name := range []string{"logits_step1", "logits_step2"} {
		var logits gemma.Logits
		if err := c.Model.Denoise(c.Context(), cache, canvas, before, &logits); err != nil {
			c.Fatal(err)
		}
		c.rowsNear(name, rows(&logits), r.Outputs[name])
		before, canvas = nil, nil
		for i := range logits.Rows() {
			before, canvas = append(before, logits.Row(i)...), append(canvas, Best(logits.Row(i)))
		}
		if second := r.Outputs["canvas_step2"].ids(0); name == "logits_step1" && !slices.Equal(canvas, second) {
			c.Errorf("the second canvas is %v, want %v", canvas, second)
		}
	}
	if cache.Len() != len(ids) {
		c.Errorf("the cache holds %d positions after denoising, want %d", cache.Len(), len(ids))
	}
}

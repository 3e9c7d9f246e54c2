package main

import (
	"fmt"
	"time"

	"lapidary/bench/probe"
	"lapidary/checkpoint"
	"lapidary/engine/cpu/kernel"
)

// work is what a model's matrices ask for.
type work struct {
	bytes    float64 // read for one token of decoding
	products float64 // multiply-adds for one token of a prompt, without the output layer
	output   float64 // multiply-adds of the output layer, once a prompt
}

// workOf counts the matrices of a file. A tied embedding is the output layer;
// one that is not tied is looked up and not multiplied.
func workOf(tensors []checkpoint.Tensor) work {
	var w work
	var tied checkpoint.Tensor
	for _, t := range tensors {
		switch n := float64(t.Rows()) * float64(t.Cols()); {
		case len(t.Shape) < 2:
			w.bytes += float64(len(t.Data)) // a norm
		case t.Name == "embed_tokens.weight":
			tied = t
		case t.Name == "lm_head.weight":
			w.output = n
			w.bytes += float64(len(t.Data))
		default:
			w.products += n
			w.bytes += float64(len(t.Data))
		}
	}
	if w.output == 0 {
		w.output = float64(tied.Rows()) * float64(tied.Cols())
		w.bytes += float64(len(tied.Data))
	}
	return w
}

// prompt is the multiply-adds of a prompt of n tokens, for each of them.
func (w work) prompt(n int) float64 { return w.products + w.output/float64(n) }

// roof is what was measured in the turns of one run.
type roof struct {
	memory, products float64 // probes: bytes, multiply-adds a second on all threads
	decode, prefill  []float64
}

// roofline lays speeds beside what probes measure between them.
func (b *bench) roofline() (string, error) {
	const prompt = 512
	c, err := checkpoint.Open(b.file)
	if err != nil {
		return "", err
	}
	defer c.Close()
	r, err := b.roof(prompt)
	if err != nil {
		return "", err
	}
	return renderRoofline(workOf(c.Tensors()), r, prompt, b.threads), nil
}

func (b *bench) roof(prompt int) (roof, error) {
	var r roof
	once := *b
	once.rounds = 1
	var memory, products []float64
	decode, prefill := make([][]float64, 2), make([][]float64, 2)
	for range b.rounds {
		memory = append(memory, probe.Memory(b.threads, 128<<20, time.Second/2))
		p, known := probe.Products(kernel.All()[0].Name, b.threads, time.Second/2)
		if known {
			products = append(products, p)
		}
		for _, x := range []struct {
			test
			speeds [][]float64
		}{{test{gen: 128}, decode}, {test{prompt: prompt}, prefill}} {
			v, err := once.turns(b.file, x.test, b.sides...)
			if err != nil {
				return r, err
			}
			for i := range v {
				x.speeds[i] = append(x.speeds[i], v[i])
			}
		}
	}
	r.memory, r.products = median(memory), median(products)
	for i := range b.sides {
		r.decode = append(r.decode, median(decode[i]))
		r.prefill = append(r.prefill, median(prefill[i]))
	}
	return r, nil
}

func renderRoofline(w work, r roof, prompt, threads int) string {
	t := table{{"", "probe", "a token", "bound", "lapidary", "of the bound", "llama.cpp", "of the bound"}}
	bound := r.memory / w.bytes
	t.add("decode: memory", unit(r.memory/1e9, "GB/s"), unit(w.bytes/1e6, "MB"), unit(bound, "tok/s"),
		unit(r.decode[0], "tok/s"), percent(r.decode[0], bound), unit(r.decode[1], "tok/s"), percent(r.decode[1], bound))
	bound = r.products / w.prompt(prompt)
	t.add(fmt.Sprintf("prefill of %d: 8-bit multiply-adds", prompt), unit(r.products/1e9, "G/s"), unit(w.prompt(prompt)/1e6, "M"), unit(bound, "tok/s"),
		unit(r.prefill[0], "tok/s"), percent(r.prefill[0], bound), unit(r.prefill[1], "tok/s"), percent(r.prefill[1], bound))
	return t.String() + fmt.Sprintf("\nThe second probe is %s a core.\n", unit(r.products/1e9/float64(threads), "G/s"))
}

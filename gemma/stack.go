package gemma

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"lapidary/engine"
)

// stack is a list of layers with its weights, from embedding to last norm.
type stack struct {
	config *Stack
	embed  engine.Weight // [V, D]; nil for a tower
	own    []ownTokens   // embedded in another way
	norm   *engine.Norm  // nil for none
	blocks []block
	inputs *perLayer // nil for none
	fan    *fan      // nil for a single stream
	// tail is the last layer that leaves anything for later rows: behind it,
	// only rows that are wanted go on.
	tail int
}

// ownTokens are so many, from the first on, whose embeddings are not in the
// table with the others, and not scaled.
type ownTokens struct {
	first, count int32
	embed        func(p engine.Pass, rows []int32) engine.Tensor // by how far they are from the first
}

// stackBinder binds the weights of one stack.
type stackBinder struct {
	*binder
	config      *Stack
	prefix      string              // of its names: "", "decoder.", …
	layers      []engine.CacheLayer // what its memory keeps
	memory      map[int]int         // where among them a layer's own is
	sourceWidth int                 // of what cross attention looks at
	passing     bool                // nothing is left behind a pass
}

// stack binds all of a stack but its embedding.
func (b *binder) stack(config *Stack, prefix string, sourceWidth int) (*stack, []engine.CacheLayer) {
	s := &stackBinder{binder: b, config: config, prefix: prefix, memory: map[int]int{}, sourceWidth: sourceWidth}
	return s.bind(), s.layers
}

// passing binds a stack that leaves nothing behind a pass, a tower's or an
// encoder's: its layers take turns with one memory, since 27 of them would hold
// a gigabyte of 4,096 patches until the pass ends.
func (b *binder) passing(config *Stack, prefix string) *stack {
	reads := func(l Layer) bool { return l.Attention.Reads > 0 }
	s := &stackBinder{binder: b, config: config, prefix: prefix, memory: map[int]int{}, passing: !slices.ContainsFunc(config.Layers, reads)}
	return s.bind()
}

func (b *stackBinder) bind() *stack {
	config, prefix := b.config, b.prefix
	out := &stack{config: config, inputs: b.perLayer(), fan: b.fan()}
	if b.has(prefix + "norm.weight") {
		out.norm = b.norm(prefix+"norm", config.Width)
	}
	for i, layer := range config.Layers {
		out.blocks = append(out.blocks, b.block(i, layer))
		if b.err == nil && out.blocks[i].mixer.stores() {
			out.tail = i
		}
	}
	return out
}

// layer is how the names of layer i begin.
func (b *stackBinder) layer(i int) string { return fmt.Sprintf("%slayers.%d", b.prefix, i) }

// remember adds a memory, that of layer i if it is not negative, and returns
// its place.
func (b *stackBinder) remember(i int, l engine.CacheLayer) int {
	if b.passing {
		return 0
	}
	b.layers = append(b.layers, l)
	if i >= 0 {
		b.memory[i] = len(b.layers) - 1
	}
	return len(b.layers) - 1
}

// norm binds a norm of the stack's kind over so many elements.
func (b *stackBinder) norm(name string, width int) *engine.Norm {
	n := &engine.Norm{Weight: b.weight(name+".weight", width), Eps: b.config.NormEps, Offset: b.config.NormOffset, Centred: b.config.Centred}
	if b.config.Centred {
		n.Bias = b.weight(name+".bias", width)
	}
	return n
}

// linear binds a linear layer with what the stack's have.
func (b *stackBinder) linear(name string, out, in int, biased bool) linear {
	l := linear{w: b.weight(name+".weight", out, in)}
	if biased {
		l.bias = b.weight(name+".bias", out)
	}
	if b.config.Clipped && b.has(name+".input_max") {
		l.in = &bounds{b.number(name + ".input_min"), b.number(name + ".input_max")}
		l.out = &bounds{b.number(name + ".output_min"), b.number(name + ".output_max")}
	}
	return l
}

// input is what a pass begins with.
type input struct {
	ids    []int32
	spans  []engine.Span
	wanted []int // rows whose results are needed, in ascending order
	soft   []softRows
	best   int // how many of a row's greatest logits are enough; 0 for all
	// throughout lets groups see themselves in every layer.
	throughout bool
	adapted    []adaptedRows
}

// softRows are rows whose embeddings are given.
type softRows struct {
	rows    []int
	vectors []float32
}

// embedded is the embedded input [R, D].
func (s *stack) embedded(p engine.Pass, in *input) engine.Tensor {
	x := p.Embed(s.embed, in.ids, s.config.EmbedScale)
	for _, own := range s.own {
		if rows, at := own.find(in); len(rows) > 0 {
			x = p.Put(x, rows, own.embed(p, at))
		}
	}
	for _, soft := range in.soft {
		x = p.Put(x, soft.rows, p.Write(soft.vectors, s.config.Width))
	}
	return x
}

// find is in which rows such tokens stand, but for soft tokens' places, and which.
func (o ownTokens) find(in *input) (rows []int, at []int32) {
	var given map[int]bool
	for i, id := range in.ids {
		if id < o.first || id >= o.first+o.count {
			continue
		}
		if given == nil {
			given = map[int]bool{}
			for _, soft := range in.soft {
				for _, r := range soft.rows {
					given[r] = true
				}
			}
		}
		if !given[i] {
			rows, at = append(rows, i), append(at, id-o.first)
		}
	}
	return rows, at
}

// run is the stack over an embedded input x [R, D] → the wanted rows after the
// last norm, nil if there are none or ctx is done.
func (s *stack) run(ctx context.Context, p engine.Pass, x engine.Tensor, in *input, watch *watcher) engine.Tensor {
	rows, _ := x.Dims()
	p = adapt(p, in.adapted, rows)
	f := &flow{p: p, xs: []engine.Tensor{watch.see(p, s.display("embed"), x)}, watch: watch, throughout: in.throughout}
	if s.inputs != nil {
		f.inputs = s.inputs.inputs(p, x, in.ids)
	}
	if s.fan != nil {
		f.xs = s.fan.open(p, x)
	}
	for i := range s.blocks {
		if ctx.Err() != nil {
			return nil // End says so
		}
		var to []int
		if i == s.tail && len(in.wanted) < rows {
			to = append([]int{}, in.wanted...)
		}
		s.blocks[i].forward(f, to)
		if f.xs == nil {
			return nil
		}
	}
	if ctx.Err() != nil || len(in.wanted) == 0 {
		return nil
	}
	return s.finish(f)
}

// finish is one stream out of all, after the last norm.
func (s *stack) finish(f *flow) engine.Tensor {
	x := f.xs[0]
	if s.fan != nil {
		x = s.fan.close(f.p, f.xs)
	}
	if s.norm != nil {
		x = f.watch.see(f.p, s.display("norm"), f.p.Norm(x, *s.norm))
	}
	return x
}

// display is how an observer knows something of this stack.
func (s *stack) display(what string) string {
	if len(s.blocks) == 0 {
		return what
	}
	before, _, _ := strings.Cut(s.blocks[0].name, "layers.")
	return before + what
}

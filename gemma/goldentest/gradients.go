package goldentest

import (
	"cmp"
	"math"
	"reflect"
	"slices"
	"strings"

	"lapidary/checkpoint"
	"lapidary/gemma"
)

// traced is the case with its passes written down.
func (c *Case) traced() (*Case, Trace) {
	trace := c.Engine.Trace()
	on := *c
	on.Model = c.Model.On(trace)
	return &on, trace
}

// gradients of the loss over the labels of a text, with the towers of what is in
// it, or over an answer with the encoder's of its source.
func (c *Case) gradients(r golden) {
	on, trace := c.traced()
	var states [][]float32
	var labels []int32
	if c.Model.Config().Encoder != nil {
		for i, ids := range unpadded(r.Inputs) {
			target := r.Inputs["labels"].ids(i)
			cache := on.source(gemma.Step{Tokens: ids, Soft: on.soft(r, ids)})
			step := gemma.Step{Cache: cache, Tokens: append([]int32{2}, target[:len(target)-1]...), Logits: gemma.AllRows}
			states = append(states, Must[[]float32](c)(on.Model.LastStates(c.Context(), []gemma.Step{step})))
			labels = append(labels, target...)
		}
	} else {
		step := on.step(r)
		step.Logits = gemma.AllRows
		states = [][]float32{Must[[]float32](c)(on.Model.LastStates(c.Context(), []gemma.Step{step}))}
		labels = append(r.Inputs["labels"].ids(0)[1:], -100)
	}
	head, softCap := c.Model.Head()
	loss, grads, err := trace.Gradients(states, c.Model.Config().Width, head, softCap, labels)
	c.compare(r, loss, grads, err)
}

// labelGradients are those of a classifier's loss.
func (c *Case) labelGradients(r golden) {
	on, trace := c.traced()
	var steps []gemma.Step
	for _, ids := range unpadded(r.Inputs) {
		steps = append(steps, gemma.Step{Tokens: ids})
	}
	logits := Must[[][]float32](c)(on.Model.Classify(c.Context(), steps))
	var labels []int32
	for _, v := range r.Inputs["labels"].Data {
		labels = append(labels, int32(v))
	}
	loss, grads, err := trace.Gradients(logits, len(logits[0]), nil, 0, labels)
	c.compare(r, loss, grads, err)
}

// inModule is what Gemma 4 unified's parameters are called in a module that has
// other names than its files.
var inModule = strings.NewReplacer("embed_vision.multimodal_embedder.", "embed_vision.",
	"embed_vision.p", "vision_embedder.p") // patch_dense, patch_ln1, pos_norm, …

// compare holds gradients against the reference's lengths and first elements, to
// a thousandth of the length, or of the first elements' own.
func (c *Case) compare(r golden, loss float32, grads []Gradient, err error) {
	if err != nil {
		c.Fatal(err)
	}
	c.Near("loss", []float32{loss}, []float64{*r.Loss})
	got := whole(grads)
	for name, want := range r.Grads {
		values, ok := got[checkpoint.CanonicalName(inModule.Replace(name))]
		if !ok {
			if want.L2 != 0 {
				c.Errorf("%s: no gradient, want one of length %v", name, want.L2)
			}
			continue
		}
		var squares float64
		for _, v := range values {
			squares += float64(v) * float64(v)
		}
		if l2 := math.Sqrt(squares); !(math.Abs(l2-want.L2) <= 1e-3*want.L2+1e-7) {
			c.Errorf("%s: a gradient of length %v, want %v", name, l2, want.L2)
		}
		for i, w := range want.Head {
			if !(math.Abs(float64(values[i])-w) <= 1e-3*max(math.Abs(w), want.L2/math.Sqrt(float64(len(values))))+1e-7) {
				c.Errorf("%s: element %d of the gradient is %v, want %v", name, i, values[i], w)
			}
		}
	}
}

// whole puts weights that are parts of one stored tensor together again.
func whole(grads []Gradient) map[string][]float32 {
	at := func(g Gradient) uintptr { return reflect.ValueOf(g.Data).Pointer() } // where parts lie is their order
	slices.SortStableFunc(grads, func(a, b Gradient) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), cmp.Compare(at(a), at(b)))
	})
	all := map[string][]float32{}
	for _, g := range grads {
		all[g.Name] = append(all[g.Name], g.Values...)
	}
	return all
}

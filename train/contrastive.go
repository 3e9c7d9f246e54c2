package train

import (
	"context"
	"fmt"
	"slices"

	. "github.com/gomlx/gomlx/core/graph" //nolint:revive,staticcheck // formulas of graph operations read like formulas

	"lapidary/engine"
	"lapidary/engine/graph"
	"lapidary/gemma"
	"lapidary/train/data"
	"lapidary/train/recipe"
)

// contrastive is InfoNCE (van den Oord et al. 2018, arXiv:1807.03748): the
// cross-entropy of a text's positive among the positives and negatives of all
// pairs of a micro-batch, whose logits are cosine similarities / temperature. A
// text that is the same as the positive is no negative. With shorter prefixes
// (Matryoshka, arXiv:2205.13147) the loss is the mean of theirs and the whole's,
// each prefix of length 1 again.
type contrastive struct {
	temperature float64
	dims        []int // the whole last
}

func newContrastive(o recipe.Objective, c gemma.Config) (objective, error) {
	if c.Head.Pooled == 0 {
		return nil, fmt.Errorf("objective contrastive: a %s model makes no embeddings; train an EmbeddingGemma", c.Family)
	}
	for _, n := range o.Dims {
		if n < 1 || n > c.Head.Pooled {
			return nil, fmt.Errorf("objective.dims has %d, and an embedding of this model has %d numbers", n, c.Head.Pooled)
		}
	}
	dims := slices.DeleteFunc(slices.Clone(o.Dims), func(n int) bool { return n == c.Head.Pooled })
	slices.Sort(dims)
	return contrastive{o.Temperature, append(slices.Compact(dims), c.Head.Pooled)}, nil
}

func (contrastive) kind() data.Kind { return data.Contrasts }

func (contrastive) counts(b data.Batch) float64 {
	var n float64
	for i := 0; i < b.Lines; i += b.Parts {
		n += float64(min(1, documentOf(b, i)))
	}
	return n
}

func (c contrastive) trace(ctx context.Context, s subject, b data.Batch, by float64) (micro, error) {
	line, steps := s.apart(b)
	t := s.engine.Trace(line)
	read, err := s.model.On(t).Embed(ctx, steps)
	if err != nil {
		return nil, err
	}
	x, err := ofLines(t, read)
	if err != nil {
		return nil, err
	}
	own, weights, allowed := contrasts(b, by)
	l := t.Apply(graph.Operation{
		Key: keyed("contrastive", c.temperature, c.dims, b.Parts), In: []engine.Tensor{x}, Rows: 1, Width: 1,
		Ints: [][]int32{own}, Floats: [][]float32{weights, allowed},
		Lower: func(l *graph.Lowering) *Node {
			var total *Node
			for _, n := range c.dims {
				each := infoNCE(SliceAxis(l.In[0], 1, AxisRange(0, n)), b.Parts, c.temperature, l.Data[0], l.Data[2])
				some := ReduceAllSum(Mul(each, l.Data[1]))
				if total != nil {
					some = Add(total, some)
				}
				total = some
			}
			return Reshape(times(total, 1/float64(len(c.dims))), 1, 1)
		},
	})
	return t.Record(l, l)
}

// contrasts are, for each pair, which candidate is its own and what it counts;
// and for each pair and candidate 1 where the candidate is among those that the
// own one is told from. Candidates are the lines but the anchors.
func contrasts(b data.Batch, by float64) (own []int32, weights, allowed []float32) {
	each := b.Parts - 1
	text := func(line int) []int32 { return b.Tokens[line*b.Length:][:documentOf(b, line)] }
	for i := range b.Lines / b.Parts {
		own = append(own, int32(i*each))
		weights = append(weights, float32(by)*float32(min(1, documentOf(b, i*b.Parts))))
		positive := text(i*b.Parts + 1)
		for j := range b.Lines / b.Parts * each {
			candidate := text(j/each*b.Parts + 1 + j%each)
			var seen float32
			if j == i*each || len(candidate) > 0 && !slices.Equal(candidate, positive) {
				seen = 1
			}
			allowed = append(allowed, seen)
		}
	}
	return own, weights, allowed
}

// infoNCE is of embeddings x [pairs × parts, D] → [pairs].
func infoNCE(x *Node, parts int, temperature float64, own, allowed *Node) *Node {
	width := x.Shape().Dim(1)
	pairs := x.Shape().Dim(0) / parts
	lengths := Sqrt(Add(ReduceAndKeep(Square(x), ReduceSum, 1), constant(x, 1e-12)))
	x = Reshape(Div(x, lengths), pairs, parts, width)
	anchors := Reshape(SliceAxis(x, 1, AxisRange(0, 1)), pairs, width)
	candidates := Reshape(SliceAxis(x, 1, AxisRange(1, parts)), pairs*(parts-1), width)
	logits := times(Dot(anchors, candidates).EinsumAxes([][2]int{{1, 1}}, nil), 1/temperature)
	seen := GreaterThan(Reshape(allowed, pairs, pairs*(parts-1)), scalar(x.Graph(), 0))
	logits = Where(seen, logits, BroadcastToDims(scalar(x.Graph(), -1e30), pairs, pairs*(parts-1)))
	return Neg(pickEach(logSoftmax(logits), own))
}

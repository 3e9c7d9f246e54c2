package train

import (
	"fmt"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph" //nolint:revive,staticcheck // formulas of graph operations read like formulas

	"lapidary/engine"
	"lapidary/engine/graph"
)

// chunkBytes bounds the logits that exist at a time. Larger chunks add up the
// head's gradient less often: it is as large as the head.
const chunkBytes = 1 << 30

// head makes logits of states: a matrix [V, D] and the limit of the soft cap
// behind it, 0 for none. rows bounds how many rows of logits exist at a time, 0
// for what chunkBytes takes.
type head struct {
	weight  engine.Weight
	softCap float32
	rows    int
}

// chunk is how many rows of logits exist at a time, of that many vocabularies.
func (h head) chunk(many int) int {
	vocab, _ := h.weight.Dims()
	most := max(1, chunkBytes/4/vocab/many)
	if h.rows > 0 {
		most = min(most, h.rows)
	}
	return most
}

// targets are what rows of states should predict, each with its weight in the
// sum; a weight of 0 leaves the row out.
type targets struct {
	ids     []int32
	weights []float32
}

// loss is a number to report and one to differentiate: their gradients are the
// same, but the second is cheaper where the first was made with its own.
type loss struct{ value, slope engine.Tensor }

// crossEntropy is Σ weight · −log softmax(head(x))[id] over rows x [R, D].
func crossEntropy(t *graph.Trace, x engine.Tensor, h head, want targets) loss {
	return h.loss(t, graph.Operation{Key: "cross-entropy", In: []engine.Tensor{x}, Ints: [][]int32{want.ids}, Floats: [][]float32{want.weights}}, 1,
		func(l *graph.Lowering, from, to int, logits *Node) (each, slope *Node) {
			return surprise(logits, SliceAxis(l.Data[0], 0, AxisRange(from, to)))
		})
}

// surprise is −log softmax(logits)[id] of each row, with its derivatives by the
// logits.
func surprise(logits, ids *Node) (each, slope *Node) {
	top := ReduceAndKeep(logits, ReduceMax, 1)
	exps := Exp(Sub(logits, top))
	sums := ReduceAndKeep(exps, ReduceSum, 1)
	hit := hits(ids, logits.Shape().Dim(0), logits.Shape().Dim(1))
	own := ReduceSum(Where(hit, logits, ZerosLike(logits)), 1)
	each = Sub(Squeeze(Add(Log(sums), top), 1), own)
	return each, Sub(Div(exps, sums), ConvertDType(hit, dtypes.Float32))
}

// rowLoss is a loss of each of rows [from, to), given their logits [n, V] → [n],
// and its derivatives by them.
type rowLoss func(l *graph.Lowering, from, to int, logits *Node) (each, slope *Node)

// loss is Σ weight · each over rows, where the operation's first input is states
// x [R, D] and its last datum the weights. It goes through the rows in chunks and
// makes each chunk's gradients with its logits, so that [rows, V] never exists:
// the slope is Σ x·∂x + Σ W·∂W, which is linear in both. many is how many
// vocabularies' logits each needs at once.
func (h head) loss(t *graph.Trace, o graph.Operation, many int, each rowLoss) loss {
	rows, _ := o.In[0].Dims()
	chunk := min(rows, h.chunk(many))
	o.Key = keyed(o.Key, h.softCap, chunk)
	o.Weights = append([]engine.Weight{h.weight}, o.Weights...)
	parts := t.ApplyMany(o, [][2]int{{1, 1}, {1, 1}}, func(l *graph.Lowering) []*Node {
		states, w := l.In[0], l.Weights[0]
		var total, byHead *Node
		var byStates []*Node
		for from := 0; from < rows; from += chunk {
			to := min(rows, from+chunk)
			part := StopGradient(SliceAxis(states, 0, AxisRange(from, to)))
			some, dx, dw := chunkLoss(l, part, StopGradient(w), float64(h.softCap), from, each)
			byStates = append(byStates, dx)
			if total == nil {
				total, byHead = some, dw
			} else {
				total, byHead = Add(total, some), Add(byHead, dw)
			}
		}
		slope := ReduceAllSum(wide(Mul(states, StopGradient(Concatenate(byStates, 0)))))
		slope = Add(slope, ReduceAllSum(Mul(wide(l.Masters[0]), StopGradient(byHead))))
		return []*Node{Reshape(total, 1, 1), Reshape(slope, 1, 1)}
	})
	return loss{parts[0], parts[1]}
}

// chunkLoss is the loss of rows x [n, D] with its derivatives by x and w [V, D],
// the second in float32. The products are in the type of activations.
func chunkLoss(l *graph.Lowering, x, w *Node, softCap float64, from int, by rowLoss) (sum, dx, dw *Node) {
	to := from + x.Shape().Dim(0)
	logits := wide(Dot(x, w).EinsumAxes([][2]int{{1, 1}}, nil))
	var bend *Node // the soft cap's derivative
	if softCap > 0 {
		bent := Tanh(times(logits, 1/softCap))
		logits, bend = times(bent, softCap), Sub(constant(bent, 1), Square(bent))
	}
	each, slope := by(l, from, to, logits)
	weights := SliceAxis(l.Data[len(l.Data)-1], 0, AxisRange(from, to))
	sum = ReduceAllSum(Mul(each, weights))
	slope = Mul(slope, ExpandAxes(weights, 1))
	if bend != nil {
		slope = Mul(slope, bend)
	}
	slope = ConvertDType(slope, l.Type)
	dx = Dot(slope, w).EinsumAxes([][2]int{{1, 0}}, nil)
	dw = Dot(slope, x).WithOutputDType(dtypes.Float32).EinsumAxes([][2]int{{0, 0}}, nil)
	return sum, dx, dw
}

// keyed is what an operation is known by.
func keyed(name string, settings ...any) string {
	return fmt.Sprintln(append([]any{name}, settings...)...)
}

// hits are where ids [n] lie in a vocabulary, [n, vocab].
func hits(ids *Node, n, vocab int) *Node {
	return Equal(Iota(ids.Graph(), shapes.Make(dtypes.Int32, n, vocab), 1), BroadcastToDims(ExpandAxes(ids, 1), n, vocab))
}

// pickEach is the element of each row of x [n, V] that ids [n] name, [n].
func pickEach(x, ids *Node) *Node {
	return ReduceSum(Where(hits(ids, x.Shape().Dim(0), x.Shape().Dim(1)), x, ZerosLike(x)), 1)
}

// logSoftmax is of each row of x.
func logSoftmax(x *Node) *Node {
	x = Sub(x, StopGradient(ReduceAndKeep(x, ReduceMax, 1)))
	return Sub(x, Log(ReduceAndKeep(Exp(x), ReduceSum, 1)))
}

func softCapped(x *Node, limit float64) *Node {
	if limit == 0 {
		return x
	}
	return times(Tanh(times(x, 1/limit)), limit)
}

// inChunks puts what make gives for rows [from, to) together.
func inChunks(rows, chunk int, make func(from, to int) *Node) *Node {
	var parts []*Node
	for from := 0; from < rows; from += chunk {
		parts = append(parts, make(from, min(rows, from+chunk)))
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return Concatenate(parts, 0)
}

func wide(x *Node) *Node { return ConvertDType(x, dtypes.Float32) }

// constant is a number of x's type, made anew at each use (see engine/graph).
func constant(x *Node, v float64) *Node { return ConstAsDType(x.Graph(), x.DType(), v) }
func times(x *Node, v float64) *Node    { return Mul(x, constant(x, v)) }
func scalar(g *Graph, v float64) *Node  { return ConstAsDType(g, dtypes.Float32, v) }

package optimizer

import "github.com/gomlx/gomlx/core/graph"

// ClipGlobalNorm scales the gradients so that their norm, of all numbers of all
// of them, is at most limit (Pascanu, Mikolov and Bengio, arXiv:1211.5063):
//
//	g · min(1, limit / (norm + 10⁻⁶))
//
// which is torch.nn.utils.clip_grad_norm_'s formula. norm is a scalar, that of
// the gradients as they came. A limit of 0 leaves them as they are. Where there
// are no gradients there is no norm: both results are nil.
func ClipGlobalNorm(grads []*graph.Node, limit float64) (clipped []*graph.Node, norm *graph.Node) {
	if len(grads) == 0 {
		return nil, nil
	}
	for _, g := range grads {
		square := graph.ReduceAllSum(graph.Square(g))
		if norm == nil {
			norm = square
		} else {
			norm = graph.Add(norm, square)
		}
	}
	norm = graph.Sqrt(norm)
	if limit <= 0 {
		return grads, norm
	}
	factor := graph.Min(number(norm, 1), graph.Div(number(norm, limit), plus(norm, 1e-6)))
	clipped = make([]*graph.Node, len(grads))
	for i, g := range grads {
		clipped[i] = graph.Mul(g, factor)
	}
	return clipped, norm
}

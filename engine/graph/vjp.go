package graph

import (
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
)

// GoMLX v0.28.3 has no gradient for these; its registry is open.
func init() {
	graph.VJPRegistration[graph.NodeTypeRsqrt] = func(n *node, vjps []*node, _ shapes.Shape) []*node {
		return []*node{graph.Mul(vjps[0], times(graph.Mul(n, graph.Square(n)), -0.5))} // (x^−½)' = −½·x^(−3/2)
	}
	graph.VJPRegistration[graph.NodeTypeExpm1] = func(n *node, vjps []*node, _ shapes.Shape) []*node {
		return []*node{graph.Mul(vjps[0], plus(n, 1))} // (eˣ − 1)' = eˣ
	}
}

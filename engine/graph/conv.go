package graph

import (
	"fmt"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph" //nolint:revive,staticcheck // formulas of graph operations read like formulas

	"lapidary/engine"
)

// Conv2D is a convolution over rows and the places within them.
func (p *Pass) Conv2D(x engine.Tensor, c engine.Conv2D) engine.Tensor {
	_, width := x.Dims()
	places, steps, out := c.Shape(width)
	rows, outWidth := steps, out*c.Out
	if c.Places > 0 {
		rows, outWidth = steps*out, c.Out
	}
	groups := max(1, c.Groups)
	weight := c.Weight
	c.Weight = nil
	edges := func(axis, n int) [2]int { // a kernel larger than all there is sees zeros
		return [2]int{c.Before[axis], max(c.After[axis], c.Size[axis]-c.Before[axis]-n)}
	}
	return p.one(rows, outWidth, fmt.Sprintf("conv2 %+v", c), []engine.Tensor{x}, []engine.Weight{weight}, nil, func(l *lowering) *node {
		kernel := Reshape(l.weights[0], c.Out, c.In/groups, c.Size[0], c.Size[1])
		total := 0
		for _, n := range c.Lengths {
			total += n
		}
		clips := Reshape(l.in[0], total, places, c.In)
		var made []*node
		first := 0
		for _, n := range c.Lengths {
			clip := ExpandAxes(SliceAxis(clips, 0, AxisRange(first, first+n)), 0) // [1, T, P, In]
			y := ConvGeneral(clip, kernel, compute.ConvolveAxesConfig{
				InputBatch: 0, InputSpatial: []int{1, 2}, InputChannels: 3,
				KernelOutputChannels: 0, KernelInputChannels: 1, KernelSpatial: []int{2, 3},
				OutputBatch: 0, OutputSpatial: []int{1, 2}, OutputChannels: 3,
			}, c.Stride[:], [][2]int{edges(0, n), edges(1, places)}, nil, nil, groups, 1)
			made = append(made, Reshape(y, y.Shape().Size()/outWidth, outWidth))
			first += n
		}
		if len(made) == 1 {
			return made[0]
		}
		return Concatenate(made, 0)
	})
}

// CumulativeNorm normalises over all that came before in a clip.
func (p *Pass) CumulativeNorm(x engine.Tensor, n engine.CumulativeNorm) engine.Tensor {
	rows, width := x.Dims()
	key := fmt.Sprint("cumulative", n.Eps, n.Lengths)
	return p.one(rows, width, key, []engine.Tensor{x}, []engine.Weight{n.Weight}, nil, func(l *lowering) *node {
		_, channels := l.weights[0].Shape().Dim(0), l.weights[0].Shape().Size()
		var made []*node
		first := 0
		for _, length := range n.Lengths {
			clip := wide(SliceAxis(l.in[0], 0, AxisRange(first, first+length)))
			first += length
			up := ConvertDType(LowerTriangular(l.g, length), float) // sums over the times up to each
			count := times(plus(ConvertDType(Iota(l.g, intShape(length, 1), 0), float), 1), float64(width))
			mean := Div(product(up, ReduceAndKeep(clip, ReduceSum, 1), 0), count)
			off := Sub(clip, mean)
			variance := Div(product(up, ReduceAndKeep(Square(off), ReduceSum, 1), 0), count)
			y := Mul(off, Rsqrt(plus(variance, float64(n.Eps))))
			y = Mul(Reshape(y, length, width/channels, channels), ExpandLeftToRank(Reshape(wide(l.weights[0]), channels), 3))
			made = append(made, Reshape(y, length, width))
		}
		if len(made) > 1 {
			return l.to(Concatenate(made, 0))
		}
		return l.to(made[0])
	})
}

package graph

import (
	"strings"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph" //nolint:revive,staticcheck // formulas of graph operations read like formulas

	"lapidary/engine/graph/plugin"
)

// largestFusedHead is what cuDNN's attention takes.
const largestFusedHead = 256

// findFused sees whether the device has an attention in one operation that never
// writes scores down (Dao et al. 2022, arXiv:2205.14135): cuDNN's, in half
// precision, which slides a window only as engine/graph/patches has it.
func (e *Engine) findFused() {
	if e.dtype != half || !strings.Contains(strings.ToLower(e.Device()), "cuda") {
		return
	}
	e.fuses = plugin.SlideAttention(e.backend, func(c *compute.ScaledDotProductAttentionConfig) int {
		if w, ok := e.slides.Load(c); ok {
			return w.(int)
		}
		return 0
	})
}

// fuses says whether an attention is one that the device has: of full lines of
// one sequence each, every row of which sees its past.
func (p *Pass) fuses(s *look) bool {
	a := s.a
	if !p.engine.fuses || !p.layout.full || len(p.spans) != p.layout.lines || len(s.parts) != 1 || s.parts[0].memory {
		return false
	}
	return a.Rows == nil && a.Ahead == 0 && !a.Anchored && !s.groups && !a.Source && a.Relative == nil && a.SoftCap == 0 && a.C <= largestFusedHead && a.C%8 == 0
}

// fused is lower by the device's own operation.
func (s *look) fused(e *Engine) func(l *lowering) *node {
	a, lines, length := s.a, s.queries.lines, s.queries.length
	return func(l *lowering) *node {
		config := &compute.ScaledDotProductAttentionConfig{Scale: float64(a.Scale), Causal: true}
		if a.Window > 0 && a.Window < length {
			e.slides.Store(config, a.Window)
		}
		heads := func(x *node, n int) *node { return Reshape(x, lines, length, n, a.C) }
		y, _ := BackendFusedScaledDotProductAttention(heads(l.in[0], a.Heads), heads(l.in[1], a.KVHeads), heads(l.in[2], a.KVHeads), compute.AttentionAxesLayoutBSHD, config)
		return Reshape(y, lines*length, a.Heads*a.C)
	}
}

package plugin

import "github.com/gomlx/compute"

// What engine/graph/patches adds to go-xla is reached through these, so that
// everything builds against go-xla as it is published.
type (
	donor interface {
		DonateParameters(rule func(parameterName string) bool)
	}
	slider interface {
		SlideAttention(rule func(*compute.ScaledDotProductAttentionConfig) int)
	}
)

// Patched says whether the backend is go-xla with our patch. Then closures may
// use values of the functions around them, and reductions work inside and
// outside of loops.
func Patched(b compute.Backend) bool {
	_, ok := b.(donor)
	return ok
}

// Donate sets by name which parameters of graphs made from now on may be
// overwritten by results. It reports whether the backend obeys; where it does
// not, results lie beside the inputs for the time of a step. A buffer is
// overwritten only if Execute is also told that it is donated, and copied
// otherwise.
func Donate(b compute.Backend, rule func(parameterName string) bool) bool {
	d, ok := b.(donor)
	if ok {
		d.DonateParameters(rule)
	}
	return ok
}

// SlideAttention sets how many positions a query of fused attention sees, its
// own counted, 0 for all: rule gets the very pointer that was given to the
// operation. It reports whether the backend obeys; where it does not, fused
// attention has no window and must not be used for layers that slide.
func SlideAttention(b compute.Backend, rule func(*compute.ScaledDotProductAttentionConfig) int) bool {
	s, ok := b.(slider)
	if ok {
		s.SlideAttention(rule)
	}
	return ok
}

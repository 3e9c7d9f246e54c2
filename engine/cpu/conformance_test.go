package cpu_test

import (
	"fmt"
	"testing"

	"lapidary/engine"
	"lapidary/engine/cpu"
	"lapidary/engine/cpu/kernel"
	"lapidary/engine/enginetest"
)

// variants are the kernels and threads to test: all sets this machine runs.
// Under the race detector, which makes portable Go ten times as slow and does
// not look into assembly, they are one of each kind.
func variants() (all []cpu.Options) {
	sets := kernel.All()
	if raced {
		return []cpu.Options{{Kernels: sets[0].Name, Threads: 2}, {Kernels: sets[len(sets)-1].Name, Threads: 3}}
	}
	for _, set := range sets {
		for threads := 1; threads <= 3; threads++ {
			all = append(all, cpu.Options{Kernels: set.Name, Threads: threads})
		}
	}
	return all
}

func TestConformance(t *testing.T) {
	for _, o := range variants() {
		t.Run(fmt.Sprintf("%s/%d threads", o.Kernels, o.Threads), func(t *testing.T) {
			enginetest.Run(t, func(t *testing.T) engine.Engine {
				e, err := cpu.New(o)
				if err != nil {
					t.Fatal(err)
				}
				return e
			})
		})
	}
}

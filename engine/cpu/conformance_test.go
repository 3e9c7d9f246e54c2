package cpu_test

import (
	"fmt"
	"testing"

	"lapidary/engine"
	"lapidary/engine/cpu"
	"lapidary/engine/cpu/kernel"
	"lapidary/engine/enginetest"
)

func TestConformance(t *testing.T) {
	for _, set := range kernel.All() {
		for _, threads := range []int{1, 2, 3} {
			t.Run(fmt.Sprintf("%s/%d threads", set.Name, threads), func(t *testing.T) {
				enginetest.Run(t, func(t *testing.T) engine.Engine {
					e, err := cpu.New(cpu.Options{Threads: threads, Kernels: set.Name})
					if err != nil {
						t.Fatal(err)
					}
					return e
				})
			})
		}
	}
}

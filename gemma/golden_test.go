package gemma_test

import (
	"path/filepath"
	"testing"

	"lapidary/engine/cpu"
	"lapidary/engine/cpu/kernel"
	"lapidary/engine/ref"
	"lapidary/gemma/goldentest"
)

var goldens = filepath.Join("testdata", "goldens")

func TestGoldens(t *testing.T)            { goldentest.Run(t, goldens, engines(t)) }
func TestGoldenHiddenStates(t *testing.T) { goldentest.HiddenStates(t, goldens, engines(t)) }

func engines(t *testing.T) []goldentest.Engine {
	all := []goldentest.Engine{{Label: "ref", Engine: ref.New(), Tolerance: 1e-4}}
	for _, set := range kernel.All() {
		e, err := cpu.New(cpu.Options{Kernels: set.Name, Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		all = append(all, goldentest.Engine{Label: set.Name, Engine: e, Tolerance: 1e-3})
	}
	return all
}

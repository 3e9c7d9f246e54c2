package main

import (
	"math/rand/v2"

	"github.com/rogpeppe/go-internal/testscript"

	"lapidary/adapter"
	"lapidary/checkpoint"
	"lapidary/engine/ref"
	"lapidary/gemma"
)

// scriptTinyAdapter writes an adapter with random weights for a model.
func scriptTinyAdapter(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: tinyadapter MODEL DIR")
	}
	c, err := checkpoint.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer c.Close()
	m, err := gemma.Load(c, ref.New())
	ts.Check(err)
	rng := rand.New(rand.NewPCG(1, 2))
	a, err := adapter.New(adapter.Config{Rank: 2, Alpha: 4, TargetModules: []string{adapter.AllLinear}}, m.Linears(), nil, rng)
	ts.Check(err)
	for i := range a.Modules {
		b := &a.Modules[i].B
		v := make([]float32, b.Rows()*b.Cols())
		for j := range v {
			v[j] = float32(rng.NormFloat64())
		}
		*b = adapter.Floats(b.Name, v, b.Shape...)
	}
	ts.Check(a.Write(ts.MkAbs(args[1])))
}

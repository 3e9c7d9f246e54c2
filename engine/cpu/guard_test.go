//go:build unix

package cpu_test

import (
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"lapidary/checkpoint"
	"lapidary/checkpoint/checkpointtest"
	"lapidary/engine"
	"lapidary/engine/cpu"
	"lapidary/engine/cpu/kernel"
)

// atTheEnd moves a tensor's data to the last bytes before memory that must not
// be touched, as the last tensor of a file may lie in its map.
func atTheEnd(t *testing.T, w checkpoint.Tensor) checkpoint.Tensor {
	t.Helper()
	page := unix.Getpagesize()
	size := (len(w.Data) + page - 1) / page * page
	all, err := unix.Mmap(-1, 0, size+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Munmap(all) })
	if err := unix.Mprotect(all[size:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	data := all[size-len(w.Data) : size : size]
	copy(data, w.Data)
	w.Data = data
	return w
}

// TestNothingIsReadPastAWeight: a vector load that runs over a tensor's end
// would be a fault here, as it would be at the end of a file.
func TestNothingIsReadPastAWeight(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, set := range kernel.All() {
		for _, typ := range []checkpoint.Type{
			checkpoint.F32, checkpoint.F16, checkpoint.BF16, checkpoint.Q4_0, checkpoint.Q4_1, checkpoint.Q5_0, checkpoint.Q5_1, checkpoint.Q8_0,
			checkpoint.Q2_K, checkpoint.Q3_K, checkpoint.Q4_K, checkpoint.Q5_K, checkpoint.Q6_K, checkpoint.IQ4_NL, checkpoint.IQ4_XS, checkpoint.MXFP4,
		} {
			t.Run(set.Name+"/"+typ.String(), func(t *testing.T) {
				e := open(t, cpu.Options{Kernels: set.Name, Threads: 1})
				for _, shape := range [][2]int{{1, typ.Block()}, {5, 256}, {37, 768}} {
					rows, cols := shape[0], (shape[1]+7)&^7
					w, err := e.Load(atTheEnd(t, checkpointtest.RandomTensor(rng, typ, rows, cols)))
					if err != nil {
						t.Fatal(err)
					}
					for _, n := range []int{1, 2, 9} {
						p := e.Begin(t.Context(), []engine.Span{{Rows: n}})
						ids := make([]int32, n)
						ids[n-1] = int32(rows - 1)
						p.Linear(p.Embed(w, ids, 1), w)
						if err := p.End(); err != nil {
							t.Fatal(err)
						}
					}
				}
			})
		}
	}
}

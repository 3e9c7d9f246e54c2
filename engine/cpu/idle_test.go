//go:build unix

package cpu_test

import (
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lapidary/checkpoint"
	"lapidary/engine/cpu"
	"lapidary/gemma"
)

// used is the processor time that this process has taken.
func used(t *testing.T) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestIdle: between passes an engine's threads sleep.
func TestIdle(t *testing.T) {
	m := size{"gemma3", 6, 64, 2, 1, 32, 96, 96, 64, 4096, []checkpoint.Type{checkpoint.Q8_0}}.random(t, open(t, cpu.Options{Threads: 3}))
	cache := m.NewCache()
	for range 3 {
		if err := m.Forward(t.Context(), []gemma.Step{{Cache: cache, Tokens: tokens(200, 96), Logits: gemma.LastRow}}, new(gemma.Logits)); err != nil {
			t.Fatal(err)
		}
		runtime.GC() // not to be taken for the engine's work later on
		before := used(t)
		time.Sleep(200 * time.Millisecond)
		idle := used(t) - before
		t.Logf("%v of processor time in 200 ms after a pass", idle)
		if idle > 20*time.Millisecond {
			t.Errorf("an idle engine takes %v of processor time in 200 ms", idle)
		}
	}
}

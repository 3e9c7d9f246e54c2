package probe

import (
	"testing"
	"time"

	"golang.org/x/sys/cpu"
)

func TestMemory(t *testing.T) {
	if rate := Memory(2, 1<<20, time.Millisecond); rate <= 0 {
		t.Errorf("%v bytes a second", rate)
	}
}

func TestReadTakesAnySize(t *testing.T) {
	for n := range 600 {
		read(make([]byte, n))
	}
}

func TestProducts(t *testing.T) {
	if _, ok := Products("generic", 1, time.Millisecond); ok {
		t.Error("portable code has instructions of its own")
	}
	rate, ok := Products("avx2", 2, time.Millisecond)
	if ok != cpu.X86.HasAVX2 || ok && rate <= 0 {
		t.Errorf("avx2: %v multiply-adds a second, known %v", rate, ok)
	}
}

func TestBestIsMeasuredThreeTimes(t *testing.T) {
	calls := 0
	if rate := best(0, 100, func() { calls++ }); calls != 3 || rate <= 0 {
		t.Errorf("%d calls, rate %v", calls, rate)
	}
}

package cpu

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// hugeBytes is memory that is read from end to end again and again: in pages
// of 2 MB where the system has them, it is made and read faster. It goes back
// when owner does.
func hugeBytes[T any](owner *T, n int) []byte {
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, n)
	}
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // a wish
	runtime.AddCleanup(owner, func(b []byte) { _ = unix.Munmap(b) }, b)
	return b
}

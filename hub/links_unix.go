//go:build unix

package hub

import (
	"os"
	"syscall"
)

// links is the number of names that a file has.
func links(fi os.FileInfo) uint64 {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink) //nolint:unconvert // its width differs between systems
	}
	return 1
}

// mine says whether a file is the user's and nobody else can write to it.
func mine(fi os.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && int64(st.Uid) == int64(os.Getuid()) && fi.Mode().Perm()&0o022 == 0
}

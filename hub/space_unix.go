//go:build unix

package hub

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// freeSpace is the bytes an ordinary user can still write below dir; -1 when
// the system does not say.
func freeSpace(dir string) int64 {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return -1
	}
	return int64(st.Bavail) * int64(st.Bsize) //nolint:unconvert // its type is another on other systems
}

// noSpace tells a full disk, an exhausted quota and a file size limit from
// other failures to write.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}

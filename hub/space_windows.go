//go:build windows

package hub

import (
	"errors"

	"golang.org/x/sys/windows"
)

// freeSpace is the bytes this user can still write below dir; -1 when the
// system does not say.
func freeSpace(dir string) int64 {
	p, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return -1
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(p, &free, nil, nil); err != nil {
		return -1
	}
	return int64(free)
}

// noSpace tells a full disk from other failures to write.
func noSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL)
}

package hub

import "golang.org/x/sys/unix"

// clone shares src's blocks with dst on APFS.
func clone(src, dst string) error { return unix.Clonefile(src, dst, 0) }

//go:build linux || darwin

package main

import (
	"os"
	"runtime"
	"syscall"
)

// peak is the most memory a finished process had resident, in MiB.
func peak(p *os.ProcessState) float64 {
	size := float64(p.SysUsage().(*syscall.Rusage).Maxrss)
	if runtime.GOOS == "darwin" {
		return size / (1 << 20) // bytes there, kilobytes on Linux
	}
	return size / (1 << 10)
}

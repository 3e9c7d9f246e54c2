//go:build !linux

package cpu

import "runtime"

// cores is every processor the scheduler uses: this system's libraries do not
// tell threads of one core apart.
func cores() int { return runtime.GOMAXPROCS(0) }

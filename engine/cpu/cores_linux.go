package cpu

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// cores counts the physical cores this process may use: two threads of one
// core share the units that the kernels keep busy. Where the system does not
// say, every processor counts as a core. The scheduler's own limit, which
// follows a container's share, is never exceeded.
func cores() int {
	limit := runtime.GOMAXPROCS(0)
	var allowed unix.CPUSet
	if unix.SchedGetaffinity(0, &allowed) != nil {
		return limit
	}
	seen := map[string]bool{}
	for i, left := 0, allowed.Count(); left > 0; i++ {
		if !allowed.IsSet(i) {
			continue
		}
		left--
		siblings, err := os.ReadFile(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", i))
		if err != nil {
			return limit
		}
		seen[strings.TrimSpace(string(siblings))] = true
	}
	return max(1, min(limit, len(seen)))
}

package plugin

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/gomlx/compute"
)

// deviceCount is an option of XLA's CPU plugin that go-xla's configuration does
// not know.
const deviceCount = ",cpu_device_count="

// WithDevices makes a CPU show itself as n devices, among which its cores are
// shared. Other choices stay as they are: their devices are what the machine has.
func (c Choice) WithDevices(n int) Choice {
	if n > 1 && c.Plugin != nil && c.Plugin.Kind == CPU {
		c.Config += deviceCount + strconv.Itoa(n)
	}
	return c
}

// Open makes a backend as compute.NewWithConfig does, of the configurations of
// [Choice.WithDevices] too.
func Open(config string) (compute.Backend, error) {
	rest, count, many := strings.Cut(config, deviceCount)
	if !many {
		return compute.NewWithConfig(config)
	}
	count, more, _ := strings.Cut(count, ",")
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || n > maxVirtual {
		return nil, fmt.Errorf("%s: cpu_device_count is %q, and should be a number up to %d", config, count, maxVirtual)
	}
	path, isXLA := strings.CutPrefix(rest, "xla:")
	if !isXLA {
		return nil, fmt.Errorf("%s: only XLA's CPU plugin has a cpu_device_count", config)
	}
	if more != "" {
		path += "," + more
	}
	return openVirtual(path, n)
}

// maxVirtual bounds what one process is asked to pretend.
const maxVirtual = 256

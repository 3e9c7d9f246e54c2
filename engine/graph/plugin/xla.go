//go:build cgo && (linux || darwin)

package plugin

import (
	"github.com/go-logr/logr"
	"github.com/gomlx/compute"
	"github.com/gomlx/go-xla/compute/xla"
	"github.com/gomlx/go-xla/pjrt"
	"k8s.io/klog/v2"
)

// canLoad says that this build can load plugins.
const canLoad = true

// Nothing is downloaded unless a user asks for it: go-xla reads its own switch
// for this from the environment before any of our code runs. What go-xla logs
// is also in the errors that it returns.
func init() {
	xla.EnableAutoInstall(false)
	klog.SetLogger(logr.Discard())
}

// openVirtual opens XLA's CPU plugin with so many devices.
func openVirtual(config string, devices int) (compute.Backend, error) {
	return xla.NewWithOptions(config, pjrt.NamedValuesMap{"cpu_device_count": int64(devices)})
}

//go:build cgo && (linux || darwin)

package plugin

import "github.com/gomlx/go-xla/compute/xla"

// canLoad says that this build can load plugins.
const canLoad = true

// Nothing is downloaded unless a user asks for it. go-xla reads its own switch
// for this from the environment before any of our code runs.
func init() { xla.EnableAutoInstall(false) }

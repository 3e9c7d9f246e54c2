//go:build cgo && (linux || darwin)

package optimizer_test

import _ "github.com/gomlx/go-xla/compute/xla"

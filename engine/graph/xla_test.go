//go:build cgo && (linux || darwin)

package graph_test

import _ "github.com/gomlx/go-xla/compute/xla"

//go:build !cgo || (!linux && !darwin)

package plugin

import (
	"errors"

	"github.com/gomlx/compute"
)

const canLoad = false

func openVirtual(string, int) (compute.Backend, error) { return nil, errors.New(cannotLoad()) }

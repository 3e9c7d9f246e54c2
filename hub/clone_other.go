//go:build !linux && !darwin

package hub

import "errors"

// clone is not to be had here; duplicate links instead.
func clone(string, string) error { return errors.ErrUnsupported }

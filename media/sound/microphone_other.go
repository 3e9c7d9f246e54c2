//go:build !linux

package sound

import (
	"context"
	"errors"
)

func microphone(context.Context, int, func([]float32) error) error {
	return errors.New("sound: microphones are not supported on this system, only on Linux: record to a file instead")
}

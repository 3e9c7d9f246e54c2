package sound

import (
	"context"
	"fmt"
)

// maxMicrophoneRate is what devices go up to.
const maxMicrophoneRate = 192000

// Microphone listens to the default source of PulseAudio, or of PipeWire in
// its place, and calls heard with each piece of what comes in: one channel at
// the given rate, in pieces of some 50 ms where the source allows it and longer
// ones where not, in memory that is reused when heard returns. The first may
// hold what the source has heard shortly before.
//
// It ends when the context does, which is no error, or when heard returns an
// error, which is handed on; io.EOF from heard means enough, and is none
// either. heard is never called from two goroutines at once. It is an error
// when heard is so much slower than sound that 200 pieces wait.
//
// The server is the one PULSE_SERVER names, else that of the user's session.
// PulseAudio 16.1 was tried; PipeWire speaks the same protocol and was not.
// On systems other than Linux this package knows no way to a microphone
// without cgo, and says so in an error.
func Microphone(ctx context.Context, rate int, heard func(samples []float32) error) error {
	if rate < minRate || rate > maxMicrophoneRate {
		return fmt.Errorf("sound: a microphone at %d Hz: rates from %d to %d Hz are possible", rate, minRate, maxMicrophoneRate)
	}
	return microphone(ctx, rate, heard)
}

//go:build !amd64 && !arm64

package kernel

func available() []*Set { return nil }

// pause has no instruction here: the caller's own loop is the wait.
func pause(int) {}

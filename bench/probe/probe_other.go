//go:build !amd64

package probe

func read(b []byte) { readPlain(b) }

// multiplier is not known here: speeds of emulated instructions are no bound.
func multiplier(string) (multiply func(rounds int), perRound int, ok bool) { return nil, 0, false }

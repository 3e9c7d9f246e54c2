package chat

import (
	"fmt"
	"math"
)

// A prompt with more soft tokens than this for one part is refused: it is a
// mistake or an attack, and would take gigabytes.
const maxSoft = 1 << 20

func (p Part) check(role string) error {
	switch p.Type {
	case Text:
		return nil
	case Image, Audio, Video:
	default:
		return fmt.Errorf("unknown part %q in a %s message: use text, image, audio or video", p.Type, role)
	}
	total := 0
	for _, n := range p.Tokens {
		if n < 1 || n > maxSoft-total {
			return fmt.Errorf("%s of %d soft tokens: give 1 to %d in all", p.Type, n, maxSoft)
		}
		total += n
	}
	if p.Type == Audio && len(p.Tokens) > 1 {
		return fmt.Errorf("audio in %d pieces: give one number of soft tokens", len(p.Tokens))
	}
	if p.Type == Video && len(p.Times) > 0 && len(p.Tokens) != len(p.Times) {
		return fmt.Errorf("video with %d frames and %d times: give as many of both", len(p.Tokens), len(p.Times))
	}
	for _, t := range p.Times {
		if !(t >= 0 && t < math.MaxInt32) {
			return fmt.Errorf("video with a frame at %v seconds", t)
		}
	}
	return nil
}

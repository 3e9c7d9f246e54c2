package sound_test

import (
	"testing"

	"lapidary/media/sound"
)

// bits writes numbers with the lowest bit first, each with its width.
func bits(pairs ...int) []byte {
	var out []byte
	at := 0
	for i := 0; i < len(pairs); i += 2 {
		for b := range pairs[i+1] {
			if at%8 == 0 {
				out = append(out, 0)
			}
			out[at/8] |= byte(pairs[i]>>b&1) << (at % 8)
			at++
		}
	}
	return out
}

// codebook is a setup header with one codebook, as far as its code.
func codebook(dimensions, entries int, code ...int) []byte {
	head := append([]int{0, 8, 0x564342, 24, dimensions, 16, entries, 24}, code...)
	return append([]byte("\x05vorbis"), bits(append(head, 0, 4, 0, 16)...)...)
}

func TestVorbisHeadersAreChecked(t *testing.T) {
	identification := append(make([]byte, 28), 0xB8, 1)
	lengths := func(l ...int) (code []int) {
		code = []int{0, 1, 0, 1} // neither ordered nor sparse
		for _, l := range l {
			code = append(code, l-1, 5)
		}
		return code
	}
	good := map[string][]byte{
		"two words":         codebook(1, 2, lengths(1, 1)...),
		"three words":       codebook(2, 3, lengths(1, 2, 2)...),
		"one word of a bit": codebook(1, 2, 0, 1, 1, 1, 1, 1, 0, 5, 0, 1),
		"in order":          codebook(1, 3, 1, 1, 0, 5, 1, 2, 2, 2),
	}
	for name, setup := range good {
		if err := sound.CheckVorbis(identification, setup); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := map[string]struct {
		setup []byte
		want  string
	}{
		"terabytes":         {codebook(65535, 1<<24-1, lengths(1, 1)...), "16777215 entries with 65535 dimensions"},
		"no dimensions":     {codebook(0, 2, lengths(1, 1)...), "2 entries with 0 dimensions"},
		"no entries":        {codebook(1, 0), "0 entries"},
		"a hole":            {codebook(1, 3, lengths(1, 2, 3)...), "a code with holes"},
		"too many words":    {codebook(1, 3, lengths(1, 1, 1)...), "a code with holes"},
		"in order, endless": {codebook(1, 3, 1, 1, 0, 5, 0, 2, 0, 2), "a code with holes"},
		"cut off":           {codebook(1, 2, lengths(1, 1)...)[:16], "damaged"},
		"no codebook":       {[]byte("\x05vorbis\x00abc"), "damaged"},
		"another packet":    {[]byte("\x03vorbis\x00abc"), "damaged"},
	}
	for name, c := range bad {
		expect(t, name, sound.CheckVorbis(identification, c.setup), c.want)
	}
	for _, sizes := range []byte{0x8B, 0xF8, 0x85} {
		expect(t, "block sizes", sound.CheckVorbis(append(make([]byte, 28), sizes, 1), good["two words"]), "damaged")
	}
}

package sound

import (
	"errors"
	"fmt"

	"github.com/jfreymuth/vorbis"
)

func decodeVorbis(data []byte, m *mixer) error {
	o := &oggReader{rest: data}
	var headers [3][]byte
	for i := range headers {
		p, err := o.next()
		if err != nil {
			return err
		}
		headers[i] = p.data
	}
	// The comments are not needed, and the decoder would allocate as many as
	// they say there are.
	headers[1] = []byte("\x03vorbis\x00\x00\x00\x00\x00\x00\x00\x00\x01")
	if err := checkVorbis(headers[0], headers[2]); err != nil {
		return err
	}
	var d vorbis.Decoder
	for _, h := range headers {
		if err := d.ReadHeader(h); err != nil {
			return err
		}
	}
	if err := m.start(d.SampleRate(), d.Channels()); err != nil {
		return err
	}
	return decodeOgg(o, m, 0, func(packet []byte) error {
		sound, err := d.Decode(packet)
		if err != nil {
			return err
		}
		return m.frames(sound)
	})
}

// Bounds of the codebooks. Those of libvorbis have a few thousand entries at
// most.
const (
	maxVorbisEntries = 1 << 15
	maxVorbisValues  = 1 << 20
	maxVorbisTotal   = 1 << 17
)

var errVorbis = errors.New("its headers are damaged")

// checkVorbis looks for what the decoder believes without looking: block sizes,
// the codebooks' sizes, for which it would allocate terabytes, and codes with
// holes, in which it would go round for ever (Vorbis I §3.2.1, 4.2.2).
func checkVorbis(identification, setup []byte) error {
	if len(identification) < 30 {
		return errVorbis
	}
	short, long := identification[28]&15, identification[28]>>4
	if short < 6 || long > 13 || short > long {
		return errVorbis
	}
	if len(setup) < 8 || string(setup[:7]) != "\x05vorbis" {
		return errVorbis
	}
	r := &bitReader{data: setup[7:]}
	total := 0
	for range r.bits(8) + 1 {
		entries, err := checkCodebook(r)
		if err != nil {
			return err
		}
		if total += entries; total > maxVorbisTotal {
			return fmt.Errorf("%w: its codebooks have more than %d entries", errVorbis, maxVorbisTotal)
		}
	}
	return nil
}

func checkCodebook(r *bitReader) (entries int, err error) {
	if r.bits(24) != 0x564342 {
		return 0, errVorbis
	}
	dimensions := r.bits(16)
	entries = r.bits(24)
	if dimensions == 0 || entries == 0 || entries > maxVorbisEntries || dimensions*entries > maxVorbisValues {
		return 0, fmt.Errorf("%w: a codebook of %d entries with %d dimensions", errVorbis, entries, dimensions)
	}
	if !completeCode(r, entries) {
		return 0, fmt.Errorf("%w: a code with holes", errVorbis)
	}
	lookup := r.bits(4)
	if lookup > 2 {
		return 0, errVorbis
	}
	if lookup > 0 {
		r.bits(32)
		r.bits(32)
		width := r.bits(4) + 1
		r.bits(1)
		n := dimensions * entries
		if lookup == 1 {
			n = root(entries, dimensions)
		}
		r.skip(n * width)
	}
	if r.ended {
		return 0, errVorbis
	}
	return entries, nil
}

// completeCode reads the lengths of the code's words and tells whether they
// fill a binary tree (Kraft's sum is 1), or are a single word of one bit.
func completeCode(r *bitReader, entries int) bool {
	const whole = int64(1) << 32
	sum, words := int64(0), 0
	add := func(length, n int) {
		sum += int64(n) * (whole >> length)
		words += n
	}
	if r.bits(1) == 1 { // in order of length
		length := r.bits(5) + 1
		for left := entries; left > 0; length++ {
			n := r.bits(bitsFor(left + 1))
			if n > left || length > 32 || r.ended {
				return false
			}
			add(length, n)
			left -= n
		}
	} else {
		sparse := r.bits(1) == 1
		for range entries {
			if !sparse || r.bits(1) == 1 {
				add(r.bits(5)+1, 1)
			}
		}
	}
	return sum == whole || words == 1 && sum == whole/2
}

// root is the greatest number of which the power does not exceed n.
func root(n, power int) int {
	fits := func(r int) bool {
		product := 1
		for range power {
			if product *= r; product > n {
				return false
			}
			if r == 1 {
				break
			}
		}
		return true
	}
	r := 1
	for fits(r + 1) {
		r++
	}
	return r
}

// bitReader reads numbers with the lowest bit first (Vorbis I §2).
type bitReader struct {
	data  []byte
	at    int // in bits
	ended bool
}

func (r *bitReader) bits(n int) int {
	v := 0
	for i := range n {
		if r.at >= 8*len(r.data) {
			r.ended = true
			return 0
		}
		v |= int(r.data[r.at/8]>>(r.at%8)&1) << i
		r.at++
	}
	return v
}

func (r *bitReader) skip(n int) {
	if r.at += n; r.at > 8*len(r.data) {
		r.ended = true
	}
}

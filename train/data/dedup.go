package data

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode"
)

// Near duplicates are found as follows.
//
// The words of a text, lower case and without what is neither letter nor
// digit, give its set of shingles: every run of five words (the whole text
// where there are fewer). The resemblance of two texts is the Jaccard index of
// their sets, |A∩B| / |A∪B|. For a random function h the least h(x) over A and
// over B are the same with just that probability, so the share of 128 such
// minima that agree estimates it, with a standard error of √(J(1−J)/128), at most 0.044
// (Broder, "On the resemblance and containment of documents", 1997). The
// functions are h(x) = (a·x + b mod 2⁶⁴) / 2³² with odd a
// (Dietzfelbinger and others, "A reliable randomized algorithm for the
// closest-pair problem", 1997).
//
// So that not all pairs need be compared, signatures are cut into b bands of r
// values: only texts that agree in a whole band are compared, which those of
// resemblance s do with probability 1 − (1 − s^r)^b (Leskovec, Rajaraman and
// Ullman, "Mining of Massive Datasets", section 3.4). r is the greatest
// divisor of 128 for which a pair at the threshold is found with a probability of at least 0.95.
const (
	signatureWidth = 128
	shingleWords   = 5
)

// Dedup says which duplicates are left out: the first of its kind stays.
type Dedup struct {
	// Exact leaves out documents whose texts are the same byte for byte.
	Exact bool `yaml:"exact,omitempty" json:"exact,omitempty"`
	// Near leaves out documents that resemble an earlier one by at least this
	// (0: none are; 0.8 is usual).
	Near float64 `yaml:"near,omitempty" json:"near,omitempty"`
}

func (d Dedup) check() error {
	if d.Near < 0 || d.Near > 1 || d.Near != d.Near {
		return fmt.Errorf("near duplicates: a resemblance of %v is not between 0 and 1", d.Near)
	}
	return nil
}

// Bands is how many bands of how many values find pairs of a resemblance.
func Bands(threshold float64) (bands, rows int) {
	for rows = signatureWidth; rows > 1; rows /= 2 {
		bands = signatureWidth / rows
		if 1-math.Pow(1-math.Pow(threshold, float64(rows)), float64(bands)) >= 0.95 {
			return bands, rows
		}
	}
	return signatureWidth, 1
}

// Hash is the same for documents of the same texts.
func (e *Example) Hash() [16]byte {
	sum := sha256.Sum256(e.bytes())
	return [16]byte(sum[:16])
}

// side is where the example falls when documents are split.
func (e *Example) side() uint64 {
	if e.Group == "" {
		h := e.Hash()
		return binary.LittleEndian.Uint64(h[8:])
	}
	sum := sha256.Sum256([]byte(e.Group))
	return binary.LittleEndian.Uint64(sum[:])
}

// Signature is the example's MinHash values.
func (e *Example) Signature() []uint32 { return signature(cmp.Or(e.Likeness, e.text())) }

var permutations = func() (p [signatureWidth][2]uint64) {
	state := uint64(0x6c61706964617279)
	for i := range p {
		p[i] = [2]uint64{mix(&state) | 1, mix(&state)}
	}
	return p
}()

// mix is SplitMix64's next value (Steele, Lea and Flood, "Fast splittable
// pseudorandom number generators", 2014).
func mix(state *uint64) uint64 {
	*state += 0x9e3779b97f4a7c15
	return scramble(*state)
}

func scramble(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func signature(text string) []uint32 {
	out := make([]uint32, signatureWidth)
	for i := range out {
		out[i] = math.MaxUint32
	}
	hashes := wordHashes(text)
	n := max(1, len(hashes)-shingleWords+1)
	for i := range n {
		x := uint64(0)
		for _, w := range hashes[i:min(i+shingleWords, len(hashes))] {
			x = scramble(x*31 + w)
		}
		for j := range out {
			out[j] = min(out[j], uint32((permutations[j][0]*x+permutations[j][1])>>32))
		}
	}
	return out
}

// wordHashes are the text's words as FNV-1a values.
func wordHashes(text string) []uint64 {
	var out []uint64
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) }) {
		h := uint64(14695981039346656037)
		for _, b := range []byte(strings.ToLower(word)) {
			h = (h ^ uint64(b)) * 1099511628211
		}
		out = append(out, h)
	}
	return out
}

// Resemblance is the share of two signatures that agrees.
func Resemblance(a, b []uint32) float64 {
	same := 0
	for i := range a {
		if a[i] == b[i] {
			same++
		}
	}
	return float64(same) / float64(len(a))
}

// BandKeys are what a signature has in each band; documents that share one are
// compared.
func BandKeys(signature []uint32, threshold float64) []uint64 {
	bands, rows := Bands(threshold)
	keys := make([]uint64, bands)
	for b := range keys {
		x := uint64(b)
		for _, v := range signature[b*rows : (b+1)*rows] {
			x = scramble(x<<32 ^ x>>32 ^ uint64(v))
		}
		keys[b] = x
	}
	return keys
}

// finder remembers the documents that stay.
type finder struct {
	Dedup
	exact map[[16]byte]struct{}
	bands map[uint64][]int32
	kept  []func() []uint32
}

func newFinder(d Dedup) *finder {
	return &finder{Dedup: d, exact: map[[16]byte]struct{}{}, bands: map[uint64][]int32{}}
}

// duplicate reports what kind of duplicate of an earlier document this is.
func (f *finder) duplicate(hash [16]byte, signature func() []uint32) (exact, near bool) {
	_, exact = f.exact[hash]
	if exact {
		return true, false
	}
	f.exact[hash] = struct{}{}
	if f.Near == 0 {
		return false, false
	}
	own := signature()
	keys := BandKeys(own, f.Near)
	seen := map[int32]bool{}
	for _, k := range keys {
		for _, other := range f.bands[k] {
			if !seen[other] && Resemblance(own, f.kept[other]()) >= f.Near {
				return false, true
			}
			seen[other] = true
		}
	}
	n := int32(len(f.kept))
	f.kept = append(f.kept, signature)
	for _, k := range keys {
		f.bands[k] = append(f.bands[k], n)
	}
	return false, false
}

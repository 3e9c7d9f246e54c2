package tokenizer

// pairs are the bytes that may be neighbours: bit b of row a says that b may
// follow a.
type pairs [256][4]uint64

// allPairs lets every byte follow every other.
var allPairs = func() *pairs {
	p := new(pairs)
	for a := range p {
		p[a] = [4]uint64{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
	}
	return p
}()

func pairsOf(text string) *pairs {
	p := new(pairs)
	for i := 1; i < len(text); i++ {
		p.add(text[i-1], text[i])
	}
	return p
}

func (p *pairs) add(a, b byte) { p[a][b>>6] |= 1 << (b & 63) }

func (p *pairs) has(a, b byte) bool { return p[a][b>>6]>>(b&63)&1 != 0 }

// spell reports whether all neighbours in piece are pairs.
func (p *pairs) spell(piece []byte) bool {
	if p == allPairs {
		return true
	}
	for i := 1; i < len(piece); i++ {
		if !p.has(piece[i-1], piece[i]) {
			return false
		}
	}
	return true
}

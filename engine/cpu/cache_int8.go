package cpu

import (
	"math"
	"slices"

	"lapidary/engine"
	"lapidary/engine/cpu/kernel"
)

// greatestCode is that of a head's greatest magnitude.
const greatestCode = 127

// leastScaled is the least magnitude that has codes: below, 127 over it is no
// longer a float32.
const leastScaled = 1e-36

// Some elements of a head are several times as great as the rest, in the same
// places at all positions, and would leave the rest few codes. So keys and
// values are turned by a fixed rotation that spreads an element over many, as in
// QuaRot (Ashkboos et al. 2024, arXiv:2404.00456): the butterflies of a Hadamard
// transform, from the whole head down to neighbours eight apart. Queries are
// turned the same way, which leaves their products with keys as they were, and
// what is gathered of values is turned back.
func spread(set *kernel.Set, head []float32) {
	for n := len(head); n%16 == 0; n /= 2 {
		butterflies(set, head, n, &eighthTurn.sin[0])
	}
}

// gather undoes spread.
func gather(set *kernel.Set, head []float32) {
	n := len(head)
	for n%16 == 0 {
		n /= 2
	}
	for n *= 2; n <= len(head); n *= 2 {
		butterflies(set, head, n, &eighthTurn.back[0])
	}
}

// butterflies turns each element with the one n/2 further by 45°, in blocks of n.
func butterflies(set *kernel.Set, head []float32, n int, sin *float32) {
	if n/2 > len(eighthTurn.cos) {
		return // no published model has such heads
	}
	for at := 0; at < len(head); at += n {
		set.Rotate(&head[at], &eighthTurn.cos[0], sin, n/2)
	}
}

var eighthTurn = func() (t struct{ cos, sin, back [512]float32 }) {
	fill(t.cos[:], math.Sqrt2/2)
	fill(t.sin[:], math.Sqrt2/2)
	fill(t.back[:], -math.Sqrt2/2)
	return t
}()

// inCodes says whether the layer that attention a reads keeps codes.
func (s *span) inCodes(a engine.Attend) bool { return s.cache.layer(a.Layer).Keep == engine.Int8 }

// spreadQueries is q with the queries turned that meet codes.
func (p *pass) spreadQueries(q *tensor, spans []span, a engine.Attend) *tensor {
	if !slices.ContainsFunc(spans, func(s span) bool { return s.inCodes(a) }) {
		return q
	}
	y := p.tensor(q.rows, q.width)
	copy(y.data, q.data)
	p.turnHeads(y, spans, a, spread)
	return y
}

// turnHeads turns the rows of y that meet codes.
func (p *pass) turnHeads(y *tensor, spans []span, a engine.Attend, turn func(set *kernel.Set, head []float32)) {
	for i := range spans {
		s := &spans[i]
		if !s.inCodes(a) {
			continue
		}
		const run = 16
		p.parallel((s.rows+run-1)/run, s.rows*y.width, func(piece int, _ *scratch) {
			for at := piece * run * y.width; at < min((piece+1)*run, s.rows)*y.width; at += a.C {
				turn(p.set, y.data[s.row*y.width+at:][:a.C])
			}
		})
	}
}

// placeCodes rounds the keys and values of one position, [K·C] each, and writes
// them into a page.
func (l *layer) placeCodes(set *kernel.Set, pg *page, at int, keys, values []float32) {
	width, heads := len(keys), l.KVHeads
	turned, codes, scales := make([]float32, 2*width), make([]int8, 2*width), make([]float32, 2*heads)
	copy(turned, keys)
	copy(turned[width:], values)
	for at := 0; at < len(turned); at += l.HeadSize {
		spread(set, turned[at:at+l.HeadSize])
	}
	toCodes(codes, scales, turned)
	place(l, at, pg.codeK, pg.codeV, codes[:width], codes[width:])
	for g := range heads {
		pg.scaleK[g*pageLen+at], pg.scaleV[g*pageLen+at] = scales[g], scales[heads+g]
	}
}

// toCodes rounds each head of x, so many floats long, to codes and scales. What
// is not finite makes the scale so.
func toCodes(codes []int8, scales []float32, x []float32) {
	size := len(x) / len(scales)
	for g := range scales {
		scales[g] = headCodes(codes[g*size:(g+1)*size], x[g*size:(g+1)*size])
	}
}

func headCodes(codes []int8, x []float32) (scale float32) {
	const sign = 1 << 31
	var bits uint32
	for _, v := range x {
		bits = max(bits, math.Float32bits(v)&^sign) // in the order of magnitudes
	}
	top := math.Float32frombits(bits)
	if top < leastScaled {
		clear(codes)
		return 0
	}
	// Added to 1.5·2²³, a number is rounded to an integer in the lowest bits.
	const shift = 3 << 22
	inverse := greatestCode / top
	for i, v := range x {
		codes[i] = int8(math.Float32bits(float32(v*inverse) + shift))
	}
	return top / greatestCode
}

// scaleScores makes scores of sums of codes: a position's scale belongs to its
// column.
func (p *page) scaleScores(set *kernel.Set, g int, scores []float32) {
	if p.scaleK != nil {
		set.ScaleMul(&scores[0], &scores[0], 1, &p.scaleK[g*pageLen], pageLen)
	}
}

// scaleWeights prepares the weights of positions for their values' codes.
func (p *page) scaleWeights(set *kernel.Set, g int, weights []float32) {
	if p.scaleV != nil {
		set.ScaleMul(&weights[0], &weights[0], 1, &p.scaleV[g*pageLen], pageLen)
	}
}

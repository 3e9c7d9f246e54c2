package cpu

import (
	"math"

	"lapidary/engine"
)

// merge adds up the pieces that share their queries.
func (p *pass) merge(work []attendPiece, y *tensor, a engine.Attend) {
	from := 0
	for i := range work {
		if !work[i].last {
			continue
		}
		if parts := work[from : i+1]; len(parts) > 1 {
			p.mergeParts(parts, y, a)
		}
		from = i + 1
	}
}

func (p *pass) mergeParts(parts []attendPiece, y *tensor, a engine.Attend) {
	w, group := parts[0], a.Heads/a.KVHeads
	for r := range (w.to - w.from) * group {
		top, sum := float32(math.Inf(-1)), float32(0)
		for _, part := range parts {
			top = max(top, part.part[r*(2+a.C)])
		}
		out := y.row(w.span.row + w.from + r/group)[(w.head*group+r%group)*a.C:][:a.C]
		clear(out)
		for _, part := range parts {
			gathered := part.part[r*(2+a.C):][:2+a.C]
			if gathered[1] == 0 {
				continue
			}
			by := float32(math.Exp(float64(gathered[0] - top)))
			sum += by * gathered[1]
			for i, v := range gathered[2:] {
				out[i] += by * v
			}
		}
		p.scale(out, out, inverse(sum))
	}
}

// inverse is 1/sum, or 0 for a row that has seen nothing.
func inverse(sum float32) float32 {
	if sum == 0 {
		return 0
	}
	return 1 / sum
}

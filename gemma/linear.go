package gemma

import "lapidary/engine"

// linear is a linear layer: a weight, perhaps a bias, perhaps bounds for what
// goes in and what comes out.
type linear struct {
	w, bias engine.Weight
	in, out *bounds
}

// bounds are the least and the greatest value.
type bounds struct{ least, most float32 }

// multiply is x [R, in] through each of the layers → [R, out].
func multiply(p engine.Pass, x engine.Tensor, ls ...linear) []engine.Tensor {
	ws, bounded := make([]engine.Weight, len(ls)), false
	for i, l := range ls {
		ws[i], bounded = l.w, bounded || l.in != nil
	}
	var ys []engine.Tensor
	if bounded {
		for _, l := range ls {
			ys = append(ys, p.Linear(l.bound(p, x), l.w)...)
		}
	} else {
		ys = p.Linear(x, ws...)
	}
	for i, l := range ls {
		if l.bias != nil {
			ys[i] = p.Affine(ys[i], nil, l.bias)
		}
		if l.out != nil {
			ys[i] = p.Clamp(ys[i], l.out.least, l.out.most)
		}
	}
	return ys
}

// bound is x within the bounds for what goes in; x itself stays as it is.
func (l linear) bound(p engine.Pass, x engine.Tensor) engine.Tensor {
	if l.in == nil {
		return x
	}
	_, width := x.Dims()
	return p.Clamp(p.Columns(x, 0, width), l.in.least, l.in.most)
}

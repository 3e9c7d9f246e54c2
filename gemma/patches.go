package gemma

import (
	"context"
	"fmt"
	"math"

	"lapidary/engine"
)

// patchTower is the vision transformer of Gemma 4.
type patchTower struct {
	config   *PatchTower
	patch    linear        // [D, 3·p·p]
	places   engine.Weight // [2·places, D]: columns, then lines
	stack    *stack
	by, plus engine.Weight // what standardises soft tokens; nil for nothing
	soft     projection
}

func (b *binder) patchTower(c *Config) *patchTower {
	b, done := b.beside(c)
	defer done()
	v := c.Patches
	const tower = "vision_tower."
	s := b.passing(&v.Stack, tower+"encoder.")
	out := &patchTower{
		config: v, stack: s,
		patch:  linear{w: b.patchWeight(tower+"patch_embedder.input_proj.weight", v.Width, v.Patch)},
		places: b.shaped(tower+"patch_embedder.position_embedding_table", []int{2, v.Places, v.Width}, 2*v.Places, v.Width),
		soft:   b.projection("embed_vision", v.Width, v.Projects, v.NormEps),
	}
	if v.Standard { // (x − bias) · scale
		scale, bias := b.numbers(tower+"std_scale"), b.numbers(tower+"std_bias")
		if b.err == nil && (len(scale) != v.Width || len(bias) != v.Width) {
			b.err = fmt.Errorf("tensors std_scale and std_bias have %d and %d elements, want %d", len(scale), len(bias), v.Width)
			return out
		}
		for i := range bias {
			bias[i] *= -scale[i]
		}
		out.by, out.plus = b.made("std_scale", scale, len(scale)), b.made("std_bias", bias, len(bias))
	}
	return out
}

func (m *patchTower) see(ctx context.Context, e engine.Engine, pictures []Picture) (vision, error) {
	c := m.config
	in, err := patches(pictures, 3*c.Patch*c.Patch, c.Places)
	if err != nil {
		return vision{}, err
	}
	groups, rows, err := m.pool(in)
	if err != nil {
		return vision{}, err
	}
	p := e.Begin(ctx, in.spans)
	pixels := make([]float32, len(in.pixels)) // from 0…1 to −1…1
	for i, v := range in.pixels {
		pixels[i] = 2 * (v - 0.5)
	}
	x := multiply(p, p.Write(pixels, 3*c.Patch*c.Patch), m.patch)[0]
	columns, lines := in.ids(func(at [2]int32) (int32, int32) { return at[0], at[1] + int32(c.Places) })
	x = p.Add(x, p.Embed(m.places, columns, 1))
	x = p.Add(x, p.Embed(m.places, lines, 1))
	all, _ := x.Dims()
	if x = m.stack.run(ctx, p, x, &input{wanted: sequence(0, all)}, nil); x == nil {
		return vision{}, p.End()
	}
	x = p.Scale(p.Mean(x, groups), float32(math.Sqrt(float64(c.Width))))
	if m.by != nil {
		x = p.Affine(x, m.by, m.plus)
	}
	out := vision{states: read(p, x, rows)}
	out.soft = read(p, m.soft.forward(p, x), rows)
	return out, p.End()
}

// pool is which patches make each soft token, and how many of those each
// picture has.
func (m *patchTower) pool(in *patchRows) (groups [][]int, rows []int, err error) {
	k := int32(m.config.Pool)
	row := 0
	for i, s := range in.spans {
		var columns, lines int32
		for _, at := range s.Grid {
			columns, lines = max(columns, at[0]+1), max(lines, at[1]+1)
		}
		if columns%k != 0 || lines%k != 0 || int(columns)*int(lines) != s.Rows {
			return nil, nil, fmt.Errorf("picture %d has %d patches in %d columns and %d lines, want full squares of %d × %d", i, s.Rows, columns, lines, k, k)
		}
		cells := make([][]int, columns/k*(lines/k))
		for j, at := range s.Grid {
			cell := at[1]/k*(columns/k) + at[0]/k
			cells[cell] = append(cells[cell], row+j)
		}
		for _, cell := range cells {
			if len(cell) != int(k*k) {
				return nil, nil, fmt.Errorf("picture %d has two patches in one place", i)
			}
		}
		groups, rows = append(groups, cells...), append(rows, len(cells))
		row += s.Rows
	}
	return groups, rows, nil
}

package cpu

import "lapidary/engine"

// view is what the rows of a span see of a layer.
type view struct {
	span     *span
	layer    *layer
	window   int
	anchored bool // the window counts from the span's first row
	ahead    int
	groups   []int32 // of the rows from span.first on; nil where they do not count
	whole    bool    // all of a source
	relative []float32
}

// views appends the memories that the rows of s see.
func (s *span) views(all []view, a engine.Attend, relative []float32) []view {
	s.cache.layer(max(a.Layer, a.Beside-1)) // one that is made moves the others
	own := view{span: s, layer: s.cache.layer(a.Layer), window: a.Window, anchored: a.Anchored, ahead: a.Ahead, whole: a.Source, relative: relative}
	if a.Groups {
		own.groups = s.groups
	}
	all = append(all, own)
	if a.Beside > 0 {
		all = append(all, view{span: s, layer: s.cache.layer(a.Beside - 1), whole: true})
	}
	return all
}

// visible is the range of positions that row i of the span sees, but for those
// of its group that come later.
func (v *view) visible(i int) (from, to int) {
	if v.whole {
		return 0, v.layer.held
	}
	pos := v.span.start + i
	switch {
	case v.window > 0 && v.anchored:
		from = max(0, v.span.first-v.window+1)
	case v.window > 0:
		from = max(0, pos-v.window+1)
	}
	if to = v.span.end; v.ahead != engine.All {
		to = min(to, pos+v.ahead+1)
	}
	return from, to
}

// reach is the position after the last of row i's group, 0 where there is none.
func (v *view) reach(i int) int {
	if v.groups == nil {
		return 0
	}
	return v.span.reach[v.span.start+i-v.span.first]
}

// seen is the range of positions that some of the rows [from, to) see.
func (v *view) seen(from, to int) [2]int {
	first, _ := v.visible(from)
	_, end := v.visible(to - 1)
	for i := from; i < to; i++ {
		end = max(end, v.reach(i))
	}
	return [2]int{max(first, v.layer.first*pageLen), end}
}

// mask sets the scores of page n that row i does not see. It returns whether
// there may be one that the row does.
func (v *view) mask(scores []float32, i, n int, with float32) bool {
	from, to := v.visible(i)
	from, to = min(max(0, from-n*pageLen), pageLen), max(0, min(pageLen, to-n*pageLen))
	end := min(v.reach(i)-n*pageLen, pageLen)
	if from >= max(to, end) {
		return false
	}
	fill(scores[:from], with)
	if end <= to {
		fill(scores[to:], with)
		return true
	}
	// What comes later is seen where it is of the row's group.
	of := v.span.first - n*pageLen // the page's position of row 0 of the span
	group := v.groups[v.span.start+i-v.span.first]
	for j := to; j < end; j++ {
		if v.groups[j-of] != group {
			scores[j] = with
		}
	}
	fill(scores[end:], with)
	return true
}

// relative is the product of each query with what stands for each place: [R][H][places].
func (p *pass) relative(q *tensor, a engine.Attend) []float32 {
	if a.Relative == nil {
		return nil
	}
	r := p.read(a.Relative)
	products := p.alloc(q.rows * a.Heads * r.rows)
	dot := p.loops(a.C).Dot
	p.eachRows(q, func(from, to int) {
		at := from * a.Heads * r.rows
		for row := from; row < to; row++ {
			for h := 0; h < q.width; h += a.C {
				for i := range r.rows {
					products[at] = dot(&q.row(row)[h], &r.row(i)[h], a.C) * a.Scale
					at++
				}
			}
		}
	})
	return products
}

// addRelative adds what head h of row i has for each place to the scores of page n.
func (v *view) addRelative(scores []float32, i, h, n int, a engine.Attend) {
	if v.relative == nil {
		return
	}
	places, _ := a.Relative.Dims()
	products := v.relative[((v.span.row+i)*a.Heads+h)*places:][:places]
	first := v.span.start + i - a.Far - n*pageLen // where place 0 lies in the page
	for j := max(0, -first); j < places && first+j < pageLen; j++ {
		scores[first+j] += products[j]
	}
}

// attendPiece is some queries of a span, one key-value head, and the pages
// they are shown. A piece that is one of several over the same queries leaves
// its sums in part.
type attendPiece struct {
	span     *span
	view     *view
	head     int // key-value head
	from, to int // queries, as rows of the span
	pages    [2]int
	seen     [2]int    // positions that some of the queries see
	part     []float32 // [rows][2 + C]: greatest score, sum, weighted values; nil if whole
	last     bool      // of the pieces over the same queries
}

// pieces splits the attention of spans. One head goes after the other: its
// keys and values stay in a cache meanwhile.
func (p *pass) pieces(spans []span, a engine.Attend, relative []float32) []attendPiece {
	views := make([]view, 0, 2*len(spans))
	queries := max(1, tileRows/(a.Heads/a.KVHeads))
	var work []attendPiece
	for i := range spans {
		s := &spans[i]
		views = s.views(views, a, relative)
		seen := views[len(views)-1:]
		if a.Beside > 0 {
			seen = views[len(views)-2:]
		}
		for head := range a.KVHeads {
			for from := 0; from < s.rows; from += queries {
				work = p.piecesOf(work, seen, head, from, min(from+queries, s.rows), a)
			}
		}
	}
	return work
}

// piecesOf appends those of one head and the rows [from, to) of a span.
func (p *pass) piecesOf(work []attendPiece, views []view, head, from, to int, a engine.Attend) []attendPiece {
	before := len(work)
	for i := range views {
		work = views[i].shown(work, head, from, to)
	}
	if len(work) == before { // zeros are to be written
		work = append(work, attendPiece{span: views[0].span, view: &views[0], head: head, from: from, to: to})
	}
	pieces := work[before:]
	pieces[len(pieces)-1].last = true
	for i := range pieces {
		if len(pieces) > 1 {
			pieces[i].part = p.alloc((to - from) * a.Heads / a.KVHeads * (2 + a.C))
		}
	}
	return work
}

// shown appends the pieces in which rows [from, to) of the span see the view.
func (v *view) shown(work []attendPiece, head, from, to int) []attendPiece {
	seen := v.seen(from, to)
	end := (seen[1] + pageLen - 1) / pageLen
	for at := seen[0] / pageLen; at < end; {
		next := end
		if v.span.rows <= fewRows {
			next = min(next, (at/chunkPages+1)*chunkPages)
		}
		work = append(work, attendPiece{span: v.span, view: v, head: head, from: from, to: to, pages: [2]int{at, next}, seen: seen})
		at = next
	}
	return work
}
